"""The tool that reruns workflow runs."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.actions.bulk import execute_bulk
from extend_mcp.actions.confirm import principal_of
from extend_mcp.actions.rerun import RerunRuns
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.args import BatchId, ConfirmationToken, RunId, VersionRef
from extend_mcp.tools.base import CREATES
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.actions import BulkView

Version = Annotated[
    VersionRef | Literal["same"], Field(description='"newest" published, the run\'s own ("same"), "3", "draft" or id')
]


@RUNS.tool(title="Run workflow runs again", annotations=CREATES)
async def rerun_workflow_runs(
    ctx: Ctx,
    run_ids: Annotated[list[RunId], Field(min_length=1, max_length=1000)] | None = None,
    batch: BatchId | None = None,
    version: Version = "newest",
    again: Annotated[bool, Field(description="Even if a rerun exists already")] = False,
    confirmation_token: ConfirmationToken | None = None,
) -> BulkView | InputRequiredResult:
    """Run failed, rejected or cancelled runs again, by run_ids or of a batch, with the same file and metadata; it costs
    credits. A person confirms a plan first, and what was run again already (by its rerunOf mark) is left out.
    Returns the new run of each.
    """
    if run_ids is not None and batch is not None:
        raise CallRefusedError("Give run_ids or batch, not both.")
    if run_ids is None and batch is None and confirmation_token is None:
        raise CallRefusedError("Give run_ids or batch.")
    action = RerunRuns(
        caller_context(ctx),
        principal=principal_of(ctx),
        run_ids=list(dict.fromkeys(run_ids)) if run_ids else None,
        batch=batch,
        version=version,
        again=again,
    )
    return await execute_bulk(ctx, action, confirmation_token)
