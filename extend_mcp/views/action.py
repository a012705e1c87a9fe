"""The answer of a write other than a cancel: what happened, what was sent, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from extend_mcp.views.base import View
from extend_mcp.views.budget import fit
from extend_mcp.views.untrusted import NOTE

ActionOutcome = Literal["done", "confirmation_required", "declined", "changed", "refused", "unknown", "not_found"]


class ActionView(View):
    """How a write went. ``request_sent`` says whether anything left this server."""

    outcome: ActionOutcome
    id: str | None = None
    request_sent: bool
    message: str
    details: list[str] | None = None
    confirmation_token: str | None = None
    next_step: str | None = None


def action_view(
    outcome: ActionOutcome,
    message: str,
    *,
    target: str | None = None,
    sent: bool = False,
    details: Sequence[str] = (),
    token: str | None = None,
    next_step: str | None = None,
    limit: int = 8000,
) -> ActionView:
    """Put an outcome in words.

    Args:
        outcome: what happened.
        message: the same in one or two sentences.
        target: the id of what was acted on, or was to be.
        sent: whether a request to change something was sent.
        details: lines with the facts, outside text in them marked.
        token: the confirmation token that a second call must bring.
        next_step: what to do now.
        limit: characters of the text.
    """
    tail = [f"confirmation_token: {token}"] if token else []
    tail += [f"Next: {next_step}"] if next_step else []
    head = f"{outcome}: {message}" + ("" if sent else " Nothing was sent.")
    room = limit - len(head) - len(NOTE) - sum(len(line) + 1 for line in tail) - 10
    shown, _ = fit(details, max(room, 200), lambda gone: f"… {gone} more lines")
    quoted = any("«" in line or line.startswith("| ") for line in shown)
    view = ActionView(
        outcome=outcome,
        id=target,
        request_sent=sent,
        message=message,
        details=shown or None,
        confirmation_token=token,
        next_step=next_step,
    )
    return view.with_text("\n".join([head, *([NOTE] if quoted else []), *shown, *tail]))
