"""Group runs by what they have in common, or by the hours and days of a calendar."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import cache, partial
from typing import Any, Final, NamedTuple, TypeVar

from extend_mcp.runs.statistics import QUARTER, UNREAD, WAITING, Group, RunFacts, Statistics, Tally, Waiting

T = TypeVar("T")

OF_FAILURES: Final = frozenset({"failure_reason", "failing_step"})
"""Groups that hold failed runs alone."""

OF_TIME: Final[Mapping[str, timedelta]] = {"day": timedelta(days=1), "hour": timedelta(hours=1)}
"""Groups that are spans of the calendar, and how long one is."""


def _named(name: str) -> Group:
    return Group(name, name)


def _failed(status: str, fact: str | None, name: str) -> Group | None:
    if status != "FAILED":
        return None
    return UNREAD if fact is None else _named(name)


_KINDS: Final[Mapping[str, tuple[tuple[str, ...], Callable[..., Group | None]]]] = {
    "workflow": (("workflow_id",), lambda names, workflow: Group(workflow, names.get(workflow, ""), workflow)),
    "version": (
        ("workflow_id", "version"),
        lambda names, workflow, version: Group(
            f"{workflow} {version or '?'}", f"{names.get(workflow, '')}, version {version or '?'}"
        ),
    ),
    "status": (("status",), lambda _, status: _named(status)),
    "failure_reason": (
        ("status", "reason"),
        lambda _, status, reason: _failed(status, reason, reason or "no reason given"),
    ),
    "failing_step": (
        ("status", "workflow_id", "step"),
        lambda names, status, workflow, step: _failed(
            status, step, f"{names.get(workflow, '')}: {step}" if step else "before any step"
        ),
    ),
    "file_type": (("file_type",), lambda _, file_type: _named(file_type or "unknown")),
    "batch": (("batch_id",), lambda _, batch: _named(batch or "no batch")),
    "reviewer": (("reviewer",), lambda _, reviewer: _named(reviewer or "not reviewed")),
    "metadata": (
        ("is_read", "metadata"),
        lambda _, is_read, value: _named("(not set)" if value is None else value[:200]) if is_read else UNREAD,
    ),
    "day": (("day",), lambda _, span: Group(span or _UNKNOWN, span or _UNKNOWN, is_time=bool(span))),
    "hour": (("hour",), lambda _, span: Group(span or _UNKNOWN, span or _UNKNOWN, is_time=bool(span))),
}
"""By what runs can be grouped: the facts that decide it, and the group, made of workflow names by id and the facts."""

GROUP_NAMES: Final = tuple(_KINDS)
_UNKNOWN: Final = "unknown"


_BARS: Final = {
    "hour": (3600, QUARTER, 48),
    "day": (86_400, 6 * 3600, 62),
    "week": (7 * 86_400, 86_400, 62),
    "month": (28 * 86_400, 86_400, 60),
}
"""The least seconds of a span, the seconds between moments that name each of them, and the most that are shown."""


class Course(NamedTuple):
    """Runs over time: a span of the calendar each, without gaps."""

    unit: str
    spans: list[str]
    runs: list[int]
    failed: list[int]

    @property
    def most_failed(self) -> str | None:
        """The first span with the most failed runs, if any failed."""
        return self.spans[self.failed.index(max(self.failed))] if any(self.failed) else None


class Calendar:
    """The hours, days, weeks and months of a time zone."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        # Many runs are of one quarter of an hour.
        self._cached_name = cache(self._name)

    def span(self, unit: str, moment: float) -> str:
        """Return the name of the span that holds a moment, given in Unix seconds.

        An hour is named with its offset, since one hour a year happens twice in many zones.
        """
        return self._cached_name(unit, int(moment // QUARTER) * QUARTER)

    def course(self, counts: Mapping[tuple[int | None, str], int]) -> Course | None:
        """Sum up runs and failed ones, given as in `Statistics`, in the smallest spans that few bars can show."""
        moments = [quarter * QUARTER for quarter, _ in counts if quarter is not None]
        first, last = min(moments, default=0), max(moments, default=0)
        fitting = (unit for unit, (seconds, _, most) in _BARS.items() if (last - first) / seconds <= most - 2)
        unit = next(fitting, None)
        if unit is None or not moments:
            return None
        runs, failed = Counter[str](), Counter[str]()
        for (quarter, status), count in counts.items():
            if quarter is not None:
                span = self.span(unit, quarter * QUARTER)
                runs[span] += count
                failed[span] += count if status == "FAILED" else 0
        ticks = [*range(first, last, _BARS[unit][1]), last]
        spans = list(dict.fromkeys(self.span(unit, tick) for tick in ticks))
        return Course(unit, spans, [runs[span] for span in spans], [failed[span] for span in spans])

    def _name(self, unit: str, moment: float) -> str:
        try:
            local = datetime.fromtimestamp(moment, self._zone)
        except (OSError, OverflowError, ValueError):
            return ""
        if unit == "hour":
            return local.replace(minute=0).isoformat(timespec="minutes").replace("+00:00", "Z")
        if unit == "week":
            return (local.date() - timedelta(days=local.weekday())).isoformat()
        return local.date().isoformat() if unit == "day" else local.strftime("%Y-%m")


@dataclass(frozen=True)
class Grouping:
    """Groups runs by one or more of `GROUP_NAMES`.

    ``shift`` is the seconds that are added to the creation time, so that a run of the window before falls into the
    span that it is compared with.
    """

    by: Sequence[str]
    calendar: Calendar
    shift: int = 0

    @property
    def columns(self) -> list[str]:
        """The facts of runs that the groups are made of.

        They are those of `RunFacts`, and ``day`` and ``hour`` (both the quarter of an hour since 1970), ``metadata``
        (the value of a key, None where it is not set) and ``is_read``. A step is None while a run was not read in
        full, and a reason while it is not known.
        """
        return [column for name in self.by for column in _KINDS[name][0]]

    def count(self, rows: Iterable[Any], names: Mapping[str, str]) -> Statistics:
        """Count runs one by one: there may be a million. ``names`` is of workflows by id.

        Each row has status, quarter of an hour, duration, queue, credits and a fact for each of `columns`.
        """
        spans = [
            (place, cache(partial(self._span, name))) for place, name in enumerate(self.columns) if name in OF_TIME
        ]
        course = Counter[tuple[int | None, str]]()
        by_facts: dict[tuple[Any, ...], Tally] = {}
        by_groups: dict[tuple[Group | None, ...], Tally] = {}
        for status, quarter, duration, queue, spent, *facts in rows:
            for place, span in spans:
                facts[place] = span(facts[place])
            tally = by_facts.get(key := tuple(facts))
            if tally is None:
                tally = by_facts[key] = by_groups.setdefault(self._groups(names, *facts), Tally())
            tally.statuses[status] += 1
            if duration is not None:
                tally.durations.append(duration)
            if queue is not None:
                tally.queues.append(queue)
            if spent:
                tally.credits += spent
            course[quarter, status] += 1
        found = Statistics(course=course)
        for groups, tally in by_groups.items():
            found.total.merge(tally)
            known = tuple(each for each in groups if each is not None and each is not UNREAD)
            if len(known) == len(groups):
                found.groups[known] = tally
            elif UNREAD in groups:
                found.unread += tally.runs
        return found

    def count_listed(self, runs: Sequence[RunFacts], metadata: Mapping[str, str | None]) -> Statistics:
        """Count listed runs, newest first; ``metadata`` has the value of each run that was read in full, by its id."""

        def row(run: RunFacts) -> tuple[Any, ...]:
            quarter = int(run.created.timestamp() // QUARTER) if run.created else None
            others = {"day": quarter, "hour": quarter, "metadata": metadata.get(run.id), "is_read": run.id in metadata}
            facts = [others[name] if name in others else getattr(run, name) for name in self.columns]
            return run.status, quarter, run.duration_seconds, run.queue_seconds, run.credits, *facts

        found = self.count(map(row, runs), {run.workflow_id: run.workflow_name for run in runs})
        found.oldest = {
            run.status: Waiting(run.id, run.created) for run in runs if run.created and run.status in WAITING
        }
        return found

    def _span(self, unit: str, quarter: int | None) -> str:
        return "" if quarter is None else self.calendar.span(unit, quarter * QUARTER + self.shift)

    def _groups(self, names: Mapping[str, str], *facts: Any) -> tuple[Group | None, ...]:
        found: list[Group | None] = []
        for name in self.by:
            columns, group = _KINDS[name]
            given, facts = facts[: len(columns)], facts[len(columns) :]
            found.append(group(names, *given))
        return tuple(found)


def largest(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Group what has the same key, the largest group first."""
    groups: defaultdict[Hashable, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return sorted(groups.values(), key=len, reverse=True)
