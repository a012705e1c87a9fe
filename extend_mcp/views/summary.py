"""What many runs have in common, in figures: counts, shares, times, credits, and the window before for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from extend_mcp.runs.polling import by_urgency
from extend_mcp.runs.statistics import Statistics, Tally, buckets, quantile
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.budget import fit
from extend_mcp.views.untrusted import NOTE, plain, quote, word

_MOST_GROUPS = 25
_BARS = "▁▂▃▄▅▆▇█"
_SPANS = 24
_FEW = 5


class GroupFigures(ViewPart):
    """The runs of one group; times in seconds."""

    group: str
    id: str | None = None
    runs: int
    failed: int
    duration_p50: float | None = None
    duration_p95: float | None = None
    credits: float


class OldestWaiting(ViewPart):
    """The run of a status that has existed longest."""

    status: str
    run_id: str
    created_at: datetime


class WindowBefore(ViewPart):
    """The window of the same length right before."""

    runs: int
    failed: int
    duration_p50: float | None = None
    complete: bool


class SummaryView(View):
    """Figures of many runs; times in seconds."""

    runs: int
    complete: bool
    missing: list[str] | None = None
    statuses: dict[str, int]
    duration_p50: float | None = None
    duration_p95: float | None = None
    queue_p50: float | None = None
    queue_p95: float | None = None
    credits: float
    oldest_waiting: list[OldestWaiting]
    before: WindowBefore | None = None
    grouped_by: str
    groups: list[GroupFigures]
    groups_left_out: int = 0
    untrusted: str = "group"


@dataclass(frozen=True)
class Before:
    """What was counted of the window before, and whether all of it was read."""

    tally: Tally
    complete: bool


@dataclass(frozen=True)
class Label:
    """What a group is called (outside text), and the id it stands for, if any."""

    name: str
    id: str | None = None


def summary_view(
    counted: Statistics,
    *,
    labels: dict[str, Label],
    grouped_by: str,
    filters: str,
    before: Before | None,
    missing: Sequence[str],
    now: datetime,
    limit: int,
) -> SummaryView:
    """Put figures in words.

    Args:
        counted: what was counted.
        labels: what each group is called.
        grouped_by: what the groups are, in words.
        filters: which runs, in words.
        before: the window before, if there was one to compare with.
        missing: what was left out and why.
        now: the present.
        limit: characters of the text.
    """
    total = counted.total
    groups = sorted(counted.groups.items(), key=lambda item: (-item[1].runs, item[0]))
    shown = [_figures(labels.get(key, Label(key)), tally) for key, tally in groups[:_MOST_GROUPS]]
    view = SummaryView(
        runs=total.runs,
        complete=not missing,
        missing=list(missing) or None,
        statuses=_by_status(total),
        duration_p50=_rounded(quantile(total.durations, 0.5)),
        duration_p95=_rounded(quantile(total.durations, 0.95)),
        queue_p50=_rounded(quantile(total.queues, 0.5)),
        queue_p95=_rounded(quantile(total.queues, 0.95)),
        credits=round(total.credits, 2),
        oldest_waiting=[
            OldestWaiting(status=status, run_id=plain(each.run_id, 300), created_at=each.created)
            for status, each in counted.oldest.items()
        ],
        before=_before(before),
        grouped_by=grouped_by,
        groups=shown,
    )
    head = _head(view, counted, filters, before, now)
    table, kept = fit(
        [_row(figures, total.runs) for figures in shown],
        max(limit - sum(len(line) + 1 for line in head) - len(NOTE) - 200, 300),
        lambda gone: f"… {gone} smaller groups more",
    )
    view.groups = shown[:kept]
    view.groups_left_out = len(groups) - kept
    lines = head
    if groups:
        columns = f"{grouped_by} | runs | share | failed | took p50 | p95 | credits"
        lines = [*head, NOTE, columns, *table]
        if kept == len(shown) and view.groups_left_out:
            lines.append(f"… {view.groups_left_out} smaller groups more")
    return view.with_text("\n".join(lines))


def _figures(label: Label, tally: Tally) -> GroupFigures:
    return GroupFigures(
        group=plain(label.name, 120) or "none",
        id=plain(label.id, 300) if label.id else None,
        runs=tally.runs,
        failed=tally.failed,
        duration_p50=_rounded(quantile(tally.durations, 0.5)),
        duration_p95=_rounded(quantile(tally.durations, 0.95)),
        credits=round(tally.credits, 2),
    )


def _by_status(tally: Tally) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status in by_urgency(tally.statuses):
        name = plain(status, 60) or "unknown"
        counts[name] = counts.get(name, 0) + tally.statuses[status]
    return counts


def _before(before: Before | None) -> WindowBefore | None:
    if before is None:
        return None
    tally = before.tally
    return WindowBefore(
        runs=tally.runs,
        failed=tally.failed,
        duration_p50=_rounded(quantile(tally.durations, 0.5)),
        complete=before.complete,
    )


def _head(view: SummaryView, counted: Statistics, filters: str, before: Before | None, now: datetime) -> list[str]:
    statuses = ", ".join(f"{count:,} {word(status)}" for status, count in view.statuses.items())
    lines = [f"{view.runs:,} runs{f' ({filters})' if filters else ''}{f': {statuses}' if statuses else ''}."]
    lines += [f"INCOMPLETE: {each}." for each in view.missing or ()]
    if not view.runs:
        return lines
    lines.append(
        f"Took p50 {_span(view.duration_p50)}, p95 {_span(view.duration_p95)}; queued p50 {_span(view.queue_p50)}, "
        f"p95 {_span(view.queue_p95)}; {view.credits:,.10g} credits."
    )
    for each in view.oldest_waiting:
        age = format_span((now - each.created_at).total_seconds())
        lines.append(f"Oldest {each.status}: {word(each.run_id, 300)}, created {age} ago.")
    if before is not None:
        lines.append(_compared(counted.total, before))
    return lines + _chart(counted.moments)


def _compared(total: Tally, before: Before) -> str:
    then = before.tally
    said = (
        f"The window before: {then.runs:,} runs, {then.failed:,} failed ({_share(then.failed, then.runs)}; now "
        f"{_share(total.failed, total.runs)}), took p50 {_span(_rounded(quantile(then.durations, 0.5)))}."
    )
    return said if before.complete else f"{said} It was not read to its end."


def _chart(moments: Sequence[tuple[float, bool]]) -> list[str]:
    """Runs and failures over time as bars, where there are enough to show a course."""
    if len(moments) < _FEW:
        return []
    runs, failed, first, width = buckets(moments, _SPANS)
    begin = format_instant(datetime.fromtimestamp(first, timezone.utc))
    lines = [f"Created since {begin}, {format_span(width)} a bar: {_bars(runs)} at most {max(runs):,}"]
    if any(failed):
        worst = failed.index(max(failed))
        at = format_instant(datetime.fromtimestamp(first, timezone.utc) + timedelta(seconds=worst * width))
        lines.append(f"of these failed: {_bars(failed)} at most {max(failed):,}, at {at}")
    return lines


def _bars(counts: Sequence[int]) -> str:
    most = max(counts)
    return "".join("·" if not count else _BARS[(count * len(_BARS) - 1) // most] for count in counts)


def _row(figures: GroupFigures, total: int) -> str:
    called = f" ({word(figures.id, 300)})" if figures.id else ""
    return (
        f"{quote(figures.group, 80)}{called} | {figures.runs:,} | {_share(figures.runs, total)} | {figures.failed:,} | "
        f"{_span(figures.duration_p50)} | {_span(figures.duration_p95)} | {figures.credits:,.10g}"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g}%" if whole else "-"


def _span(seconds: float | None) -> str:
    return format_span(seconds) if seconds is not None else "-"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
