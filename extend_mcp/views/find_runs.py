"""The runs that hold a text: where it is in each, and how much was searched."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from extend_mcp.history.details import Passage
from extend_mcp.history.search import Query, excerpt
from extend_mcp.runs.statistics import RunFacts, Selection
from extend_mcp.runs.times import format_instant
from extend_mcp.views.document import Document, View, ViewPart, counted, incomplete
from extend_mcp.views.instructions import CAUTION
from extend_mcp.views.untrusted import Code, Id, Label, Note


class FoundRunRow(ViewPart):
    """A run that holds the text, and the first place where it does."""

    run_id: Id
    status: Code
    workflow: Label
    file: Label | None = None
    created_at: datetime | None = None
    place: Label | None = None
    excerpt: Note | None = None
    speaks_to_assistant: bool | None = None


class FoundRunsView(View):
    """The runs that were found, newest first, and how much was searched."""

    found: int
    complete: bool
    runs: list[FoundRunRow]
    searched_runs: int
    searched_in_full: int
    missing: list[str] | None = None
    as_of: datetime
    untrusted: str = "workflow, file, place, excerpt"


@dataclass(frozen=True)
class FoundRun:
    """A run, and the passage that holds the text, if a text was searched for."""

    run: RunFacts
    passage: Passage | None


@dataclass(frozen=True)
class Searched:
    """The extent of a search.

    Attributes:
        runs: how many runs there are to search.
        read: how many of them were searched in full; of the others, the file name and the reviewer's note.
        unread_open: how many of the others have not ended; what these hold is never kept.
        cut: how many of them hold more text than was searched.
        goes_deeper: whether the next question searches more.
        is_cut: whether the search ended before all that is kept was looked at.
        missing: why older runs are missing; None if none are.
    """

    runs: int
    read: int
    unread_open: int
    cut: int
    goes_deeper: bool
    is_cut: bool
    missing: str | None


def found_runs_view(
    found: Sequence[FoundRun],
    *,
    speaking: Collection[str],
    query: Query | None,
    wanted: Selection,
    filters: str,
    searched: Searched,
    as_of: datetime,
    shown: int,
    now: datetime,
    limit: int,
) -> FoundRunsView:
    """Show runs that were searched for.

    Args:
        found: the runs, newest first.
        speaking: the ids of runs with a text that seems to be meant for an assistant.
        query: the text.
        wanted: the metadata and the file that the runs have.
        searched: how much was searched.
        as_of: when the API was last asked what changed.
    """
    missing = _missing(searched)
    view = FoundRunsView(
        found=len(found),
        complete=not missing,
        runs=[_row(each, query, each.run.id in speaking) for each in found[:shown]],
        searched_runs=searched.runs,
        searched_in_full=searched.read,
        missing=missing or None,
        as_of=as_of,
    )
    what = [
        f"contain {Label(query.text):120}" if query else "",
        *(f"have metadata {Label(key):60} = {Label(value):60}" for key, value in wanted.metadata.items()),
        f"have file {Id(wanted.file_id)}" if wanted.file_id else "",
    ]
    verb = " and ".join(part for part in what if part)
    head = [
        f"{counted(view.found, 'run')} found that {verb}{f' ({filters})' if filters else ''}.",
        f"Searched {searched.read:,} of {counted(searched.runs, 'run')} in full, as of {format_instant(as_of)}.",
        *incomplete(missing),
    ]
    document = Document(
        head, [_line(row) for row in view.runs], columns="run · status · workflow · file · created · where"
    )
    text, kept = document.fit(
        limit, lambda gone: f"… {gone:,} more, older than these", beyond=view.found - len(view.runs)
    )
    del view.runs[kept:]
    return view.with_text(text)


def _missing(searched: Searched) -> list[str]:
    said = [searched.missing] if searched.missing else []
    names_only = "were searched by file name and reviewer's note alone"
    if unread := searched.runs - searched.read - searched.unread_open:
        more = "; ask again to go deeper" if searched.goes_deeper else ""
        said.append(f"{counted(unread, 'run')} {names_only}{more}")
    if searched.unread_open:
        said.append(
            f"{counted(searched.unread_open, 'run')} that have not ended {names_only}; narrow the search by workflow, "
            "status or time to read them"
        )
    if searched.cut:
        said.append(f"{counted(searched.cut, 'run')} hold more text than was searched")
    if searched.is_cut:
        said.append("there may be more runs than these: narrow the search")
    return said


def _row(each: FoundRun, query: Query | None, speaks: bool) -> FoundRunRow:
    names = each.run.file_names
    row = FoundRunRow(
        run_id=each.run.id,
        status=each.run.status,
        workflow=each.run.workflow_name,
        file=names[0] if names else None,
        created_at=each.run.created,
        speaks_to_assistant=speaks or None,
    )
    span = query.find(each.passage.text) if query and each.passage else None
    if each.passage and span:
        row.place, row.excerpt = Label(each.passage.place), Note(excerpt(each.passage.text, span))
    return row


def _line(row: FoundRunRow) -> str:
    created = format_instant(row.created_at) if row.created_at else "?"
    where = f" · {row.place:80}: {row.excerpt:160}" if row.excerpt else ""
    caution = f" · {CAUTION}" if row.speaks_to_assistant else ""
    return f"{row.run_id} · {row.status} · {row.workflow:40} · {row.file or Label('?'):60} · {created}{where}{caution}"
