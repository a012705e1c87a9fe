"""Compact tables that say how much they show and how to get the rest: any list, runs, and runs that were found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeAlias, TypeVar

from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.history.search import Hit, Query, excerpt
from extend_mcp.runs.failures import rerun_words
from extend_mcp.runs.lifecycle import is_moving
from extend_mcp.runs.statistics import Selection
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.document import Document, View, ViewPart, counted, fit, incomplete
from extend_mcp.views.instructions import CAUTION
from extend_mcp.views.untrusted import Code, Id, Label, Note


class ListingRow(ViewPart):
    """One item of a list."""

    def line(self) -> str:
        """Return the item as a line of a table."""
        raise NotImplementedError


class ListingView(View):
    """Some items, and the token for more. A subclass has a field with rows, and says what :func:`list_view` writes."""

    rows_field: ClassVar[str]
    noun: ClassVar[str]
    columns: ClassVar[str]
    tool: ClassVar[str]
    footnote: ClassVar[str | None] = None

    shown: int
    complete: bool
    next_page_token: str | None = None


class RunRow(ViewPart):
    """One run of a list."""

    run_id: Id
    status: Code
    workflow: Label
    file: Label
    created_at: datetime | None = None
    took_seconds: float | None = None
    why: str | None = None


class RunListView(ListingView):
    """Some runs, how far the search went, and the token for more."""

    runs: list[RunRow]
    stuck: int | None = None
    missing: list[str] | None = None
    note: str | None = None
    untrusted: str = "workflow, file, why"


TokenAfter: TypeAlias = "Callable[[int], str | None]"
"""Gives the token that continues a list after so many of its items; None after the last."""

ListingT = TypeVar("ListingT", bound=ListingView)


def listing(
    view: ListingT,
    rows: list[Any],
    lines: Sequence[str] | Callable[[int], Sequence[str]],
    *,
    noun: str,
    columns: str,
    tool: str,
    token_after: TokenAfter,
    limit: int,
    filters: str = "",
    note: Callable[[int], str | None] = lambda kept: None,
    shorter: Callable[[], Sequence[str]] | None = None,
) -> ListingT:
    """Write the rows of ``view`` as a table: as many of them as fit, the others left to the next page.

    Args:
        rows: the rows that the view holds; those that do not fit are removed.
        lines: the rows as lines; or a function that gives lines for the first so many rows.
        tool: the tool that takes the token.
        note: given how many rows are shown, what else the reader must know, in a line.
        shorter: gives shorter lines, used where not all rows fit.
    """

    def write(kept: int) -> Document:
        token = token_after(kept)
        follow = f'More: {tool}(page_token="{token}").' if token else None
        tail = [line for line in (note(kept), follow) if line]
        shown = lines(kept) if callable(lines) else lines[:kept]
        return Document([_headline(kept, noun, filters, bool(token))], shown, tail, columns=columns)

    document, kept = fit(write, len(rows), limit)
    if kept < len(rows) and shorter:
        lines = shorter()
        document, kept = fit(write, len(rows), limit)
    del rows[kept:]
    view.shown, view.next_page_token = kept, token_after(kept)
    view.complete = view.next_page_token is None
    return view.with_text(document.text)


def list_view(
    kind: type[ListingT], rows: Sequence[ListingRow], *, token_after: TokenAfter, limit: int, **known: Any
) -> ListingT:
    """Build a list of ``kind`` that shows as many ``rows`` as fit; ``known`` are its other fields."""
    view = kind(**{kind.rows_field: rows}, shown=len(rows), complete=True, **known)
    return listing(
        view,
        getattr(view, kind.rows_field),
        [row.line() for row in rows],
        noun=kind.noun,
        columns=kind.columns,
        tool=kind.tool,
        token_after=token_after,
        limit=limit,
        note=lambda kept: kind.footnote,
    )


def _headline(count: int, noun: str, filters: str, more: bool) -> str:
    which = f" ({filters})" if filters else ""
    if not count:
        return f"No {noun}s{which}{' on this page' if more else ''}."
    return f"{counted(count, noun)}{which}; {'there are more' if more else 'end of list'}."


def run_list_view(
    runs: list[WorkflowRunSummary],
    *,
    causes: Mapping[str, str] | None = None,
    token_after: TokenAfter,
    filters: str,
    note: str | None,
    now: datetime,
    limit: int,
    ids_only: bool = False,
) -> RunListView:
    """Show ``runs`` as a table: as many of them as fit.

    Args:
        runs: the runs of this page, in the order asked for.
        causes: why a run failed, was rejected or waits, by id, where that is known; outside text marked.
        note: what the reader must know of how the search ended, or None.
        ids_only: whether the text has only the ids, by workflow and status.

    Returns:
        The view; text and fields hold the same runs.
    """
    view = RunListView(
        runs=[_row(run, now, (causes or {}).get(run.id)) for run in runs], shown=len(runs), complete=True
    )

    def said(kept: int) -> str | None:
        return note if kept == len(runs) else f"The page was cut to {kept} runs to keep the answer short."

    listing(
        view,
        view.runs,
        (lambda kept: _ids(view.runs[:kept])) if ids_only else _lines(view.runs, 60),
        noun="run",
        columns="" if ids_only else "id · status · workflow · file · created (UTC) · took",
        tool="list_runs",
        token_after=token_after,
        limit=limit,
        filters=filters,
        note=said,
        shorter=None if ids_only else lambda: _lines(view.runs, 24),
    )
    view.note = said(view.shown)
    return view


def _row(run: WorkflowRunSummary, now: datetime, why: str | None) -> RunRow:
    names = [file.name or file.id for file in run.files]
    return RunRow(
        run_id=run.id,
        status=run.status,
        workflow=run.workflow.name,
        file=f"{names[0]} +{len(names) - 1}" if len(names) > 1 else "".join(names),
        created_at=run.created_at or run.initial_run_at,
        took_seconds=_took(run, now),
        why=why,
    )


def _took(run: WorkflowRunSummary, now: datetime) -> float | None:
    if run.start_time is None or (run.end_time is None and not is_moving(run.status)):
        return None
    return round(max(0.0, ((run.end_time or now) - run.start_time).total_seconds()), 1)


def _lines(rows: list[RunRow], width: int) -> list[str]:
    """Write a line a row, the first one of a day below the day: it would cost each row as much as its id."""
    lines: list[str] = []
    day = ""
    for row in rows:
        before, clock, took = day, "?", "-"
        if row.created_at:
            day, _, clock = format_instant(row.created_at)[:-1].partition("T")
        if row.took_seconds is not None:
            took = format_span(row.took_seconds) + (" so far" if is_moving(row.status) else "")
        names = f"{row.workflow:{width}} · {row.file:{width}}"
        line = f"{row.run_id} · {row.status or '?'} · {names} · {clock} · {took}"
        line += f"\n  {row.why}" if row.why else ""
        lines.append(f"{day}:\n{line}" if day != before else line)
    return lines


def _ids(rows: list[RunRow]) -> list[str]:
    """Write a line with the ids of each workflow and status."""
    groups: dict[str, list[Id]] = {}
    for row in rows:
        groups.setdefault(f"{row.workflow:60} {row.status or '?'}", []).append(row.run_id)
    return [f"{which}: {', '.join(f'{each}' for each in ids)}" for which, ids in groups.items()]


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
class Searched:
    """The extent of a search."""

    runs: int  # how many runs there are to search
    read: int  # how many of them were searched in full; of the others, the file name and the reviewer's note
    unread_open: int  # how many of the others have not ended; what these hold is never kept
    cut: int  # how many of them hold more text than was searched
    goes_deeper: bool  # whether the next question searches more
    is_cut: bool  # whether the search ended before all that is kept was looked at
    missing: str | None  # why older runs are missing; None if none are


def found_runs_view(
    found: Sequence[Hit],
    *,
    speaking: Collection[str],
    query: Query | None,
    wanted: Selection,
    filters: str,
    searched: Searched,
    as_of: datetime,
    shown: int,
    limit: int,
) -> FoundRunsView:
    """Show runs that were searched for, newest first.

    Args:
        speaking: the ids of runs with a text that seems to be meant for an assistant.
        wanted: the metadata and the file that the runs have.
        as_of: when the API was last asked what changed.
    """
    missing = _unsearched(searched)
    view = FoundRunsView(
        found=len(found),
        complete=not missing,
        runs=[_found_row(each, query, each.run.id in speaking) for each in found[:shown]],
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
        head, [_found_line(row) for row in view.runs], columns="run · status · workflow · file · created · where"
    )
    text, kept = document.fit(
        limit, lambda gone: f"… {gone:,} more, older than these", beyond=view.found - len(view.runs)
    )
    del view.runs[kept:]
    return view.with_text(text)


def _unsearched(searched: Searched) -> list[str]:
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


def _found_row(each: Hit, query: Query | None, speaks: bool) -> FoundRunRow:
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


def _found_line(row: FoundRunRow) -> str:
    created = format_instant(row.created_at) if row.created_at else "?"
    where = f" · {row.place:80}: {row.excerpt:160}" if row.excerpt else ""
    caution = f" · {CAUTION}" if row.speaks_to_assistant else ""
    return f"{row.run_id} · {row.status} · {row.workflow:40} · {row.file or Label('?'):60} · {created}{where}{caution}"


def failure_words(step: str, reason: str) -> str:
    """Say why a run failed, and whether running it again can help."""
    where = f"in step {Label(step):60}" if step else "before any step"
    return f"failed {where}: {Code(reason) or 'no reason given'}; {rerun_words(reason)}"


def check_words(step: str, name: str, error: str) -> str:
    """Say which check sent a run to a person."""
    why = f": {Note(error):120}" if error else ""
    return f"check {Label(name) or Label('?'):60} did not pass in step {Label(step):40}{why}"


def rejection_words(run: WorkflowRunSummary) -> str:
    """Say who rejected a run, when and why."""
    who = f"by {Label(run.reviewed_by_user):60}" if run.reviewed_by_user else "by a person whom Extend does not name"
    who += f" at {format_instant(run.reviewed_at)}" if run.reviewed_at else ", at a time that Extend does not give"
    return (
        f"rejected {who}: {Note(run.rejection_note):160}" if run.rejection_note else f"rejected {who}, without a note"
    )


def moment(value: datetime | None) -> str:
    """Write a time for a table, or a question mark."""
    return format_instant(value) if value else "?"
