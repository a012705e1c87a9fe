"""Find where a run failed, whether running it again can help, and what became of its document.

Sources: Extend's documentation and SDK, ``failureReason``, an open set of strings. They say of few reasons whether
running again helps. For some others it follows from what the reason means, and is said to be no more than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Final, Literal

from extend_mcp.api.models import ChildRun, ChildRuns, StepRun, WorkflowRun
from extend_mcp.runs.lifecycle import is_finished
from extend_mcp.runs.statistics import RunFacts

WRAPPER: Final = "DOCUMENT_PROCESSOR_ERROR"
"""The reason of a run whose step failed after its own retries. The step has the cause."""

ACCOUNT_REASONS: Final = frozenset({"OUT_OF_CREDITS"})
"""Reasons that lie with the account and not with one workflow."""

RERUN_OF: Final = "rerunOf"
"""The metadata key that names the run which another one repeats."""

Fate = Literal["resolved", "running", "failed_again", "never_rerun"]

_ROUNDING = timedelta(seconds=1)
"""Times of a run and of its child runs may be rounded apart."""

_RETRYABLE = frozenset({"INTERNAL_ERROR", WRAPPER, "OCR_ERROR"})
_DOCUMENTED_AS_FINAL = frozenset({"INVALID_WORKFLOW", "FAILED_TO_PROCESS_FILE"})
_CANNOT_HELP = {
    "INVALID_WORKFLOW": "the workflow itself is faulty: fix and deploy it first",
    "FAILED_TO_PROCESS_FILE": "the file could not be fetched or read: supply it again",
    "UNABLE_TO_DOWNLOAD_FILE": "the file's address could not be read: supply the file again",
    "FILE_TYPE_NOT_SUPPORTED": "this file type is not supported: convert the file",
    "FILE_SIZE_TOO_LARGE": "the file is too large: make it smaller or split it",
    "CORRUPT_FILE": "the file is damaged: obtain a good copy",
    "PASSWORD_PROTECTED_FILE": "the file is locked: supply its password or an open copy",
    "INVALID_PROCESSOR": "the step's processor is faulty: fix it first",
    "INVALID_CONFIGURATION": "the step's configuration is faulty: fix it first",
    "INVALID_CONFIG_OPTIONS": "the step's options are faulty: fix them first",
    "OUT_OF_CREDITS": "the account is out of credits: top it up first",
}
_MEANINGS = {
    "CHUNKING_ERROR": "the document could not be divided into chunks",
    "PARSING_ERROR": "the extraction's output could not be parsed",
    "PRE_PROCESSING_FAILURE": "an error before the extraction, such as in chunking",
    "POST_PROCESSING_FAILURE": "an error after the extraction",
    "SCHEMA_GENERATION_FAILED": "no schema could be inferred from the file",
    "FAILED_TO_CONVERT_TO_PDF": "the file could not be converted to PDF",
    "FAILED_TO_CONVERT_TO_JPEG": "the file could not be converted to JPEG",
    "FAILED_TO_GENERATE_TARGET_FORMAT": "the requested output format could not be generated",
}


@dataclass(frozen=True)
class Failure:
    """One failure: the failing step's name, or empty when the run itself failed; the API's code and text, or empty."""

    where: str
    reason: str
    message: str


def retry_advice(reason: str) -> str:
    """Return half a sentence on whether running again can help after ``reason``."""
    if reason in _RETRYABLE:
        return "running it again may help (Extend documents it)"
    if reason == "ABORTED":
        return "a user stopped it: run it again only if the user wants that"
    if reason in _CANNOT_HELP:
        basis = "" if reason in _DOCUMENTED_AS_FINAL else ", judging by the reason (not documented)"
        return f"running it again unchanged will not help{basis}; {_CANNOT_HELP[reason]}"
    meaning = _MEANINGS.get(reason)
    return f"whether running it again helps is not documented{f' ({meaning})' if meaning else ''}"


def rerun_words(reason: str) -> str:
    """Return in a few words, for a row of a list, whether running again can help after ``reason``."""
    if reason in _RETRYABLE:
        return "a rerun may help"
    if reason == "ABORTED":
        return "a user stopped it"
    return "a rerun will not help" if reason in _CANNOT_HELP else "whether a rerun helps is not documented"


def file_is_at_fault(reason: str) -> bool:
    """Return whether the file itself caused ``reason``, so that the same file fails again."""
    return reason in _CANNOT_HELP and "FILE" in reason


def failures_of(run: WorkflowRun) -> list[Failure]:
    """Return all failures of a run, those of steps first: they are the causes."""
    found = [failure for step in run.step_runs if (failure := step_failure(step)) is not None]
    if run.status == "FAILED" or run.failure_reason or run.failure_message:
        own = Failure("", run.failure_reason or "", run.failure_message or "")
        if len(found) == 1 and not found[0].reason and not found[0].message:
            # The step says only that it failed; the run says why.
            return [replace(own, where=found[0].where)]
        found.append(own)
    return found


CHILD_KINDS: Final[Mapping[str, tuple[ChildRuns, str]]] = {
    "PARSE": ("parse_runs", "parseRun"),
    "EXTRACT": ("extract_runs", "extractRun"),
    "CONDITIONAL_EXTRACT": ("extract_runs", "extractRun"),
    "MERGE_EXTRACT": ("extract_runs", "extractRun"),
    "CLASSIFY": ("classify_runs", "classifyRun"),
    "SPLIT": ("split_runs", "splitRun"),
}
"""By step type: the list of its child runs, and where a step's result holds one."""


