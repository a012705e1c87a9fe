"""Group runs by a fact of each, or by the hours and days of a calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Literal, NamedTuple, get_args

from extend_mcp.runs.statistics import QUARTER

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

UNITS: Final[Mapping[GroupName, Unit]] = {"day": "day", "hour": "hour"}

COLUMNS: Final[Mapping[GroupName, tuple[str, ...]]] = {
    "workflow": ("workflow",),
    "version": ("workflow", "version"),
    "status": ("status",),
    "failure_reason": ("status", "reason"),
    "failing_step": ("status", "workflow", "step"),
    "file_type": ("file_type",),
    "batch": ("batch",),
    "reviewer": ("reviewer",),
    "metadata": ("is_read", "metadata"),
    "day": ("quarter_hour",),
    "hour": ("quarter_hour",),
}
"""The facts of runs that each group is made of, by their names in `RunStore.tallies`."""

_STEPS: Final[Mapping[Unit, int]] = {"hour": QUARTER, "day": 6 * 3600, "week": 86_400, "month": 86_400}
_MOST_BARS: Final[Mapping[Unit, int]] = {"hour": 48, "day": 62, "week": 62, "month": 60}
_SECONDS: Final[Mapping[Unit, int]] = {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 28 * 86_400}
UNKNOWN: Final = "unknown"
_WITHOUT: Final[Mapping[GroupName, str]] = {
    "status": "",
    "file_type": UNKNOWN,
    "batch": "no batch",
    "reviewer": "not reviewed",
}
"""Name of the group of runs that have no such fact."""


class Group(NamedTuple):
    """A group of runs.

    Attributes:
        key: distinguishes it from others of its kind.
        name: what it is called; outside text, unless ``is_time``.
        id: of the object that it is for, if any.
        is_time: whether it is a span of the calendar.
    """

    key: str
    name: str
    id: str | None = None
    is_time: bool = False


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
        self._names: dict[tuple[Unit, int], str] = {}

    def span(self, unit: Unit, moment: float) -> str:
        """Return the name of the span that holds a moment, given in Unix seconds.

        An hour is named with its offset, since one hour a year happens twice in many zones.
        """
        quarter = int(moment // QUARTER)
        name = self._names.get((unit, quarter))
        if name is None:
            name = self._names[unit, quarter] = self._name(unit, quarter * QUARTER)
        return name

    def firsts(self, by: Sequence[GroupName], shift: int) -> Callable[[int], int]:
        """Return a function that gives all quarters of an hour of one span the same one, since there may be many.

        Args:
            by: what runs are grouped by; the shortest of its spans counts.
            shift: seconds that are added to a moment before its span is named.
        """
        unit: Unit = "hour" if "hour" in by else "day"
        found: dict[str, int] = {}
        return lambda quarter: found.setdefault(self.span(unit, quarter * QUARTER + shift), quarter)

    def course(self, counts: Sequence[tuple[int, int, int]]) -> Course | None:
        """Sum up runs and failed ones, given by quarters of an hour, in the smallest spans that few bars can show."""
        if not counts:
            return None
        first, last = min(counts)[0] * QUARTER, max(counts)[0] * QUARTER
        unit = next((unit for unit, most in _MOST_BARS.items() if (last - first) / _SECONDS[unit] <= most - 2), None)
        if unit is None:
            return None
        runs, failed = Counter[str](), Counter[str]()
        for quarter, count, failures in counts:
            span = self.span(unit, quarter * QUARTER)
            runs[span] += count
            failed[span] += failures
        ticks = [*range(first, last, _STEPS[unit]), last]
        spans = list(dict.fromkeys(self.span(unit, tick) for tick in ticks))
        return Course(unit, spans, [runs[span] for span in spans], [failed[span] for span in spans])

    def _name(self, unit: Unit, moment: float) -> str:
        try:
            local = datetime.fromtimestamp(moment, self._zone)
        except (OSError, OverflowError, ValueError):
            return UNKNOWN
        if unit == "hour":
            return local.replace(minute=0, second=0).isoformat(timespec="minutes").replace("+00:00", "Z")
        if unit == "week":
            return (local.date() - timedelta(days=min(local.weekday(), local.toordinal() - 1))).isoformat()
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
    if by in UNITS:
        quarter = facts["quarter_hour"]
        span = UNKNOWN if quarter is None else calendar.span(UNITS[by], quarter * QUARTER + shift)
        return Group(span, span, is_time=span != UNKNOWN)
    if by == "metadata":
        value = facts["metadata"]
        return _named("(not set)" if value is None else value[:200]) if facts["is_read"] else None
    if by in _WITHOUT:
        return _named(facts[by] or _WITHOUT[by])
    if by == "failure_reason":
        return _named(facts["reason"] or "no reason given") if _is_known_failure(facts, "reason") else None
    workflow, name = facts["workflow"], names.get(facts["workflow"], "")
    if by == "failing_step":
        step = f"{name}: {facts['step']}" if facts["step"] else "before any step"
        return _named(step) if _is_known_failure(facts, "step") else None
    if by == "version":
        version = facts["version"] or "?"
        return Group(f"{workflow} {version}", f"{name}, version {version}")
    return Group(workflow, name, workflow)


def is_unread(by: GroupName, facts: Mapping[str, Any]) -> bool:
    """Return whether only reading runs in full shows their group."""
    if by in OF_FAILURES:
        return facts["status"] == "FAILED" and facts[COLUMNS[by][-1]] is None
    return by == "metadata" and not facts["is_read"]


def _is_known_failure(facts: Mapping[str, Any], fact: str) -> bool:
    return facts["status"] == "FAILED" and facts[fact] is not None


def _named(name: str) -> Group:
    return Group(name, name)
