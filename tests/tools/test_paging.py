"""Page tokens: they go on where the page was cut, belong to one tool, and survive nothing that is not theirs."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.models import ApiModel, Page
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.paging import read_page


class Item(ApiModel):
    """A list entry."""

    n: int = 0


async def fetch(given_: dict[str, Any], token: str | None) -> Page[Item]:
    """Ten items in pages of four."""
    start = int(token or 0)
    page = {"data": [{"n": n} for n in range(start, min(start + 4, 10))]}
    return Page[Item].model_validate(page | ({"nextPageToken": str(start + 4)} if start + 4 < 10 else {}))


@given(st.lists(st.integers(1, 4), min_size=12, max_size=20))
async def test_however_pages_are_cut_every_item_comes_once(cuts: list[int]) -> None:
    seen: list[int] = []
    token: str | None = None
    for count in cuts:
        page = await read_page("list", {"a": 1} if token is None else {}, token, fetch)
        shown = page.items[:count]
        seen += [item.n for item in shown]
        assert page.given == {"a": 1}
        token = page.token_after(len(shown))
        if token is None:
            break
    assert seen == list(range(len(seen)))
    assert token is not None or seen == list(range(10))


async def test_a_token_goes_with_its_tool_and_its_search() -> None:
    first = await read_page("list", {"a": 1}, None, fetch)
    token = first.token_after(2)
    with pytest.raises(CallRefusedError, match="Start again"):
        await read_page("other", {}, token, fetch)
    with pytest.raises(CallRefusedError, match="a changed"):
        await read_page("list", {"a": 2}, token, fetch)
    with pytest.raises(CallRefusedError, match="b changed"):
        await read_page("list", {"a": 1, "b": 1}, token, fetch)
    assert [item.n for item in (await read_page("list", {"a": 1}, token, fetch)).items] == [2, 3]


_ARBITRARY = st.text(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "a", "t", "s"]), inner),
    max_leaves=6,
).map(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode())


@given(_ARBITRARY)
async def test_what_is_no_token_is_refused(token: str) -> None:
    if token:
        with pytest.raises(CallRefusedError):
            await read_page("list_something", {}, token, fetch)
