"""Subscriptions need read access: a caller may follow what Extend lets them read with their own key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from extend_mcp.api.errors import ExtendError, NotFoundError
from extend_mcp.callers import CallerContext
from extend_mcp.tools.run_scan import in_parallel
from extend_mcp.views.document import error_words
from extend_mcp.views.untrusted import Note
from extend_mcp.views.uris import Named, named_by

MOST_URIS: Final = 50
"""The most resources that one subscription may name: each is read once, to check that the caller may."""

_AT_ONCE = 5


async def check_readable(app: CallerContext, uris: Sequence[str]) -> None:
    """Read each resource once with the caller's own key.

    Raises:
        MCPError: a resource is not ours, not there, or not theirs - which look the same - or could not be read.
    """
    if len(uris) > MOST_URIS:
        raise MCPError(INVALID_PARAMS, f"{len(uris)} resources in one subscription; at most {MOST_URIS} are taken.")
    waiting, refusals = list(uris), list[str]()

    async def work() -> None:
        while waiting and not refusals:
            refusal = await _refusal(app, waiting.pop())
            refusals.extend([refusal] if refusal else ())

    await in_parallel(work, min(_AT_ONCE, len(waiting)))
    if refusals:
        raise MCPError(INVALID_PARAMS, refusals[0])


async def _refusal(app: CallerContext, uri: str) -> str | None:
    """Return why the caller may not follow a resource; None if they may."""
    named, shown = named_by(uri), f"{Note(uri)}"
    if named is None:
        return f"{shown} is no resource of this server."
    try:
        there = await _is_there(app, named)
    except (NotFoundError, ValueError):
        there = False
    except ExtendError as error:
        return f"{shown}: {error_words(error)}."
    return None if there else f"{shown}: there is no such object for this API key."


async def _is_there(app: CallerContext, named: Named) -> bool:
    if named.kind == "run":
        await app.api.get_workflow_run(named.id)
    elif named.kind == "workflow":
        await app.api.get_workflow(named.id)
    elif named.kind == "batch":
        return bool((await app.api.list_workflow_runs(batch_id=named.id, max_page_size=1)).data)
    return True
