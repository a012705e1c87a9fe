"""Cancelling a run: :func:`cancel_run` for the single and the bulk tool, :class:`CancelRun` for the single one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import anyio

from extend_mcp.actions.confirm import Consent
from extend_mcp.actions.execute import STOP_ASKING, Action, Inspection
from extend_mcp.api.errors import ExtendError, InvalidRequestError, NotFoundError, RateLimitedError
from extend_mcp.api.models import WorkflowRun
from extend_mcp.callers import CallerContext
from extend_mcp.runs.lifecycle import describe, is_finished, may_cancel
from extend_mcp.views.actions import CancelPlan, CancelView, Outcome, cancel_plan, status_words
from extend_mcp.views.document import error_words

ATTEMPTS: Final = 3
"""Times a request is sent that Extend refuses for its rate. Extend never looked at such a request."""

LONGEST_WAIT: Final = 10.0
"""Seconds that a refusal for rate (429) may ask to wait; after a longer one the call reports it."""

FOLLOW_SECONDS: Final = 12.0
"""Time that a cancel is followed until the run is CANCELLED."""

_LOOK_AGAIN_AFTER = 0.5
_READS_AT_ONCE = 6
_POLL_GROWTH, _LONGEST_POLL = 1.5, 3.0


@dataclass(frozen=True)
class Cancelled:
    """The outcome of one cancel."""

    outcome: Outcome  # why the run could not be cancelled after all, where it could not
    status: str = ""  # the status last seen; empty if the run could not be read after the request
    problem: ExtendError | None = None  # the error behind ``refused`` and ``unknown``
    sent: bool = True  # whether a cancel request reached Extend, or may have


async def cancel_run(app: CallerContext, run: WorkflowRun) -> Cancelled:
    """Cancel a run that was read a moment ago and can be cancelled.

    The request is sent once. Only a refusal for rate, which Extend documents as not looked at, is followed by
    another try, after the wait that it asks for and another read. An unclear answer is looked up, never repeated.

    Raises:
        ExtendError: Extend refused the request for a reason that is not the run's state; nothing changed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = await app.api.cancel_workflow_run(run.id)
        except NotFoundError:  # noqa: PERF203 - few attempts, and each fails in its own way
            return Cancelled("not_found")
        except InvalidRequestError as error:
            return await _after_refusal(app, run, error)
        except RateLimitedError as error:
            wait = error.retry_after if error.retry_after is not None else 1.0
            if attempt == ATTEMPTS or wait > LONGEST_WAIT:
                raise
            await app.clock.sleep(wait)
            run = await app.api.get_workflow_run(run.id)
            if not may_cancel(run.status).allowed:
                return Cancelled(outcome_of(run.status, sent=False), run.status, sent=False)
        except ExtendError as error:
            if error.effect == "none":
                raise
            return await _after_unclear(app, run, error)
        else:
            return Cancelled(outcome_of(answer.status, sent=True), answer.status)
    raise AssertionError


def outcome_of(status: str, *, sent: bool) -> Outcome:
    """Name the outcome for a run that was cancellable and is now in ``status``."""
    if status == "CANCELLED":
        return "cancelled" if sent else "already_finished"
    if is_finished(status):
        return "finished_first"
    if describe(status).phase == "ending":
        return "cancelling" if sent else "already_cancelling"
    if may_cancel(status).allowed:
        return "unknown"
    return "not_cancellable"


async def _after_refusal(app: CallerContext, run: WorkflowRun, error: InvalidRequestError) -> Cancelled:
    # The run was cancellable a moment ago, so another read explains the refusal.
    try:
        seen = await app.api.get_workflow_run(run.id)
    except ExtendError:
        raise error from None
    if may_cancel(seen.status).allowed:
        return Cancelled("refused", seen.status, error)
    return Cancelled(outcome_of(seen.status, sent=False), seen.status, error)


async def _after_unclear(app: CallerContext, run: WorkflowRun, error: ExtendError) -> Cancelled:
    await app.clock.sleep(_LOOK_AGAIN_AFTER)
    try:
        seen = await app.api.get_workflow_run(run.id)
    except ExtendError:
        return Cancelled("unknown", "", error)
    return Cancelled(outcome_of(seen.status, sent=True), seen.status, error)


async def follow(app: CallerContext, run_ids: Iterable[str], *, seconds: float | None = None) -> dict[str, str]:
    """Read runs whose cancel Extend accepted until each has ended, or the time is up.

    Returns the status last seen of each run that could be read.
    """
    seen: dict[str, str] = {}
    limiter = anyio.CapacityLimiter(_READS_AT_ONCE)

    async def read(run_id: str) -> None:
        # One failed read changes nothing of what was seen before.
        async with limiter:
            with suppress(ExtendError):
                seen[run_id] = (await app.api.get_workflow_run(run_id)).status

    deadline = app.clock.monotonic() + (FOLLOW_SECONDS if seconds is None else seconds)
    pause, ending = _LOOK_AGAIN_AFTER, list(run_ids)
    while True:
        async with anyio.create_task_group() as group:
            for run_id in ending:
                group.start_soon(read, run_id)
        ending = [run_id for run_id in ending if not is_finished(seen.get(run_id, ""))]
        if not ending or app.clock.monotonic() + pause > deadline:
            return seen
        await app.clock.sleep(pause)
        pause = min(pause * _POLL_GROWTH, _LONGEST_POLL)


