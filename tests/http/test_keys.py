from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from extend_mcp.http.auth.base import ExtendKeys, UnidentifiedError

KEY = "sk_canary_5d2e"


def headers(*lines: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.lower().encode(), value.encode("latin-1")) for name, value in lines])


async def test_a_caller_acts_on_the_account_of_the_key_they_send() -> None:
    caller = await ExtendKeys()(headers(("Authorization", f"Bearer {KEY}"), ("X-Extend-Workspace-Id", "ws_1")))
    assert caller.account.api_key is not None
    assert caller.account.api_key.get_secret_value() == KEY
    assert caller.account.workspace_id == "ws_1"
    assert (caller.scopes, caller.expires_at) == (None, None)
    assert "canary" not in repr(caller) + repr(caller.account) + caller.principal + caller.account.budget


async def test_the_same_key_and_workspace_are_the_same_caller_and_no_others() -> None:
    sent = [(KEY, ""), (KEY, "ws_1"), (KEY, "ws_2"), ("sk_other_canary", "ws_1"), (KEY, "ws_1")]
    principals = [
        (
            await ExtendKeys()(headers(("Authorization", f"bearer {key}"), ("x-extend-workspace-id", workspace)))
        ).principal
        for key, workspace in sent
    ]
    assert principals[1] == principals[4]
    assert len(set(principals)) == 4


@pytest.mark.parametrize("value", [KEY, f" {KEY} "])
async def test_a_header_of_the_operator_s_choice_carries_the_key_as_it_is(value: str) -> None:
    caller = await ExtendKeys("X-Extend-Key")(
        headers(("x-extend-key", value), ("Authorization", "Bearer sk_of_a_proxy"))
    )
    assert caller.account.api_key is not None
    assert caller.account.api_key.get_secret_value() == KEY
    assert caller.account.workspace_id is None


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer ")],
        [("Authorization", f"Basic {KEY}")],
        [("Authorization", KEY)],
        [("Authorization", f"Bearer {KEY} {KEY}")],
        [("Authorization", f"Bearer {KEY}\x01")],
        [("Authorization", f"Bearer {KEY}\t1")],
        [("Authorization", f"Bearer {KEY}\xe4")],
        [("Authorization", "Bearer canary" + "y" * 495)],
        [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer sk_canary_2")],
        [("Authorization", f"Bearer {KEY}"), ("x-extend-workspace-id", "ws canary")],
        [("Authorization", f"Bearer {KEY}"), ("x-extend-workspace-id", "canary" + "y" * 495)],
        [("Authorization", f"Bearer {KEY}"), ("x-extend-workspace-id", "a"), ("x-extend-workspace-id", "canary")],
    ],
)
async def test_what_cannot_be_a_key_or_workspace_is_refused_and_not_quoted(lines: list[tuple[str, str]]) -> None:
    with pytest.raises(UnidentifiedError) as problem:
        await ExtendKeys()(headers(*lines))
    assert "canary" not in str(problem.value)


async def test_a_key_of_500_characters_is_taken() -> None:
    assert await ExtendKeys()(headers(("Authorization", "Bearer " + "k" * 500)))


@pytest.mark.parametrize("lines", [[("Authorization", f"Bearer {KEY}")], [("x-extend-key", " ")]])
async def test_a_key_elsewhere_than_in_the_configured_header_is_none(lines: list[tuple[str, str]]) -> None:
    with pytest.raises(UnidentifiedError, match="no X-Extend-Key header"):
        await ExtendKeys("X-Extend-Key")(headers(*lines))
