"""Lists other than those of runs: a table that says how much it shows and how to get the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel

from extend_mcp.runs.times import format_instant
from extend_mcp.views.base import View
from extend_mcp.views.budget import fit
from extend_mcp.views.untrusted import NOTE, cut_line


class ListingView(View):
    """Some items, and the token for more."""

    shown: int
    complete: bool
    next_page_token: str | None = None


ListingT = TypeVar("ListingT", bound=ListingView)
RowT = TypeVar("RowT", bound=BaseModel)


def listing(
    make: Callable[[list[RowT], int, str | None], ListingT],
    rows: list[RowT],
    line: Callable[[RowT], str],
    *,
    noun: str,
    columns: str,
    tool: str,
    token_after: Callable[[int], str | None],
    limit: int,
    note: str = "",
) -> ListingT:
    """Show ``rows`` as a table: as many of them as fit.

    Args:
        make: makes the view of the rows shown, their number, and the token for more.
        rows: the rows of this page.
        line: a row in one line, outside text in it marked.
        noun: what the rows are, in the plural.
        columns: the table's head.
        tool: the tool that goes on with the token.
        token_after: the token that goes on behind the first so many rows; None at the end.
        limit: characters of the text; rows that do not fit are left to the next page.
        note: what the reader must know besides, in a line.
    """
    lines = [line(row) for row in rows]
    room = max(limit - len(NOTE) - len(columns) - len(note) - 1000, 300)
    _, kept = fit(lines, room, lambda gone: "")
    # At least one, or asking for the next page would never get anywhere.
    kept = len(rows) if kept == len(rows) else max(kept, 1)
    token = token_after(kept)
    some = f"{kept} {noun}" if kept else f"No {noun}"
    head = f"{some}; {'there are more' if token else 'no more follow'}."
    body = [NOTE, columns, *(cut_line(each, room) for each in lines[:kept])] if kept else []
    tail = [*([note] if note else []), *([f'More: {tool}(page_token="{token}").'] if token else [])]
    return make(rows[:kept], kept, token).with_text("\n".join([head, *body, *tail]))


def moment(value: datetime | None) -> str:
    """A time for a table, or a question mark."""
    return format_instant(value) if value else "?"