@dataclass
class CancelRun(Action[CancelView]):
    """Cancel one run."""

    name: ClassVar[str] = "cancel_workflow_run"
    kind: ClassVar[type[CancelView]] = CancelView
    _run: WorkflowRun | None = None

    async def inspect(self) -> Inspection[CancelView]:
        self._run = run = await self.app.api.get_workflow_run(self.target)
        if not may_cancel(run.status).allowed:
            return Inspection(status=run.status, refusal=self._refused(run.status))
        plan = cancel_plan(run, reason=self.reason, now=self.app.clock.now())
        files = [file.id for file in run.files]
        return Inspection(plan.facts(), plan.progress(), bound=[run.workflow.id, files], status=run.status)

    async def send(self) -> CancelView:
        """Cancel the run and follow it to its end."""
        run = self._run
        assert run is not None
        result = await cancel_run(self.app, run)
        if result.outcome == "cancelling":
            status = (await follow(self.app, [run.id])).get(run.id, "")
            result = replace(result, outcome=outcome_of(status, sent=True) if status else "unknown", status=status)
        return self._sent(run, result)

    def _sent(self, run: WorkflowRun, result: Cancelled) -> CancelView:
        status, problem = status_words(result.status), result.problem
        look_again = f"Look again with get_workflow_run({run.id})."
        next_step: str | None = look_again
        outcome = result.outcome
        if outcome == "cancelled":
            message, next_step = f"The run was {status_words(run.status)} and is now CANCELLED.", None
        elif outcome == "cancelling":
            message = "Extend accepted the cancel; the run was still CANCELLING when last seen."
        elif outcome == "finished_first":
            message = f"The run ended as {status} before the cancel took effect."
            next_step = may_cancel(result.status).instead
        elif outcome == "not_found":
            message, next_step = "The run was deleted meanwhile.", None
        elif outcome == "refused" and problem:
            outcome, next_step = "not_cancellable", problem.next_step
            message = f"Extend refused the cancel ({error_words(problem)}); the run continues."
        elif outcome != "unknown":
            verdict = may_cancel(result.status)
            message, next_step = f"The run is {status}: {verdict.reason}.", verdict.instead
        elif problem:
            looked = f"A second look saw it {status}" if result.status else "A second look failed too"
            message = (
                f"No clear answer came ({error_words(problem)}). {looked}; the cancel may yet take effect. "
                "It was not resent."
            )
            next_step = (
                f"Look with get_workflow_run({run.id}) in a few seconds; if it still runs, cancelling again is safe."
            )
        elif result.status:
            message = f"Extend accepted the cancel, yet the run was {status} when last seen."
        else:
            message = "Extend accepted the cancel, but the run could not be read afterwards."
        return self.answer(
            outcome,
            message,
            status_before=run.status,
            status_after=result.status or None,
            sent=result.sent,
            next_step=next_step,
        )

    def too_late(self, found: Inspection[CancelView], before: str) -> CancelView:
        """Answer that the run ended, or began to end, since it was proposed."""
        return self._refused(found.status, before=before, raced=True)

    def declined(self, found: Inspection[CancelView], note: str) -> CancelView:
        return self.answer(
            "declined",
            f"{note} The run continues.",
            status_before=found.status,
            status_after=found.status,
            next_step=STOP_ASKING,
        )

    def unconfirmed(self, found: Inspection[CancelView], consent: Consent) -> CancelView:
        assert self._run is not None
        return self.answer(
            "confirmation_required",
            f"{consent.note} Nothing is cancelled yet.".strip(),
            status_before=found.status,
            status_after=found.status,
            token=consent.token,
            plan=cancel_plan(self._run, reason=self.reason, now=self.app.clock.now()),
            next_step="Show this plan to the user. Only if they agree, call again with the confirmation_token.",
        )

    def not_found(self, before: str | None = None) -> CancelView:
        return self.answer(
            "not_found",
            "There is no such run for this API key (wrong id, workspace or region, or deleted).",
            status_before=before,
            next_step="Find the run with list_runs.",
        )

    def answer(
        self,
        outcome: Outcome,
        message: str,
        *,
        details: Sequence[str] = (),
        plan: CancelPlan | None = None,
        **known: Any,
    ) -> CancelView:
        message = " ".join([message, *details])
        lines = [*plan.facts(), *plan.progress()] if plan else []
        return super().answer(outcome, message, run_id=self.target, plan=plan, details=lines, **known)

    def _refused(self, status: str, *, before: str | None = None, raced: bool = False) -> CancelView:
        verdict = may_cancel(status)
        assert verdict.refusal is not None
        # If someone else cancelled it meanwhile, the wish to cancel it lost nothing.
        first = raced and verdict.refusal == "already_finished" and status != "CANCELLED"
        words = status_words(status)
        return self.answer(
            "finished_first" if first else verdict.refusal,
            f"The run ended as {words} first." if first else f"The run is {words}: {verdict.reason}.",
            status_before=before or status,
            status_after=status,
            next_step=verdict.instead,
        )
