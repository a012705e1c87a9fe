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
    """The meaning of a status, as a phrase; the stage of the run; and what to do instead of cancelling an ended one."""

    meaning: str
    phase: Phase
    instead: str = ""


STATUSES: dict[str, StatusInfo] = {
    "FAILED": StatusInfo(
        "finished with a failure", "finished", "See what failed with get_workflow_run; run_workflow starts it again."
    ),
    "REJECTED": StatusInfo(
        "a reviewer rejected it",
        "finished",
        "See the reviewer's note with get_workflow_run; run_workflow starts it again.",
    ),
    "NEEDS_REVIEW": StatusInfo("waiting for a person's review", "review"),
    "CANCELLED": StatusInfo("cancelled", "finished", "run_workflow starts it again."),
    "CANCELLING": StatusInfo("a cancel was accepted and is taking effect", "ending"),
    "PENDING": StatusInfo("queued, not started yet", "waiting"),
    "PROCESSING": StatusInfo("running", "active"),
    "PROCESSED": StatusInfo("finished successfully", "finished", "Read its results with get_workflow_run."),
}
"""By what a reader must see first: failures, what waits for a person, what still moves, successes."""

_UNKNOWN = StatusInfo("a status that this version of extend-mcp does not know", "unknown")
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
    """Return the meaning of ``status``; one added to the API later is ``unknown``."""
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


@dataclass(frozen=True)
class Verdict:
    """The decision on a cancel: None, or the kind of refusal, why, and what can be done instead, a line each."""

    refusal: RefusalReason | None = None
    reason: str = ""
    instead: str = ""

    @property
    def allowed(self) -> bool:
        """True if the request may be sent."""
        return self.refusal is None


_CANCEL: dict[Phase, Verdict] = {
    "waiting": Verdict(),
    "active": Verdict(),
    "ending": Verdict(
        "already_cancelling", "a cancel is already under way", "Look again with get_workflow_run in a few seconds."
    ),
    "review": Verdict(
        "not_cancellable",
        "the run waits for a person's review, and Extend cancels only PENDING and PROCESSING runs",
        "A reviewer can approve or reject it in the dashboard; the API cannot.",
    ),
    "unknown": Verdict(
        "not_cancellable",
        "this version does not know its status, and Extend documents cancel only for PENDING and PROCESSING runs",
        "Open the run in the dashboard.",
    ),
}


def may_cancel(status: str) -> Verdict:
    """Decide whether a run that was just read in ``status`` may be cancelled; if refused, send no request."""
    info = describe(status)
    if info.phase == "finished":
        return Verdict("already_finished", f"the run is over ({info.meaning})", info.instead)
    return _CANCEL[info.phase]


_FAST_SECONDS, _GROWTH, _SLOWEST = 30.0, 1.15, 30.0


def next_pause(pause: float, elapsed: float) -> float:
    """Return the seconds until the next read of a run that is waited for, as Extend's own pollers pause.

    Args:
        pause: the pause before this one, 0 before the first.
        elapsed: the seconds so far.
    """
    return 1.0 if elapsed < _FAST_SECONDS or pause == 0 else min(pause * _GROWTH, _SLOWEST)
