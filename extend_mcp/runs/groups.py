"""Group runs by a fact of each, or by the hours and days of a calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final, Literal, NamedTuple, get_args

from extend_mcp.runs.statistics import RunFacts

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

_QUARTER: Final = 900
_STEPS: Final[Mapping[Unit, int]] = {"hour": _QUARTER, "day": 6 * 3600, "week": 86_400, "month": 86_400}
_MOST_BARS: Final[Mapping[Unit, int]] = {"hour": 48, "day": 62, "week": 62, "month": 60}
_SECONDS: Final[Mapping[Unit, int]] = {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 28 * 86_400}
UNKNOWN: Final = "unknown"


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
    """The hours, days, weeks and months of a time zone.

    Args:
        zone: the time zone.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._names: dict[tuple[Unit, int], str] = {}

    def span(self, unit: Unit, moment: float) -> str:
        """Return the name of the span that holds a moment, given in Unix seconds.

        An hour is named with its offset, since one hour a year happens twice in many zones.
        """
        # No zone begins an hour within a quarter of one.
        quarter = int(moment // _QUARTER)
        name = self._names.get((unit, quarter))
        if name is None:
            name = self._names[unit, quarter] = self._name(unit, quarter * _QUARTER)
        return name

    def course(self, moments: Sequence[tuple[float, bool]]) -> Course | None:
        """Count moments, and whether a run failed in each, in the smallest spans that few bars can show."""
        if not moments:
            return None
        first, last = min(moments)[0], max(moments)[0]
        unit = next((unit for unit, most in _MOST_BARS.items() if (last - first) / _SECONDS[unit] <= most - 2), None)
        if unit is None:
            return None
        runs, failed = Counter[str](), Counter[str]()
        for moment, has_failed in moments:
            span = self.span(unit, moment)
            runs[span] += 1
            failed[span] += has_failed
        ticks = [*range(int(first), int(last), _STEPS[unit]), last]
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
    by: GroupName, run: RunFacts, calendar: Calendar, metadata: Mapping[str, str | None], shift: timedelta
) -> Group | None:
    """Return the group of a run; None if it belongs to none, or a fact that was not read decides that.

    Args:
        by: what runs are grouped by.
        run: the run.
        calendar: names days and hours.
        metadata: the value of the metadata key, by the id of a run that was read.
        shift: added to the creation time, so that a run of the window before falls into the span it is compared with.
    """
    if by in UNITS:
        if run.created is None:
            return Group(UNKNOWN, UNKNOWN)
        span = calendar.span(UNITS[by], (run.created + shift).timestamp())
        return Group(span, span, is_time=span != UNKNOWN)
    if by in OF_FAILURES:
        if run.status != "FAILED" or run.reason is None:
            return None
        if by == "failure_reason":
            return _named(run.reason or "no reason given")
        return _named(f"{run.workflow_name}: {run.step}" if run.step else "before any step")
    if by == "metadata":
        return _named(metadata[run.id] or "(not set)") if run.id in metadata else None
    if by == "workflow":
        return Group(run.workflow_id, run.workflow_name, run.workflow_id)
    if by == "version":
        version = run.version or "?"
        return Group(f"{run.workflow_id} {version}", f"{run.workflow_name}, version {version}")
    if by == "status":
        return _named(run.status)
    if by == "file_type":
        return _named(run.file_type or UNKNOWN)
    if by == "batch":
        return _named(run.batch_id or "no batch")
    return _named(run.reviewer or "not reviewed")


def needs_reading(by: GroupName, run: RunFacts, metadata: Mapping[str, str | None]) -> bool:
    """Return whether only reading a run in full shows its group."""
    if by in OF_FAILURES:
        return run.status == "FAILED" and run.reason is None
    return by == "metadata" and run.id not in metadata


def _named(name: str) -> Group:
    return Group(name, name)
