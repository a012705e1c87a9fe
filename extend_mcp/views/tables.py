"""Compact tables that say how much they show and how to get the rest: any list, runs, and runs that were found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeAlias, TypeVar

from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.history.details import Passage, RunDetails
from extend_mcp.history.search import Hit, TextQuery, excerpt
from extend_mcp.runs.failures import rerun_words
from extend_mcp.runs.lifecycle import is_moving
from extend_mcp.runs.statistics import RunFacts, Selection
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.document import Document, Extent, OrNone, Seconds, View, ViewPart, cell, counted, fit
from extend_mcp.views.instructions import CAUTION
from extend_mcp.views.runs import duration_seconds, review_lines
from extend_mcp.views.untrusted import Code, Id, Label, Note


class ListingRow(ViewPart):
    """One item of a list."""

    def line(self) -> str:
        """Return the item as a line of a table: a cell for each field."""
        return " · ".join(cell(value) for _, value in self)


class ListingView(View):
    """Some items, and the token for more. A subclass has a field with rows, and says what :func:`list_view` writes."""

    rows_field: ClassVar[str]
    noun: ClassVar[str]
    columns: ClassVar[str] = ""
    tool: ClassVar[str]
    footnote: ClassVar[str | None] = None

    shown: int
    complete: bool
    next_page_token: str | None = None


TokenAfter: TypeAlias = "Callable[[int], str | None]"
"""Gives the token that continues a list after so many of its items; None after the last."""

ListingT = TypeVar("ListingT", bound=ListingView)


def _lines(rows: Sequence[ListingRow]) -> list[str]:
    return [row.line() for row in rows]


def list_view(
    kind: type[ListingT],
    items: Sequence[object],
    *,
    token_after: TokenAfter,
    limit: int,
    filters: str = "",
    columns: str | None = None,
    write: Callable[[Any], list[str]] = _lines,
    **known: Any,
) -> ListingT:
    """Build a list of ``kind``: a table of as many items as fit, the others left to the next page.

    Args:
        items: the rows, or objects of the API that have what these show.
        columns: the heading of the table, if it is not that of the ``kind``.
        write: gives the lines of rows: one for each, or fewer.
        known: other fields. A ``note`` is written below the table.
    """
    view = kind(**{kind.rows_field: items}, shown=0, complete=False, **known)
    rows: list[Any] = getattr(view, kind.rows_field)
    lines, count = write(rows), len(rows)

    def document(kept: int) -> Document:
        token = token_after(kept)
        how = f"; {'there are more' if token else 'end of list'}{', cut to keep the answer short' * (kept < count)}."
        which = f" ({filters})" if filters else ""
        none = f"No {kind.noun}s{which}{' on this page' if token else ''}."
        tail = [known.get("note") or kind.footnote, f'More: {kind.tool}(page_token="{token}").' if token else None]
        return Document(
            [f"{counted(kept, kind.noun)}{which}{how}" if kept else none],
            lines[:kept] if len(lines) == count else write(rows[:kept]),
            [line for line in tail if line],
            columns=kind.columns if columns is None else columns,
        )

    shown, view.shown = fit(document, count, limit)
    del rows[view.shown :]
    view.next_page_token = token_after(view.shown)
    view.complete = view.next_page_token is None
    return view.with_text(shown.text)


class RunRow(ViewPart):
    """One run of a list."""

    run_id: Id
    status: Code
    workflow: Label
    file: Label
    created_at: datetime | None = None
    took_seconds: Seconds | None = None
    why: str | None = None


class RunListView(ListingView):
    """Some runs, how far the search went, and the token for more."""

    rows_field, noun, tool = "runs", "run", "list_runs"
    columns = "id · status · workflow · file · created (UTC) · took"

    runs: list[RunRow]
    stuck: int | None = None
    missing: list[str] | None = None
    note: str | None = None
    untrusted: str = "workflow, file, why"


def run_list_view(
    runs: Sequence[WorkflowRunSummary],
    *,
    causes: Mapping[str, str] | None = None,
    token_after: TokenAfter,
    filters: str,
    note: str | None,
    now: datetime,
    limit: int,
    ids_only: bool = False,
) -> RunListView:
    """Show ``runs`` as a table; text and fields hold the same runs.

    Args:
        causes: why a run failed, was rejected or waits, by id, where that is known; outside text marked.
        note: what the reader must know of how the search ended, or None.
        ids_only: whether the text has only the ids, by workflow and status.
    """
    known = causes or {}
    rows = [
        RunRow(
            run_id=run.id,
            status=run.status,
            workflow=run.workflow.name,
            file=files_words([file.name or file.id for file in run.files]),
            created_at=run.created,
            took_seconds=duration_seconds(run, now),
            why=known.get(run.id),
        )
        for run in runs
    ]
    columns, write = ("", _id_lines) if ids_only else (None, _run_lines)
    return list_view(
        RunListView,
        rows,
        token_after=token_after,
        limit=limit,
        filters=filters,
        columns=columns,
        write=write,
        note=note,
    )


def files_words(names: Sequence[str]) -> str:
    """Name the first of a run's files, and say how many more there are."""
    return f"{names[0]} +{len(names) - 1}" if len(names) > 1 else "".join(names)


