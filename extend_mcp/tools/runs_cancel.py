"""Tools that cancel workflow runs."""

from __future__ import annotations

from typing import Annotated

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.actions.bulk import execute_bulk
from extend_mcp.actions.cancel_run import CancelRun
from extend_mcp.actions.cancel_runs import CancelRuns
from extend_mcp.actions.confirm import principal_of
from extend_mcp.actions.execute import execute
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.scopes import CANCEL
from extend_mcp.tools.args import ConfirmationToken, RunId
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RunFilter, takes_run_filter
from extend_mcp.tools.toolsets import DESTRUCTIVE, RUNS
from extend_mcp.views.actions import BulkView, CancelView

Reason = Annotated[str, Field(max_length=500)]


@RUNS.tool(title="Cancel a workflow run", annotations=DESTRUCTIVE, scope=CANCEL)
async def cancel_workflow_run(
    run_id: RunId,
    ctx: Ctx,
    reason: Reason | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> CancelView | InputRequiredResult:
    """Stop one PENDING or PROCESSING run for good; other states are refused without sending anything.
    Use it only when the user asked for it: a person confirms first. The answer's outcome says what happened.
    """
    return await execute(ctx, CancelRun(caller_context(ctx), run_id, reason), confirmation_token)


@RUNS.tool(title="Cancel many workflow runs", annotations=DESTRUCTIVE, scope=CANCEL, view="plan")
@takes_run_filter(without={*DETAILS, *OF_LISTS, "workflow_version"})
async def cancel_runs(
    ctx: Ctx,
    filters: RunFilter,
    run_ids: Annotated[list[RunId], Field(min_length=1, max_length=1000)] | None = None,
    reason: Reason | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> BulkView | InputRequiredResult:
    """Cancel the PENDING and PROCESSING runs among run_ids, of a batch, or that fit all filters, for good.
    Use it only when the user asked: it first shows a plan that a person confirms, then acts on exactly those runs.
    Returns what became of each; a confirmation_token continues a plan and needs no other argument.
    """
    app = caller_context(ctx)
    others = filters.model_dump(exclude_none=True, exclude={"batch"})
    ways = sum((run_ids is not None, filters.batch is not None, bool(others)))
    if ways > 1:
        raise CallRefusedError("Give run_ids, or batch, or filters: one of the three.")
    if ways == 0 and confirmation_token is None:
        raise CallRefusedError("Give run_ids, batch or at least one filter: all runs of the account is no choice.")
    filters = await filters.resolve(app)
    ids = list(dict.fromkeys(run_ids)) if run_ids else None
    action = CancelRuns(app, principal=principal_of(ctx), run_ids=ids, filters=filters, reason=reason)
    return await execute_bulk(ctx, action, confirmation_token)
