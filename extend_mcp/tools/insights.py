"""Answer questions about many runs: figures, one failure among others, the review queue, two runs side by side."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from extend_mcp.api.models import WorkflowRun
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import ACCOUNT_REASONS, failures_of
from extend_mcp.runs.times import format_instant
from extend_mcp.tools.args import Moment, RunId, WorkflowRef
from extend_mcp.tools.run_filter import RunFilter, parse_argument
from extend_mcp.tools.run_scan import RunReader
from extend_mcp.tools.runs import read_run
from extend_mcp.tools.toolsets import READ_ONLY, RUNS
from extend_mcp.views import reviews
from extend_mcp.views.actions import status_words
from extend_mcp.views.insights import ComparisonView, FailureView, comparison_view, failure_view, failures_view
from extend_mcp.views.runs import review_lines

_LONGEST_REVIEW = timedelta(days=30)
"""Longest time before a window in which a run reviewed in it may have been created to be counted."""


@RUNS.tool(title="Explain a failure", annotations=READ_ONLY)
async def explain_failure(
    ctx: Ctx, run_id: RunId | None = None, created_since: Moment = "7d", workflow: WorkflowRef | None = None
) -> FailureView:
    """Explain why one run failed: the step, its error, whether running it again can help, how many runs of the
    workflow failed for the same reason since created_since, whether runs succeeded since, and what differs from the
    last good run. Without run_id it groups all failures since then by cause, with ids.
    """
    reader = RunReader(ctx)
    app = reader.app
    if run_id is not None and workflow is not None:
        raise CallRefusedError("Give run_id or workflow, not both: a run's own workflow is the one compared with.")
    run = None if run_id is None else await read_run(app, run_id)
    cause = next(iter(failures_of(run)), None) if run else None
    if run and cause is None:
        review = "".join(f" {line}." for line in review_lines(run))
        raise CallRefusedError(
            f"The run is {status_words(run.status)}, and nothing in it failed.{review} "
            f"get_workflow_run({run_id}) shows it."
        )
    filters = RunFilter(created_since=created_since, status="FAILED", workflow=workflow)
    filters.workflow_id = run.workflow.id or None if run else None
    filters = await filters.resolve(app)
    listed = await reader.select(filters)
    others, missing = [each for each in listed.runs if each.id != run_id], listed.missing
    insights = (await reader.insights(others, metadata=False)).found
    found = [insights[each.id] for each in others if each.id in insights]
    if len(found) < len(others):
        missing.append(
            f"{len(found):,} of {len(others):,} {'other ' if run else ''}failed runs were looked into, the newest"
            f"{'; ask again to read more' if app.histories else ''}"
        )
    if run is None or cause is None:
        extent = reader.extent(filters.description(), missing)
        return failures_view([run for run, _, _ in found], extent, failed=len(others))
    good = RunFilter(status="PROCESSED", workflow_id=filters.workflow_id, before=run.initial_run_at)
    # Where the account itself was the cause, a good run of any workflow shows that this is over.
    workflow_id = None if cause.reason in ACCOUNT_REASONS else filters.workflow_id
    newest = await reader.scan(RunFilter(status="PROCESSED", workflow_id=workflow_id), most=1)
    failed_at = run.end_time or run.initial_run_at
    later = (each for each in newest.runs if each.start_time and failed_at and each.start_time > failed_at)
    assert filters.since
    return failure_view(
        run,
        cause,
        found,
        reader.extent(f"created since {format_instant(filters.since)}", missing),
        failed=len(listed.runs),
        looked_into=len(found) + len(listed.runs) - len(others),
        good=next(iter((await reader.scan(good, most=1)).runs), None),
        later=next(later, None),
    )


@RUNS.tool(title="Show the review queue", annotations=READ_ONLY, view="review")
async def review_queue(
    ctx: Ctx,
    workflow: WorkflowRef | None = None,
    created_since: Moment | None = None,
    older_than: Annotated[Moment, Field(description="Unchanged since")] | None = None,
    group_by: reviews.GroupBy | None = None,
    flow_since: Annotated[Moment, Field(description="Adds inflow and outflow")] | None = None,
    limit: Annotated[int, Field(ge=1, le=100, description="Runs to show")] = 20,
) -> reviews.ReviewQueueView:
    """List the runs that wait for a person's review, oldest first, with each failed check, the values that failed it
    and the dashboard link. Reviews are made in the dashboard; the API cannot approve or reject.
    """
    reader = RunReader(ctx)
    app = reader.app
    now = app.clock.now()
    filters = await RunFilter(status="NEEDS_REVIEW", workflow=workflow, created_since=created_since).resolve(app)
    edge, flow_begin = parse_argument(now, "older_than", older_than), parse_argument(now, "flow_since", flow_since)
    listed = await reader.scan(filters)
    waiting, missing = listed.runs, listed.missing
    waiting.sort(key=lambda run: (run.created or now, run.id))
    if edge:
        # A run has waited at least since its last change, which may also be of its metadata.
        waiting = [run for run in waiting if (changed_at := run.updated_at or run.created) and changed_at < edge]
    flow = None
    if flow_begin:
        wide = RunFilter(workflow_id=filters.workflow_id, since=flow_begin - _LONGEST_REVIEW)
        all_runs, flow = await reader.select(wide), reviews.Flow(flow_begin)
        missing += all_runs.missing
        for each in all_runs.runs:
            if each.created and each.created >= flow_begin and (each.reviewed or each.status == "NEEDS_REVIEW"):
                flow.sent[each.workflow_id] += 1
            if each.reviewed and each.reviewed >= flow_begin:
                flow.reviewed[each.workflow_id] += 1
    read = waiting[: {None: limit, "check": app.limits.detail_runs, "workflow": 0}[group_by]]
    summaries, definitions = {run.id: run for run in read}, dict[str, list[dict[str, Any]]]()
    for run in read:
        version = run.workflow_version
        definitions[version.id] = await reader.definition(run.workflow.id, version.version, version.id)

    def row(run: WorkflowRun) -> reviews.ReviewRow:
        summary = summaries[run.id]
        return reviews.review_row(summary, run, now, definitions[summary.workflow_version.id])

    details = await reader.read(list(summaries), row)
    if len(details.found) < len(read if group_by != "check" else waiting):
        missing.append("why some of them wait could not be read")
    return reviews.review_queue_view(
        waiting,
        details.found,
        reader.extent(f"and unchanged since {format_instant(edge)}" if edge else "", missing),
        shown=limit,
        group_by=group_by,
        flow=flow,
    )


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
