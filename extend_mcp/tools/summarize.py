"""Answer questions about many runs with figures, grouped by what a run is, when it was created or why it failed."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta, timezone, tzinfo
from typing import Annotated, Any, Literal, NamedTuple, cast

import anyio.lowlevel
from pydantic import AfterValidator, BeforeValidator, Field

from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.groups import COLUMNS, GROUP_NAMES, OF_FAILURES, OF_TIME, Calendar, GroupName, group_of, is_unread
from extend_mcp.runs.statistics import RunFacts, Selection, Statistics, Tally, course, oldest, tallies
from extend_mcp.tools.args import joined
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import Deadline, Details, Insight, Selected, read_insights, refreshed, select_runs
from extend_mcp.tools.stuck import kept_stuck
from extend_mcp.tools.toolsets import READ_ONLY, RUNS
from extend_mcp.views.summary import Before, Sort, SummaryView, summary_view
from extend_mcp.views.untrusted import Label

_CELLS_A_TURN = 2000
"""Parts of groups added up before other tasks run."""


def _known_groups(value: str) -> str:
    names = [name.strip().lower() for name in value.split(",")]
    if not (1 <= len(names) <= 2 and set(names) <= set(GROUP_NAMES) and len(set(names)) == len(names)):
        raise ValueError(f"must be one of {', '.join(GROUP_NAMES)}, or two of them with a comma")
    return ",".join(names)


GroupBy = Annotated[
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
    group_by: GroupBy = "workflow",
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
    by = cast("list[GroupName]", group_by.split(","))
    now = app.clock.now()
    until = filters.before or now
    length = until - filters.since if filters.since else timedelta()
    wide = filters.model_copy(update={"since": filters.since - length}) if filters.since else filters
    windows = [filters, wide.model_copy(update={"before": filters.since})] if filters.since else [filters]
    columns = list(dict.fromkeys(column for each in by for column in COLUMNS[each]))
    calendar = Calendar(zone)
    firsts = [calendar.firsts(by, shift) for shift in (0, int(length.total_seconds()))]
    fails = bool(OF_FAILURES.intersection(by))
    count = _Count(app, Deadline(ctx, app), wide, windows, columns, metadata_key, fails)
    counted, names, read = await count.kept(firsts) or await count.listed()
    unread = [0, 0]
    for number, (cells, statistics) in enumerate(counted):
        shift = int(length.total_seconds()) if number else 0
        for place, (key, tally) in enumerate(cells.items()):
            if place % _CELLS_A_TURN == 0:
                await anyio.lowlevel.checkpoint()
            facts = dict(zip(columns, key, strict=True))
            unread[number] += tally.runs if any(is_unread(each, facts) for each in by) else 0
            groups = [group_of(each, facts, names, calendar, shift) for each in by]
            statistics.add(tally, groups)
    # Runs are read backwards, so the window may be whole where that ended early.
    is_read = filters.since is not None and read.reached is not None and read.reached < filters.since
    missing = [read.missing] if read.missing and not is_read else []
    present = counted[0][1]
    if unread[0]:
        of = present.total.failed if metadata_key is None else present.total.runs
        more = "; ask again to read more" if app.histories else "; the others were not read"
        missing.append(f"the groups hold the newest {of - unread[0]:,} of {of:,} runs{more}")
    before = None
    if filters.since:
        is_whole = read.missing is None and not any(unread)
        # Each group of the window has one of the window before to be compared with.
        follows = not any(length % OF_TIME[name] for name in by if name in OF_TIME)
        before = Before(filters.since - length, filters.since, counted[1][1], is_whole, read.begins, follows)
    return summary_view(
        present,
        by=[metadata_key or name if name == "metadata" else name for name in by],
        filters=filters.description(),
        before=before,
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


class _Counted(NamedTuple):
    """The figures of the window and, if that has a beginning, of the one before it.

    They are by the facts that groups are made of, with the figures that have no groups.
    """

    windows: list[tuple[dict[tuple[Any, ...], Tally], Statistics]]
    names: Mapping[str, str]  # of the workflows, by id
    read: Selected  # what was read of them; its list of runs is not needed any more


@dataclass(frozen=True)
class _Count:
    """Counts runs, by the facts that their groups are made of: columns, one of which may be the metadata of a key."""

    app: CallerContext
    deadline: Deadline
    wide: RunFilter  # selects the runs of all windows
    windows: list[RunFilter]
    columns: list[str]
    key: str | None
    fails: bool  # whether the failure is one of the facts

    @property
    def fact(self) -> Literal["step", "reason"]:
        """The fact of a failure that must be known."""
        return "step" if "step" in self.columns else "reason"

    async def kept(self, firsts: Sequence[Callable[[int], int]]) -> _Counted | None:
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
        for each, first in zip(self.windows, firsts, strict=False):
            chosen = each.selection()
            cells = await history.tallies(chosen, self.columns, self.key, first)
            if cells is None:
                return None
            figures = Statistics(oldest=await history.oldest(chosen), course=await history.course(chosen))
            counted.append((cells, figures))
        read = Selected([], fresh.missing, fresh.since, fresh.begins, fresh)
        return _Counted(counted, await history.workflow_names(), read)

    async def listed(self) -> _Counted:
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
        counted = []
        for each in self.windows:
            chosen = [run for run in runs if each.selects(run)]
            figures = Statistics(oldest=oldest(chosen), course=course(chosen))
            counted.append((tallies(chosen, self.columns, values), figures))
        return _Counted(counted, {run.workflow_id: run.workflow_name for run in runs}, selected)

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
        known = sorted(zoneinfo.available_timezones())
        ends = [each for each in known if each.rpartition("/")[2].lower() == name.strip().lower().replace(" ", "_")]
        # An abbreviation such as PST is like several names, and means none of them.
        near = ends or (difflib.get_close_matches(name, known, n=3) if len(name) > 4 else [])
        hint = f" Did you mean {' or '.join(near[:3])}?" if near else ""
        raise CallRefusedError(
            f"time_zone: {Label(name):64} is not a name of the IANA database, such as Europe/Berlin.{hint}"
        ) from None
