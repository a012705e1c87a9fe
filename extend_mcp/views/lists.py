"""A list of runs as a compact table, saying how many it shows and how to get the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.runs.lifecycle import is_moving
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.budget import fit
from extend_mcp.views.untrusted import NOTE, cut_line, plain, quote, word


class RunRow(ViewPart):
    """One run of a list."""

    run_id: str
    status: str
    workflow: str
    file: str
    created_at: datetime | None = None
    took_seconds: float | None = None


class RunListView(View):
    """Some runs, how far the search went, and the token for more."""

    runs: list[RunRow]
    shown: int
    complete: bool
    next_page_token: str | None = None
    note: str | None = None
    untrusted: str = "workflow, file"


def run_list_view(
    runs: list[WorkflowRunSummary],
    *,
    token_after: Callable[[int], str | None],
    filters: str,
    note: str | None,
    now: datetime,
    limit: int,
) -> RunListView:
    """Show ``runs`` as a table: as many of them as fit.

    Args:
        runs: the runs of this page, in the order asked for.
        token_after: the page token that goes on behind the first so many runs; None at the end of the list.
        filters: the filters in words, or empty.
        note: what the reader must know of how the search ended, or None.
        now: the present, for durations.
        limit: characters of the answer's text; runs that do not fit are left to the next page.

    Returns:
        The view; text and fields hold the same runs.
    """
    rows = [_row(run, now) for run in runs]
    lines = _lines(rows, 60)
    token = token_after(len(rows))
    room = limit - len(filters) - len(NOTE) - len(note or "") - len(token or "x" * 800) - 300
    if sum(len(line) + 1 for line in lines) > room:
        lines = _lines(rows, 24)
    _, kept = fit(lines, room, lambda gone: "")
    if kept < len(rows):
        # At least one, or asking for the next page would never get anywhere.
        kept = max(kept, 1)
        rows, lines, token = rows[:kept], [cut_line(line, room) for line in lines[:kept]], token_after(kept)
        note = f"The page was cut to {kept} runs to keep the answer short."
    body = [NOTE, "id | status | workflow | file | created (UTC) | took", *lines] if rows else []
    tail = [line for line in (note, _follow(token)) if line]
    return RunListView(runs=rows, shown=len(rows), complete=token is None, next_page_token=token, note=note).with_text(
        "\n".join([_headline(len(rows), filters, token is not None), *body, *tail])
    )


def _headline(count: int, filters: str, more: bool) -> str:
    which = f" ({filters})" if filters else ""
    if not count:
        return f"No runs{which}{' on this page' if more else ''}."
    noun = "run" if count == 1 else "runs"
    return f"{count} {noun}{which}; {'there are more' if more else 'no more follow'}."


def _follow(token: str | None) -> str | None:
    return f'More: list_runs(page_token="{token}").' if token else None


def _row(run: WorkflowRunSummary, now: datetime) -> RunRow:
    names = [file.name or file.id for file in run.files]
    file = plain(names[0], 80) if names else ""
    return RunRow(
        run_id=plain(run.id, 300),
        status=plain(run.status, 60),
        workflow=plain(run.workflow.name, 80),
        file=f"{file} +{len(names) - 1}" if len(names) > 1 else file,
        created_at=run.created_at or run.initial_run_at,
        took_seconds=_took(run, now),
    )


def _took(run: WorkflowRunSummary, now: datetime) -> float | None:
    if run.start_time is None or (run.end_time is None and not is_moving(run.status)):
        return None
    return round(max(0.0, ((run.end_time or now) - run.start_time).total_seconds()), 1)


def _lines(rows: list[RunRow], width: int) -> list[str]:
    """A line a row; the first one of a day stands below the day, which would cost each row as much as its id."""
    lines: list[str] = []
    day = ""
    for row in rows:
        line, before = _line(row, width), day
        if row.created_at:
            day = format_instant(row.created_at).partition("T")[0]
        lines.append(f"{day}:\n{line}" if day != before else line)
    return lines


def _line(row: RunRow, width: int) -> str:
    created = format_instant(row.created_at).partition("T")[2].rstrip("Z") if row.created_at else "?"
    took = format_span(row.took_seconds) if row.took_seconds is not None else "-"
    head = f"{word(row.run_id, 300)} | {word(row.status) or '?'}"
    return f"{head} | {quote(row.workflow, width)} | {quote(row.file, width)} | {created} | {took}"
