"""Cancelling one run, guarded: read, judge, ask, read again, send once, follow, and tell it as it was."""

from __future__ import annotations

from contextlib import suppress

from mcp_types import InputRequiredResult

from extend_mcp.api.errors import ExtendError, InvalidRequestError, NotFoundError, RateLimitedError
from extend_mcp.api.models import WorkflowRun
from extend_mcp.audit import judged
from extend_mcp.runs.guards import Verdict, may_cancel
from extend_mcp.runs.lifecycle import describe, is_finished
from extend_mcp.tools.app import App, Ctx, app_of
from extend_mcp.tools.confirm import Consent, Proposal, confirm, earlier
from extend_mcp.views.cancel import CancelView, cancel_plan, cancel_view, plan_lines, status_words
from extend_mcp.views.errors import error_words

ACTION = "cancel_workflow_run"

_LONGEST_WAIT = 10.0
"""Seconds that a refused-for-now cancel (429) may wait before its one repetition."""

_FIRST_POLL, _POLL_GROWTH, _LONGEST_POLL = 0.5, 1.5, 3.0


async def cancel(ctx: Ctx, run_id: str, reason: str | None, token: str | None) -> CancelView | InputRequiredResult:
    """Cancel ``run_id`` if its state allows it and a person agrees (design: Guarded actions).

    Returns:
        The outcome, or the result that makes the client ask its user first.

    Raises:
        ExtendError: the run could not be read, or Extend refused the request for another reason than its state.
    """
    app = app_of(ctx)
    before = earlier(ctx, ACTION, run_id, token)
    try:
        run = await app.api.get_workflow_run(run_id)
    except NotFoundError:
        return _not_found(run_id)
    asked_in = before.state if before else run.status
    if not (verdict := may_cancel(run.status)).allowed:
        return _refused(run, verdict, asked_in)
    judged.set("allowed")

    plan = cancel_plan(run, reason=reason, now=app.clock.now())
    consent = await confirm(ctx, Proposal(ACTION, run_id, run.status, "\n".join(plan_lines(plan))), token)
    if isinstance(consent, InputRequiredResult):
        return consent
    if consent.verdict == "no":
        return _declined(run, consent)
    if consent.verdict == "token_required":
        return cancel_view(
            "confirmation_required",
            run_id,
            f"{consent.note} Nothing is cancelled yet.".strip(),
            status_before=run.status,
            status_after=run.status,
            confirmation_token=consent.token,
            plan=plan,
            next_step="Show this plan to the user. Only if they agree, call again with the confirmation_token.",
        )
    if consent.waited:
        # A person takes time: what was read before the question says nothing about now.
        asked_in = run.status
        try:
            run = await app.api.get_workflow_run(run_id)
        except NotFoundError:
            return _not_found(run_id, asked_in)
        if not (verdict := may_cancel(run.status)).allowed:
            return _refused(run, verdict, asked_in)
    return await _send(app, run)


async def _send(app: App, run: WorkflowRun, *, repeated: bool = False) -> CancelView:
    """Send the cancel of a run that was just read as cancellable, and follow it."""
    try:
        await app.api.cancel_workflow_run(run.id)
    except NotFoundError:
        return cancel_view(
            "not_found", run.id, "The run was deleted meanwhile.", status_before=run.status, request_sent=True
        )
    except InvalidRequestError as error:
        return await _after_refusal(app, run, error)
    except RateLimitedError as error:
        # Refused before it was looked at, so nothing was cancelled and it may be sent again - once.
        wait = error.retry_after if error.retry_after is not None else 1.0
        if repeated or wait > _LONGEST_WAIT:
            raise
        await app.clock.sleep(wait)
        fresh = await app.api.get_workflow_run(run.id)
        verdict = may_cancel(fresh.status)
        return await _send(app, fresh, repeated=True) if verdict.allowed else _refused(fresh, verdict, run.status)
    except ExtendError as error:
        if error.effect == "none":
            raise
        return await _after_unclear(app, run, error)
    return _settled(run, await _follow(app, run.id))


async def _follow(app: App, run_id: str) -> WorkflowRun | None:
    """Read the run until it is over or the time is up; None when it could not be read at all."""
    deadline = app.clock.monotonic() + app.settings.follow_seconds
    pause = _FIRST_POLL
    seen: WorkflowRun | None = None
    while True:
        # One failed look changes nothing of what was seen before.
        with suppress(ExtendError):
            seen = await app.api.get_workflow_run(run_id)
        if (seen and is_finished(seen.status)) or app.clock.monotonic() + pause > deadline:
            return seen
        await app.clock.sleep(pause)
        pause = min(pause * _POLL_GROWTH, _LONGEST_POLL)


