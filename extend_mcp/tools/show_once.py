"""Showing a secret once, to the person and past the model, where the client can ask a person at all."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

from extend_mcp.tools.app import Ctx
from extend_mcp.tools.confirm import can_ask, has_round_trips, round_state

_KEY = "shown"


@dataclass(frozen=True)
class ShownOnce:
    """Whether the person was told, and about which object."""

    target: str
    told: bool


async def show_once(ctx: Ctx, action: str, target: str, words: str) -> ShownOnce | InputRequiredResult:
    """Show ``words`` to the person.

    Args:
        ctx: the call.
        action: the tool's name.
        target: the id of what the words are about.
        words: what to show; it goes to the client's user interface, never into an answer to the model.

    Returns:
        Whether it was shown; or, in the new era, the result that makes the client show it and call again.
    """
    if not can_ask(ctx):
        return ShownOnce(target, told=False)
    params = ElicitRequestFormParams(message=words, requested_schema=_FORM)
    if has_round_trips(ctx):
        # The object exists already: the sealed state keeps the next round from making another.
        state = json.dumps({"action": action, "shown": target})
        return InputRequiredResult(input_requests={_KEY: ElicitRequest(params=params)}, request_state=state)
    try:
        await ctx.session.elicit_form(params.message, params.requested_schema, ctx.request_id)
    except MCPError:
        return ShownOnce(target, told=False)
    return ShownOnce(target, told=True)


def was_shown(ctx: Ctx, action: str) -> ShownOnce | None:
    """What an earlier round of this call has shown already; None when it has shown nothing."""
    state = round_state(ctx)
    if state and state.get("action") == action and state.get("shown"):
        return ShownOnce(str(state["shown"]), told=True)
    return None


_FORM = {
    "type": "object",
    "properties": {"stored": {"type": "boolean", "title": "I have stored it"}},
    "required": [],
}
