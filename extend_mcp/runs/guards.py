"""Decide whether a run may be cancelled, from its live status.

Source: Extend API reference, Cancel Workflow Run: only PENDING and PROCESSING runs can be cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from extend_mcp.runs.lifecycle import describe

RefusalReason = Literal["already_cancelling", "already_finished", "not_cancellable"]


@dataclass(frozen=True)
class Verdict:
    """The decision on an operation, with its reason.

    Attributes:
        refusal: ``None`` when allowed, else the kind of refusal.
        reason: one line for the model: why not. Empty when allowed.
        instead: what can be done instead, in one line. Empty when allowed.
    """

    refusal: RefusalReason | None = None
    reason: str = ""
    instead: str = ""

    @property
    def allowed(self) -> bool:
        """True if the request may be sent."""
        return self.refusal is None


_INSTEAD_OF_CANCEL = {
    "PROCESSED": "Read its results with get_workflow_run.",
    "FAILED": "See what failed with get_workflow_run; run_workflow starts it again.",
    "REJECTED": "See the reviewer's note with get_workflow_run; run_workflow starts it again.",
    "CANCELLED": "run_workflow starts it again.",
}


def may_cancel(status: str) -> Verdict:
    """Decide whether a run that was just read in ``status`` may be cancelled; if refused, send no request."""
    info = describe(status)
    if info.cancellable:
        return Verdict()
    if info.phase == "ending":
        return Verdict(
            "already_cancelling",
            "a cancel is already under way",
            "Look again with get_workflow_run in a few seconds.",
        )
    if info.phase == "finished":
        return Verdict("already_finished", f"the run is over ({info.meaning})", _INSTEAD_OF_CANCEL[status])
    if info.phase == "review":
        return Verdict(
            "not_cancellable",
            "the run waits for a person's review, and Extend cancels only PENDING and PROCESSING runs",
            "A reviewer can approve or reject it in the dashboard; the API cannot.",
        )
    return Verdict(
        "not_cancellable",
        "this version does not know its status, and Extend documents cancel only for PENDING and PROCESSING runs",
        "Open the run in the dashboard.",
    )
