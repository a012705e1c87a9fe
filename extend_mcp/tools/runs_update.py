"""Tools that change or delete a workflow run."""

from __future__ import annotations

from typing import Annotated

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.actions.execute import execute
from extend_mcp.actions.runs import DeleteRun, UpdateRun
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.scopes import DELETE
from extend_mcp.tools.args import ConfirmationToken, Metadata, RunId
from extend_mcp.tools.base import DESTRUCTIVE, UPDATES
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.actions import ActionView


@RUNS.tool(title="Change a workflow run", annotations=UPDATES)
async def update_workflow_run(
    run_id: RunId,
    ctx: Ctx,
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None,
    metadata: Metadata | None = None,
) -> ActionView | InputRequiredResult:
    """Rename a run or merge metadata into it; given keys replace present ones, others stay.
    Returns the metadata before and after.
    """
    if name is None and metadata is None:
        raise CallRefusedError("Give name, metadata or both.")
    return await execute(ctx, UpdateRun(caller_context(ctx), run_id, name, metadata))


@RUNS.tool(title="Delete a workflow run", annotations=DESTRUCTIVE, scope=DELETE)
async def delete_workflow_run(
    run_id: RunId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete one run with its results, for good. Use it only when the user asked; to stop work, cancel instead.
    A person confirms first, seeing what is lost.
    """
    return await execute(ctx, DeleteRun(caller_context(ctx), run_id), confirmation_token)
