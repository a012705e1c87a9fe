"""How an action on many runs goes: plan, ask, then act on exactly the planned runs, and go on after an interruption.

- The first call makes a plan and sends nothing. The plan is kept; a token or the sealed request state names it.
- The call that brings a person's yes acts on each planned run of which nothing final is known, several at once,
  and always after a fresh read of that run.
- A call that is cut short leaves what it knows in the plan: the same token goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
from mcp_types import InputRequiredResult

from extend_mcp.audit import confirmed, judged
from extend_mcp.clock import Clock
from extend_mcp.tools.app import Ctx, app_of
from extend_mcp.tools.base import Refusal
from extend_mcp.tools.confirm import Proposal, confirm, principal_of, round_state, token_claims
from extend_mcp.tools.gather import CALL_SECONDS, Deadline, in_parallel
from extend_mcp.tools.plans import Item, Plan, PlansUnavailableError
from extend_mcp.views.bulk import BulkView, bulk_result, bulk_view

_AT_ONCE = 6
_ATTEMPTS = 3
_LONGEST_WAIT = 10.0
"""Seconds that a refusal for rate (429) may ask to wait."""

_LAST_SECONDS = 5.0
"""Kept at the end of a call for answering."""


class BulkAction(ABC):
    """One kind of action on many runs, as a call wants it.

    Attributes:
        name: the tool's name.
        keep: keeps what is known of a run where the next call will find it, whichever process answers it.
    """

    name: str
    keep: Callable[[Item], Awaitable[None]]

    @abstractmethod
    async def propose(self, deadline: Deadline) -> Plan | BulkView:
        """Read what there is and say what would be done; a view where there is nothing to agree to."""

    @abstractmethod
    async def attempt(self, item: Item) -> float | None:
        """Act on one run and note the outcome in the item; called again while that is None.

        Returns:
            The seconds that Extend's refusal for rate asks to wait before another attempt; None otherwise.
        """

    async def act(self, clock: Clock, item: Item) -> None:
        """Act on one run; where Extend refuses for its rate, wait and attempt it again a few times."""
        for _ in range(_ATTEMPTS):
            wait = await self.attempt(item)
            if wait is None or wait > _LONGEST_WAIT:
                return
            await clock.sleep(wait)

    async def finish(self, plan: Plan, deadline: Deadline) -> None:
        """Do what is to be done once all runs were acted on, such as a last look."""
        return


async def carry_out(ctx: Ctx, action: BulkAction, token: str | None) -> BulkView | InputRequiredResult:
    """Propose or carry out an action on many runs.

    Args:
        ctx: the call.
        action: what is wanted; its arguments matter for a proposal only.
        token: names the plan, on the call that brings the yes or goes on.

    Raises:
        ExtendError: what is needed for a plan could not be read, or the key is refused.
        Refusal: plans cannot be read or kept at the moment.
    """
    try:
        return await _carry_out(ctx, action, token)
    except PlansUnavailableError:
        raise _PlansOutOfReach from None


async def _carry_out(ctx: Ctx, action: BulkAction, token: str | None) -> BulkView | InputRequiredResult:
    app = app_of(ctx)
    limit = app.settings.answer_chars
    deadline = Deadline(ctx, app, CALL_SECONDS - _LAST_SECONDS)
    plan = await _named(ctx, action, token)
    if plan is None:
        proposed = await action.propose(deadline)
        if isinstance(proposed, BulkView):
            judged.set("refused" if proposed.outcome == "refused" else None)
            return proposed
        plan = proposed
        await app.plans.put(plan)
    judged.set("allowed")
    if not plan.agreed:
        question = "\n".join(plan.lines)
        consent = await confirm(ctx, Proposal(action.name, plan.id, _digest(plan), question), token)
        if isinstance(consent, InputRequiredResult):
            return consent
        if consent.verdict == "no":
            said = f"{consent.note} Nothing was sent."
            return bulk_view("declined", said, planned=len(plan.items), skipped=plan.skipped, limit=limit)
        if consent.verdict == "token_required":
            stale = " The token given names no plan that is still kept." if token and not consent.note else ""
            return bulk_view(
                "confirmation_required",
                f"{consent.note}{stale} Nothing was sent yet.".strip(),
                planned=len(plan.items),
                skipped=plan.skipped,
                plan=plan.lines,
                token=consent.token,
                next_step="Show this plan to the user. Only if they agree, call again with this token alone.",
                limit=limit,
            )
        await app.plans.agree(plan)
        # A person takes time; the reading before the question does not count against the acting.
        deadline = Deadline(ctx, app, CALL_SECONDS - _LAST_SECONDS)
    elif token:
        confirmed.set("token")
    return await _work(ctx, action, plan, deadline)


async def _work(ctx: Ctx, action: BulkAction, plan: Plan, deadline: Deadline) -> BulkView:
    app = app_of(ctx)
    limit = app.settings.answer_chars
    async with app.plans.at_work(plan) as ours:
        if not ours:
            return bulk_view(
                "busy",
                "Another call is carrying out this plan right now. Nothing was sent by this one.",
                planned=len(plan.items),
                next_step="Make the same call again in a few seconds.",
                limit=limit,
            )
        # What another call did between our reading of the plan and our hold on it counts.
        now = app.clock.now().timestamp()
        fresh = await app.plans.get(plan.id, action=plan.action, principal=plan.principal, now=now)
        if fresh is None:
            return no_such_plan(limit)
        plan = fresh
        action.keep = partial(app.plans.note, plan)
        waiting = list(reversed(plan.open_items))

        async def work() -> None:
            while waiting and deadline.left > 0:
                item = waiting.pop()
                try:
                    await action.act(app.clock, item)
                finally:
                    # Also when the call is cut short: what was sent must be known to whoever goes on.
                    with anyio.CancelScope(shield=True):
                        await action.keep(item)
                await deadline.tell(f"{len(plan.items) - len(plan.open_items):,} of {len(plan.items):,} runs done")

        await in_parallel(work, min(_AT_ONCE, len(waiting)))
        if not plan.open_items:
            await action.finish(plan, deadline)
            for item in plan.items:
                await action.keep(item)
    results = [bulk_result(item.run_id, item.outcome or "not_done_yet", item.status, item.note) for item in plan.items]
    left = len(plan.open_items)
    if not left:
        message = f"All {len(plan.items):,} planned runs were gone through."
        return bulk_view("done", message, planned=len(plan.items), skipped=plan.skipped, results=results, limit=limit)
    return bulk_view(
        "partial",
        f"{left:,} of {len(plan.items):,} planned runs are not done yet: time was up, or no clear answer came.",
        planned=len(plan.items),
        skipped=plan.skipped,
        results=results,
        token=_resume_token(ctx, action, plan),
        next_step="Call again with this confirmation_token alone: it goes on with the rest, and asks nobody again.",
        limit=limit,
    )


async def _named(ctx: Ctx, action: BulkAction, token: str | None) -> Plan | None:
    """The plan that this call goes on with; None when it names none that is still kept."""
    claims = round_state(ctx) or (token_claims(ctx, token) if token else None)
    if not claims or claims.get("action") != action.name:
        return None
    app = app_of(ctx)
    now = app.clock.now().timestamp()
    return await app.plans.get(str(claims.get("target")), action=action.name, principal=principal_of(ctx), now=now)


def _resume_token(ctx: Ctx, action: BulkAction, plan: Plan) -> str:
    app = app_of(ctx)
    claims = {"action": action.name, "target": plan.id, "state": _digest(plan)}
    return app.seal.close(claims, principal=principal_of(ctx), now=app.clock.now())


class _PlansOutOfReach(Refusal):
    changed_nothing = False

    def __init__(self) -> None:
        super().__init__(
            "Plans cannot be read or kept at the moment: what the replicas of this server share is out of reach. What "
            "was done before stays done, and nothing more is sent; make the same call again in a minute."
        )


def _digest(plan: Plan) -> str:
    return hashlib.sha256("\n".join(item.run_id for item in plan.items).encode()).hexdigest()[:24]


def refusal_above(planned: Sequence[object], most: int, *, limit: int) -> BulkView | None:
    """The refusal of more runs than the operator lets one call act on."""
    if len(planned) <= most:
        return None
    return bulk_view(
        "refused",
        f"{len(planned):,} runs would be acted on; the operator allows {most:,} in one call. Nothing was sent.",
        next_step="Narrow the filters, or name the runs.",
        limit=limit,
    )


def no_such_plan(limit: int) -> BulkView:
    """The refusal of a call that brings nothing but a token, where the token names no plan."""
    return bulk_view(
        "refused",
        "The confirmation token names no plan here: it was altered, has expired, or the plan is gone.",
        next_step="Make the first call again, with the runs.",
        limit=limit,
    )
