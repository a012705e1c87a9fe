"""Cancelling a run: :func:`cancel_run` for the single and the bulk tool, :class:`CancelRun` for the single one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import anyio

from extend_mcp.actions.execute import Action, Inspection, patiently
from extend_mcp.api.errors import ExtendError, InvalidRequestError, NotFoundError, RateLimitedError
from extend_mcp.api.models import WorkflowRun
from extend_mcp.callers import CallerContext
from extend_mcp.runs.lifecycle import describe, is_finished, may_cancel
from extend_mcp.views.actions import CancelView, Outcome, status_words
from extend_mcp.views.document import age_words, error_words
from extend_mcp.views.runs import steps_done, steps_to_do
from extend_mcp.views.untrusted import Id, Name, Note

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
    is_fresh = True

    async def send() -> Cancelled:
        nonlocal is_fresh, run
        if not is_fresh:
            run = await app.api.get_workflow_run(run.id)
            if not may_cancel(run.status).allowed:
                return Cancelled(outcome_of(run.status, sent=False), run.status, sent=False)
        is_fresh = False
        try:
            answer = await app.api.cancel_workflow_run(run.id)
        except NotFoundError:
            return Cancelled("not_found")
        except RateLimitedError:
            raise
        except ExtendError as error:
            return await _look(app, run, error)
        return Cancelled(outcome_of(answer.status, sent=True), answer.status)

    return await patiently(app, send)


async def _look(app: CallerContext, run: WorkflowRun, error: ExtendError) -> Cancelled:
    """Read a run whose cancel got no clear answer, or was refused though it could be cancelled a moment ago."""
    unclear = error.effect != "none"
    if unclear:
        await app.clock.sleep(_LOOK_AGAIN_AFTER)
    elif not isinstance(error, InvalidRequestError):
        raise error
    try:
        seen = (await app.api.get_workflow_run(run.id)).status
    except ExtendError:
        if unclear:
            return Cancelled("unknown", "", error)
        raise error from None
    outcome = outcome_of(seen, sent=unclear)
    return Cancelled("refused" if outcome == "unknown" and not unclear else outcome, seen, error)


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
        before = self.shown.seen if self.shown else None
        self.known = {"status_before": before}
        self._run = run = await self.app.api.get_workflow_run(self.target)
        self.known = {"status_before": run.status, "status_after": run.status}
        verdict, status = may_cancel(run.status), status_words(run.status)
        if verdict.refusal:
            # If someone else cancelled it meanwhile, the wish to cancel it lost nothing.
            first = before and verdict.refusal == "already_finished" and run.status != "CANCELLED"
            refusal = self.answer(
                "finished_first" if first else verdict.refusal,
                f"The run ended as {status} first." if first else f"The run is {status}: {verdict.reason}.",
                status_before=before or run.status,
                next_step=verdict.instead,
            )
            return Inspection(refusal=refusal)
        names = [file.name or file.id for file in run.files]
        file = f"{names[0]} +{len(names) - 1}" if len(names) > 1 else "".join(names)
        question = [
            f"Cancel workflow run {Id(run.id)}?",
            f"Workflow: {Name(run.workflow.name)}, file: {Name(file):120}",
            *([f"Reason given: {Note(self.reason)}"] if self.reason else []),
            "A cancelled run does not resume.",
        ]
        used = f", {run.credits:g} credits used so far" if run.credits is not None else ""
        progress = [
            f"Status: {status}, created {age_words(run.initial_run_at, self.app.clock.now(), unknown='unknown')} ago",
            f"Steps: {steps_done(run)} done, {steps_to_do(run)} known still to do{used}",
        ]
        return Inspection(question, progress, [run.workflow.id, [file.id for file in run.files]], run.status)

    async def send(self) -> CancelView:
        """Cancel the run, follow it to its end, and say what became of it."""
        run = self._run
        assert run is not None
        result = await cancel_run(self.app, run)
        if result.outcome == "cancelling":
            status = (await follow(self.app, [run.id])).get(run.id, "")
            result = replace(result, outcome=outcome_of(status, sent=True) if status else "unknown", status=status)
        verdict, now, problem = may_cancel(result.status), status_words(result.status), result.problem
        why, look = error_words(problem) if problem else "", f"Look again with get_workflow_run({run.id})."
        said = {
            "cancelled": (f"The run was {status_words(run.status)} and is now CANCELLED.", None),
            "cancelling": ("Extend accepted the cancel; the run was still CANCELLING when last seen.", look),
            "finished_first": (f"The run ended as {now} before the cancel took effect.", verdict.instead),
            "not_found": ("The run was deleted meanwhile.", None),
            "refused": (
                f"Extend refused the cancel ({why}); the run continues.",
                problem.next_step if problem else None,
            ),
            "unknown": (f"Extend accepted the cancel, but a second look saw the run {now}.", look),
        }
        message, next_step = said.get(result.outcome, (f"The run is {now}: {verdict.reason}.", verdict.instead))
        if result.outcome == "unknown" and problem:
            looked = f"A second look saw it {now}" if result.status else "A second look failed too"
            message = f"No clear answer came ({why}). {looked}; the cancel may yet take effect. It was not sent again."
            next_step = f"{look} If it still runs in a few seconds, cancelling again is safe."
        return self.answer(
            "not_cancellable" if result.outcome == "refused" else result.outcome,
            message,
            status_before=run.status,
            status_after=result.status or None,
            sent=result.sent,
            next_step=next_step,
        )
