"""Sealed tokens altered in any bit are refused; page tokens of any making are answered or refused, never a fault."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extend_mcp.actions.confirmation_tokens import ConfirmationTokens, SealingKeys
from extend_mcp.api.models import ApiModel, Page
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.pagination import read_page

NOW = datetime(2026, 2, 10, tzinfo=timezone.utc)
TOKENS = ConfirmationTokens(SealingKeys(["k" * 32]), audience="account", lifetime=300)
TOKEN = TOKENS.issue({"action": "cancel_workflow_run", "target": "workflow_run_1"}, principal="ana", now=NOW)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def flipped(text: str, bit: int) -> str:
    """``text`` with one bit of its ASCII form the other way round."""
    place, of = divmod(bit, 7)
    return text[:place] + chr(ord(text[place]) ^ 1 << of) + text[place + 1 :]


@pytest.mark.parametrize("of", range(7))
def test_a_sealed_token_with_any_one_bit_altered_is_refused(of: int) -> None:
    assert TOKENS.verify(TOKEN, principal="ana", now=NOW)
    for place in range(len(TOKEN)):
        altered = flipped(TOKEN, place * 7 + of)
        # White space around a token is not part of it.
        if altered.strip() != TOKEN:
            assert TOKENS.verify(altered, principal="ana", now=NOW) is None, place


@given(st.integers(1, len(TOKEN) - 1))
def test_a_part_of_a_sealed_token_is_refused(length: int) -> None:
    assert TOKENS.verify(TOKEN[:length], principal="ana", now=NOW) is None
    assert TOKENS.verify(TOKEN[length:], principal="ana", now=NOW) is None


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.text(max_size=20))
def test_any_claims_come_back_as_they_were(claims: dict[str, Any], principal: str) -> None:
    token = TOKENS.issue(claims, principal=principal, now=NOW)
    assert TOKENS.verify(token, principal=principal, now=NOW) == claims
    assert TOKENS.verify(token, principal=f"{principal}x", now=NOW) is None


class Item(ApiModel):
    """A list entry."""

    n: int = 0


async def list_things(workflow: str | None = None, limit: int = 5) -> None:
    """Lend its name and defaults to page tokens."""


async def list_others() -> None:
    """Lend its name to page tokens."""


async def page_of(**query: Any) -> Page[Item]:
    return Page[Item].model_validate({"data": [{"n": n} for n in range(5)], "nextPageToken": "next"})


@given(st.dictionaries(st.text(max_size=8), JSON.filter(lambda value: value is not None), max_size=3))
async def test_a_page_token_brings_back_any_search(given_: dict[str, Any]) -> None:
    asked: list[dict[str, Any]] = []

    async def read(*, next_page_token: str | None, **query: Any) -> Page[Item]:
        asked.append(query)
        return await page_of()

    _, token_after = await read_page(list_things, read, None, **given_)
    for count in (2, 5):
        token = token_after(count)
        assert token
        assert token.isascii()
        await read_page(list_things, read, token, **dict.fromkeys(given_))
        assert asked.pop() == given_


@given(st.lists(st.integers(0, 10**6)))
@example([])
async def test_an_altered_page_token_is_answered_or_refused(together: list[int]) -> None:
    search = {"workflow": "workflow_1", "limit": 7}
    token = (await read_page(list_things, page_of, None, **search))[1](2)
    assert token
    altered = token
    # Each single bit once, then any of them together.
    for bit in together or range(len(token) * 7):
        altered = flipped(altered if together else token, bit % (len(token) * 7))
        try:
            items, _ = await read_page(list_things, page_of, altered, workflow=None, limit=5)
        except CallRefusedError:
            continue
        assert 0 <= len(items) <= 5
    with pytest.raises(CallRefusedError):
        await read_page(list_others, page_of, altered)


@given(st.binary(max_size=80))
async def test_any_bytes_as_a_page_token_are_refused(raw: bytes) -> None:
    token = base64.urlsafe_b64encode(b"x" + raw).decode()
    with pytest.raises(CallRefusedError):
        await read_page(list_things, page_of, token)
