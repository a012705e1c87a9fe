"""What a page token is made of: where a list goes on, as one word that a model hands back unread."""

from __future__ import annotations

import base64
import re
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

API_PAGE = 100
"""The API's longest page (Extend API reference, Pagination)."""

# Packed a second time, the API's own token would cost a third more of the model's room.
_BARE = re.compile(r"[A-Za-z0-9_=+/:~-]{1,2000}")


class Place(BaseModel):
    """A place in a list: the API's own token, and how many items of that page are used up."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    t: str | None = None
    s: int = Field(0, ge=0, le=API_PAGE)


PlaceT = TypeVar("PlaceT", bound=Place)


def pack(place: Place) -> str:
    """Make it a token: what we know as base64, and behind a dot the API's token where that is one plain word."""
    bare = place.t if place.t and _BARE.fullmatch(place.t) else None
    told = place.model_dump_json(exclude_defaults=True, exclude={"t"} if bare else None)
    packed = base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")
    return f"{packed}.{bare}" if bare else packed


def unpack(kind: type[PlaceT], token: str) -> PlaceT:
    """Read a token made by :func:`pack`.

    Raises:
        ValueError: it is not one of that kind.
    """
    packed, dot, bare = token.strip().partition(".")
    raw = packed.encode("ascii")
    told = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    place = kind.model_validate_json(told)
    if not dot:
        return place
    if place.t is not None or not _BARE.fullmatch(bare):
        raise ValueError("not a token that was made here")
    return place.model_copy(update={"t": bare})
