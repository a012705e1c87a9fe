"""Answer questions about many runs with figures, grouped by what a run is, when it was created or why it failed."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Annotated, cast

import anyio.lowlevel
from pydantic import AfterValidator, BeforeValidator, Field

from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.groups import GROUP_NAMES, UNITS, Calendar, GroupName, group_of, needs_reading
from extend_mcp.runs.statistics import RunFacts, Statistics
from extend_mcp.tools.args import Example, joined
from extend_mcp.tools.base import READ_ONLY
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import Deadline, read_facts, select_runs
from extend_mcp.tools.stuck import kept_stuck
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.summary import Before, Groups, Kept, Sort, SummaryView, summary_view
from extend_mcp.views.untrusted import Label

_RUNS_A_TURN = 2000
"""How many runs are counted before other tasks get their turn."""


def _known_groups(value: str) -> str:
    names = [name.strip().lower() for name in value.split(",")]
    if not (1 <= len(names) <= 2 and set(names) <= set(GROUP_NAMES) and len(set(names)) == len(names)):
        raise ValueError(f"must be one of {', '.join(GROUP_NAMES)}, or two of them with a comma")
    return ",".join(names)


GroupBy = Annotated[
    str,
    BeforeValidator(joined),
    AfterValidator(_known_groups),
    Field(description=f'{", ".join(GROUP_NAMES)}; or two: "workflow,day"', max_length=40),
    Example("failure_reason"),
]


@RUNS.tool(title="Summarize workflow runs", annotations=READ_ONLY, view="board")
@takes_run_filter(without=DETAILS | OF_LISTS)
async def summarize_runs(
    ctx: Ctx,
    filters: RunFilter,
    group_by: GroupBy = "workflow",
    metadata_key: Annotated[str, Field(min_length=1, max_length=255, description="With metadata")] | None = None,
    time_zone: Annotated[str, Field(max_length=64, description="Of days and hours"), Example("Europe/Berlin")] = "UTC",
    sort: Annotated[Sort, Example("rate")] | None = None,
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
    """Count the runs that a resolved filter selects.

    Args:
        ctx: the call.
        filters: selects the runs; with ``since``, the window before is counted too.
        group_by: one or two of `GROUP_NAMES`, with a comma.
        metadata_key: the key whose values are the groups, with ``metadata``.
        zone: the time zone of days and hours.
        sort: the order of the groups; by default the largest first, and spans of time as they follow.
    """
    app = caller_context(ctx)
    deadline = Deadline(ctx, app)
    by = cast("list[GroupName]", group_by.split(","))
    found = await _read(app, filters, deadline)
    metadata = await _look_into(app, deadline, found, by, found.read, metadata_key)
    calendar = Calendar(zone)
    counted, before = Statistics[Groups](), Statistics[Groups]()
    length = found.until - found.since if found.since else timedelta()
    for number, run in enumerate((*found.runs, *found.before)):
        if number % _RUNS_A_TURN == 0:
            await anyio.lowlevel.checkpoint()
        is_before = number >= len(found.runs)
        shift = length if is_before else timedelta()
        groups = [group_of(each, run, calendar, metadata, shift) for each in by]
        whole = tuple(group for group in groups if group is not None)
        (before if is_before else counted).add(run, whole if len(whole) == len(by) else None)
    return summary_view(
        counted,
        by=[metadata_key or name if name == "metadata" else name for name in by],
        filters=filters.description(),
        before=Before(found.since - length, found.since, before, found.compared, found.begins, _follows(by, length))
        if found.since
        else None,
        course=calendar.course(counted.moments),
        zone=str(zone),
        sort=sort,
        kept=found.kept,
        stuck=await kept_stuck(app, filters) if found.kept else (),
        missing=found.missing,
        is_window=bool(filters.since or filters.before),
        now=found.until if filters.before is None else app.clock.now(),
        limit=app.limits.answer_chars,
    )


def _follows(by: list[GroupName], length: timedelta) -> bool:
    """Return whether each group of the window has one of the window before to be compared with."""
    spans = {"day": timedelta(days=1), "hour": timedelta(hours=1)}
    return not any(length % spans[name] for name in by if name in UNITS)


@dataclass
class _Found:
    """The runs of a window, and of the one before it, newest first.

    Attributes:
        since: where the window begins; None where it has no beginning.
        until: where it ends.
        runs: its runs.
        before: the runs of the window of the same length before it.
        compared: whether all of that window was read.
        begins: when the first run was created, if that is known.
        missing: what was left out, and why.
        kept: how fresh the runs are, where they were kept.
        read: selects the runs of both windows.
    """

    since: datetime | None
    until: datetime
    runs: list[RunFacts] = field(default_factory=list)
    before: list[RunFacts] = field(default_factory=list)
    compared: bool = False
    begins: datetime | None = None
    missing: list[str] = field(default_factory=list)
    kept: Kept | None = None
    read: RunFilter = field(default_factory=RunFilter)


async def _read(app: CallerContext, filters: RunFilter, deadline: Deadline) -> _Found:
    """Read the runs of the window, and of the one before it if the window has a length."""
    found = _Found(filters.since, filters.before or app.clock.now())
    wide = filters
    if filters.since:
        wide = filters.model_copy(update={"since": filters.since - (found.until - filters.since)})
    found.read = wide
    selected = await select_runs(app, wide, deadline)
    missing, reached, held = selected.missing, selected.reached, selected.held
    found.begins, found.kept = selected.begins, Kept(held.as_of, held.pass_at, held.since) if held else None
    for run in selected.runs:
        is_before = filters.since and run.created and run.created < filters.since
        (found.before if is_before else found.runs).append(run)
    # Runs are read backwards: if that ended early, the window itself may still be complete.
    if missing and (filters.since is None or reached is None or reached >= filters.since):
        found.missing.append(missing)
    found.compared = missing is None
    return found


async def _look_into(
    app: CallerContext, deadline: Deadline, found: _Found, by: list[GroupName], filters: RunFilter, key: str | None
) -> dict[str, str | None]:
    """Read the runs whose groups only their details show, newest first, within the operator's bound.

    Returns:
        The values of the metadata key, by the ids of the runs that were read.
    """
    history = await app.history() if key and found.kept else None
    metadata = await history.metadata(filters.selection(), key) if history and key else {}
    details = await read_facts(
        app, deadline, _unread((*found.runs, *found.before), by, metadata), held=bool(found.kept)
    )
    known = details.found if details else {}
    metadata |= {run_id: (each.metadata or {}).get(key or "") for run_id, each in known.items()}
    for runs in (found.runs, found.before):
        for place, run in enumerate(runs):
            if run.id in known:
                runs[place] = run._replace(step=known[run.id].step, reason=known[run.id].reason)
    if unread := len(_unread(found.runs, by, metadata)):
        of = len(found.runs) if key else sum(run.status == "FAILED" for run in found.runs)
        more = "; ask again to read more" if app.histories else "; the others were not read"
        found.missing.append(f"the groups hold the newest {of - unread:,} of {of:,} runs{more}")
    found.compared = found.compared and not unread and not _unread(found.before, by, metadata)
    return metadata


def _unread(runs: Sequence[RunFacts], by: list[GroupName], metadata: Mapping[str, str | None]) -> list[RunFacts]:
    return [run for run in runs if any(needs_reading(each, run, metadata) for each in by)]


def find_zone(name: str) -> tzinfo:
    """Return the time zone of a name in the IANA database.

    Raises:
        CallRefusedError: no time zone has that name.
    """
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
