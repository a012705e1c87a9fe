"""The tool that reruns workflow runs."""

from __future__ import annotations

from typing import Annotated

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.actions.bulk import execute_bulk
from extend_mcp.actions.confirm import principal_of
from extend_mcp.actions.rerun import RerunRuns
from extend_mcp.actions.rerun_plan import CAN_RERUN, Wanted
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.args import ConfirmationToken, Priority, RunId, VersionToRerun
from extend_mcp.tools.run_filter import OF_LISTS, RunFilter, takes_run_filter
from extend_mcp.tools.toolsets import CREATES, RUNS
from extend_mcp.views.actions import BulkView


@RUNS.tool(title="Run workflow runs again", annotations=CREATES, view="plan")
@takes_run_filter(without={*OF_LISTS, "file_name_contains"})
async def rerun_workflow_runs(
    ctx: Ctx,
    filters: RunFilter,
    run_ids: Annotated[list[RunId], Field(min_length=1, max_length=1000)] | None = None,
    version: VersionToRerun = "newest",
    again: Annotated[bool, Field(description="Even if a rerun exists already")] = False,
    include_processed: Annotated[bool, Field(description="PROCESSED too, if the version is newer")] = False,
    include_hopeless: Annotated[bool, Field(description="Even if the file is at fault")] = False,
    priority: Priority | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> BulkView | InputRequiredResult:
    """Run failed, rejected or cancelled runs again: run_ids, a batch, or what fits all filters (FAILED by default).
    A person first confirms a plan by cause with its credits, which leaves out what was rerun or cannot be helped.
    Returns the new run of each; a token continues a plan.
    """
    app = caller_context(ctx)
    if run_ids is not None and filters != RunFilter():
        raise CallRefusedError("Give run_ids or filters, not both.")
    if run_ids is None and filters == RunFilter() and confirmation_token is None:
        raise CallRefusedError("Give run_ids, batch or at least one filter: all runs of the account is no choice.")
    if not set(filters.statuses) <= {*CAN_RERUN, "PROCESSED"}:
        raise CallRefusedError(f"status: only {', '.join(sorted(CAN_RERUN))} and PROCESSED runs can be run again.")
    if "PROCESSED" in filters.statuses and not include_processed:
        raise CallRefusedError("PROCESSED runs are run again only with include_processed=true.")
    if include_processed and version in ("same", "draft"):
        raise CallRefusedError(
            "include_processed: PROCESSED runs are run again with a newer published version only, so that something "
            "can change."
        )
    wanted = Wanted(
        run_ids=list(dict.fromkeys(run_ids)) if run_ids else None,
        filters=await filters.resolve(app),
        version=version,
        again=again,
        include_processed=include_processed,
        include_hopeless=include_hopeless,
        priority=priority,
    )
    return await execute_bulk(ctx, RerunRuns(app, principal_of(ctx), wanted), confirmation_token)
