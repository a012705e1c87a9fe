"""Paging through the API's lists: one kind of token for all, which holds the search it goes on with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import Field

from extend_mcp.api.models import ApiModel, Page
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.page_tokens import Place, pack, unpack

ItemT = TypeVar("ItemT", bound=ApiModel)


class _Token(Place):
    """The tool it belongs to, its arguments, and the place in the list."""

    k: str
    a: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Listing(Generic[ItemT]):
    """A page of items.

    Attributes:
        items: the items.
        given: the arguments of the search, as on its first page.
        token_after: the page token that goes on behind the first so many items; None at the end of the list.
    """

    items: list[ItemT]
    given: dict[str, Any]
    token_after: Callable[[int], str | None]


async def read_page(
    kind: str,
    given: dict[str, Any],
    page_token: str | None,
    fetch: Callable[[dict[str, Any], str | None], Awaitable[Page[ItemT]]],
) -> Listing[ItemT]:
    """Read one page of a list.

    Args:
        kind: the tool's name; a token of another tool is refused.
        given: the arguments of this call that are set, without the token.
        page_token: from the answer before, or None for the first page.
        fetch: reads a page of the API, given the search's arguments and the API's token.

    Raises:
        CallRefusedError: the token is not one of this tool, or comes with other arguments than before.
    """
    place = _read(kind, page_token) if page_token else _Token(k=kind, a=given)
    changed = [name for name, value in given.items() if place.a.get(name) != value]
    if changed:
        raise CallRefusedError(
            f"page_token goes on with the search it came from; {', '.join(changed)} changed. Give it alone."
        )
    page = await fetch(place.a, place.t)
    items = page.data[place.s :]

    def token_after(count: int) -> str | None:
        if count < len(items):
            return pack(_Token(k=kind, a=place.a, t=place.t, s=place.s + count))
        return pack(_Token(k=kind, a=place.a, t=page.next_page_token)) if page.next_page_token else None

    return Listing(items, place.a, token_after)


def _read(kind: str, text: str) -> _Token:
    try:
        token = unpack(_Token, text)
    except ValueError:
        token = None
    if token is None or token.k != kind:
        raise CallRefusedError(f"page_token is not one that {kind} gave. Start again without it.")
    return token