def failed_children(
    failed: Iterable[RunFacts], children: Iterable[ChildRun], *, since: datetime | None = None
) -> dict[str, ChildRun]:
    """Return the failed child run that says why a run failed, by the run's id, out of lists of failed child runs.

    A list of child runs names no workflow run. A child is that of a run that has its file and was under way when it
    began. A run is left out if several children or none could be its own, or if another run could have its child:
    so are runs created before ``since``, if others of that time may be missing.
    """
    by_file: dict[str | None, list[ChildRun]] = {}
    for child in children:
        for file_id in {child.file.id, child.file.parent_file_id} - {"", None}:
            by_file.setdefault(file_id, []).append(child)
    found: dict[str, ChildRun] = {}
    parents: dict[str, list[str]] = {}
    for run in failed:
        near = [child for file_id in run.file_ids for child in by_file.get(file_id, ())]
        own = {child.id: child for child in near if _began_in(run, child)}
        for child_id in own:
            parents.setdefault(child_id, []).append(run.id)
        if len(own) == 1 and (since is None or (run.created and run.created >= since)):
            found[run.id] = next(iter(own.values()))
    shared = {run_id for runs in parents.values() if len(runs) > 1 for run_id in runs}
    return {run_id: child for run_id, child in found.items() if child.failure_reason and run_id not in shared}


def _began_in(run: RunFacts, child: ChildRun) -> bool:
    if run.created is None or run.queue_seconds is None or run.duration_seconds is None or child.created_at is None:
        return False
    start = run.created + timedelta(seconds=run.queue_seconds)
    return start - _ROUNDING <= child.created_at <= start + timedelta(seconds=run.duration_seconds) + _ROUNDING


def unexplained_steps(run: WorkflowRun) -> list[StepRun]:
    """Return the failed steps whose result does not hold the child run that has the reason."""
    return [step for step in run.step_runs if step.failed and step.step_type in CHILD_KINDS and not step.child_run]


def step_failure(step: StepRun) -> Failure | None:
    """Return the failure of ``step``, from the child run inside its result; None if it did not fail."""
    if not step.failed:
        return None
    reason, message = step.child_run.get("failureReason"), step.child_run.get("failureMessage")
    return Failure(step.title, str(reason or ""), str(message or ""))


def same_files(runs: Iterable[RunFacts]) -> list[list[RunFacts]]:
    """Group the runs of one workflow on the same files, oldest first; a run without files is in no group."""
    groups: defaultdict[tuple[str, frozenset[str]], list[RunFacts]] = defaultdict(list)
    for run in runs:
        if ids := run.file_ids:
            groups[run.workflow_id, ids].append(run)
    return [sorted(group, key=created_first) for group in groups.values()]


def later_runs(runs: Iterable[RunFacts]) -> dict[str, list[RunFacts]]:
    """Return the later runs on the same files of each run that has some, by its id, oldest first."""
    return {run.id: group[place:] for group in same_files(runs) for place, run in enumerate(group[:-1], 1)}


def chains(runs: Iterable[RunFacts], marks: Mapping[str, str]) -> list[list[RunFacts]]:
    """Group runs of the same document, oldest first: of the same files, or joined by a mark.

    ``marks`` names the run that another repeats, by the id of the other, as its metadata says.
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
    return run.created or datetime.min.replace(tzinfo=timezone.utc), run.id
