"""Writes that a person must agree to: read, judge, ask, read again, send once, and look when the outcome is unclear.

Cancelling a run has rules of its own (see `cancel`); everything else that destroys or publishes goes through here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from mcp_types import InputRequiredResult

from extend_mcp.api.errors import ExtendError, NotFoundError
from extend_mcp.audit import judged
from extend_mcp.tools.app import Ctx, app_of
from extend_mcp.tools.confirm import Proposal, confirm, earlier
from extend_mcp.views.action import ActionView, action_view
from extend_mcp.views.errors import error_words


@dataclass(frozen=True)
class Plan:
    """What would be done, from facts read a moment ago.

    Attributes:
        state: what the consent is for; a consent to another state does not count.
        lines: the question and its facts, for the person and for the model.
        refusal: why it may not be done at all; empty if it may.
    """

    state: str
    lines: list[str]
    refusal: str = ""


@dataclass(frozen=True)
class Action:
    """A guarded write.

    Attributes:
        name: the tool's name.
        target: the id of what it acts on.
        read: reads the present state and says what would be done.
        send: sends the request, once, and returns what to say of its success.
        look: says what is now the case, after a request whose outcome is unclear.
        binding: the arguments that the consent covers; other arguments need another consent.
    """

    name: str
    target: str
    read: Callable[[], Awaitable[Plan]]
    send: Callable[[], Awaitable[Done]]
    look: Callable[[], Awaitable[str]]
    binding: Any = None


@dataclass(frozen=True)
class Done:
    """What to say when a guarded write succeeded."""

    message: str
    details: list[str] = field(default_factory=list)
    next_step: str | None = None


async def act(ctx: Ctx, action: Action, token: str | None) -> ActionView | InputRequiredResult:
    """Carry out ``action`` if its state allows it and a person agrees.

    Returns:
        The outcome, or the result that makes the client ask its user first.

    Raises:
        ExtendError: the object could not be read, or Extend refused the request.
    """
    limit = app_of(ctx).settings.answer_chars
    bound = f"{action.target}#{digest(action.binding)}"
    before = earlier(ctx, action.name, bound, token)
    try:
        plan = await action.read()
    except NotFoundError:
        return _gone(action)
    judged.set("refused" if plan.refusal else "allowed")
    if plan.refusal:
        return action_view("refused", plan.refusal, target=action.target, limit=limit)
    if before and before.state != plan.state:
        return _changed(action, plan, limit)
    consent = await confirm(ctx, Proposal(action.name, bound, plan.state, "\n".join(plan.lines)), token)
    if isinstance(consent, InputRequiredResult):
        return consent
    if consent.verdict == "no":
        return action_view(
            "declined", consent.note, target=action.target, next_step="Do not ask again unless the user wants it."
        )
    if consent.verdict == "token_required":
        return action_view(
            "confirmation_required",
            f"{consent.note} A person must agree first.".strip(),
            target=action.target,
            details=plan.lines,
            token=consent.token,
            next_step="Show this plan to the user. Only if they agree, make the same call with the confirmation_token.",
            limit=limit,
        )
    if consent.waited:
        # A person takes time: what was read before the question says nothing about now.
        try:
            fresh = await action.read()
        except NotFoundError:
            return _gone(action)
        if fresh.state != plan.state or fresh.refusal:
            return _changed(action, fresh, limit)
    return await _send(action, limit)


def digest(value: Any) -> str:
    """A short fingerprint of a JSON value, for binding a consent to it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


async def _send(action: Action, limit: int) -> ActionView:
    try:
        done = await action.send()
    except ExtendError as error:
        if error.effect == "none":
            raise
        try:
            seen = await action.look()
        except ExtendError:
            seen = "Looking at it failed too."
        return action_view(
            "unknown",
            f"No clear answer came ({error_words(error)}). {seen} It was not sent again.",
            target=action.target,
            sent=True,
            next_step="Look before repeating it.",
        )
    return action_view(
        "done",
        done.message,
        target=action.target,
        sent=True,
        details=done.details,
        next_step=done.next_step,
        limit=limit,
    )


def _changed(action: Action, plan: Plan, limit: int) -> ActionView:
    return action_view(
        "changed",
        "What the person was asked about has changed meanwhile, so their answer does not count.",
        target=action.target,
        details=plan.lines,
        next_step="Show the user how it is now; make the same call again, without a token, if they still want it.",
        limit=limit,
    )


def _gone(action: Action) -> ActionView:
    return action_view(
        "not_found",
        "There is no such object for this API key: wrong id, workspace or region, or deleted already.",
        target=action.target,
    )
