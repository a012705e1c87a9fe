"""Count runs: how many, how they ended, how long they took, what they cost, and since when they fail."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

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
    file_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Tally:
    """Figures of some runs. Durations, in seconds, are of runs that started and ended."""

    statuses: Counter[str] = field(default_factory=Counter)
    durations: array[float] = field(default_factory=lambda: array("d"))
    queues: array[float] = field(default_factory=lambda: array("d"))
    credits: float = 0.0

    def merge(self, other: Tally) -> None:
        """Count the runs of another tally too."""
        self.statuses.update(other.statuses)
        self.durations.extend(other.durations)
        self.queues.extend(other.queues)
        self.credits += other.credits

    @property
    def runs(self) -> int:
        """The number of runs."""
        return self.statuses.total()

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


UNREAD: Final = Group("", "unread")
"""The group of runs whose group only reading them in full shows."""


@dataclass
class Statistics:
    """Figures of one window of time: of all runs, by groups, and of each waiting status the run created first.

    ``course`` counts the runs by the quarter of an hour since 1970 in which they were created, and by status.
    ``unread`` is how many runs are of an unknown group. They and those of no group count in the total alone.
    """

    total: Tally = field(default_factory=Tally)
    groups: dict[tuple[Group, ...], Tally] = field(default_factory=dict)
    unread: int = 0
    course: Counter[tuple[int | None, str]] = field(default_factory=Counter)
    oldest: dict[str, Waiting] = field(default_factory=dict)


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share of the values does not exceed; None without values.

    ``share`` is above 0 and at most 1: 0.5 is the median.
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None
