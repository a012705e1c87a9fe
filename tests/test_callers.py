"""Each caller gets their own parts; who is unknown gets nobody's."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.auth.middleware.auth_context import auth_context_var
from pydantic import SecretStr

from extend_mcp.accounts import LOCAL, Account, Caller
from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.callers import CallerContext, CallerRegistry, CallerUser, UnknownCallerError
from extend_mcp.settings import Settings


def caller(name: str, **more: Any) -> Caller:
    return Caller(f"token:{name}", Account(SecretStr(f"sk_{name}_canary")), **more)


class Counting(CallerRegistry):
    """A registry that records whose parts it made."""

    def __init__(self, local: Caller | None = None, most: int = 1000) -> None:
        self.made: list[str] = []

        def make(caller: Caller) -> CallerContext:
            self.made.append(caller.principal)
            return CallerContext(SealingKeys(), caller=caller, settings=Settings(), connect=lambda _: None)

        async def close() -> None:
            self.made.append("closed")

        super().__init__(make, local=local, close=close, most=most)


def test_the_call_s_caller_decides_and_parts_are_made_once() -> None:
    registry = Counting(local=caller("own"))
    assert registry.caller().principal == "token:own"
    token = auth_context_var.set(CallerUser(caller("ana")))
    try:
        assert registry.caller() == caller("ana")
        assert registry.current() is registry.current()
        assert registry.current() is not registry.context_of(caller("own"))
    finally:
        auth_context_var.reset(token)
    assert registry.made == ["token:ana", "token:own"]


def test_without_a_caller_of_its_own_a_server_gives_nobody_s_parts() -> None:
    registry = Counting()
    with pytest.raises(UnknownCallerError):
        registry.current()
    assert registry.made == []


def test_a_new_token_of_the_same_caller_finds_the_same_parts_and_new_rights_do_not() -> None:
    registry = Counting()
    first = registry.context_of(caller("ana", expires_at=100))
    assert registry.context_of(caller("ana", expires_at=200)) is first
    assert registry.context_of(caller("ana", scopes=frozenset({"runs:read"}))) is not first


async def test_the_longest_unused_makes_room_and_closing_closes() -> None:
    registry = Counting(most=2)
    ana = registry.context_of(caller("ana"))
    registry.context_of(caller("ben"))
    assert registry.context_of(caller("ana")) is ana
    registry.context_of(caller("cid"))
    assert registry.context_of(caller("ana")) is ana
    registry.context_of(caller("ben"))
    assert registry.made == ["token:ana", "token:ben", "token:cid", "token:ben"]
    await registry.aclose()
    assert registry.made[-1] == "closed"


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
