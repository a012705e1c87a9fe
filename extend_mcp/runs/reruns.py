"""Relate runs of the same document: which failure was made good since, and what was processed twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Literal

from extend_mcp.runs.lifecycle import is_finished
from extend_mcp.runs.statistics import RunFacts

RERUN_OF: Final = "rerunOf"
"""The metadata key that names the run which another one repeats."""

Fate = Literal["resolved", "running", "failed_again", "never_rerun"]

_NEVER: Final = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Repeat:
    """A file that one workflow processed more than once: its first run, and the others, oldest first."""

    first: RunFacts
    again: Sequence[RunFacts]

    @property
    def credits(self) -> float:
        """The credits that the others cost."""
        return sum(run.credits or 0.0 for run in self.again)

    @property
    def seconds_apart(self) -> float | None:
        """The seconds between the first run and the next."""
        first, second = self.first.created, self.again[0].created
        return (second - first).total_seconds() if first and second else None

    @property
    def batches(self) -> tuple[str, str] | None:
        """The two batches, if the file was processed in one and again in another."""
        first, second = self.first.batch_id, self.again[0].batch_id
        return (first, second) if first and second and first != second else None


def same_files(runs: Iterable[RunFacts]) -> list[list[RunFacts]]:
    """Group the runs of one workflow on the same files, oldest first; a run without files is in no group."""
    groups: defaultdict[tuple[str, frozenset[str]], list[RunFacts]] = defaultdict(list)
    for run in runs:
        if ids := run.file_ids:
            groups[run.workflow_id, ids].append(run)
    return [sorted(group, key=created_first) for group in groups.values()]


def later_runs(runs: Iterable[RunFacts]) -> dict[str, list[RunFacts]]:
    """Return the later runs on the same files of each run that has some, by its id, oldest first."""
    groups = [group for group in same_files(runs) if len(group) > 1]
    return {run.id: group[place:] for group in groups for place, run in enumerate(group[:-1], 1)}


def chains(runs: Iterable[RunFacts], marks: Mapping[str, str]) -> list[list[RunFacts]]:
    """Group runs of the same document, oldest first: of the same files, or joined by a mark.

    Args:
        runs: the runs.
        marks: the run that another repeats, by the id of the other, as its metadata says.
    """
    every = list(runs)
    groups = {run.id: group for group in same_files(every) for run in group}
    groups |= {run.id: [run] for run in every if run.id not in groups}
    for new, old in marks.items():
        if new in groups and old in groups and groups[new] is not groups[old]:
            joined = sorted([*groups[new], *groups[old]], key=created_first)
            groups |= {run.id: joined for run in joined}
    return list({id(group): group for group in groups.values()}.values())


def fate(chain: Sequence[RunFacts]) -> Fate:
    """Say what became of a document whose first run here failed."""
    later = [run.status for run in chain[1:]]
    if "PROCESSED" in later:
        return "resolved"
    if not all(map(is_finished, later)):
        return "running"
    return "failed_again" if later else "never_rerun"


def created_first(run: RunFacts) -> tuple[datetime, str]:
    """Return a sort key: the oldest run first."""
    return run.created or _NEVER, run.id
