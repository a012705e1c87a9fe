"""Answer questions about many runs: figures, one failure among others, the review queue, two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Annotated, Any

from pydantic import Field

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import Failure, failures_of
from extend_mcp.runs.times import format_instant
from extend_mcp.runs.timing import Began, present_state
from extend_mcp.scopes import WORKFLOWS_READ
from extend_mcp.tools.args import Example, Moment, RunId, WorkflowRef
from extend_mcp.tools.base import READ_ONLY
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import Deadline, RunScan, collect, read_details
from extend_mcp.tools.runs import definition_of
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.actions import status_words
from extend_mcp.views.checks import FailedCheck, failed_checks
from extend_mcp.views.insights import (
    ComparisonView,
    FailureView,
    ReviewQueueView,
    comparison_view,
    failure_view,
    review_queue_view,
)


@RUNS.tool(title="Explain a failure", annotations=READ_ONLY)
async def explain_failure(run_id: RunId, ctx: Ctx, created_since: Moment = "7d") -> FailureView:
    """Explain why one run failed: the step, its error, whether running it again can help, how many runs of the
    workflow failed alike since created_since, and what differs from the last good run.
    """
    app = caller_context(ctx)
    run = await app.api.get_workflow_run(run_id)
    failures = failures_of(run)
    if not failures:
        raise CallRefusedError(
            f"The run is {status_words(run.status)}, and nothing in it failed. get_workflow_run({run_id}) shows it."
        )
    cause = failures[0]
    deadline = Deadline(ctx, app)
    filters = await RunFilter(created_since=created_since, status="FAILED").resolve(app)
    filters.workflow_id = run.workflow.id or None
    scan = RunScan(filters, app.limits.summary_runs)
    failed = await collect(scan, app, deadline)
    others = [each for each in failed if each.id != run.id]
    asked = [each.id for each in others[: app.limits.detail_runs]]
    details = await read_details(app, deadline, asked, _cause)
    alike = [each for each in others if _same(details.found.get(each.id), cause)]
    missing = [scan.missing] if scan.missing else []
    if len(details.found) < len(others):
        missing.append(f"{len(details.found):,} of {len(others):,} other failed runs were looked into")
    assert filters.since
    return failure_view(
        run,
        cause,
        failed=len(failed),
        looked_into=len(details.found) + (len(failed) - len(others)),
        alike=alike,
        good=await _last_good(app, run, deadline),
        window=f"created since {format_instant(filters.since)}",
        missing=missing,
        now=app.clock.now(),
    )


def _cause(run: WorkflowRun) -> Failure | None:
    return next(iter(failures_of(run)), None)


def _same(one: Failure | None, other: Failure) -> bool:
    return one is not None and (one.where, one.reason) == (other.where, other.reason)


async def _last_good(app: CallerContext, run: WorkflowRun, deadline: Deadline) -> WorkflowRunSummary | None:
    filters = RunFilter(status="PROCESSED", workflow_id=run.workflow.id or None, before=run.initial_run_at)
    async with aclosing(RunScan(filters, 1).runs(app, deadline)) as runs:
        async for found in runs:
            return found
    return None


@RUNS.tool(title="Show the review queue", annotations=READ_ONLY)
async def review_queue(
    ctx: Ctx,
    workflow: WorkflowRef | None = None,
    created_since: Moment | None = None,
    limit: Annotated[int, Field(ge=1, le=100, description="Runs to show"), Example("20")] = 20,
) -> ReviewQueueView:
    """List the runs that wait for a person's review, oldest first, with the check that sent each there and its
    dashboard link. Reviews are made in the dashboard; the API cannot approve or reject.
    """
    app = caller_context(ctx)
    filters = RunFilter(status="NEEDS_REVIEW", workflow=workflow, created_since=created_since)
    deadline = Deadline(ctx, app)
    scan = RunScan(await filters.resolve(app), app.limits.summary_runs)
    waiting = sorted(await collect(scan, app, deadline), key=lambda run: (run.created or app.clock.now(), run.id))
    definitions = await _definitions(app, waiting[:limit])

    def checks(run: WorkflowRun) -> tuple[list[FailedCheck], Began]:
        return failed_checks(run, definitions.get(run.workflow_version.id, ())), present_state(run, changed.get(run.id))

    changed = {run.id: run.updated_at for run in waiting[:limit]}
    details = await read_details(app, deadline, [run.id for run in waiting[:limit]], checks)
    missing = [scan.missing] if scan.missing else []
    if len(details.found) < min(limit, len(waiting)):
        missing.append("why some of them wait could not be read")
    return review_queue_view(
        waiting,
        details.found,
        shown=limit,
        missing=missing,
        now=app.clock.now(),
        limit=app.limits.answer_chars,
    )


async def _definitions(app: CallerContext, runs: Sequence[WorkflowRunSummary]) -> dict[str, list[dict[str, Any]]]:
    """Return the steps of the versions that runs used, by id; some of them, where reading fails."""
    found: dict[str, list[dict[str, Any]]] = {}
    if app.caller.has_scope(WORKFLOWS_READ):
        with suppress(ExtendError):
            for run in {run.workflow_version.id: run for run in runs}.values():
                found[run.workflow_version.id] = await definition_of(app, run)
    return found


@RUNS.tool(title="Compare two runs", annotations=READ_ONLY)
async def compare_runs(first: RunId, second: RunId, ctx: Ctx) -> ComparisonView:
    """Compare two runs of one workflow: status, version, file, steps, durations, classifications, and the extracted
    fields that differ, with confidences.
    """
    app = caller_context(ctx)
    if first == second:
        raise CallRefusedError("first and second are the same run.")
    one = await app.api.get_workflow_run(first)
    other = await app.api.get_workflow_run(second)
    if one.workflow.id != other.workflow.id:
        raise CallRefusedError("The runs are of different workflows, so their steps do not correspond.")
    return comparison_view(one, other, now=app.clock.now(), limit=app.limits.answer_chars)
