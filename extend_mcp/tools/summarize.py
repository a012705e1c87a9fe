"""Answer questions about many runs with figures, grouped by what a run is, when it was created or why it failed."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta, timezone, tzinfo
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from extend_mcp.callers import Ctx
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.groups import GROUP_NAMES, OF_TIME, Calendar, Grouping
from extend_mcp.runs.statistics import RunFacts, Statistics
from extend_mcp.tools.args import joined
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import RunReader, Selected
from extend_mcp.tools.stuck import kept_stuck
from extend_mcp.tools.toolsets import READ_ONLY, RUNS
from extend_mcp.views.summary import Sort, SummaryView, summary_view, window_before
from extend_mcp.views.untrusted import Label


def _known_groups(value: str) -> str:
    names = [name.strip().lower() for name in value.split(",")]
    if not (1 <= len(names) <= 2 and set(names) <= set(GROUP_NAMES) and len(set(names)) == len(names)):
        raise ValueError(f"must be one of {', '.join(GROUP_NAMES)}, or two of them with a comma")
    return ",".join(names)


SummaryGroups = Annotated[
    str,
    BeforeValidator(joined),
    AfterValidator(_known_groups),
    Field(description=f'{", ".join(GROUP_NAMES)}; or two: "workflow,day"', max_length=40, examples=["failure_reason"]),
]


@RUNS.tool(title="Summarize workflow runs", annotations=READ_ONLY, view="board")
@takes_run_filter(without=DETAILS | OF_LISTS)
async def summarize_runs(
    ctx: Ctx,
    filters: RunFilter,
    group_by: SummaryGroups = "workflow",
    metadata_key: Annotated[str, Field(min_length=1, max_length=255, description="With metadata")] | None = None,
    time_zone: Annotated[
        str, Field(max_length=64, description="Of days and hours", examples=["Europe/Berlin"])
    ] = "UTC",
    sort: Sort | None = None,
) -> SummaryView:
    """Count runs: how many failed, times, credits, what waits, each against the window before.
    Use it for "what is wrong, since when, how much". Says what was left out.
    """
    if ("metadata" in group_by.split(",")) != (metadata_key is not None):
        raise CallRefusedError('metadata_key goes with group_by="metadata", and that needs it.')
    zone = find_zone(time_zone)
    reader, by = RunReader(ctx), group_by.split(",")
    app = reader.app
    now, filters = app.clock.now(), await filters.resolve(app)
    until = filters.before or now
    length = until - filters.since if filters.since else timedelta()
    wide = filters.model_copy(update={"since": filters.since - length}) if filters.since else filters
    calendar = Calendar(zone)
    windows = [(filters, Grouping(by, calendar))]
    if filters.since:
        earlier = wide.model_copy(update={"before": filters.since})
        windows.append((earlier, Grouping(by, calendar, int(length.total_seconds()))))
    counted, read = await _count(reader, wide, windows, metadata_key)
    present = counted[0]
    # Runs are read backwards, so the window may be whole where that ended early.
    is_read = filters.since is not None and read.reached is not None and read.reached < filters.since
    missing = [] if is_read else [*read.missing]
    if present.unread:
        of = present.total.failed if metadata_key is None else present.total.runs
        more = "; ask again to read more" if app.histories else "; the others were not read"
        missing.append(f"the groups hold the newest {of - present.unread:,} of {of:,} runs{more}")
    before = None
    if filters.since:
        is_whole = not read.missing and not any(each.unread for each in counted)
        totals, since = (counted[1].total, present.total), filters.since - length
        before = window_before(*totals, since, filters.since, complete=is_whole, begins=read.begins)
    # Each group of the window has one of the window before to be compared with.
    follows = before and not any(length % OF_TIME[name] for name in by if name in OF_TIME)
    return summary_view(
        present,
        reader.extent(filters.description(), missing),
        by=[metadata_key or name if name == "metadata" else name for name in by],
        before=before,
        earlier=counted[1] if follows else None,
        course=calendar.course(present.course),
        zone=str(zone),
        sort=sort,
        kept=read.held,
        stuck=await kept_stuck(reader, filters) if read.held else (),
        is_window=bool(filters.since or filters.before),
    )


async def _count(
    reader: RunReader, wide: RunFilter, windows: Sequence[tuple[RunFilter, Grouping]], key: str | None
) -> tuple[list[Statistics], Selected[RunFacts]]:
    """Count the kept runs of each window by groups, or those that the API lists where the kept ones cannot answer.

    ``wide`` selects the runs of all windows. Runs whose group no list shows are read.
    """
    columns = windows[0][1].columns
    fact, fails = "step" if "step" in columns else "reason", not {"step", "reason"}.isdisjoint(columns)
    wanted, read = wide.selection(), partial(reader.insights, metadata=key is not None, steps=fact == "step")
    kept = await reader.refresh(wide)
    history = await reader.app.history() if kept else None
    # Metadata of runs that are not over can change at any time, so it is never kept.
    if kept and history and (key is None or (counts := await history.read_counts(wanted)).read == counts.held):
        if fails and "FAILED" in (wide.statuses or ("FAILED",)):
            await read(await history.unread(replace(wanted, status="FAILED"), without=fact))
        figures = [await history.figures(each.selection(), by, key) for each, by in windows]
        if len(counted := [each for each in figures if each]) == len(figures):
            return counted, kept
    selected = await reader.select(wide)
    values = await history.metadata(wanted, key) if history and key and selected.held else {}
    unread = [
        run
        for run in selected.runs
        if (key and run.id not in values) or (fails and run.status == "FAILED" and getattr(run, fact) is None)
    ]
    found = (await read(unread)).found
    values |= {run_id: each.metadata.get(key or "") for run_id, each in found.items()}
    runs = [found[run.id].run if run.id in found else run for run in selected.runs]
    return [by.count_listed([run for run in runs if each.matches(run)], values) for each, by in windows], selected


def find_zone(name: str) -> tzinfo:
    """Return the time zone of a name in the IANA database, or refuse the name."""
    if name.strip().upper() in ("UTC", "Z"):
        return timezone.utc
    try:
        return zoneinfo.ZoneInfo(name.strip())
    except (KeyError, ValueError, OSError):
        raise CallRefusedError(
            f"time_zone: {Label(name):64} is not a name of the IANA database, such as Europe/Berlin."
        ) from None