def _run_lines(rows: Sequence[RunRow]) -> list[str]:
    """Write a line a row, the first one of a day below the day: it would cost each row as much as its id."""
    lines: list[str] = []
    day = ""
    for row in rows:
        before, clock, took = day, "?", "-"
        if row.created_at:
            day, _, clock = format_instant(row.created_at)[:-1].partition("T")
        if row.took_seconds is not None:
            took = format_span(row.took_seconds) + (" so far" if is_moving(row.status) else "")
        line = f"{row.run_id} · {row.status or '?'} · {row.workflow:60} · {row.file:60} · {clock} · {took}"
        line += f"\n  {row.why}" if row.why else ""
        lines.append(f"{day}:\n{line}" if day != before else line)
    return lines


def _id_lines(rows: Sequence[RunRow]) -> list[str]:
    """Write a line with the ids of each workflow and status."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(f"{row.workflow:60} {row.status or '?'}", []).append(f"{row.run_id}")
    return [f"{which}: {', '.join(ids)}" for which, ids in groups.items()]


def run_row(run: RunFacts, why: str | None) -> RunRow:
    """Return the row of a kept run."""
    return RunRow(
        run_id=run.id,
        status=run.status,
        workflow=run.workflow_name,
        file=files_words(run.file_names),
        created_at=run.created,
        took_seconds=run.duration_seconds,
        why=why,
    )


class FoundRunsView(View):
    """The runs that were found, newest first, and how much was searched."""

    found: int
    complete: bool
    runs: list[RunRow]
    searched_runs: int
    searched_in_full: int
    missing: OrNone[list[str]] = None
    as_of: datetime
    untrusted: str = "workflow, file, why"


def found_runs_view(
    found: Sequence[Hit],
    extent: Extent,
    *,
    speaking: Collection[str],
    query: TextQuery | None,
    wanted: Selection,
    runs: int,
    read: int,
    as_of: datetime,
    shown: int,
) -> FoundRunsView:
    """Show runs that were searched for, newest first: of so many ``runs``, of which ``read`` were searched in full.

    Args:
        speaking: the ids of runs with a text that seems to be meant for an assistant.
        wanted: the metadata and the file that the runs have.
        as_of: when the API was last asked what changed.
    """
    view = FoundRunsView(
        found=len(found),
        complete=not extent.missing,
        runs=[run_row(run, _found_words(passage, query, run.id in speaking)) for run, passage in found[:shown]],
        searched_runs=runs,
        searched_in_full=read,
        missing=extent.missing,
        as_of=as_of,
    )
    what = [f"contain {Label(query.text):120}"] if query else []
    what += [f"have metadata {Label(key):60} = {Label(value):60}" for key, value in wanted.metadata.items()]
    what += [f"have file {Id(wanted.file_id)}"] if wanted.file_id else []
    head = [
        f"{counted(view.found, 'run')} found that {' and '.join(what)}{extent.which}.",
        f"Searched {read:,} of {counted(runs, 'run')} in full, as of {format_instant(as_of)}.",
        *extent.incomplete,
    ]
    document = Document(head, _run_lines(view.runs), columns=RunListView.columns)
    beyond = view.found - len(view.runs)
    text, kept = document.fit(extent.limit, "… {:,} more, older than these".format, beyond=beyond)
    del view.runs[kept:]
    return view.with_text(text)


def _found_words(passage: Passage | None, query: TextQuery | None, speaks: bool) -> str | None:
    span = query.find(passage.text) if query and passage else None
    where = f"{Label(passage.place):80}: {Note(excerpt(passage.text, span)):160}" if passage and span else ""
    return " · ".join(filter(None, [where, CAUTION if speaks else ""])) or None


def cause_words(run: WorkflowRunSummary, details: RunDetails | None) -> str:
    """Say why a run failed or waits, and whether its texts speak to an assistant; empty if there is nothing to say."""
    said = [CAUTION] if details and details.speaks else []
    if run.status == "REJECTED":
        said += review_lines(run, most=160)
    elif details and details.status == run.status == "FAILED":
        where = f"in step {Label(details.step):60}" if details.step else "before any step"
        said.append(f"failed {where}: {Code(details.reason) or 'no reason given'}; {rerun_words(details.reason)}")
    elif details and details.status == run.status == "NEEDS_REVIEW":
        step, name, error = next(iter(details.checks), ("", "", ""))
        check = f"check {Label(name) or Label('?'):60} did not pass in step {Label(step):40}"
        check += f": {Note(error):120}" if error else ""
        said.append(check if details.checks else "its steps do not say which check it did not pass")
    return "; ".join(said)
