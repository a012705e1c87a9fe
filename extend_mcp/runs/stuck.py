"""Find the runs that hang: longer in their present state than their workflow usually takes, and whose fault it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, pstdev
from typing import Final

from extend_mcp.runs.statistics import RunFacts, quantile

MOVING: Final = ("PENDING", "PROCESSING", "CANCELLING")

FEWEST: Final = 5
"""Runs that must have ended before the usual time of a workflow is known."""

CANCELLING_SECONDS: Final = 300.0
"""A cancel takes seconds; Extend documents no limit."""

_QUEUE_SECONDS: Final = 60.0
"""A shorter wait in the queue is never called stuck."""


@dataclass(frozen=True)
class Usual:
    """Usual times of a workflow: 95th percentiles in seconds, None where too few runs show one.

    Attributes:
        run: from start to end.
        page: the same for each page, where that differs less from run to run.
        queue: from creation to start.
    """

    run: float | None = None
    page: float | None = None
    queue: float | None = None

    def limit(self, run: RunFacts) -> float | None:
        """Return the longest usual time of a run in its present state; None if it is unknown."""
        if run.status == "CANCELLING":
            return CANCELLING_SECONDS
        if run.status == "PENDING":
            return None if self.queue is None else max(self.queue, _QUEUE_SECONDS)
        return self.page * run.pages if self.page is not None and run.pages else self.run


@dataclass(frozen=True)
class Stuck:
    """A run that hangs.

    Attributes:
        run: the run.
        seconds: how long it has not changed, at least.
        usual: the time within which 95% of such runs are done.
    """

    run: RunFacts
    seconds: float
    usual: float


def usual_times(done: Iterable[RunFacts]) -> dict[str, Usual]:
    """Return the usual times of each workflow, from its runs that were processed without a person."""
    by_workflow: defaultdict[str, list[RunFacts]] = defaultdict(list)
    for run in done:
        if run.status == "PROCESSED" and run.duration_seconds is not None and not run.reviewer:
            by_workflow[run.workflow_id].append(run)
    return {workflow: _usual(runs) for workflow, runs in by_workflow.items() if len(runs) >= FEWEST}


def _usual(runs: Sequence[RunFacts]) -> Usual:
    took = [run.duration_seconds or 0.0 for run in runs]
    paged = [(run.duration_seconds or 0.0) / run.pages for run in runs if run.pages]
    by_page = len(paged) == len(runs) and _spread(paged) < _spread(took)
    queues = [run.queue_seconds for run in runs if run.queue_seconds is not None]
    return Usual(
        run=quantile(took, 0.95),
        page=quantile(paged, 0.95) if by_page else None,
        queue=quantile(queues, 0.95),
    )


def _spread(values: Sequence[float]) -> float:
    """Return how much values differ, in relation to their mean."""
    mean = fmean(values)
    return pstdev(values) / mean if mean else 0.0


def stuck_runs(runs: Iterable[RunFacts], usual: dict[str, Usual], now: datetime) -> tuple[list[Stuck], int]:
    """Return the runs that hang, the longest first, and how many moving runs could not be judged."""
    found: list[Stuck] = []
    unjudged = 0
    for run in runs:
        # A run changes with each step: since its last change it has been in the present one.
        moment = run.created if run.status == "PENDING" else run.updated or run.created
        if run.status not in MOVING or moment is None:
            continue
        limit = usual.get(run.workflow_id, Usual()).limit(run)
        seconds = (now - moment).total_seconds()
        if limit is None:
            unjudged += 1
        elif seconds > limit:
            found.append(Stuck(run, seconds, limit))
    return sorted(found, key=lambda each: (-each.seconds, each.run.id)), unjudged


@dataclass(frozen=True)
class Stall:
    """The runs of one workflow that hang while they run.

    Attributes:
        workflow: the workflow's name.
        stuck: how many hang.
        running: how many are PROCESSING.
        last_good: when a run of the workflow last ended well; None if none was seen.
    """

    workflow: str
    stuck: int
    running: int
    last_good: datetime | None


def stalls(stuck: Sequence[Stuck], moving: Iterable[RunFacts], done: Iterable[RunFacts]) -> list[Stall]:
    """Return each workflow with PROCESSING runs, and how many of these hang, most first."""
    names: dict[str, str] = {}
    running: defaultdict[str, int] = defaultdict(int)
    hanging: defaultdict[str, int] = defaultdict(int)
    last: dict[str, datetime] = {}
    for run in moving:
        if run.status == "PROCESSING":
            names[run.workflow_id] = run.workflow_name
            running[run.workflow_id] += 1
    for each in stuck:
        hanging[each.run.workflow_id] += each.run.status == "PROCESSING"
    for run in done:
        if run.status == "PROCESSED" and run.updated:
            last[run.workflow_id] = max(last.get(run.workflow_id, run.updated), run.updated)
    found = [Stall(name, hanging[key], running[key], last.get(key)) for key, name in names.items()]
    return sorted(found, key=lambda each: -each.stuck)


@dataclass(frozen=True)
class StuckRuns:
    """The runs that hang.

    Attributes:
        stuck: the runs, the longest first.
        steps: the present step of each, where it was read.
        stalls: each workflow with PROCESSING runs.
        moving: how many runs move, these among them.
        unjudged: how many moving runs are of a workflow whose usual time is unknown.
        missing: what could not be read.
    """

    stuck: list[Stuck]
    steps: dict[str, str]
    stalls: list[Stall]
    moving: int
    unjudged: int
    missing: list[str]
