"""Say since when a run is in its present state, how long such runs usually take, and which of them hang.

The API gives a run's creation, start, end and review, and the last change of each child run. It has no time for the
start of a step, of a review or of a cancel. The last change of the run bounds these from above, and the last change of
its child runs from below.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, pstdev
from typing import Final, NamedTuple

from extend_mcp.api.models import WorkflowRun
from extend_mcp.runs.lifecycle import MOVING
from extend_mcp.runs.statistics import FEW, RunFacts, quantile
from extend_mcp.runs.times import format_instant, format_span, read_instant

CANCELLING_SECONDS: Final = 300.0
"""A cancel takes seconds; Extend documents no limit."""

_QUEUE_SECONDS: Final = 60.0
"""A shorter wait in the queue is never called stuck."""

_CLOSE_SECONDS, _CLOSE_SHARE = 60.0, 0.05


@dataclass(frozen=True)
class Began:
    """The time something began: not before `earliest`, not after `latest`; None where that is not known."""

    earliest: datetime | None
    latest: datetime | None

    def words(self, now: datetime) -> str:
        """Say since when, and for how long; empty where nothing is known."""
        earliest, latest = self.earliest, self.latest
        if earliest and latest:
            gap, age = (latest - earliest).total_seconds(), (now - latest).total_seconds()
            if gap > max(_CLOSE_SECONDS, _CLOSE_SHARE * age):
                return f"since some time between {_moment(earliest, now)} and {_moment(latest, now)}"
        if latest:
            return f"since {_moment(latest, now)}"
        return f"since {_moment(earliest, now)} at the earliest" if earliest else ""


def _moment(moment: datetime, now: datetime) -> str:
    return f"{format_instant(moment)} ({format_span((now - moment).total_seconds())} ago)"


def present_state(run: WorkflowRun, changed_at: datetime | None) -> Began:
    """Return when the present step, or the wait for a person or for a cancel, began.

    Only the run's summary says when it ``changed_at`` last.
    """
    earliest = max(filter(None, [*_child_changes(run), run.start_time]), default=run.initial_run_at)
    if changed_at and earliest and changed_at < earliest:
        return Began(None, earliest)
    return Began(earliest, changed_at)


def review_began(run: WorkflowRun) -> datetime | None:
    """Return the last change of a child run before a review that ended: the review began after it."""
    return max((each for each in _child_changes(run) if run.reviewed_at and each < run.reviewed_at), default=None)


def _child_changes(run: WorkflowRun) -> list[datetime]:
    return [moment for step in run.step_runs if (moment := read_instant(step.child_run.get("updatedAt")))]


class Usual(NamedTuple):
    """Usual times in seconds of so many runs of a workflow: the median and the time within which 95% are done.

    ``page`` is for each page, where pages explain the durations better; None elsewhere. ``queue`` is the 95% wait.
    """

    runs: int
    run: tuple[float, float]
    page: tuple[float, float] | None = None
    queue: float | None = None

    def times(self, pages: int | None) -> tuple[float, float]:
        """Return the median and the 95% time of a run with so many pages."""
        p50, p95 = self.page if self.page and pages else self.run
        factor = pages if self.page and pages else 1
        return p50 * factor, p95 * factor

    def limit(self, run: RunFacts) -> float | None:
        """Return the longest usual time of a run in its present state; None if it is unknown."""
        if run.status == "PENDING":
            return None if self.queue is None else max(self.queue, _QUEUE_SECONDS)
        return self.times(run.pages)[1]

    def words(self, pages: int | None, so_far: float | None) -> str:
        """Describe it for a run of so many pages, and how one compares that has taken ``so_far``; None before start."""
        p50, p95 = self.times(pages)
        size = f" for {pages} page{'' if pages == 1 else 's'}" if self.page and pages else ""
        said = f"{format_span(p50)}, 95% within {format_span(p95)}{size} ({self.runs} processed runs)"
        if so_far is None:
            return said
        return f"{said}; this one {'takes longer' if so_far > p95 else 'is within that'}"


def usual_times(done: Iterable[RunFacts]) -> dict[str, Usual]:
    """Return the usual times of each workflow, from its runs that were processed without a person."""
    by_workflow: defaultdict[str, list[RunFacts]] = defaultdict(list)
    for run in done:
        if run.status == "PROCESSED" and run.duration_seconds is not None and not (run.reviewer or run.reviewed):
            by_workflow[run.workflow_id].append(run)
    return {workflow: _usual(runs) for workflow, runs in by_workflow.items() if len(runs) >= FEW}


def _usual(runs: Sequence[RunFacts]) -> Usual:
    took = [run.duration_seconds or 0.0 for run in runs]
    paged = [(run.duration_seconds or 0.0) / run.pages for run in runs if run.pages]
    by_page = len(paged) == len(runs) and _spread(paged) < _spread(took)
    queues = [run.queue_seconds for run in runs if run.queue_seconds is not None]
    return Usual(len(runs), _typical(took), _typical(paged) if by_page else None, quantile(queues, 0.95))


def _typical(values: Sequence[float]) -> tuple[float, float]:
    return quantile(values, 0.5) or 0.0, quantile(values, 0.95) or 0.0


def _spread(values: Sequence[float]) -> float:
    """Return how much values differ, in relation to their mean."""
    mean = fmean(values)
    return mean and pstdev(values) / mean


@dataclass(frozen=True)
class Stuck:
    """A run that hangs, for how many seconds at least it has not changed, and within which 95% of its like are done.

    ``step`` is the name of its present step, where that was read.
    """

    run: RunFacts
    seconds: float
    usual: float
    step: str = ""


@dataclass(frozen=True)
class Stall:
    """A workflow, how many of its PROCESSING runs hang, and when one last ended well, if that was seen."""

    workflow: str
    stuck: int
    running: int
    last_good: datetime | None


@dataclass(frozen=True)
class StuckRuns:
    """The runs that hang, the longest first, and each workflow with PROCESSING runs, the one with most that hang first.

    ``moving`` counts the first among all that move, and ``unjudged`` those of workflows whose usual time is unknown.
    """

    stuck: list[Stuck]
    stalls: list[Stall]
    moving: int
    unjudged: int


def stuck_runs(runs: Sequence[RunFacts], done: Sequence[RunFacts], now: datetime) -> StuckRuns:
    """Judge runs by how long those that are ``done`` took."""
    usual, found, unjudged = usual_times(done), list[Stuck](), 0
    for run in runs:
        # A run changes with each step: since its last change it has been in the present one.
        moment = run.created if run.status == "PENDING" else run.updated or run.created
        if run.status not in MOVING or moment is None:
            continue
        known = usual.get(run.workflow_id)
        limit = CANCELLING_SECONDS if run.status == "CANCELLING" else known and known.limit(run)
        seconds = (now - moment).total_seconds()
        if limit is None:
            unjudged += 1
        elif seconds > limit:
            found.append(Stuck(run, seconds, limit))
    running = [run for run in runs if run.status == "PROCESSING"]
    counts = Counter(run.workflow_id for run in running)
    hanging = Counter(each.run.workflow_id for each in found if each.run.status == "PROCESSING")
    last: dict[str, datetime] = {}
    for run in done:
        if run.status == "PROCESSED" and run.updated:
            last[run.workflow_id] = max(last.get(run.workflow_id, run.updated), run.updated)
    names = {run.workflow_id: run.workflow_name for run in running}
    stalls = [Stall(name, hanging[key], counts[key], last.get(key)) for key, name in names.items()]
    return StuckRuns(
        stuck=sorted(found, key=lambda each: (-each.seconds, each.run.id)),
        stalls=sorted(stalls, key=lambda each: -each.stuck),
        moving=len(runs),
        unjudged=unjudged,
    )
