"""Count runs: how many, how they ended, how long they took, what they cost, and since when they fail.

Takes summaries one by one, so that many thousand runs need little memory.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from extend_mcp.api.models import RunBase, WorkflowRunSummary

QUARTER: Final = 900
"""Seconds. No time zone begins an hour within a quarter of one."""

FEW: Final = 5
"""Fewer runs show no rate, no usual time and no course."""

WAITING = ("PENDING", "NEEDS_REVIEW")
"""Statuses in which a run waits for Extend's queue or for a person."""


class RunFacts(NamedTuple):
    """The part of a run that figures are made of.

    Attributes:
        files: the id and the name of each file, a tab between them, one file a line.
        pages: pages of all files; None if one of them does not say.
        reviewer: the person who reviewed it, or empty.
        step: the name of the failing step, or empty; None while the run was not read in full.
        reason: the code of the failure, or empty; None while neither the run nor its child run that failed was read.
    """

    id: str
    status: str
    workflow_id: str
    workflow_name: str
    version: str
    file_type: str
    batch_id: str | None
    created: datetime | None
    updated: datetime | None
    duration_seconds: float | None
    queue_seconds: float | None
    credits: float | None
    files: str = ""
    pages: int | None = None
    reviewer: str = ""
    reviewed: datetime | None = None
    note: str = ""
    step: str | None = None
    reason: str | None = None

    @property
    def file_ids(self) -> frozenset[str]:
        """The ids of the run's files."""
        return frozenset(line.partition("\t")[0] for line in self.files.split("\n") if line)

    @property
    def file_names(self) -> list[str]:
        """The names of the run's files."""
        return [line.partition("\t")[2] for line in self.files.split("\n") if line]


def run_facts(run: RunBase) -> RunFacts:
    """Return what counts of a run; only a summary says when it was updated."""
    pages = [file.metadata.page_count for file in run.files]
    return RunFacts(
        id=run.id,
        status=run.status,
        workflow_id=run.workflow.id,
        workflow_name=run.workflow.name,
        version=run.workflow_version.version,
        file_type=run.files[0].type if run.files else "",
        batch_id=run.batch_id,
        created=run.created,
        updated=run.updated_at if isinstance(run, WorkflowRunSummary) else None,
        duration_seconds=run.duration_seconds,
        queue_seconds=run.queue_seconds,
        credits=run.credits,
        files="\n".join(f"{' '.join(file.id.split())}\t{' '.join(file.name.split())}" for file in run.files),
        pages=None if None in pages else sum(each or 0 for each in pages),
        reviewer=run.reviewed_by_user or "",
        reviewed=run.reviewed_at,
        note=run.rejection_note or "",
    )


@dataclass(frozen=True)
class Selection:
    """Selects kept runs; times in Unix seconds, and None for no condition.

    Only runs that were read in full can match ``metadata``, keys with the texts that are their values.
    """

    since: float | None = None
    before: float | None = None
    status: str | None = None
    workflow_id: str | None = None
    batch: str | None = None
    version: str | None = None
    step: str | None = None
    reason: str | None = None
    reviewer: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    file_id: str | None = None


@dataclass
class Tally:
    """Figures of some runs. Durations, in seconds, are of runs that started and ended."""

    runs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    durations: array[float] = field(default_factory=lambda: array("d"))
    queues: array[float] = field(default_factory=lambda: array("d"))
    credits: float = 0.0

    def add(self, run: RunFacts) -> None:
        """Count one more run."""
        self.count(run.status, run.duration_seconds, run.queue_seconds, run.credits)

    def count(self, status: str, duration: float | None, queue: float | None, spent: float | None) -> None:
        """Count one more run by its facts."""
        self.runs += 1
        self.statuses[status] += 1
        if duration is not None:
            self.durations.append(duration)
        if queue is not None:
            self.queues.append(queue)
        self.credits += spent or 0.0

    def merge(self, other: Tally) -> None:
        """Count the runs of another tally too."""
        self.runs += other.runs
        self.statuses.update(other.statuses)
        self.durations.extend(other.durations)
        self.queues.extend(other.queues)
        self.credits += other.credits

    @property
    def failed(self) -> int:
        """The number of failed runs."""
        return self.statuses["FAILED"]


class Waiting(NamedTuple):
    """A run that waits, and its creation time."""

    run_id: str
    created: datetime


class Group(NamedTuple):
    """A group of runs: the key that distinguishes it, its name, and the id of the object that it is for, if any.

    The name is outside text, unless the group ``is_time``, a span of the calendar.
    """

    key: str
    name: str
    id: str | None = None
    is_time: bool = False


@dataclass
class Statistics:
    """Figures of one window of time: of all runs, by groups, and of each waiting status the run created first.

    ``course`` holds how many runs were created, and failed, by quarters of an hour since 1970.
    """

    total: Tally = field(default_factory=Tally)
    groups: dict[tuple[Group, ...], Tally] = field(default_factory=dict)
    oldest: Mapping[str, Waiting] = field(default_factory=dict)
    course: Sequence[tuple[int, int, int]] = ()

    def add(self, tally: Tally, groups: Sequence[Group | None]) -> None:
        """Count runs; where they belong to none of one kind of group, they count in the total alone."""
        self.total.merge(tally)
        if None not in groups:
            self.groups.setdefault(tuple(filter(None, groups)), Tally()).merge(tally)


def tallies(
    runs: Iterable[RunFacts], by: Sequence[str], metadata: Mapping[str, str | None]
) -> dict[tuple[Any, ...], Tally]:
    """Count listed runs by facts, named as in `RunStore.tallies`, as the kept ones are counted.

    ``metadata`` holds the value of the metadata key, by the id of each run that was read in full.
    """
    found: dict[tuple[Any, ...], Tally] = {}
    for run in runs:
        found.setdefault(tuple(_column(run, name, metadata) for name in by), Tally()).add(run)
    return found


def course(runs: Iterable[RunFacts]) -> list[tuple[int, int, int]]:
    """Return how many runs were created, and failed, by quarters of an hour since 1970."""
    created, failed = Counter[int](), Counter[int]()
    for run in runs:
        if (quarter := _quarter(run)) is not None:
            created[quarter] += 1
            failed[quarter] += run.status == "FAILED"
    return [(quarter, count, failed[quarter]) for quarter, count in created.items()]


def oldest(runs: Iterable[RunFacts]) -> dict[str, Waiting]:
    """Return the run of each status in which runs wait that was created first."""
    found: dict[str, Waiting] = {}
    for run in runs:
        before = found.get(run.status)
        if run.status in WAITING and run.created and (before is None or run.created < before.created):
            found[run.status] = Waiting(run.id, run.created)
    return found


def _column(run: RunFacts, name: str, metadata: Mapping[str, str | None]) -> Any:
    if name == "quarter_hour":
        return _quarter(run)
    if name == "metadata":
        return metadata.get(run.id)
    if name == "is_read":
        return run.id in metadata
    return getattr(run, {"workflow": "workflow_id", "batch": "batch_id"}.get(name, name))


def _quarter(run: RunFacts) -> int | None:
    return int(run.created.timestamp() // QUARTER) if run.created else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share of the values does not exceed; None without values.

    ``share`` is above 0 and at most 1: 0.5 is the median.
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None
