"""Cancelling a run: :func:`cancel_run` for the single and the bulk tool, :class:`CancelRun` for the single one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar, Final

from extend_mcp.actions.execute import Action, Inspection, patiently
from extend_mcp.actions.store import PlannedRun
from extend_mcp.api.errors import ExtendError, InvalidRequestError, NotFoundError
from extend_mcp.api.models import WorkflowRun
from extend_mcp.callers import CallerContext
from extend_mcp.runs.lifecycle import describe, is_finished
from extend_mcp.tools.run_scan import in_parallel
from extend_mcp.views.actions import CancelView, Outcome, status_words
from extend_mcp.views.document import age_words, error_words
from extend_mcp.views.runs import steps_done, steps_to_do
from extend_mcp.views.untrusted import Id, Name, Note

FOLLOW_SECONDS: Final = 12.0
"""Time that a cancel is followed until the run is CANCELLED."""

_LOOK_AGAIN_AFTER = 0.5
_READS_AT_ONCE = 6
_POLL_GROWTH, _LONGEST_POLL = 1.5, 3.0


async def cancel_run(app: CallerContext, record: PlannedRun, run: WorkflowRun | None = None) -> None:
    """Cancel a run if its state allows it, and note in ``record`` what became of it.

    The request is sent once, after a read; ``run`` is that read if it was made a moment ago. Only a refusal for rate is
    followed by another read and another try. An unclear answer is looked up, never repeated.

    Raises:
        ExtendError: the run could not be read, or Extend refused the request for a reason that is not the run's state.
    """

    async def send() -> None:
        nonlocal run
        present, run = run or await app.api.get_workflow_run(record.run_id), None
        record.status, record.note = present.status, None
        if not describe(present.status).may_cancel:
            record.outcome = outcome_of(present.status, sent=record.sent_at is not None)
            return
        record.sent_at = app.clock.now().timestamp()
        try:
            record.status = (await app.api.cancel_workflow_run(record.run_id)).status
            record.outcome = outcome_of(record.status, sent=True)
        except NotFoundError:
            record.status, record.outcome = "", "not_found"
        except ExtendError as error:
            if not await _looked(app, record, error):
                record.sent_at = None
                raise

    await patiently(app, send)


async def _looked(app: CallerContext, record: PlannedRun, error: ExtendError) -> bool:
    """Note the state of a run whose cancel got no clear answer, or was refused though its state allowed it.

    Returns False if the run's state cannot explain the refusal.
    """
    unclear = error.effect != "none"
    if unclear:
        await app.clock.sleep(_LOOK_AGAIN_AFTER)
    elif not isinstance(error, InvalidRequestError):
        return False
    try:
        record.status = (await app.api.get_workflow_run(record.run_id)).status
        record.outcome = outcome_of(record.status, sent=unclear)
    except ExtendError:
        if not unclear:
            return False
        record.status, record.outcome = "", "unknown"
    if record.outcome == "unknown":
        record.outcome, record.note = "unknown" if unclear else "refused", error_words(error)
    return True


def outcome_of(status: str, *, sent: bool) -> Outcome:
    """Name the outcome for a run that was cancellable and is now in ``status``."""
    if status == "CANCELLED":
        return "cancelled" if sent else "already_finished"
    if is_finished(status):
        return "finished_first"
    if describe(status).phase == "ending":
        return "cancelling" if sent else "already_cancelling"
    if describe(status).may_cancel:
        return "unknown"
    return "not_cancellable"


async def follow(app: CallerContext, records: Iterable[PlannedRun], *, seconds: float) -> None:
    """Read the runs that are still ending until each has ended, or the time is up."""
    ending = [each for each in records if each.outcome == "cancelling"]
    deadline = app.clock.monotonic() + seconds
    pause = _LOOK_AGAIN_AFTER
    while ending:
        # The first to be cancelled is the first to end.
        waiting = ending[::-1]

        async def read(waiting: list[PlannedRun] = waiting) -> None:
            while waiting:
                each = waiting.pop()
                # One failed read changes nothing of what was seen before.
                with suppress(ExtendError):
                    each.status = (await app.api.get_workflow_run(each.run_id)).status
                    each.outcome = outcome_of(each.status, sent=True)

        await in_parallel(read, min(_READS_AT_ONCE, len(ending)))
        ending = [each for each in ending if not is_finished(each.status)]
        if app.clock.monotonic() + pause > deadline:
            return
        await app.clock.sleep(pause)
        pause = min(pause * _POLL_GROWTH, _LONGEST_POLL)


@dataclass
class CancelRun(Action[CancelView]):
    """Cancel one run."""

    name: ClassVar[str] = "cancel_workflow_run"
    kind: ClassVar[type[CancelView]] = CancelView
    _run: WorkflowRun = field(init=False, repr=False)

    async def inspect(self) -> Inspection[CancelView]:
        before = self.shown.seen if self.shown else None
        self.known = {"status_before": before}
        self._run = run = await self.app.api.get_workflow_run(self.target)
        self.known = {"status_before": run.status, "status_after": run.status}
        verdict, status = describe(run.status), status_words(run.status)
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
            f"Steps: {steps_done(run)} done, {len(steps_to_do(run))} known still to do{used}",
        ]
        return Inspection(question, progress, [run.workflow.id, [file.id for file in run.files]], run.status)

    async def send(self) -> CancelView:
        """Cancel the run, follow it to its end, and say what became of it."""
        run, record = self._run, PlannedRun(run_id=self.target)
        await cancel_run(self.app, record, run)
        await follow(self.app, [record], seconds=FOLLOW_SECONDS)
        verdict, now, why = describe(record.status), status_words(record.status), record.note
        look = f"Look again with get_workflow_run({Id(record.run_id)})."
        said = {
            "cancelled": (f"The run was {status_words(run.status)} and is now CANCELLED.", None),
            "cancelling": ("Extend accepted the cancel; the run was still CANCELLING when last seen.", look),
            "finished_first": (f"The run ended as {now} before the cancel took effect.", verdict.instead),
            "not_found": ("The run was deleted meanwhile.", None),
            "refused": (f"Extend refused the cancel ({why}); the run continues.", look),
            "unknown": (f"Extend accepted the cancel, yet the run was {now} when last seen.", look),
        }
        outcome = record.outcome or "unknown"
        message, next_step = said.get(outcome, (f"The run is {now}: {verdict.reason}.", verdict.instead))
        if outcome == "unknown" and why:
            looked = f"A second look saw it {now}" if record.status else "A second look failed too"
            message = f"No clear answer came ({why}). {looked}; the cancel may yet take effect. It was not sent again."
            next_step = f"{look} If it still runs in a few seconds, cancelling again is safe."
        return self.answer(
            "not_cancellable" if outcome == "refused" else outcome,
            message,
            status_before=run.status,
            status_after=record.status or None,
            sent=record.sent_at is not None,
            next_step=next_step,
        )
