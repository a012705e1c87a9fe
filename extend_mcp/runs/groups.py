"""Group runs by what they have in common, or by the hours and days of a calendar."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import cache
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

from extend_mcp.runs.statistics import QUARTER, Group

T = TypeVar("T")

Unit = Literal["hour", "day", "week", "month"]
GroupName = Literal[
    "workflow",
    "version",
    "status",
    "failure_reason",
    "failing_step",
    "file_type",
    "batch",
    "reviewer",
    "metadata",
    "day",
    "hour",
]
GROUP_NAMES: Final[tuple[GroupName, ...]] = get_args(GroupName)
OF_FAILURES: Final = frozenset({"failure_reason", "failing_step"})
"""Groups that hold failed runs alone."""

OF_TIME: Final[Mapping[str, timedelta]] = {"day": timedelta(days=1), "hour": timedelta(hours=1)}
"""Groups that are spans of the calendar, and how long one is."""

COLUMNS: Final[Mapping[GroupName, tuple[str, ...]]] = {name: (name,) for name in GROUP_NAMES} | {
    "version": ("workflow", "version"),
    "failure_reason": ("status", "reason"),
    "failing_step": ("status", "workflow", "step"),
    "metadata": ("is_read", "metadata"),
    "day": ("quarter_hour",),
    "hour": ("quarter_hour",),
}
"""The facts of runs that each group is made of, by their names in `RunStore.tallies`."""

UNKNOWN: Final = "unknown"
_WITHOUT: Final = {"status": "", "file_type": UNKNOWN, "batch": "no batch", "reviewer": "not reviewed"}
"""Name of the group of runs that have no such fact."""


class _Bars(NamedTuple):
    """The least length of a span, the pause between moments that name each of them, and the most that are shown."""

    seconds: int
    step: int
    most: int


_BARS: Final[Mapping[Unit, _Bars]] = {
    "hour": _Bars(3600, QUARTER, 48),
    "day": _Bars(86_400, 6 * 3600, 62),
    "week": _Bars(7 * 86_400, 86_400, 62),
    "month": _Bars(28 * 86_400, 86_400, 60),
}


class Course(NamedTuple):
    """Runs over time: a span of the calendar each, without gaps."""

    unit: Unit
    spans: list[str]
    runs: list[int]
    failed: list[int]


class Calendar:
    """The hours, days, weeks and months of a time zone."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        # Many runs are of one quarter of an hour.
        self._cached_name = cache(self._name)

    def span(self, unit: Unit, moment: float) -> str:
        """Return the name of the span that holds a moment, given in Unix seconds.

        An hour is named with its offset, since one hour a year happens twice in many zones.
        """
        return self._cached_name(unit, int(moment // QUARTER) * QUARTER)

    def firsts(self, by: Sequence[GroupName], shift: int) -> Callable[[int], int]:
        """Return a function that gives all quarters of an hour of one span the same one, since there may be many.

        The shortest span of ``by`` counts. ``shift`` is as for `group_of`.
        """
        unit: Unit = "hour" if "hour" in by else "day"
        found: dict[str, int] = {}
        return lambda quarter: found.setdefault(self.span(unit, quarter * QUARTER + shift), quarter)

    def course(self, counts: Sequence[tuple[int, int, int]]) -> Course | None:
        """Sum up runs and failed ones, given by quarters of an hour, in the smallest spans that few bars can show."""
        if not counts:
            return None
        first, last = min(counts)[0] * QUARTER, max(counts)[0] * QUARTER
        unit = next((unit for unit, bars in _BARS.items() if (last - first) / bars.seconds <= bars.most - 2), None)
        if unit is None:
            return None
        runs, failed = Counter[str](), Counter[str]()
        for quarter, count, failures in counts:
            span = self.span(unit, quarter * QUARTER)
            runs[span] += count
            failed[span] += failures
        ticks = [*range(first, last, _BARS[unit].step), last]
        spans = list(dict.fromkeys(self.span(unit, tick) for tick in ticks))
        return Course(unit, spans, [runs[span] for span in spans], [failed[span] for span in spans])

    def _name(self, unit: Unit, moment: float) -> str:
        try:
            local = datetime.fromtimestamp(moment, self._zone)
        except (OSError, OverflowError, ValueError):
            return UNKNOWN
        if unit == "hour":
            return local.replace(minute=0).isoformat(timespec="minutes").replace("+00:00", "Z")
        if unit == "week":
            return (local.date() - timedelta(days=local.weekday())).isoformat()
        return local.date().isoformat() if unit == "day" else local.strftime("%Y-%m")


def group_of(
    by: GroupName, facts: Mapping[str, Any], names: Mapping[str, str], calendar: Calendar, shift: int
) -> Group | None:
    """Return the group of runs; None if they belong to none, or a fact that was not read decides that.

    Args:
        by: what runs are grouped by.
        facts: what the runs have in common, by the names in `COLUMNS`.
        names: of workflows, by id.
        calendar: names days and hours.
        shift: seconds that are added to the creation time, so that a run of the window before falls into the span that
            it is compared with.
    """
    if by == "day" or by == "hour":
        quarter = facts["quarter_hour"]
        span = UNKNOWN if quarter is None else calendar.span(by, quarter * QUARTER + shift)
        return Group(span, span, is_time=span != UNKNOWN)
    if by in OF_FAILURES and (facts["status"] != "FAILED" or facts[COLUMNS[by][-1]] is None):
        return None
    if by == "metadata":
        if not facts["is_read"]:
            return None
        name = "(not set)" if facts["metadata"] is None else facts["metadata"][:200]
    elif by in _WITHOUT:
        name = facts[by] or _WITHOUT[by]
    elif by == "failure_reason":
        name = facts["reason"] or "no reason given"
    else:
        workflow, name = facts["workflow"], names.get(facts["workflow"], "")
        if by == "workflow":
            return Group(workflow, name, workflow)
        if by == "version":
            version = facts["version"] or "?"
            return Group(f"{workflow} {version}", f"{name}, version {version}")
        name = f"{name}: {facts['step']}" if facts["step"] else "before any step"
    return Group(name, name)


def is_unread(by: GroupName, facts: Mapping[str, Any]) -> bool:
    """Return whether only reading runs in full shows their group."""
    if by in OF_FAILURES:
        return facts["status"] == "FAILED" and facts[COLUMNS[by][-1]] is None
    return by == "metadata" and not facts["is_read"]


def largest(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Group what has the same key, the largest group first."""
    groups: defaultdict[Hashable, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return sorted(groups.values(), key=len, reverse=True)
