"""Looking into what went wrong or waits: one failure among others, the review queue, two runs side by side."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

from pydantic import Field

from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import Failure, failures_of
from extend_mcp.runs.statistics import created_at
from extend_mcp.runs.times import format_instant
from extend_mcp.tools.app import App, Ctx, app_of
from extend_mcp.tools.args import Example, Moment, RunId, WorkflowRef
from extend_mcp.tools.base import READ_ONLY
from extend_mcp.tools.find import RunQuery, read_query
from extend_mcp.tools.gather import Deadline, Walk, collect, read_details
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.actions import status_words
from extend_mcp.views.insights import (
    ComparisonView,
    FailureView,
    ReviewQueueView,
    comparison_view,
    failure_view,
    review_queue_view,
)
from extend_mcp.views.runs import review_cause


@RUNS.tool(title="Explain a failure", annotations=READ_ONLY)
async def explain_failure(run_id: RunId, ctx: Ctx, created_since: Moment = "7d") -> FailureView:
    """Explain why one run failed: the step, its error, whether running it again can help, how many runs of the
    workflow failed alike since created_since, and what differs from the last good run.
    """
    app = app_of(ctx)
    run = await app.api.get_workflow_run(run_id)
    failures = failures_of(run)
    if not failures:
        raise CallRefusedError(
            f"The run is {status_words(run.status)}, and nothing in it failed. get_workflow_run({run_id}) shows it."
        )
    cause = failures[0]
    deadline = Deadline(ctx, app)
    query = await read_query(app, {"created_since": created_since, "status": "FAILED"})
    query.workflow_id = run.workflow.id or None
    walk = Walk(query, app.settings.summary_runs)
    failed = await collect(walk, app, deadline)
    others = [each for each in failed if each.id != run.id]
    asked = [each.id for each in others[: app.settings.detail_runs]]
    details = await read_details(app, deadline, asked, _cause)
    alike = [each for each in others if _same(details.found.get(each.id), cause)]
    missing = [walk.missing] if walk.missing else []
    if len(details.found) < len(others):
        missing.append(f"{len(details.found):,} of {len(others):,} other failed runs were looked into")
    assert query.since
    return failure_view(
        run,
        cause,
        failed=len(failed),
        looked_into=len(details.found) + (len(failed) - len(others)),
        alike=alike,
        good=await _last_good(app, run, deadline),
        window=f"created since {format_instant(query.since)}",
        missing=missing,
        now=app.clock.now(),
    )


def _cause(run: WorkflowRun) -> Failure | None:
    return next(iter(failures_of(run)), None)


def _same(one: Failure | None, other: Failure) -> bool:
    return one is not None and (one.where, one.reason) == (other.where, other.reason)


async def _last_good(app: App, run: WorkflowRun, deadline: Deadline) -> WorkflowRunSummary | None:
    query = RunQuery(status="PROCESSED", workflow_id=run.workflow.id or None, before=run.initial_run_at)
    async with aclosing(Walk(query, 1).runs(app, deadline)) as runs:
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
    app = app_of(ctx)
    given = {"status": "NEEDS_REVIEW", "workflow": workflow, "created_since": created_since}
    query = await read_query(app, {name: value for name, value in given.items() if value is not None})
    deadline = Deadline(ctx, app)
    walk = Walk(query, app.settings.summary_runs)
    waiting = sorted(await collect(walk, app, deadline), key=lambda run: (created_at(run) or app.clock.now(), run.id))
    details = await read_details(app, deadline, [run.id for run in waiting[:limit]], review_cause)
    missing = [walk.missing] if walk.missing else []
    if len(details.found) < min(limit, len(waiting)):
        missing.append("why some of them wait could not be read")
    return review_queue_view(
        waiting,
        details.found,
        shown=limit,
        missing=missing,
        now=app.clock.now(),
        limit=app.settings.answer_chars,
    )


@RUNS.tool(title="Compare two runs", annotations=READ_ONLY)
async def compare_runs(first: RunId, second: RunId, ctx: Ctx) -> ComparisonView:
    """Compare two runs of one workflow: status, version, file, steps, durations, classifications, and the extracted
    fields that differ, with confidences.
    """
    app = app_of(ctx)
    if first == second:
        raise CallRefusedError("first and second are the same run.")
    one = await app.api.get_workflow_run(first)
    other = await app.api.get_workflow_run(second)
    if one.workflow.id != other.workflow.id:
        raise CallRefusedError("The runs are of different workflows, so their steps do not correspond.")
    return comparison_view(one, other, now=app.clock.now(), limit=app.settings.answer_chars)
