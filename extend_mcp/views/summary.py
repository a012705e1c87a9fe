"""Figures of many runs: in all, by group, over time, and compared with the window before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, AliasPath, Field

from extend_mcp.runs.groups import OF_FAILURES, OF_TIME, Course
from extend_mcp.runs.lifecycle import by_urgency
from extend_mcp.runs.statistics import FEW, Group, Statistics, Tally, quantile
from extend_mcp.runs.times import format_instant, format_span, parse_iso
from extend_mcp.runs.timing import Stuck
from extend_mcp.views.document import Document, Extent, OrNone, Seconds, View, ViewPart, age_words, listed
from extend_mcp.views.document import counted as counted_noun
from extend_mcp.views.incidents import stuck_line
from extend_mcp.views.untrusted import Code, Id, Label

if TYPE_CHECKING:
    # Imports SQLite, which starting need not wait for.
    from extend_mcp.history.history import Freshness

Sort = Literal["count", "rate", "change"]
Groups = tuple[Group, ...]

Rate = Annotated[float, AfterValidator(lambda rate: round(rate, 4))]
Credits = Annotated[float, AfterValidator(lambda spent: round(spent, 2))]

_MOST_GROUPS = 25
_MOST_SPANS = 62
_BARS = "▁▂▃▄▅▆▇█"


class Figures(ViewPart):
    """Counts and times that the whole, a group and the window before have; in seconds, and rates from 0 to 1."""

    runs: int
    failed: int
    failure_rate: Rate | None = None
    duration_p50: Seconds | None = None
    duration_p95: Seconds | None = None


class GroupFigures(Figures):
    """The runs of one group; in groups of failures with ``share_of_failures`` in place of the failure rate."""

    group: Label
    id: OrNone[Id] = None
    second_group: Label | None = None
    second_id: OrNone[Id] = None
    share_of_failures: Rate | None = None
    change: Rate | None = None
    before_runs: int | None = None
    before_failed: int | None = None
    before_p50: Seconds | None = None
    before_p95: Seconds | None = None
    credits: Credits


class OldestWaiting(ViewPart):
    """The run of a status that has existed longest: of all runs, or of those that the filters select."""

    status: Code
    run_id: Id
    created_at: datetime
    among: Literal["all runs", "this window", "these runs"]


class WindowBefore(Figures):
    """The window of the same length right before; ``change`` only where there is enough to compare with."""

    since: datetime
    until: datetime
    complete: bool
    history_begins: datetime | None = None
    change: Rate | None = None

    @property
    def is_enough(self) -> bool:
        """True if the window can be compared with the one after it."""
        return self.complete and self.history_begins is None and self.runs >= FEW

    def line(self) -> str:
        """Return the window and how it compares, as a line of text."""
        said = f"{self.runs:,} runs, {self.failed:,} failed"
        if self.history_begins:
            said += f", too few to compare: history begins {format_instant(self.history_begins)}"
        elif not self.complete:
            said += "; it was not read to its end"
        elif self.change is None:
            said += ", too few to compare"
        else:
            said += f" ({_percent(self.failure_rate)}), took {_spans(self.duration_p50, self.duration_p95)}"
            said += f"; the rate changed by {_points(self.change)}"
        return f"Window before, {format_instant(self.since)} to {format_instant(self.until)}: {said}."


class OverTime(ViewPart):
    """Runs and failed runs in spans of the calendar, without gaps."""

    unit: str
    begins: str = Field(validation_alias=AliasPath("spans", 0))
    ends: str = Field(validation_alias=AliasPath("spans", -1))
    most_failed: str | None = None
    runs: list[int]
    failed: list[int]


class SummaryView(View, Figures):
    """Figures of many runs; times in seconds, rates from 0 to 1."""

    complete: bool
    missing: OrNone[list[str]] = None
    statuses: dict[Code, int]
    queue_p50: Seconds | None = None
    queue_p95: Seconds | None = None
    credits: Credits
    oldest_waiting: list[OldestWaiting]
    before: WindowBefore | None = None
    over_time: OverTime | None = None
    stuck: int | None = None
    as_of: datetime | None = None
    deletions_seen_until: datetime | None = None
    grouped_by: str
    time_zone: str
    groups: list[GroupFigures]
    groups_left_out: int = 0
    untrusted: str = "group, second_group"


def window_before(
    then: Tally, total: Tally, since: datetime, until: datetime, *, complete: bool, begins: datetime | None = None
) -> WindowBefore:
    """Compare a window with the ``total`` of the next; ``begins`` is the creation of the first run of all, if known."""
    later = begins if begins and begins > since else None
    window = WindowBefore(**_figures(then), since=since, until=until, complete=complete, history_begins=later)
    if window.is_enough and total.runs >= FEW:
        window.change = round(total.failed / total.runs - then.failed / then.runs, 4)
    return window


def summary_view(
    counted: Statistics,
    extent: Extent,
    *,
    by: Sequence[str],
    before: WindowBefore | None,
    earlier: Statistics | None,
    course: Course | None,
    zone: str,
    sort: Sort | None,
    is_window: bool,
    kept: Freshness | None = None,
    stuck: Sequence[Stuck] = (),
) -> SummaryView:
    """Write figures of many runs.

    Args:
        before: the window before, if the window has a beginning.
        earlier: the figures of the window before, if its groups correspond to those of this one.
        is_window: whether only runs of some time are counted.
        kept: how fresh the figures are, where they come from kept runs.
    """
    total = counted.total
    course = course if total.runs >= FEW else None
    earlier = earlier if before and before.is_enough else None
    of_failures = bool(OF_FAILURES.intersection(by))
    found = [
        (groups, _group_figures(groups, tally, counted, earlier, of_failures=of_failures))
        for groups, tally in counted.groups.items()
    ]
    among: Any = "this window" if is_window else "these runs" if extent.filters or extent.missing else "all runs"
    view = SummaryView(
        **_figures(total),
        complete=not extent.missing,
        missing=extent.missing,
        statuses={Code(each) or Code("unknown"): total.statuses[each] for each in by_urgency(total.statuses)},
        queue_p50=quantile(total.queues, 0.5),
        queue_p95=quantile(total.queues, 0.95),
        credits=total.credits,
        oldest_waiting=[
            OldestWaiting(status=each, run_id=waiting.run_id, created_at=waiting.created, among=among)
            for each in by_urgency(counted.oldest)
            if (waiting := counted.oldest[each])
        ],
        before=before,
        over_time=course,
        stuck=len(stuck) if kept else None,
        as_of=kept.as_of if kept else None,
        deletions_seen_until=kept.pass_at if kept else None,
        grouped_by=", ".join(by),
        time_zone=zone,
        groups=_ordered(found, sort)[: _MOST_SPANS if OF_TIME.keys() & by else _MOST_GROUPS],
    )
    rows = [_cells(figures, by, zone, compares=earlier is not None) for figures in view.groups]
    document = Document(
        [*_head(view, course, extent), *stuck_line(stuck), *(_freshness(kept) if kept else [])],
        [" · ".join(row.values()) for row in rows],
        columns=" · ".join(rows[0]) if rows else "",
    )
    beyond = len(found) - len(rows)
    text, shown = document.fit(extent.limit, lambda gone: f"… {counted_noun(gone, 'group')} more", beyond=beyond)
    view.groups_left_out = len(found) - shown
    del view.groups[shown:]
    return view.with_text(text)


def _ordered(found: Sequence[tuple[Groups, GroupFigures]], sort: Sort | None) -> list[GroupFigures]:
    """Sort as asked; by default the largest groups first, and spans of time from the newest."""
    sizes: Counter[Group] = Counter()
    for groups, figures in found:
        sizes[groups[0]] += figures.runs

    def key(pair: tuple[Groups, GroupFigures]) -> tuple[object, ...]:
        groups, figures = pair
        names = tuple(group.key for group in groups)
        if sort is None:
            runs = zip(groups, (sizes[groups[0]], figures.runs), strict=False)
            return *(-parse_iso(each.name).timestamp() if each.is_time else -count for each, count in runs), names
        rate = figures.failure_rate or figures.share_of_failures or 0.0
        change = -float("inf") if figures.change is None else figures.change
        return -{"count": figures.runs, "rate": rate, "change": change}[sort], -figures.runs, names

    return [figures for _, figures in sorted(found, key=key)]


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        "runs": tally.runs,
        "failed": tally.failed,
        "failure_rate": tally.failed / tally.runs if tally.runs else None,
        "duration_p50": quantile(tally.durations, 0.5),
        "duration_p95": quantile(tally.durations, 0.95),
    }


def _group_figures(
    groups: Groups, tally: Tally, counted: Statistics, before: Statistics | None, *, of_failures: bool
) -> GroupFigures:
    first, second = groups[0], groups[1] if len(groups) > 1 else None
    known = _figures(tally)
    # In groups of failures the whole is all failures, else the runs of the group.
    of = counted.total.failed if of_failures else tally.runs
    if of_failures:
        known |= {"failure_rate": None, "share_of_failures": tally.failed / of if of else None}
    if before:
        then = before.groups.get(groups, Tally())
        then_of = before.total.failed if of_failures else then.runs
        known |= {f"before_{name.removeprefix('duration_')}": figure for name, figure in _figures(then).items()}
        known["change"] = tally.failed / of - then.failed / then_of if min(of, then_of) >= FEW else None
    return GroupFigures(
        group=Label(first.name) or "none",
        id=first.id,
        second_group=(Label(second.name) or "none") if second else None,
        second_id=second.id if second else None,
        credits=tally.credits,
        **known,
    )


def _head(view: SummaryView, course: Course | None, extent: Extent) -> list[str]:
    statuses = ", ".join(f"{count:,} {status}" for status, count in view.statuses.items())
    lines = [f"{view.runs:,} runs{extent.which}{f': {statuses}' if statuses else ''}."]
    lines += extent.incomplete
    took = f"Took {_spans(view.duration_p50, view.duration_p95)}; queued {_spans(view.queue_p50, view.queue_p95)}"
    took = f"{took}; failure rate {_percent(view.failure_rate)}; " if view.runs else ""
    lines.append(f"{took}{view.credits:,.10g} credits.")
    lines += [
        f"Oldest {each.status} of {each.among}: {each.run_id}, created {age_words(each.created_at, extent.now)} ago."
        for each in view.oldest_waiting
    ]
    lines += [view.before.line()] if view.before else []
    if course:
        which = f"Runs by {course.unit} ({view.time_zone}) from {course.spans[0]}"
        lines.append(f"{which}: {_bars(course, course.runs)}")
        lines += [f"of these failed: {_bars(course, course.failed)}"] if any(course.failed) else []
    return lines


def _bars(course: Course, counts: Sequence[int]) -> str:
    """Draw a bar for each span, and name the largest value and the first three spans that have it."""
    most = max(counts)
    bars = "".join("·" if not count else _BARS[(count * len(_BARS) - 1) // most] for count in counts)
    spans = [span for span, count in zip(course.spans, counts, strict=True) if count == most]
    return f"{bars} most {most:,}: {listed(spans, 3)}"


def _cells(figures: GroupFigures, by: Sequence[str], zone: str, *, compares: bool) -> dict[str, str]:
    """Return the cells of a row by their headings."""
    p50, p95, share = format_span(figures.duration_p50), format_span(figures.duration_p95), figures.share_of_failures
    cells = {}
    groups = [(figures.group, figures.id), (figures.second_group, figures.second_id)]
    for name, (group, found) in zip(by, groups, strict=False):
        if name in OF_TIME:
            cells[f"{name} ({zone})"] = str(group)
        else:
            cells[name.replace("_", " ")] = f"{group:80} ({found})" if found else f"{group:80}"
    cells |= {"runs": f"{figures.runs:,}"} if share is None else {}
    cells["failed"] = f"{figures.failed:,}"
    cells |= {"rate": _percent(figures.failure_rate)} if share is None else {"share of failures": _percent(share)}
    if compares:
        cells["change"] = _points(figures.change)
        cells["p50 (before)"] = f"{p50} ({format_span(figures.before_p50)})"
        cells["p95 (before)"] = f"{p95} ({format_span(figures.before_p95)})"
    else:
        cells |= {"took p50": p50, "p95": p95}
    return {**cells, "credits": f"{figures.credits:,.10g}"}


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.3g}%"


def _points(change: float | None) -> str:
    return "-" if change is None else f"{100 * change:+.3g} points"


def _spans(p50: float | None, p95: float | None) -> str:
    return f"p50 {format_span(p50)}, p95 {format_span(p95)}"


def _freshness(kept: Freshness) -> list[str]:
    covers = f"every run created after {format_instant(kept.since)}" if kept.since else "every run of the account"
    line = f"As of {format_instant(kept.as_of)}, from {covers}."
    if kept.as_of - kept.pass_at >= timedelta(minutes=1):
        line += f" A run that somebody else deleted since {format_instant(kept.pass_at)} may still be counted."
    return [line]
