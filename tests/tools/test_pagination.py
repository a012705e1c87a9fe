"""Page tokens: they continue where the page was cut, belong to one tool, and any other text is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.base import Pager
from extend_mcp.api.models import ApiModel, Page
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.pagination import PagePosition, read_all, read_page


class Item(ApiModel):
    """A list entry."""

    n: int = 0


async def list_numbers(a: int | None = None, b: int | None = None, page_size: int = 20) -> None:
    """Lend its name and defaults to page tokens."""


async def list_others() -> None:
    """Lend its name to page tokens."""


asked: list[dict[str, Any]] = []


async def fetch(*, next_page_token: str | None, **query: Any) -> Page[Item]:
    """Return ten items in pages of four."""
    asked.append(query)
    start = int(next_page_token or 0)
    page = {"data": [{"n": n} for n in range(start, min(start + 4, 10))]}
    return Page[Item].model_validate(page | ({"nextPageToken": str(start + 4)} if start + 4 < 10 else {}))


@given(st.lists(st.integers(1, 4), min_size=12, max_size=20))
async def test_however_pages_are_cut_every_item_comes_once(cuts: list[int]) -> None:
    seen: list[int] = []
    token: str | None = None
    for count in cuts:
        items, token_after = await read_page(list_numbers, fetch, token, a=1 if token is None else None, page_size=20)
        seen += [item.n for item in items[:count]]
        assert asked.pop() == {"a": 1, "max_page_size": 20}
        token = token_after(min(count, len(items)))
        if token is None:
            break
    assert seen == list(range(len(seen)))
    assert token is not None or seen == list(range(10))


async def test_a_token_goes_with_its_tool_and_its_search() -> None:
    token = (await read_page(list_numbers, fetch, None, a=1))[1](2)
    with pytest.raises(CallRefusedError, match="Start again"):
        await read_page(list_others, fetch, token)
    with pytest.raises(CallRefusedError, match="a changed"):
        await read_page(list_numbers, fetch, token, a=2)
    with pytest.raises(CallRefusedError, match="b changed"):
        await read_page(list_numbers, fetch, token, a=1, b=1)
    assert [item.n for item in (await read_page(list_numbers, fetch, token, a=1))[0]] == [2, 3]


async def test_a_token_holds_only_what_is_not_a_default() -> None:
    token = (await read_page(list_numbers, fetch, None, a=1, b=None, page_size=20))[1](2)
    assert token
    assert PagePosition.decode(token).a == {"a": 1}


_ARBITRARY = st.text(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "a", "t", "s"]), inner),
    max_leaves=6,
).map(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode())


@given(_ARBITRARY)
async def test_what_is_no_token_is_refused(token: str) -> None:
    if token:
        with pytest.raises(CallRefusedError):
            await read_page(list_numbers, fetch, token)


async def test_a_list_is_read_up_to_a_number_of_pages() -> None:
    tokens: list[str | None] = []

    async def read(token: str | None, _: int | None) -> Page[Item]:
        tokens.append(token)
        return await fetch(next_page_token=token)

    for most, count, complete in ((1, 4, False), (2, 8, False), (3, 10, True), (9, 10, True)):
        items, whole = await read_all(Pager(read), most_pages=most)
        assert ([item.n for item in items], whole) == (list(range(count)), complete)
    assert tokens == [None, None, "4", *[None, "4", "8"] * 2]


PLAIN = st.text("ABCDEFabcdef0123456789_=+/:~-", min_size=1, max_size=60)


@given(st.none() | st.text(max_size=60) | PLAIN, st.integers(0, 100))
def test_a_position_comes_back_as_it_was(token: str | None, skip: int) -> None:
    position = PagePosition(k="list", a={"b": 1}, t=token or None, s=skip)
    packed = position.encode()
    assert PagePosition.decode(packed) == position
    # One word, whatever the API's token is.
    assert packed.isascii()
    assert packed.isprintable()
    assert " " not in packed


@given(PLAIN)
def test_a_plain_token_of_the_api_stands_in_it_as_it_is(token: str) -> None:
    assert PagePosition(k="list", t=token).encode().endswith(f".{token}")
    # One that is no plain word is packed whole.
    assert "." not in PagePosition(k="list", t=f"{token} ").encode()


@pytest.mark.parametrize(
    "token",
    ["", "e30", *(f"eyJrIjoibCJ9.{each}" for each in ("", "a b", "«x»", "x.y z")), "eyJrIjoibCIsInQiOiJhIn0.b", "!"],
)
def test_what_is_not_made_here_is_refused(token: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller says it in its own words
        PagePosition.decode(token)
