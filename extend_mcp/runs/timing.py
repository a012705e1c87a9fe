"""Say when a run's present state began, as far as the API lets one know, and how long such runs usually take.

The API gives a run's creation, start, end and review, and the last change of each child run. It has no time for the
start of a step, of a review or of a cancel. The last change of the run bounds these from above, and the last change of
its child runs from below.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from extend_mcp.api.models import RunBase, WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.statistics import quantile
from extend_mcp.runs.times import format_instant, format_span, parse_iso

_FEWEST = 5
_CLOSE_SECONDS, _CLOSE_SHARE = 60.0, 0.05


@dataclass(frozen=True)
class Began:
    """The time something began: not before `earliest`, not after `latest`; None where that is not known."""

    earliest: datetime | None
    latest: datetime | None

    def words(self, now: datetime) -> str:
        """Say since when, and for how long; empty where nothing is known."""
        earliest, latest = self.earliest, self.latest
        if earliest and latest and earliest < latest:
            gap, age = (latest - earliest).total_seconds(), (now - latest).total_seconds()
            if gap > max(_CLOSE_SECONDS, _CLOSE_SHARE * age):
                return f"since some time between {_moment(earliest, now)} and {_moment(latest, now)}"
        if latest:
            return f"since {_moment(latest, now)}"
        return f"since {_moment(earliest, now)} at the earliest" if earliest else ""


def present_state(run: WorkflowRun, changed_at: datetime | None) -> Began:
    """Return when the present step, or the wait for a person or for a cancel, began.

    Only the run's summary says when it ``changed_at`` last.
    """
    earliest = max([*_ended(run), *([run.start_time] if run.start_time else [])], default=run.initial_run_at)
    if changed_at and earliest and changed_at < earliest:
        return Began(None, earliest)
    return Began(earliest, changed_at)


def review_began(run: WorkflowRun) -> datetime | None:
    """Return the last change of a child run before a review that ended: the review began after it."""
    return max((each for each in _ended(run) if run.reviewed_at and each < run.reviewed_at), default=None)


@dataclass(frozen=True)
class UsualTime:
    """Durations of a workflow's runs that were processed without a review, in seconds.

    Attributes:
        runs: how many they were.
        sizes: the fewest and the most pages of one of them; None where pages are not known.
        p50: the median.
        p95: the 95th percentile.
        nearest: if none of these runs was of about the size of the run in question: its pages, and the pages and time
            of the run whose size is nearest. A small file says little of the pace of a large one.
    """

    runs: int
    sizes: tuple[int, int] | None
    p50: float
    p95: float
    nearest: tuple[int, int, float] | None = None

    def words(self, so_far: float | None) -> str:
        """Describe it, and how a run compares that has taken so many seconds so far; None before its start."""
        few = self.runs < _FEWEST
        low, high = self.sizes or (0, 0)
        of = f" of {low}{f'-{high}' if high > low else ''} page{'' if high == 1 else 's'}" if self.sizes else ""
        said = f"{format_span(self.p50)}, {'at most' if few else '95% within'} {format_span(self.p95)}"
        said += f" ({'only ' if few else ''}{self.runs} processed run{'' if self.runs == 1 else 's'}{of})"
        if self.nearest:
            pages, size, took = self.nearest
            at_that_pace = format_span(took / size * pages)
            return (
                f"{said}; none was of about {pages} pages: the nearest, of {size}, took {format_span(took)}, "
                f"and at its pace this one takes {at_that_pace}"
            )
        if so_far is None:
            return said
        return f"{said}; this one {'takes longer' if so_far > self.p95 else 'is within that'}"


class Timing(NamedTuple):
    """The seconds that a processed run took, and its pages if they are known."""

    seconds: float
    pages: int | None


def timings(done: Sequence[WorkflowRunSummary]) -> list[Timing]:
    """Return how long runs took that nobody reviewed: a person's time says nothing of a run's speed."""
    return [Timing(run.duration_seconds or 0.0, pages_of(run)) for run in done if run.end_time and not run.reviewed_at]


def usual_time(run: RunBase, timed: Sequence[Timing]) -> UsualTime | None:
    """Return how long processed runs of about the size of ``run`` took; of any size if no such run is known."""
    if not timed:
        return None
    pages = pages_of(run)
    alike = [each for each in timed if pages and each[1] and pages / 2 <= each[1] <= 2 * pages]
    chosen = alike or timed
    took, sizes = [seconds for seconds, _ in chosen], [size for _, size in chosen if size]
    nearest = min(
        ((pages, size, seconds) for seconds, size in timed if pages and size),
        key=lambda each: max(each[0] / each[1], each[1] / each[0]),
        default=None,
    )
    return UsualTime(
        runs=len(chosen),
        sizes=(min(sizes), max(sizes)) if sizes else None,
        p50=quantile(took, 0.5) or 0.0,
        p95=quantile(took, 0.95) or 0.0,
        nearest=None if alike else nearest,
    )


def pages_of(run: RunBase) -> int | None:
    """Return the pages of a run's files; None where the API does not say."""
    pages = [file.metadata.page_count for file in run.files]
    return sum(each for each in pages if each) or None


def _ended(run: WorkflowRun) -> list[datetime]:
    """Return the last changes of the child runs that are known."""
    found = []
    for step in run.step_runs:
        with suppress(ValueError):
            found.append(parse_iso(str(step.child_run.get("updatedAt"))))
    return found


def _moment(moment: datetime, now: datetime) -> str:
    return f"{format_instant(moment)} ({format_span((now - moment).total_seconds())} ago)"