def _settled(run: WorkflowRun, seen: WorkflowRun | None) -> CancelView:
    """Word what following an accepted cancel showed."""
    known = {"status_before": run.status, "request_sent": True}
    look_again = f"Look again with get_workflow_run({run.id})."
    if seen is None:
        return cancel_view(
            "unknown", run.id, "Extend accepted the cancel, but the run could not be read afterwards.",
            next_step=look_again, **known,
        )  # fmt: skip
    known["status_after"] = seen.status
    if seen.status == "CANCELLED":
        return cancel_view(
            "cancelled", run.id, f"The run was {status_words(run.status)} and is now CANCELLED.", **known
        )
    if is_finished(seen.status):
        return cancel_view(
            "finished_first", run.id,
            f"The run ended as {status_words(seen.status)} before the cancel took effect.",
            next_step=f"See what it produced with get_workflow_run({run.id}).", **known,
        )  # fmt: skip
    if describe(seen.status).phase == "ending":
        return cancel_view(
            "cancelling", run.id, "Extend accepted the cancel; the run was still CANCELLING when last seen.",
            next_step=look_again, **known,
        )  # fmt: skip
    return cancel_view(
        "unknown", run.id,
        f"Extend accepted the cancel, yet the run was {status_words(seen.status)} when last seen.",
        next_step=look_again, **known,
    )  # fmt: skip


async def _after_refusal(app: App, run: WorkflowRun, error: InvalidRequestError) -> CancelView:
    """Extend said no to a run that was cancellable a moment ago: look what it is now."""
    try:
        seen = await app.api.get_workflow_run(run.id)
    except ExtendError:
        raise error from None
    verdict = may_cancel(seen.status)
    if not verdict.allowed:
        return _refused(seen, verdict, run.status, sent=True)
    return cancel_view(
        "not_cancellable", run.id, f"Extend refused the cancel ({error_words(error)}); the run goes on.",
        status_before=run.status, status_after=seen.status, request_sent=True, next_step=error.next_step,
    )  # fmt: skip


async def _after_unclear(app: App, run: WorkflowRun, error: ExtendError) -> CancelView:
    """No clear answer came: look, never guess, never send again."""
    seen = await _follow_if_ending(app, run.id)
    if seen and (is_finished(seen.status) or describe(seen.status).phase == "ending"):
        return _settled(run, seen)
    looked = f"A second look saw it {status_words(seen.status)}" if seen else "A second look failed too"
    return cancel_view(
        "unknown", run.id,
        f"No clear answer came ({error_words(error)}). {looked}; the cancel may yet take effect. It was not resent.",
        status_before=run.status, status_after=seen.status if seen else None, request_sent=True,
        next_step=f"Look with get_workflow_run({run.id}) in a few seconds; if it still runs, cancelling again is safe.",
    )  # fmt: skip


async def _follow_if_ending(app: App, run_id: str) -> WorkflowRun | None:
    await app.clock.sleep(_FIRST_POLL)
    try:
        seen = await app.api.get_workflow_run(run_id)
    except ExtendError:
        return None
    return await _follow(app, run_id) or seen if describe(seen.status).phase == "ending" else seen


def _refused(run: WorkflowRun, verdict: Verdict, asked_in: str, *, sent: bool = False) -> CancelView:
    """The run's state forbids it: at first sight, or since it was proposed or sent (a race)."""
    assert verdict.refusal is not None
    if not sent:
        judged.set(verdict.refusal)
    # Had it been cancelled by someone else meanwhile, nothing was lost to the wish to cancel it.
    raced = verdict.refusal == "already_finished" and run.status != "CANCELLED" and may_cancel(asked_in).allowed
    word = status_words(run.status)
    message = f"The run ended as {word} first." if raced else f"The run is {word}: {verdict.reason}."
    return cancel_view(
        "finished_first" if raced else verdict.refusal, run.id, message,
        status_before=asked_in, status_after=run.status, request_sent=sent, next_step=verdict.instead,
    )  # fmt: skip


def _declined(run: WorkflowRun, consent: Consent) -> CancelView:
    return cancel_view(
        "declined", run.id, f"{consent.note} The run goes on.",
        status_before=run.status, status_after=run.status,
        next_step="Do not ask again unless the user wants it.",
    )  # fmt: skip


def _not_found(run_id: str, status_before: str | None = None) -> CancelView:
    return cancel_view(
        "not_found", run_id, "There is no such run for this API key (wrong id, workspace or region, or deleted).",
        status_before=status_before, next_step="Find the run with list_runs.",
    )  # fmt: skip
