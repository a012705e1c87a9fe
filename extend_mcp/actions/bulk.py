"""The write engine over a plan of many runs: plan, ask, act on exactly the planned runs, resume after an interruption.

- The first call makes a plan and sends nothing. The plan is kept; a token or the sealed request state names it.
- The call that brings a person's yes acts on each planned run that has no final outcome, several at once, and always
  after a fresh read of that run.
- A call that is cut short leaves what it knows in the plan: the same token resumes where it stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import anyio
from mcp_types import InputRequiredResult

from extend_mcp.actions.confirm import Proposal, confirm, digest, earlier_proposal, issue_token, token_problem
from extend_mcp.actions.execute import STOP_ASKING
from extend_mcp.actions.store import Plan, PlannedRun
from extend_mcp.audit import write_record
from extend_mcp.callers import CallerContext, Ctx
from extend_mcp.tools.run_scan import CALL_SECONDS, Deadline, in_parallel
from extend_mcp.views.actions import BulkResult, BulkView, Outcome, bulk_view
from extend_mcp.views.document import counted
from extend_mcp.views.untrusted import Id, cut_line

PLAN_GONE = "the plan is no longer kept (plans are kept for an hour, and a server that keeps them in memory loses them)"

AT_ONCE = 16
"""Runs of a plan that are changed at the same time."""


@dataclass
class BulkAction(ABC):
    """One action on many runs, as a call wants it."""

    app: CallerContext = field(repr=False)
    reason: str | None = field(default=None, kw_only=True)  # why, in the user's words; the person sees it
    token_problem: str = field(default="", init=False, repr=False)  # why the token that the call brings names no plan

    name: ClassVar[str]

    @abstractmethod
    async def propose(self, deadline: Deadline) -> Plan | BulkView:
        """Read the live state and return the plan; a view if there is nothing to agree to."""

    @abstractmethod
    async def act(self, plan: Plan, run: PlannedRun) -> None:
        """Read one run again, judge it, send the request once, and note the outcome in ``run``.

        Without a final outcome the run stays open, and the next call with the same plan tries it again.
        """

    async def finish(self, plan: Plan, deadline: Deadline) -> None:
        """Follow up once every run has an outcome, such as by a last look."""
        del plan, deadline

    def view(self, outcome: Outcome, message: str, **known: Any) -> BulkView:
        """Build an answer of this action."""
        return bulk_view(outcome, message, limit=self.app.limits.answer_chars, **known)

    def plan(self, runs: list[PlannedRun], question: list[str], skipped: dict[str, int]) -> Plan:
        """Make a plan of this action."""
        return Plan(
            action=self.name,
            principal=self.app.caller.principal,
            runs=runs,
            question=question,
            skipped=skipped,
            reason=self.reason or "",
            made_at=self.app.clock.now().timestamp(),
        )

    def too_many(self, planned: Sequence[object]) -> BulkView | None:
        """Return the refusal of more runs than the operator lets one call act on."""
        most = self.app.limits.bulk_runs
        if len(planned) <= most:
            return None
        message = (
            f"{len(planned):,} runs would be acted on; the operator allows {most:,} in one call. Nothing was sent."
        )
        return self.view("refused", message, next_step="Narrow the filters, or name the runs.")

    def no_such_plan(self) -> BulkView:
        """Return the refusal of a call that brings nothing but a token, where the token names no plan."""
        return self.view(
            "refused",
            f"The confirmation token names no plan: {self.token_problem or PLAN_GONE}. Nothing was sent.",
            next_step="Make the first call again, with the runs.",
        )


async def execute_bulk(ctx: Ctx, action: BulkAction, token: str | None) -> BulkView | InputRequiredResult:
    """Propose or carry out an action on many runs. A token names the plan, on the call that brings the yes or resumes.

    Raises:
        ExtendError: the state that a plan needs could not be read, or the key is refused.
        CallRefusedError: plans cannot be read or kept at the moment.
    """
    app, record = action.app, write_record()
    deadline = Deadline(ctx, app)
    earlier = earlier_proposal(ctx, action.name, token)
    # None if this call names no plan, or one that is no longer kept.
    plan = await _kept_plan(action, earlier.target) if earlier else None
    if plan is None:
        if token and not earlier:
            action.token_problem = token_problem(ctx, token)
        proposed = await action.propose(deadline)
        if isinstance(proposed, BulkView):
            record.verdict = "refused" if proposed.outcome == "refused" else None
            return proposed
        plan = proposed
        await app.store.put(plan)
    record.verdict, record.reason, record.planned = "allowed", plan.reason, plan.runs
    if plan.agreed:
        record.confirmed_by = "token" if token else None
        return await _carry_out(ctx, action, plan, deadline)
    about = {"planned": len(plan.runs), "skipped": plan.skipped}
    consent = await confirm(ctx, _proposal(plan), plan.question, token)
    if isinstance(consent, InputRequiredResult):
        return consent
    if consent.answer == "refused":
        record.verdict = "refused"
        return action.view("refused", f"{consent.note} Nothing was sent.", **about)
    if consent.answer == "no":
        return action.view("declined", f"{consent.note} Nothing was sent.", next_step=STOP_ASKING, **about)
    if consent.answer == "token_required":
        stale = f" The token given names no plan: {PLAN_GONE}." if token and not consent.note else ""
        return action.view(
            "confirmation_required",
            f"{consent.note}{stale} Nothing was sent yet.".strip(),
            plan=plan.question,
            confirmation_token=consent.token,
            next_step="Show this plan to the user. Only if they agree, call again with this token alone.",
            **about,
        )
    record.confirmed_by = consent.by
    # A person takes time; the reading before the question does not count against the acting.
    return await _carry_out(ctx, action, plan, deadline.extend(CALL_SECONDS))


async def _carry_out(ctx: Ctx, action: BulkAction, plan: Plan, deadline: Deadline) -> BulkView:
    app = action.app
    async with app.store.hold(plan) as ours:
        if not ours:
            return action.view(
                "busy",
                "Another call is carrying out this plan right now. Nothing was sent by this one.",
                planned=len(plan.runs),
                next_step="Make the same call again in a few seconds.",
            )
        # Another call may have acted between our reading of the plan and our hold on it.
        fresh = await _kept_plan(action, plan.id)
        if fresh is None:
            return action.no_such_plan()
        plan = fresh
        if not plan.agreed:
            await app.store.agree(plan)
        write_record().planned = plan.runs
        waiting = list(reversed(plan.open_runs))

        async def work() -> None:
            while waiting and deadline.left > 0:
                run = waiting.pop()
                try:
                    await action.act(plan, run)
                finally:
                    # Also when the call is cut short: a resuming call must know what was sent.
                    with anyio.CancelScope(shield=True):
                        await app.store.save_run(plan, run)
                done = f"{len(plan.runs) - len(plan.open_runs):,} of {len(plan.runs):,} runs done"
                await deadline.report(f"{done}; {Id(run.run_id)} {run.outcome or 'is not done yet'}")

        await in_parallel(work, min(AT_ONCE, len(waiting)))
        if not plan.open_runs:
            await action.finish(plan, deadline)
            for run in plan.runs:
                await app.store.save_run(plan, run)
    results = [
        BulkResult(
            run_id=run.run_id,
            outcome=run.outcome or "not_done_yet",
            status=run.status or None,
            # Our own line, with text from outside marked.
            note=cut_line(run.note, 500) or None,
            new_run_id=run.new_run_id or None,
            new_status=run.new_status or None,
        )
        for run in plan.runs
    ]
    sent = any(run.sent_at is not None or run.outcome == "refused" for run in plan.runs)
    about = {"sent": sent, "planned": len(plan.runs), "skipped": plan.skipped, "results": results}
    if left := len(plan.open_runs):
        return action.view(
            "partial",
            f"{left:,} of {len(plan.runs):,} planned runs are not done yet: time was up, or no clear answer came.",
            confirmation_token=issue_token(ctx, _proposal(plan)),
            next_step="Call again with this confirmation_token alone: it resumes with the rest, and asks nobody again.",
            **about,
        )
    return action.view("done", f"{counted(len(plan.runs), 'planned run')} done.", **about)


async def _kept_plan(action: BulkAction, plan_id: str) -> Plan | None:
    app = action.app
    now = app.clock.now().timestamp()
    return await app.store.get(plan_id, action=action.name, principal=app.caller.principal, now=now)


def _proposal(plan: Plan) -> Proposal:
    return Proposal(plan.action, plan.id, digest([run.run_id for run in plan.runs], plan.question))
