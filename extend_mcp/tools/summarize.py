"""Answer questions about many runs with figures, grouped by what a run is, when it was created or why it failed."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta, timezone, tzinfo
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.groups import GROUP_NAMES, OF_FAILURES, OF_TIME, Calendar, Grouping
from extend_mcp.runs.statistics import RunFacts, Selection, Statistics
from extend_mcp.tools.args import joined
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import Deadline, Details, Insight, Selected, read_insights, refreshed, select_runs
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
    resolved = await filters.resolve(caller_context(ctx))
    return await summarize(ctx, resolved, group_by, metadata_key=metadata_key, zone=zone, sort=sort)


async def summarize(
    ctx: Ctx,
    filters: RunFilter,
    group_by: str,
    *,
    metadata_key: str | None = None,
    zone: tzinfo = timezone.utc,
    sort: Sort | None = None,
) -> SummaryView:
    """Count the runs that a resolved filter selects; with ``since``, those of the window before too.

    Groups are one or two of `GROUP_NAMES`, with a comma, and ``metadata_key`` goes with ``metadata``. By default the
    largest group is the first, and spans of time are as they follow.
    """
    app = caller_context(ctx)
    by = group_by.split(",")
    now = app.clock.now()
    until = filters.before or now
    length = until - filters.since if filters.since else timedelta()
    wide = filters.model_copy(update={"since": filters.since - length}) if filters.since else filters
    calendar = Calendar(zone)
    windows = [(filters, Grouping(by, calendar))]
    if filters.since:
        earlier = wide.model_copy(update={"before": filters.since})
        windows.append((earlier, Grouping(by, calendar, int(length.total_seconds()))))
    count = _Count(app, Deadline(ctx, app), wide, windows, metadata_key, bool(OF_FAILURES.intersection(by)))
    counted, read = await count.kept() or await count.listed()
    present = counted[0]
    # Runs are read backwards, so the window may be whole where that ended early.
    is_read = filters.since is not None and read.reached is not None and read.reached < filters.since
    missing = [read.missing] if read.missing and not is_read else []
    if present.unread:
        of = present.total.failed if metadata_key is None else present.total.runs
        more = "; ask again to read more" if app.histories else "; the others were not read"
        missing.append(f"the groups hold the newest {of - present.unread:,} of {of:,} runs{more}")
    before = None
    if filters.since:
        is_whole = read.missing is None and not any(each.unread for each in counted)
        since = filters.since - length
        totals = counted[1].total, present.total
        before = window_before(*totals, since, filters.since, complete=is_whole, begins=read.begins)
    # Each group of the window has one of the window before to be compared with.
    follows = before and not any(length % OF_TIME[name] for name in by if name in OF_TIME)
    return summary_view(
        present,
        by=[metadata_key or name if name == "metadata" else name for name in by],
        filters=filters.description(),
        before=before,
        earlier=counted[1] if follows else None,
        course=calendar.course(present.course),
        zone=str(zone),
        sort=sort,
        kept=read.held,
        stuck=await kept_stuck(app, filters) if read.held else (),
        missing=missing,
        is_window=bool(filters.since or filters.before),
        now=now,
        limit=app.limits.answer_chars,
    )


@dataclass(frozen=True)
class _Count:
    """Counts runs by groups, one of which may be the metadata of a key, in the window and in the one before it."""

    app: CallerContext
    deadline: Deadline
    wide: RunFilter  # selects the runs of all windows
    windows: list[tuple[RunFilter, Grouping]]
    key: str | None
    fails: bool  # whether the failure is one of the facts

    @property
    def fact(self) -> Literal["step", "reason"]:
        """The fact of a failure that must be known."""
        return "step" if "step" in self.windows[0][1].columns else "reason"

    async def kept(self) -> tuple[list[Statistics], Selected] | None:
        """Count the kept runs, and read what only their details show; None if they cannot answer this."""
        app, wanted = self.app, self.wide.selection()
        found = await refreshed(app, self.wide, self.deadline)
        if found is None:
            return None
        history, fresh = found
        if self.key is not None:
            counts = await history.read_counts(wanted)
            # Metadata of runs that are not over can change at any time, so it is never kept.
            if counts.read < counts.held:
                return None
        may_fail = self.fails and (not self.wide.statuses or "FAILED" in self.wide.statuses)
        if may_fail and (unread := await history.unread(replace(wanted, status="FAILED"), without=self.fact)):
            others = await history.held(Selection(status="FAILED", since=wanted.since))
            await self._read(unread, others, held=True)
        counted = []
        for each, by in self.windows:
            figures = await history.figures(each.selection(), by, self.key)
            if figures is None:
                return None
            counted.append(figures)
        return counted, Selected([], fresh.missing, fresh.since, fresh.begins, fresh)

    async def listed(self) -> tuple[list[Statistics], Selected]:
        """Count the runs that the API lists, one by one."""
        selected, key = await select_runs(self.app, self.wide, self.deadline), self.key
        runs = selected.runs
        history = await self.app.history() if key and selected.held else None
        values = await history.metadata(self.wide.selection(), key) if history and key else {}
        unread = [
            run
            for run in runs
            if (key and run.id not in values)
            or (self.fails and run.status == "FAILED" and getattr(run, self.fact) is None)
        ]
        found = (await self._read(unread, held=selected.held is not None)).found
        values |= {run_id: each.metadata.get(key or "") for run_id, each in found.items()}
        runs = [found[run.id].run if run.id in found else run for run in runs]
        counted = [by.count_listed([run for run in runs if each.selects(run)], values) for each, by in self.windows]
        return counted, selected

    async def _read(
        self, runs: Sequence[RunFacts], others: Sequence[RunFacts] | None = None, *, held: bool
    ) -> Details[Insight]:
        by_step = self.fact == "step"
        return await read_insights(
            self.app, self.deadline, runs, others, metadata=self.key is not None, steps=by_step, held=held
        )


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
