"""Lists as compact tables that say how much they show and how to get the rest: any list, and the list of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeAlias, TypeVar

from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.runs.failures import rerun_words
from extend_mcp.runs.lifecycle import is_moving
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.document import Document, View, ViewPart, counted, fit
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
        view: the view, holding all rows of the page.
        rows: these rows; those that do not fit are removed.
        lines: the rows as lines; or a function that gives lines for the first so many rows.
        noun: what a row is.
        columns: the heading of the table.
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
