"""Relate runs of the same files: which run was made again since, and by which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Final

from extend_mcp.runs.statistics import RunFacts

RERUN_OF: Final = "rerunOf"
"""The metadata key that names the run which another one repeats."""

_NEVER: Final = datetime.min.replace(tzinfo=timezone.utc)


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


def created_first(run: RunFacts) -> tuple[datetime, str]:
    """Return a sort key: the oldest run first."""
    return run.created or _NEVER, run.id
