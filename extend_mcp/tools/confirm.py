"""Asking a person before an action that can destroy work, in every protocol era and without elicitation.

- 2026-07-28: the call ends with an ``InputRequiredResult``; the client asks and repeats the call. What was
  asked travels in the sealed request state (MCP specification, Multi Round-Trip Requests).
- 2025-11-25 and before: an ``elicitation/create`` request during the call.
- No elicitation, or by policy: a plan and a sealed token that a second call brings back.

The SDK's ``Resolve``/``Elicit`` would ask again whenever the question's wording changed between rounds. Ours
shows steps done and credits used, which change while a person thinks, so the rounds are driven here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from mcp.shared.exceptions import MCPError
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import is_version_at_least

from extend_mcp.audit import confirmed
from extend_mcp.tools.app import Ctx, app_of

_ROUND_TRIPS_SINCE = "2026-07-28"
_KEY = "confirm"

Verdict = Literal["yes", "no", "token_required"]


@dataclass(frozen=True)
class Proposal:
    """What a person is to say yes to.

    Attributes:
        action: the tool's name.
        target: the id of what it acts on.
        state: the status it was in when proposed; a token is good for this status only.
        question: the text for the person.
    """

    action: str
    target: str
    state: str
    question: str


@dataclass(frozen=True)
class Consent:
    """The answer.

    Attributes:
        verdict: ``yes``; ``no``; or ``token_required``: show the plan, bring ``token`` back.
        waited: whether time passed inside this call, so that what was read before is old.
        token: the sealed confirmation token of ``token_required``.
        note: why a token that was given does not count, or how a person said no.
    """

    verdict: Verdict
    waited: bool = False
    token: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Earlier:
    """What an earlier call or round of the same confirmation recorded."""

    state: str


def earlier(ctx: Ctx, action: str, target: str, token: str | None) -> Earlier | None:
    """What was proposed before for this very action, by request state or token; None on a first call."""
    claims = round_state(ctx) or (token_claims(ctx, token) if token else None)
    if claims and claims.get("action") == action and claims.get("target") == target:
        return Earlier(str(claims.get("state")))
    return None


async def confirm(ctx: Ctx, proposal: Proposal, token: str | None) -> Consent | InputRequiredResult:
    """Obtain a person's consent to ``proposal`` by the operator's policy and the client's abilities.

    Args:
        ctx: the call.
        proposal: what to ask, from facts read a moment ago.
        token: the confirmation token the model brought, if any. It counts only where nobody can be asked.

    Returns:
        The consent; or the result that makes a client of the new era ask its user and call again.
    """
    policy = app_of(ctx).settings.confirmation
    if policy == "trusted":
        confirmed.set("trusted")
        return Consent("yes")
    if policy == "token" or not can_ask(ctx):
        return _by_token(ctx, proposal, token)
    params = ElicitRequestFormParams(message=proposal.question, requested_schema=_FORM)
    if not has_round_trips(ctx):
        try:
            answer = await ctx.session.elicit_form(params.message, params.requested_schema, ctx.request_id)
        except MCPError:
            # It said that it can ask; a token in its place would let the model answer for the person.
            return Consent("no", note="The client failed to ask a person.")
        return _consent(answer, waited=True)
    state = round_state(ctx)
    answered = (ctx.input_responses or {}).get(_KEY)
    if state and state.get("target") == proposal.target and isinstance(answered, ElicitResult):
        return _consent(answered, waited=False)
    return InputRequiredResult(
        input_requests={_KEY: ElicitRequest(params=params)}, request_state=json.dumps(_claims_of(proposal))
    )


_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "confirm": {
            "type": "boolean",
            "title": "Yes, do it",
            "description": "Tick to go ahead; nothing is sent otherwise.",
        }
    },
    "required": ["confirm"],
}


def _consent(answer: ElicitResult, *, waited: bool) -> Consent:
    if answer.action == "accept" and (answer.content or {}).get("confirm") is True:
        confirmed.set("person")
        return Consent("yes", waited)
    said = {"accept": "The form came back without a yes.", "decline": "The person said no."}
    return Consent("no", waited, note=said.get(answer.action, "The person closed the question without an answer."))


def _by_token(ctx: Ctx, proposal: Proposal, token: str | None) -> Consent:
    note = ""
    if token:
        claims = token_claims(ctx, token)
        if claims == _claims_of(proposal):
            confirmed.set("token")
            return Consent("yes")
        moved = claims is not None and {**claims, "state": proposal.state} == _claims_of(proposal)
        note = (
            f"The status changed from {claims['state']} to {proposal.state} since the plan was shown."
            if moved and claims
            else "The confirmation token is not good: it was altered, has expired, or is for something else."
        )
    app = app_of(ctx)
    made = app.seal.close(_claims_of(proposal), principal=principal_of(ctx), now=app.clock.now())
    return Consent("token_required", token=made, note=note)


def _claims_of(proposal: Proposal) -> dict[str, str]:
    return {"action": proposal.action, "target": proposal.target, "state": proposal.state}


def token_claims(ctx: Ctx, token: str) -> dict[str, Any] | None:
    """What a confirmation token of this caller says; None when it is altered, expired or another's."""
    app = app_of(ctx)
    return app.seal.open(token, principal=principal_of(ctx), now=app.clock.now())


def principal_of(ctx: Ctx) -> str:
    """Who calls, as the transport authenticated them."""
    return app_of(ctx).caller.principal


def round_state(ctx: Ctx) -> dict[str, Any] | None:
    """What this service wrote into the sealed state of the round before; None on a first round."""
    # The SDK has opened the seal: what stands here, this service wrote.
    return json.loads(ctx.request_state) if ctx.request_state else None


def can_ask(ctx: Ctx) -> bool:
    """Whether the client can put a form before a person."""
    capabilities = ctx.client_capabilities
    asked = capabilities.elicitation if capabilities else None
    # A bare "elicitation": {} is from before there were modes and means forms.
    return asked is not None and (asked.form is not None or asked.url is None)


def has_round_trips(ctx: Ctx) -> bool:
    """Whether the client asks between two rounds of a call (2026-07-28) rather than during it."""
    version = ctx.protocol_version
    return version is not None and is_version_at_least(version, _ROUND_TRIPS_SINCE)
