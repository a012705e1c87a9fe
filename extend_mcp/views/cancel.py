"""The answer of a cancel: what happened, what was sent, what the run's status was and is."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from extend_mcp.api.models import WorkflowRun
from extend_mcp.runs.times import format_span
from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.progress import credits_of, steps_done, steps_to_do
from extend_mcp.views.untrusted import NOTE, plain, quote, word

CancelOutcome = Literal[
    "cancelled",
    "cancelling",
    "confirmation_required",
    "declined",
    "already_cancelling",
    "already_finished",
    "not_cancellable",
    "finished_first",
    "unknown",
    "not_found",
]


class CancelPlan(ViewPart):
    """What a cancel would stop, as a person should see it before saying yes."""

    action: Literal["cancel_workflow_run"] = "cancel_workflow_run"
    run_id: str
    workflow: str
    file: str
    status: str
    age: str
    steps_done: int
    steps_still_to_do: int
    credits_used: float | None = None
    reason: str | None = None


class CancelView(View):
    """How a cancel went."""

    always: ClassVar[frozenset[str]] = frozenset({"status_before", "status_after"})

    outcome: CancelOutcome
    run_id: str
    status_before: str | None = None
    status_after: str | None = None
    request_sent: bool
    message: str
    next_step: str | None = None
    confirmation_token: str | None = None
    plan: CancelPlan | None = None


def cancel_plan(run: WorkflowRun, *, reason: str | None, now: datetime) -> CancelPlan:
    """The facts that a person should weigh before cancelling ``run``."""
    first = run.files[0].name or run.files[0].id if run.files else ""
    return CancelPlan(
        run_id=plain(run.id, 300),
        workflow=plain(run.workflow.name, 80),
        file=plain(first, 100) + (f" +{len(run.files) - 1}" if len(run.files) > 1 else ""),
        status=plain(run.status, 40),
        age=format_span((now - run.initial_run_at).total_seconds()) if run.initial_run_at else "unknown",
        steps_done=steps_done(run),
        steps_still_to_do=steps_to_do(run),
        credits_used=credits_of(run),
        reason=plain(reason, 200) if reason else None,
    )


def plan_lines(plan: CancelPlan) -> list[str]:
    """The plan in words, for a person and for a model."""
    used = f", {plan.credits_used:g} credits used so far" if plan.credits_used is not None else ""
    lines = [
        f"Cancel workflow run {word(plan.run_id, 300)}?",
        f"Workflow: {quote(plan.workflow)}, file: {quote(plan.file)}",
        f"Status: {status_words(plan.status)}, created {plan.age} ago",
        f"Steps: {plan.steps_done} done, {plan.steps_still_to_do} known still to do{used}",
    ]
    if plan.reason:
        lines.append(f"Reason given: {quote(plan.reason, 200)}")
    return [*lines, "A cancelled run does not resume."]


def cancel_view(outcome: CancelOutcome, run_id: str, message: str, **known: Any) -> CancelView:
    """Put an outcome in words.

    Args:
        outcome: what happened.
        run_id: the run.
        message: what happened, in one or two sentences.
        known: the other fields of :class:`CancelView`.

    Returns:
        The view; its text says whether anything was sent.
    """
    view = CancelView(outcome=outcome, run_id=run_id, message=message, **{"request_sent": False, **known})
    sent = "The cancel request was sent." if view.request_sent else "No cancel request was sent."
    lines = [f"{outcome}: {message} {sent}"]
    if view.plan:
        lines += [NOTE, *plan_lines(view.plan)]
    if view.confirmation_token:
        lines.append(f"confirmation_token: {view.confirmation_token}")
    if view.next_step:
        lines.append(f"Next: {view.next_step}")
    return view.with_text("\n".join(lines))


def status_words(status: str) -> str:
    """A status for use inside a sentence."""
    return word(status, 40) or "unknown"
