"""Asking a person before a write, in every protocol version and for clients that cannot ask.

- 2026-07-28: the call ends with an ``InputRequiredResult``. The client asks and repeats the call. The proposal travels
  in the sealed request state (MCP specification, Multi Round-Trip Requests).
- 2025-11-25 and before: an ``elicitation/create`` request during the call.
- No elicitation, or by policy: the answer is a plan and a confirmation token, which a second call brings back.

The SDK's ``Resolve`` and ``Elicit`` ask again whenever the question's wording changed between rounds. Our questions
show progress and age, which change while a person thinks, so this module drives the rounds itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import is_version_at_least
from pydantic import ValidationError

from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.mcp_compat import ask
from extend_mcp.views.untrusted import isolate

_ROUND_TRIPS_SINCE = "2026-07-28"
_ASKED = "confirm"


@dataclass(frozen=True)
class Proposal:
    """One action as shown to a person."""

    action: str  # the tool's name
    target: str  # the id of the object, or of the plan
    digest: str  # the fingerprint of every fact shown and of every argument; a yes counts for this digest only
    seen: str = ""  # the status that was shown, repeated in the answer when the action came too late
    reason: str = ""  # the reason that was shown, so that the confirming call may leave it out
    agreed: bool = False  # True once a person said yes: the rest of an action on many runs needs no other
    # Names this proposal, so that its yes can be used once.
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))

    def same_as(self, other: Proposal) -> bool:
        """Return whether both propose the same action on the same facts."""
        return (self.action, self.target, self.digest) == (other.action, other.target, other.digest)


def digest(*facts: Any) -> str:
    """Return a short fingerprint of JSON values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def earlier_proposal(ctx: Ctx, action: str, target: str, token: str | None) -> tuple[Proposal | None, str]:
    """Return what an earlier round or call proposed for this action, if anything; and why ``token`` does not count."""
    app = caller_context(ctx)
    given: dict[str, Any] = {"principal": app.caller.principal, "now": app.clock.now()}
    claims = _round_state(ctx) or (app.tokens.verify(token, **given) if token else None) or {}
    # Another kind of state, or a token of another version of this server, has other claims.
    with suppress(TypeError):
        earlier = Proposal(**claims)
        if earlier.action == action and target in ("", earlier.target):
            return earlier, ""
    problem = app.tokens.problem(token, **given) if token else ""
    return None, "it is for another action, object or state than this call" if problem is None else problem


async def ask_person(
    ctx: Ctx, proposal: Proposal, question: Sequence[str], shown: Proposal | None
) -> bool | str | InputRequiredResult:
    """Ask a person, where the client can; ``shown`` is the same proposal as an earlier round made it.

    Returns True for a yes, and otherwise how it came to none. In protocol 2026-07-28, return instead the result that
    makes the client ask its user and call again.
    """
    seconds = caller_context(ctx).limits.confirmation_seconds
    given = await _asked(ctx, "\n".join(map(isolate, question)), _CONFIRM_FORM, asdict(proposal), shown, seconds)
    if isinstance(given, InputRequiredResult):
        return given
    if given is None:
        # The client said that it can ask. A token in its place would let the model answer for the person.
        return "The client failed to ask a person."
    if given.action == "accept" and (given.content or {}).get("confirm") is True:
        return True
    notes = {"accept": "The form came back without a yes.", "decline": "The person said no."}
    return notes.get(given.action, "The person closed the question without an answer.")


async def reveal_secret(ctx: Ctx, action: str, target: str, message: str) -> bool | InputRequiredResult:
    """Show a person the secret of one object once, in the client's user interface and never in an answer to the model.

    Returns whether it was shown; in protocol 2026-07-28 the result that makes the client show it and call again.
    """
    if not can_ask(ctx):
        return False
    # The object exists already: the request state keeps the next round from creating another. There is no end: by
    # then the person may have read it, and the answer would bring it to the model.
    given = await _asked(ctx, message, _STORED_FORM, {"action": action, "revealed": target}, None, math.inf)
    return given if isinstance(given, InputRequiredResult) else given is not None


async def _asked(
    ctx: Ctx, message: str, form: dict[str, Any], state: dict[str, Any], shown: Proposal | None, seconds: float
) -> ElicitResult | InputRequiredResult | None:
    """Show a person a form, and return their answer; None if the client failed.

    Between two rounds, the answer counts only if ``shown`` is the proposal of the earlier one.
    """
    label = caller_context(ctx).caller.account.label
    message = f"[{label}] {message}" if label else message
    params = ElicitRequestFormParams(message=message, requested_schema=form)
    if has_round_trips(ctx):
        answered = (ctx.input_responses or {}).get(_ASKED)
        if shown and ctx.request_state and isinstance(answered, ElicitResult):
            return answered
        return InputRequiredResult(
            input_requests={_ASKED: ElicitRequest(params=params)}, request_state=json.dumps(state)
        )
    try:
        return await ask(ctx, params, seconds=seconds)
    except (MCPError, ValidationError):
        return None


def already_revealed(ctx: Ctx, action: str) -> str | None:
    """Return the object whose secret an earlier round of this call has shown; None if it has shown none."""
    state = _round_state(ctx) or {}
    return state.get("revealed") if state.get("action") == action else None


def issue_token(app: CallerContext, proposal: Proposal) -> str:
    """Issue the confirmation token of a proposal."""
    return app.tokens.issue(asdict(proposal), principal=app.caller.principal, now=app.clock.now())


def can_ask(ctx: Ctx) -> bool:
    """Return whether the client can show a form to a person."""
    capabilities = ctx.client_capabilities
    asked = capabilities.elicitation if capabilities else None
    # A bare "elicitation": {} is older than the modes and means forms.
    return asked is not None and (asked.form is not None or asked.url is None)


def has_round_trips(ctx: Ctx) -> bool:
    """Return whether the client asks between two rounds of a call (2026-07-28) rather than during it."""
    version = ctx.protocol_version
    return version is not None and is_version_at_least(version, _ROUND_TRIPS_SINCE)


def _round_state(ctx: Ctx) -> dict[str, Any] | None:
    # The SDK has unsealed it, so this service wrote it.
    return json.loads(ctx.request_state) if ctx.request_state else None


_YES = {"type": "boolean", "title": "Yes, do it", "description": "Tick to go ahead; nothing is sent otherwise."}
_CONFIRM_FORM: dict[str, Any] = {"type": "object", "properties": {"confirm": _YES}, "required": ["confirm"]}
_STORED = {"type": "boolean", "title": "I have stored it"}
_STORED_FORM: dict[str, Any] = {"type": "object", "properties": {"stored": _STORED}, "required": []}
