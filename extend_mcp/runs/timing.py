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

from extend_mcp.api.models import RunBase, WorkflowRun, WorkflowRunSummary
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


class Timing(NamedTuple):
    """The seconds that a processed run took, and its pages if they are known."""

    seconds: float
    pages: int | None


@dataclass(frozen=True)
class UsualTime:
    """Seconds that so many runs of a workflow took which were processed without a review, and their fewest and most
    pages.

    Where none was of about the size of the run in question, ``nearest`` holds its pages and the run whose size is
    nearest: a small file says little of the pace of a large one.
    """

    runs: int
    sizes: tuple[int, int] | None
    p50: float
    p95: float
    nearest: tuple[int, int, float] | None = None

    def words(self, so_far: float | None) -> str:
        """Describe it, and how a run compares that has taken so many seconds so far; None before its start."""
        few = self.runs < FEW
        of = ""
        if self.sizes:
            low, high = self.sizes
            of = f" of {low}{f'-{high}' if high > low else ''} page{'' if high == 1 else 's'}"
        said = f"{format_span(self.p50)}, {'at most' if few else '95% within'} {format_span(self.p95)}"
        said += f" ({'only ' if few else ''}{self.runs} processed run{'' if self.runs == 1 else 's'}{of})"
        if self.nearest:
            pages, size, took = self.nearest
            return (
                f"{said}; none was of about {pages} pages: the nearest, of {size}, took {format_span(took)}, "
                f"and at its pace this one takes {format_span(took / size * pages)}"
            )
        if so_far is None:
            return said
        return f"{said}; this one {'takes longer' if so_far > self.p95 else 'is within that'}"


def timings(done: Sequence[WorkflowRunSummary]) -> list[Timing]:
    """Return how long runs took that nobody reviewed: a person's time says nothing of a run's speed."""
    return [
        Timing(run.duration_seconds, _pages(run))
        for run in done
        if run.duration_seconds is not None and not run.reviewed_at
    ]


def usual_time(run: RunBase, timed: Sequence[Timing]) -> UsualTime | None:
    """Return how long processed runs of about the size of ``run`` took; of any size if no such run is known."""
    if not timed:
        return None
    pages = _pages(run)
    alike = [each for each in timed if pages and each.pages and pages / 2 <= each.pages <= 2 * pages]
    chosen = alike or timed
    took, sizes = [seconds for seconds, _ in chosen], [size for _, size in chosen if size]
    nearest = min(
        ((pages, size, seconds) for seconds, size in timed if pages and size and not alike),
        key=lambda each: max(each[0] / each[1], each[1] / each[0]),
        default=None,
    )
    return UsualTime(
        runs=len(chosen),
        sizes=(min(sizes), max(sizes)) if sizes else None,
        p50=quantile(took, 0.5) or 0.0,
        p95=quantile(took, 0.95) or 0.0,
        nearest=nearest,
    )


def _pages(run: RunBase) -> int | None:
    return sum(file.metadata.page_count or 0 for file in run.files) or None


@dataclass(frozen=True)
class Usual:
    """Usual times of a workflow: 95th percentiles in seconds, None where too few runs show one.

    They are from start to end, the same for each ``page`` where that differs less, and from creation to start.
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


def usual_times(done: Iterable[RunFacts]) -> dict[str, Usual]:
    """Return the usual times of each workflow, from its runs that were processed without a person."""
    by_workflow: defaultdict[str, list[RunFacts]] = defaultdict(list)
    for run in done:
        if run.status == "PROCESSED" and run.duration_seconds is not None and not run.reviewer:
            by_workflow[run.workflow_id].append(run)
    return {workflow: _usual(runs) for workflow, runs in by_workflow.items() if len(runs) >= FEW}


def _usual(runs: Sequence[RunFacts]) -> Usual:
    took = [run.duration_seconds or 0.0 for run in runs]
    paged = [(run.duration_seconds or 0.0) / run.pages for run in runs if run.pages]
    by_page = len(paged) == len(runs) and _spread(paged) < _spread(took)
    queues = [run.queue_seconds for run in runs if run.queue_seconds is not None]
    return Usual(quantile(took, 0.95), quantile(paged, 0.95) if by_page else None, quantile(queues, 0.95))


def _spread(values: Sequence[float]) -> float:
    """Return how much values differ, in relation to their mean."""
    mean = fmean(values)
    return mean and pstdev(values) / mean


@dataclass(frozen=True)
class Stuck:
    """A run that hangs, for how many seconds at least it has not changed, and within which 95% of its like are done."""

    run: RunFacts
    seconds: float
    usual: float


@dataclass(frozen=True)
class Stall:
    """A workflow, how many of its PROCESSING runs hang, and when one last ended well, if that was seen."""

    workflow: str
    stuck: int
    running: int
    last_good: datetime | None


@dataclass(frozen=True)
class StuckRuns:
    """The runs that hang, the longest first, with their present ``steps`` where these were read.

    ``moving`` counts them among all that move, and ``unjudged`` those of workflows whose usual time is unknown.
    """

    stuck: list[Stuck]
    steps: dict[str, str]
    stalls: list[Stall]
    moving: int
    unjudged: int
    missing: list[str]


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


def stalls(stuck: Sequence[Stuck], moving: Iterable[RunFacts], done: Iterable[RunFacts]) -> list[Stall]:
    """Return each workflow with PROCESSING runs, and how many of these hang, most first."""
    running = [run for run in moving if run.status == "PROCESSING"]
    names = {run.workflow_id: run.workflow_name for run in running}
    counts = Counter(run.workflow_id for run in running)
    hanging = Counter(each.run.workflow_id for each in stuck if each.run.status == "PROCESSING")
    last: dict[str, datetime] = {}
    for run in done:
        if run.status == "PROCESSED" and run.updated:
            last[run.workflow_id] = max(last.get(run.workflow_id, run.updated), run.updated)
    found = [Stall(name, hanging[key], counts[key], last.get(key)) for key, name in names.items()]
    return sorted(found, key=lambda each: -each.stuck)
