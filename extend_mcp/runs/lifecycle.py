"""The state machine of a workflow run: the meaning of each status, and the operations that it allows.

Source: Extend API reference, WorkflowRun.status and Cancel Workflow Run. The set of statuses is open:
a status that is not in :data:`STATUSES` is shown unchanged and allows no write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["waiting", "active", "review", "ending", "finished", "unknown"]


@dataclass(frozen=True)
class StatusInfo:
    """The meaning of one status.

    Attributes:
        meaning: a phrase that explains the status, without a full stop.
        phase: the stage of the run; ``finished`` never changes again.
        cancellable: whether Extend documents Cancel Workflow Run for it.
    """

    meaning: str
    phase: Phase
    cancellable: bool = False


STATUSES: dict[str, StatusInfo] = {
    "PENDING": StatusInfo("queued, not started yet", "waiting", cancellable=True),
    "PROCESSING": StatusInfo("running", "active", cancellable=True),
    "NEEDS_REVIEW": StatusInfo("waiting for a person's review", "review"),
    "CANCELLING": StatusInfo("a cancel was accepted and is taking effect", "ending"),
    "PROCESSED": StatusInfo("finished successfully", "finished"),
    "FAILED": StatusInfo("finished with a failure", "finished"),
    "REJECTED": StatusInfo("a reviewer rejected it", "finished"),
    "CANCELLED": StatusInfo("cancelled", "finished"),
}

_UNKNOWN = StatusInfo("a status that this version of extend-mcp does not know", "unknown")

FINISHED = tuple(status for status, info in STATUSES.items() if info.phase == "finished")
"""The statuses in which a run has ended."""

STEP_OVER = frozenset({"PROCESSED", "FAILED", "INVALIDATED", "CANCELLED"})
"""Step run statuses that no longer change; PENDING, WAITING and PROCESSING still do."""


def describe(status: str) -> StatusInfo:
    """Return the meaning of ``status``; a status added to the API later is ``unknown`` and not cancellable."""
    return STATUSES.get(status, _UNKNOWN)


def is_finished(status: str) -> bool:
    """Return true if a run in ``status`` has ended."""
    return describe(status).phase == "finished"


def is_moving(status: str) -> bool:
    """Return true if a run in ``status`` will change without anyone acting."""
    return describe(status).phase in ("waiting", "active", "ending")
