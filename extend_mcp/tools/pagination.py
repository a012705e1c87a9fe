"""Page through the API's lists. One kind of page token serves all tools; it contains the search that it continues."""

from __future__ import annotations

import base64
import inspect
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from extend_mcp.api.models import ApiModel, Page
from extend_mcp.api.requests import PAGE_SIZE
from extend_mcp.refusal import CallRefusedError

if TYPE_CHECKING:
    from extend_mcp.api.base import Pager

ItemT = TypeVar("ItemT", bound=ApiModel)

# Encoded a second time, the API's own token would cost a model a third more.
_PLAIN = re.compile(r"[A-Za-z0-9_=+/:~-]{1,2000}")


Place = tuple[str | None, Annotated[int, Field(ge=0, le=PAGE_SIZE)]]
"""The API's token of a page, and how many of its items were shown."""


class PagePosition(BaseModel):
    """A position in a list, and the search that found the list. Short names: a model pays for each character."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    k: str  # the list: the name of the tool that gave it, without ``list_``
    a: dict[str, Any] = Field(default_factory=dict)  # the arguments of the search
    # When the search began, in Unix seconds, if times such as "24h" are among its arguments.
    n: Annotated[int, Field(ge=0, lt=10**10)] | None = None
    t: str | None = None
    s: int = Field(0, ge=0, le=PAGE_SIZE)
    # Instead of ``t`` and ``s``, the places in several lists that are shown as one; None for a list that has ended.
    m: list[Place | None] | None = None

    def encode(self) -> str:
        """Return it as a page token: our fields in base64, then a dot and the API's token if that is a plain word."""
        plain = self.t if self.t and _PLAIN.fullmatch(self.t) else None
        document = self.model_dump_json(exclude_defaults=True, exclude={"t"} if plain else None)
        encoded = base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")
        return f"{encoded}.{plain}" if plain else encoded

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a token made by `encode`, or raise a ValueError."""
        encoded, dot, plain = text.strip().partition(".")
        raw = encoded.encode("ascii")
        document = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        token = cls.model_validate_json(document)
        if dot and (token.t is not None or not _PLAIN.fullmatch(plain)):
            raise ValueError("not a page token of this server")
        return token.model_copy(update={"t": plain}) if dot else token


def open_token(tool: str, given: dict[str, Any], page_token: str | None) -> PagePosition:
    """Return the place where a call continues: that of its page token, or the first page of a new search.

    Of ``given``, the arguments that are None are not set. A token of another tool or of another search is refused.
    """
    kind = tool.removeprefix("list_")
    given = {name: value for name, value in given.items() if value is not None}
    if not page_token:
        return PagePosition(k=kind, a=given)
    try:
        place = PagePosition.decode(page_token)
    except ValueError:
        place = None
    if place is None or place.k != kind:
        raise CallRefusedError(f"page_token is not one that {tool} gave. Start again without it.")
    if changed := ", ".join(name for name, value in given.items() if place.a.get(name) != value):
        raise CallRefusedError(f"page_token continues the search it came from; {changed} changed. Give it alone.")
    return place


async def read_page(
    tool: Callable[..., Any], read: Callable[..., Awaitable[Page[ItemT]]], page_token: str | None, /, **given: Any
) -> tuple[list[ItemT], Callable[[int], str | None]]:
    """Read one page of a list; return the items, and the token that continues after the first so many of them, if any.

    ``read`` takes the arguments ``given``, with ``next_page_token`` and ``max_page_size`` for ``page_size``. Those that
    are defaults of the tool are no part of page tokens.
    """
    known = inspect.signature(tool).parameters
    chosen = {name: value for name, value in given.items() if name not in known or value != known[name].default}
    start = open_token(tool.__name__, chosen, page_token)
    query = {"max_page_size" if name == "page_size" else name: start.a.get(name, given[name]) for name in given}
    page = await read(next_page_token=start.t, **query)
    items = page.data[start.s :]

    def token_after(count: int) -> str | None:
        if count < len(items):
            return start.model_copy(update={"s": start.s + count}).encode()
        return start.model_copy(update={"t": page.next_page_token, "s": 0}).encode() if page.next_page_token else None

    return items, token_after


async def read_all(pager: Pager[ItemT], *, most_pages: int) -> tuple[list[ItemT], bool]:
    """Read a list up to a number of pages; return the items, and whether they are all."""
    items: list[ItemT] = []
    async with aclosing(pager.pages()) as pages:
        async for page in pages:
            items += page.data
            most_pages -= 1
            if not most_pages:
                return items, page.next_page_token is None
    return items, True
