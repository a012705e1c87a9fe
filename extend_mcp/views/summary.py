"""Figures of many runs: in all, by group, over time, and compared with the window before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from extend_mcp.runs.groups import OF_FAILURES, OF_TIME, Course
from extend_mcp.runs.lifecycle import by_urgency
from extend_mcp.runs.statistics import FEW, Group, Statistics, Tally, quantile
from extend_mcp.runs.times import format_instant, format_span, parse_iso
from extend_mcp.runs.timing import Stuck
from extend_mcp.views.document import Document, View, ViewPart, age_words, incomplete, listed
from extend_mcp.views.document import counted as counted_noun
from extend_mcp.views.incidents import stuck_line
from extend_mcp.views.untrusted import Code, Id, Label

if TYPE_CHECKING:
    # Imports SQLite, which starting need not wait for.
    from extend_mcp.history.history import Freshness

Sort = Literal["count", "rate", "change"]
Groups = tuple[Group, ...]

_MOST_GROUPS = 25
_MOST_SPANS = 62
_BARS = "▁▂▃▄▅▆▇█"


class GroupFigures(ViewPart):
    """The runs of one group; times in seconds, and rates and shares from 0 to 1.

    In groups of failures, ``share_of_failures`` and its change are given in place of the failure rate.
    """

    group: Label
    id: Id | None = None
    second_group: Label | None = None
    second_id: Id | None = None
    runs: int
    failed: int
    failure_rate: float | None = None
    share_of_failures: float | None = None
    change: float | None = None
    before_runs: int | None = None
    before_failed: int | None = None
    duration_p50: float | None = None
    duration_p95: float | None = None
    before_p50: float | None = None
    before_p95: float | None = None
    credits: float


class OldestWaiting(ViewPart):
    """The run of a status that has existed longest: of all runs, or of those that the filters select."""

    status: Code
    run_id: Id
    created_at: datetime
    among: Literal["all runs", "this window", "these runs"]


class WindowBefore(ViewPart):
    """The window of the same length right before; ``change`` only where there is enough to compare with."""

    since: datetime
    until: datetime
    runs: int
    failed: int
    failure_rate: float | None = None
    duration_p50: float | None = None
    duration_p95: float | None = None
    complete: bool
    history_begins: datetime | None = None
    change: float | None = None


class OverTime(ViewPart):
    """Runs and failed runs in spans of the calendar, without gaps."""

    unit: str
    begins: str
    ends: str
    most_failed: str | None = None
    runs: list[int]
    failed: list[int]


class SummaryView(View):
    """Figures of many runs; times in seconds, rates from 0 to 1."""

    runs: int
    complete: bool
    missing: list[str] | None = None
    statuses: dict[Code, int]
    failed: int
    failure_rate: float | None = None
    duration_p50: float | None = None
    duration_p95: float | None = None
    queue_p50: float | None = None
    queue_p95: float | None = None
    credits: float
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


@dataclass(frozen=True)
class Before:
    """The window before: its figures, whether all of it was read, and whether its groups correspond.

    ``begins`` is the time at which the first run of all was created, if that is known.
    """

    since: datetime
    until: datetime
    counted: Statistics
    complete: bool
    begins: datetime | None = None
    by_group: bool = True

    @property
    def is_enough(self) -> bool:
        """True if the window can be compared with this one."""
        begins_earlier = self.begins is None or self.begins <= self.since
        return self.complete and begins_earlier and self.counted.total.runs >= FEW


def summary_view(
    counted: Statistics,
    *,
    by: Sequence[str],
    filters: str,
    before: Before | None,
    course: Course | None,
    zone: str,
    sort: Sort | None,
    missing: Sequence[str],
    is_window: bool,
    now: datetime,
    limit: int,
    kept: Freshness | None = None,
    stuck: Sequence[Stuck] = (),
) -> SummaryView:
    """Write figures of many runs.

    Args:
        by: names of the groups.
        before: the window before, if the window has a beginning.
        zone: the time zone of days and hours.
        sort: the order of the groups; by default the largest first, and spans of time as they follow.
        is_window: whether only runs of some time are counted.
        kept: how fresh the figures are, where they come from kept runs.
    """
    total = counted.total
    course = course if total.runs >= FEW else None
    of_failures = bool(OF_FAILURES.intersection(by))
    earlier = before.counted if before and before.is_enough and before.by_group else None
    pairs = [
        (groups, _group_figures(groups, tally, counted, earlier, of_failures=of_failures))
        for groups, tally in counted.groups.items()
    ]
    ordered = _ordered(pairs, sort)[: _MOST_SPANS if OF_TIME.keys() & by else _MOST_GROUPS]
    view = SummaryView(
        **_figures(total),
        complete=not missing,
        missing=list(missing) or None,
        statuses=_by_status(total),
        queue_p50=_quantile(total.queues, 0.5),
        queue_p95=_quantile(total.queues, 0.95),
        credits=round(total.credits, 2),
        oldest_waiting=[
            OldestWaiting(
                status=status,
                run_id=counted.oldest[status].run_id,
                created_at=counted.oldest[status].created,
                among="this window" if is_window else "these runs" if filters or missing else "all runs",
            )
            for status in by_urgency(counted.oldest)
        ],
        before=_before(before, total) if before else None,
        over_time=_over_time(course) if course else None,
        stuck=len(stuck) if kept else None,
        as_of=kept.as_of if kept else None,
        deletions_seen_until=kept.pass_at if kept else None,
        grouped_by=", ".join(by),
        time_zone=zone,
        groups=[figures for _, figures in ordered],
    )
    names = [f"{name} ({zone})" if name in OF_TIME else name.replace("_", " ") for name in by]
    rows = [_cells(groups, figures, names, compares=earlier is not None) for groups, figures in ordered]
    document = Document(
        [*_head(view, course, filters, now), *stuck_line(stuck), *(_freshness(kept) if kept else [])],
        [" · ".join(cell for _, cell in row) for row in rows],
        columns=" · ".join(heading for heading, _ in rows[0]) if rows else "",
    )
    text, shown = document.fit(
        limit, lambda gone: f"… {counted_noun(gone, 'group')} more", beyond=len(pairs) - len(ordered)
    )
    view.groups_left_out = len(pairs) - shown
    del view.groups[shown:]
    return view.with_text(text)


def _ordered(pairs: list[tuple[Groups, GroupFigures]], sort: Sort | None) -> list[tuple[Groups, GroupFigures]]:
    """Sort as asked; by default the largest groups first, and spans of time from the newest."""
    sizes: Counter[Group] = Counter()
    for groups, figures in pairs:
        sizes[groups[0]] += figures.runs

    def key(pair: tuple[Groups, GroupFigures]) -> tuple[object, ...]:
        groups, figures = pair
        names = tuple(group.key for group in groups)
        if sort is not None:
            rate = figures.failure_rate if figures.share_of_failures is None else figures.share_of_failures
            change = -float("inf") if figures.change is None else figures.change
            first = {"count": figures.runs, "rate": rate or 0.0, "change": change}[sort]
            return -first, -figures.runs, names
        runs = [sizes[groups[0]], figures.runs]
        order = [
            -parse_iso(group.name).timestamp() if group.is_time else -count
            for group, count in zip(groups, runs, strict=False)
        ]
        return *order, names

    return sorted(pairs, key=key)


def _figures(tally: Tally) -> dict[str, Any]:
    """Return the figures that the whole, a group and the window before have in common."""
    return {
        "runs": tally.runs,
        "failed": tally.failed,
        "failure_rate": _rate(tally.failed, tally.runs),
        "duration_p50": _quantile(tally.durations, 0.5),
        "duration_p95": _quantile(tally.durations, 0.95),
    }


def _group_figures(
    groups: Groups, tally: Tally, counted: Statistics, before: Statistics | None, *, of_failures: bool
) -> GroupFigures:
    first, second = groups[0], groups[1] if len(groups) > 1 else None
    figures = GroupFigures(
        **_figures(tally),
        group=Label(first.name) or "none",
        id=first.id or None,
        second_group=(Label(second.name) or "none") if second else None,
        second_id=second.id or None if second else None,
        credits=round(tally.credits, 2),
    )
    if of_failures:
        figures.failure_rate, figures.share_of_failures = None, _rate(tally.failed, counted.total.failed)
    if before:
        then = before.groups.get(groups, Tally())
        figures.before_runs, figures.before_failed = then.runs, then.failed
        figures.before_p50, figures.before_p95 = _quantile(then.durations, 0.5), _quantile(then.durations, 0.95)
        # In groups of failures the whole is all failures, else the runs of the group.
        now_of, then_of = (counted.total.failed, before.total.failed) if of_failures else (tally.runs, then.runs)
        if min(now_of, then_of) >= FEW:
            figures.change = round(tally.failed / now_of - then.failed / then_of, 4)
    return figures


def _by_status(tally: Tally) -> dict[Code, int]:
    counts: Counter[Code] = Counter()
    for status in by_urgency(tally.statuses):
        counts[Code(status) or Code("unknown")] += tally.statuses[status]
    return dict(counts)


def _before(before: Before, total: Tally) -> WindowBefore:
    then = before.counted.total
    compares = before.is_enough and total.runs >= FEW
    return WindowBefore(
        **_figures(then),
        since=before.since,
        until=before.until,
        complete=before.complete,
        history_begins=before.begins if before.begins and before.begins > before.since else None,
        change=round(total.failed / total.runs - then.failed / then.runs, 4) if compares else None,
    )


def _head(view: SummaryView, course: Course | None, filters: str, now: datetime) -> list[str]:
    statuses = ", ".join(f"{count:,} {status}" for status, count in view.statuses.items())
    lines = [f"{view.runs:,} runs{f' ({filters})' if filters else ''}{f': {statuses}' if statuses else ''}."]
    lines += incomplete(view.missing)
    if not view.runs:
        lines.append("0 credits.")
    else:
        lines.append(
            f"Took {_spans(view.duration_p50, view.duration_p95)}; queued {_spans(view.queue_p50, view.queue_p95)}; "
            f"failure rate {_percent(view.failure_rate)}; {view.credits:,.10g} credits."
        )
    lines += [
        f"Oldest {each.status} of {each.among}: {each.run_id}, created {age_words(each.created_at, now)} ago."
        for each in view.oldest_waiting
    ]
    if then := view.before:
        lines.append(f"Window before, {format_instant(then.since)} to {format_instant(then.until)}: {_compared(then)}.")
    if course:
        which = f"Runs by {course.unit} ({view.time_zone}) from {course.spans[0]}"
        lines.append(f"{which}: {_bars(course, course.runs)}")
        lines += [f"of these failed: {_bars(course, course.failed)}"] if any(course.failed) else []
    return lines


def _compared(then: WindowBefore) -> str:
    figures = f"{then.runs:,} runs, {then.failed:,} failed"
    if then.history_begins:
        return f"{figures}, too few to compare: history begins {format_instant(then.history_begins)}"
    if not then.complete:
        return f"{figures}; it was not read to its end"
    if then.change is None:
        return f"{figures}, too few to compare"
    took = f"took {_spans(then.duration_p50, then.duration_p95)}"
    return f"{figures} ({_percent(then.failure_rate)}), {took}; the rate changed by {_points(then.change)}"


def _over_time(course: Course) -> OverTime:
    most = max(course.failed)
    return OverTime(
        unit=course.unit,
        begins=course.spans[0],
        ends=course.spans[-1],
        most_failed=course.spans[course.failed.index(most)] if most else None,
        runs=course.runs,
        failed=course.failed,
    )


def _bars(course: Course, counts: Sequence[int]) -> str:
    """Draw a bar for each span, and name the largest value and the first three spans that have it."""
    most = max(counts)
    bars = "".join("·" if not count else _BARS[(count * len(_BARS) - 1) // most] for count in counts)
    spans = [span for span, count in zip(course.spans, counts, strict=True) if count == most]
    return f"{bars} most {most:,}: {listed(spans, 3)}"


def _cells(groups: Groups, figures: GroupFigures, names: Sequence[str], *, compares: bool) -> list[tuple[str, str]]:
    """Return the cells of a row, each with its heading."""
    p50, p95 = _span(figures.duration_p50), _span(figures.duration_p95)
    failed, share = ("failed", f"{figures.failed:,}"), figures.share_of_failures
    return [
        *((name, _name(group)) for name, group in zip(names, groups, strict=True)),
        *([("runs", f"{figures.runs:,}"), failed] if share is None else [failed]),
        ("rate", _percent(figures.failure_rate)) if share is None else ("share of failures", _percent(share)),
        *([("change", _points(figures.change))] if compares else []),
        ("p50 (before)", f"{p50} ({_span(figures.before_p50)})") if compares else ("took p50", p50),
        ("p95 (before)", f"{p95} ({_span(figures.before_p95)})") if compares else ("p95", p95),
        ("credits", f"{figures.credits:,.10g}"),
    ]


def _name(group: Group) -> str:
    if group.is_time:
        return group.name
    name = f"{Label(group.name) or Label('none'):80}"
    return f"{name} ({Id(group.id)})" if group.id else name


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.3g}%"


def _points(change: float | None) -> str:
    return "-" if change is None else f"{100 * change:+.3g} points"


def _span(seconds: float | None) -> str:
    return format_span(seconds) if seconds is not None else "-"


def _spans(p50: float | None, p95: float | None) -> str:
    return f"p50 {_span(p50)}, p95 {_span(p95)}"


def _quantile(seconds: Sequence[float], share: float) -> float | None:
    value = quantile(seconds, share)
    return None if value is None else round(value, 1)


def _freshness(kept: Freshness) -> list[str]:
    covers = f"every run created after {format_instant(kept.since)}" if kept.since else "every run of the account"
    line = f"As of {format_instant(kept.as_of)}, from {covers}."
    if kept.as_of - kept.pass_at >= timedelta(minutes=1):
        line += f" A run that somebody else deleted since {format_instant(kept.pass_at)} may still be counted."
    return [line]
