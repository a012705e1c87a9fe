"""The state machine of a workflow run: the meaning of each status, what it allows, and how often to look at it.

Source: Extend API reference, WorkflowRun.status and Cancel Workflow Run: only PENDING and PROCESSING runs can be
cancelled. The set of statuses is open: one that is not in :data:`STATUSES` is shown unchanged and allows no write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["waiting", "active", "review", "ending", "finished", "unknown"]
RefusalReason = Literal["already_cancelling", "already_finished", "not_cancellable"]


@dataclass(frozen=True)
class StatusInfo:
    """The meaning of a status, as a phrase; the stage of the run; and why it cannot be cancelled, where it cannot."""

    meaning: str
    phase: Phase
    refusal: RefusalReason | None = None
    reason: str = ""
    instead: str = ""

    @property
    def may_cancel(self) -> bool:
        """True if a cancel may be sent for a run that was just read in this status."""
        return self.refusal is None


def _ended(meaning: str, instead: str) -> StatusInfo:
    return StatusInfo(meaning, "finished", "already_finished", f"the run is over ({meaning})", instead)


STATUSES: dict[str, StatusInfo] = {
    "FAILED": _ended("finished with a failure", "See what failed with get_workflow_run; run_workflow starts it again."),
    "REJECTED": _ended(
        "a reviewer rejected it", "See the reviewer's note with get_workflow_run; run_workflow starts it again."
    ),
    "NEEDS_REVIEW": StatusInfo(
        "waiting for a person's review",
        "review",
        "not_cancellable",
        "the run waits for a person's review, and Extend cancels only PENDING and PROCESSING runs",
        "A reviewer can approve or reject it in the dashboard; the API cannot.",
    ),
    "CANCELLED": _ended("cancelled", "run_workflow starts it again."),
    "CANCELLING": StatusInfo(
        "a cancel was accepted and is taking effect",
        "ending",
        "already_cancelling",
        "a cancel is already under way",
        "Look again with get_workflow_run in a few seconds.",
    ),
    "PENDING": StatusInfo("queued, not started yet", "waiting"),
    "PROCESSING": StatusInfo("running", "active"),
    "PROCESSED": _ended("finished successfully", "Read its results with get_workflow_run."),
}
"""By what a reader must see first: failures, what waits for a person, what still moves, successes."""

_UNKNOWN = StatusInfo(
    "a status that this version of extend-mcp does not know",
    "unknown",
    "not_cancellable",
    "this version does not know its status, and Extend documents cancel only for PENDING and PROCESSING runs",
    "Open the run in the dashboard.",
)
_ORDER = [*STATUSES]
# An unknown status may need a person too.
_ORDER_OF_UNKNOWN = _ORDER.index("NEEDS_REVIEW") + 0.5

FINISHED = tuple(status for status, info in STATUSES.items() if info.phase == "finished")
"""The statuses in which a run has ended."""

MOVING = tuple(status for status, info in STATUSES.items() if info.phase in ("waiting", "active", "ending"))
"""The statuses in which a run will change without anyone acting."""

STEP_OVER = frozenset({"PROCESSED", "FAILED", "INVALIDATED", "CANCELLED"})
"""Step run statuses that no longer change; PENDING, WAITING and PROCESSING still do."""


def describe(status: str) -> StatusInfo:
    """Return the meaning of ``status`` and what it allows; one added to the API later is ``unknown``."""
    return STATUSES.get(status, _UNKNOWN)


def is_finished(status: str) -> bool:
    """Return true if a run in ``status`` has ended, so that it never changes again."""
    return status in FINISHED


def is_moving(status: str) -> bool:
    """Return true if a run in ``status`` will change without anyone acting."""
    return status in MOVING


def urgency(status: str) -> tuple[float, str]:
    """Return a sort key for a status: failed, waiting for a person, still moving, succeeded."""
    return _ORDER.index(status) if status in STATUSES else _ORDER_OF_UNKNOWN, status


def by_urgency(statuses: Iterable[str]) -> list[str]:
    """Return distinct statuses in the order of interest: failures first, successes last."""
    return sorted(set(statuses), key=urgency)


_FAST_SECONDS, _GROWTH, _SLOWEST = 30.0, 1.15, 30.0


def next_pause(pause: float, elapsed: float) -> float:
    """Return the seconds to the next read of a run that is waited for; ``pause`` is the last one, 0 before the first.

    Extend's own pollers pause like this.
    """
    return 1.0 if elapsed < _FAST_SECONDS or pause == 0 else min(pause * _GROWTH, _SLOWEST)
