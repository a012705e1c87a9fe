"""Answers: facts as fields (structured content), and a :class:`Document` that puts them into a short text.

A view's fields hold the types of :mod:`extend_mcp.views.untrusted`, which clean and bound what came from outside. Its
text is written from these fields. The document adds the note on outside text, keeps the text within its limit, and says
what it left out and how to get it. In every builder, ``limit`` is the most characters of the text, ``now`` the present,
``filters`` a description of the filters, and ``missing`` what was left out and why.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, PrivateAttr

from extend_mcp.api.errors import ExtendError
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.untrusted import NOTE, Code, Id, Line, Note, Quote, cut_line, is_open

T = TypeVar("T")
ViewT = TypeVar("ViewT", bound="View")

OrNone = Annotated[T | None, AfterValidator(lambda value: value or None)]
"""A value that is absent where it is empty."""

Seconds = Annotated[float, AfterValidator(lambda seconds: round(seconds, 1))]
"""A duration to a tenth of a second."""


@dataclass(frozen=True)
class Link:
    """A resource of this server: what it is called, and how long it is in bytes where that is known."""

    uri: str
    title: str
    size: int | None = None


class ViewPart(BaseModel):
    """A part of an answer: facts that belong together, read from an object of the API where they have its names."""

    # Built with the answer that holds it, or by the first one made: a client waits for the tool list, not for these.
    model_config = ConfigDict(defer_build=True, from_attributes=True, populate_by_name=True)


class TextPage(ViewPart):
    """A page of the rows of a long answer."""

    page: int
    pages: int
    content: str


class View(ViewPart):
    """One answer. Fields become structured content; :attr:`text` is what a model reads."""

    model_config = ConfigDict(extra="forbid")

    always: ClassVar[frozenset[str]] = frozenset()
    """Fields that are there even when they hold nothing: other programs look for them."""

    _text: str = PrivateAttr(default="")
    _links: list[Link] = PrivateAttr(default_factory=list)

    @property
    def text(self) -> str:
        """The answer as text."""
        return self._text

    @property
    def links(self) -> list[Link]:
        """Resources that hold more than this answer shows."""
        return self._links

    def with_link(self: ViewT, uri: str, title: str, size: int | None = None) -> ViewT:
        """Add a link to a resource with more, in place of showing it, and return the view."""
        self._links.append(Link(uri, title, size))
        return self

    def with_text(self: ViewT, text: str) -> ViewT:
        """Set the text that goes with these fields and return the view."""
        self._text = text
        return self

    def fields(self) -> dict[str, Any]:
        """Return the fields as JSON values; what is absent is left out."""
        return {**dict.fromkeys(self.always), **self.model_dump(mode="json", exclude_none=True)}


@dataclass(frozen=True)
class Extent:
    """The extent of an answer: what it covers, and how long it may be."""

    now: datetime  # the present
    limit: int  # the most characters of its text
    filters: str = ""  # a description of the filters
    missing: Sequence[str] = ()  # what was left out and why

    @property
    def which(self) -> str:
        """The filters in parentheses, for the first line of an answer."""
        return f" ({self.filters})" if self.filters else ""

    @property
    def incomplete(self) -> list[str]:
        """A line for each thing that is missing."""
        return [f"INCOMPLETE: {each}." for each in self.missing]


@dataclass(frozen=True)
class Document:
    """The lines of an answer before they are bounded."""

    head: Sequence[str]  # what must be said first
    rows: Sequence[Line] = ()  # what may be left out or spread over pages, most important first
    tail: Sequence[str] = ()  # what must be said last
    columns: str = ""  # the heading of the rows, if they are a table
    note: str | None = None  # the note on outside text; None for the usual one, where a line holds such text

    @property
    def text(self) -> str:
        """All lines. The note is before the first line that holds outside text, but never before the first of all."""
        first = next((place for place, line in enumerate(self.head) if is_outside(line)), len(self.head))
        rows = [str(row) for row in self.rows]
        at = max(first, 1)
        if self.note is not None:
            notes = [self.note]
        else:
            notes = [NOTE] if any(map(is_outside, (*self.head, *rows, *self.tail))) else []
        table = [self.columns, *rows] if self.columns and rows else rows
        return "\n".join([*self.head[:at], *notes, *self.head[at:], *table, *self.tail])

    def fit(self, limit: int, more: Callable[[int], str], *, beyond: int = 0) -> tuple[str, int]:
        """Leave out the last rows where not all fit; return the text, and how many rows it holds.

        ``more`` writes the line that says how to get so many rows. ``beyond`` of them were left out before.
        """
        rows = self.rows

        def first(kept: int) -> Document:
            left = len(rows) - kept + beyond
            return replace(self, rows=rows[:kept], tail=[more(left), *self.tail] if left else self.tail)

        document, kept = fit(first, len(rows), limit)
        return document.text, kept

    def page(self, number: int, limit: int) -> tuple[str, TextPage]:
        """Show one page of the rows, numbered as in :func:`paginate`, and say how to get the next.

        Return the text, and the page of the rows alone.
        """
        around = replace(self, rows=(), tail=[_footer(999, 9999), *self.tail], note=self.note or NOTE)
        # A page holds at least 400 characters of the rows.
        lines, number, count = paginate(self.rows, number, max(400, limit - len(around.text) - 1))
        shown = replace(self, rows=lines, tail=[_footer(number, count), *self.tail])
        return shown.text, TextPage(page=number, pages=count, content="\n".join(lines))


def fit(write: Callable[[int], Document], count: int, limit: int) -> tuple[Document, int]:
    """Find the longest answer that fits: the document that ``write`` gives for so many of its rows, and how many.

    It shows at least one row, shortened if need be: asking for the next page would otherwise never get anywhere.
    """
    whole = write(count)
    if count == 0 or len(whole.text) <= limit:
        return whole, count
    low = bisect_right(range(1, count), limit, key=lambda kept: len(write(kept).text)) or 1
    document = write(low)
    over = len(document.text) - limit
    if over > 0 and low == 1:
        row = str(document.rows[0])
        document = replace(document, rows=[cut_line(row, max(len(row) - over, 2))])
    return document, low


def paginate(lines: Sequence[Line], number: int, limit: int) -> tuple[list[str], int, int]:
    """Divide ``lines`` into pages; return the lines of one, its number, and how many pages there are.

    Nothing is lost: a line longer than a page is continued on further lines. Pages count from 1; a number past the
    end, or below 0, gives the last. A page has at most ``limit`` characters, 80 or more, line ends included.
    """
    # Where a quotation is divided is known before it is cleaned, which takes long: only the page's own parts are.
    pages: list[list[str | tuple[Quote, int, int]]] = [[]]
    room = limit

    def add(piece: str | tuple[Quote, int, int], length: int) -> None:
        nonlocal room
        if length + 1 > room and pages[-1]:
            pages.append([])
            room = limit
        pages[-1].append(piece)
        room -= length + 1

    for line in lines:
        if isinstance(line, Quote) and line.label is None:
            # A rest of a page that is too small for some lines is left free.
            for start, end, length in line.parts((room if room > min(limit // 4, 300) else limit) - 1, limit - 1):
                add((line, start, end), length)
        elif isinstance(line, Quote) and len(line) < limit:
            add((line, 0, 0), len(line))
        else:
            for piece in _pieces(str(line), limit - 1):
                add(piece, len(piece))
    chosen = len(pages) if number < 0 else min(max(number, 1), len(pages))
    shown = [piece if isinstance(piece, str) else piece[0].part(*piece[1:]) for piece in pages[chosen - 1]]
    return shown, chosen, len(pages)


def _pieces(line: str, size: int) -> list[str]:
    if len(line) <= size:
        return [line]
    # A continuation of outside text keeps its mark, or its middle could pass for ours.
    width = size - 2
    first = line[:width]
    rest = [f"| {line[at : at + width]}" for at in range(width, len(line), width)]
    return [f"{first}»" if is_open(first) else first, *rest]


def _footer(number: int, count: int) -> str:
    following = f" Next: the same call with page={number + 1}." if number < count else ""
    return f"Page {number} of {count}.{following}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun, in the plural unless it is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(items: Sequence[object], most: int, *, of: int | None = None) -> str:
    """Write the first ``most`` of ``items``, and how many more there are; ``of`` where not all are given."""
    more = (len(items) if of is None else of) - most
    shown = ", ".join(f"{each}" for each in items[:most])
    return f"{shown} and {more:,} more" if more > 0 else shown


def cell(value: object) -> str:
    """Write one fact for a table; a question mark where it is not known."""
    if isinstance(value, list):
        return ", ".join(map(cell, value)) or "none"
    return format_instant(value) if isinstance(value, datetime) else f"{'' if value is None else value}" or "?"


def age_words(moment: datetime | None, now: datetime, *, unknown: str = "?") -> str:
    """Write how long ago a moment was."""
    return format_span((now - moment).total_seconds()) if moment else unknown


def error_words(error: ExtendError) -> str:
    """Say in one sentence, without its full stop, what failed: status, code, message and request id; never a secret."""
    if error.status is None:
        return error.message.removesuffix(".")
    code = f" {Code(error.code)}" if error.code else ""
    request = f" (request {Id(error.request_id)})" if error.request_id else ""
    # Extend's own text may repeat text from outside.
    return f"Extend answered {error.status}{code}: {Note(error.message):300}{request}"


def is_outside(line: str) -> bool:
    """Return whether a line holds marked text from outside."""
    return "«" in line or line.startswith("|")
