"""Each caller gets their own parts; who is unknown gets nobody's."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.auth.middleware.auth_context import auth_context_var
from pydantic import SecretStr

from extend_mcp.actions.confirmation_tokens import ConfirmationTokens, SealingKeys
from extend_mcp.callers import LOCAL, Account, Caller
from extend_mcp.settings import Settings
from extend_mcp.tools.app import App
from extend_mcp.tools.service import CallerUser, Service, UnknownCallerError

KEYS = SealingKeys()


def caller(name: str, **more: Any) -> Caller:
    return Caller(f"token:{name}", Account(SecretStr(f"sk_{name}_canary")), **more)


class Counting(Service):
    """A service that tells whose parts it made."""

    def __init__(self, local: Caller | None = None, most: int = 1000) -> None:
        self.made: list[str] = []

        def make(whose: Caller) -> App:
            self.made.append(whose.principal)
            return App(
                whose, Settings(), connect=lambda: None, tokens=ConfirmationTokens(KEYS, audience="", lifetime=1)
            )  # type: ignore[arg-type, return-value]

        async def close() -> None:
            self.made.append("closed")

        super().__init__(make, local=local, close=close, most=most)


def test_the_call_s_caller_decides_and_parts_are_made_once() -> None:
    service = Counting(local=caller("own"))
    assert service.caller().principal == "token:own"
    token = auth_context_var.set(CallerUser(caller("ana")))
    try:
        assert service.caller() == caller("ana")
        assert service.app() is service.app()
        assert service.app() is not service.app_of(caller("own"))
    finally:
        auth_context_var.reset(token)
    assert service.made == ["token:ana", "token:own"]


def test_without_a_caller_of_its_own_a_server_gives_nobody_s_parts() -> None:
    service = Counting()
    with pytest.raises(UnknownCallerError):
        service.app()
    assert service.made == []


def test_a_new_token_of_the_same_caller_finds_the_same_parts_and_new_rights_do_not() -> None:
    service = Counting()
    first = service.app_of(caller("ana", expires_at=100))
    assert service.app_of(caller("ana", expires_at=200)) is first
    assert service.app_of(caller("ana", scopes=frozenset({"runs:read"}))) is not first


async def test_the_longest_unused_makes_room_and_closing_closes() -> None:
    service = Counting(most=2)
    ana = service.app_of(caller("ana"))
    service.app_of(caller("ben"))
    assert service.app_of(caller("ana")) is ana
    service.app_of(caller("cid"))
    assert service.app_of(caller("ana")) is ana
    service.app_of(caller("ben"))
    assert service.made == ["token:ana", "token:ben", "token:cid", "token:ben"]
    await service.aclose()
    assert service.made[-1] == "closed"


def test_what_the_sdk_carries_names_the_caller_and_holds_no_secret() -> None:
    user = CallerUser(caller("ana", issuer="https://id.example", subject="s", client_id="c"))
    assert (user.access_token.client_id, user.access_token.subject) == ("c", "s")
    assert user.access_token.claims == {"iss": "https://id.example"}
    assert "canary" not in repr(user.access_token) + repr(user.caller) + repr(user.caller.account)
    assert CallerUser(Caller(LOCAL, Account(None))).access_token.client_id == LOCAL


def test_accounts_share_a_budget_by_organization_or_key_and_not_by_workspace() -> None:
    one, other = SecretStr("sk_canary_one"), SecretStr("sk_canary_two")
    assert Account(one).budget == Account(one, "ws_1").budget != Account(other).budget
    assert Account(one, organization="acme").budget == Account(other, organization="acme").budget
    assert "canary" not in Account(one).budget
