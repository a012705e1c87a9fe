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
from extend_mcp.tools.run_scan import Deadline, definition_of, read_details, read_insights, scan_runs, select_runs
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
    app = caller_context(ctx)
    deadline = Deadline(ctx, app)
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
    filters = await RunFilter(created_since=created_since, status="FAILED", workflow=workflow).resolve(app)
    if run:
        filters.workflow_id = run.workflow.id or None
    selected = await select_runs(app, filters, deadline)
    others = [each for each in selected.runs if each.id != run_id]
    details = await read_insights(app, deadline, others, metadata=False)
    missing = [selected.missing] if selected.missing else []
    if len(details.found) < len(others):
        missing.append(
            f"{len(details.found):,} of {len(others):,} {'other ' * bool(run)}failed runs were looked into, the newest"
            f"{'; ask again to read more' if app.histories else ''}"
        )
    found = [insight for each in others if (insight := details.found.get(each.id))]
    if run is None or cause is None:
        return failures_view(
            found,
            failed=len(selected.runs),
            filters=filters.description(),
            missing=missing,
            limit=app.limits.answer_chars,
        )
    good = RunFilter(status="PROCESSED", workflow_id=filters.workflow_id, before=run.initial_run_at)
    # Where the account itself was the cause, a good run of any workflow shows that this is over.
    newest = await app.api.list_workflow_runs(
        status="PROCESSED",
        workflow_id=None if cause.reason in ACCOUNT_REASONS else filters.workflow_id,
        sort_by="createdAt",
        sort_dir="desc",
        max_page_size=1,
    )
    failed_at = run.end_time or run.initial_run_at
    later = (each for each in newest.data if each.start_time and failed_at and each.start_time > failed_at)
    assert filters.since
    return failure_view(
        run,
        cause,
        found,
        failed=len(selected.runs),
        looked_into=len(found) + len(selected.runs) - len(others),
        good=next(iter((await scan_runs(app, deadline, good, most=1)).runs), None),
        later=next(later, None),
        window=f"created since {format_instant(filters.since)}",
        missing=missing,
        now=app.clock.now(),
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
    app = caller_context(ctx)
    filters = await RunFilter(status="NEEDS_REVIEW", workflow=workflow, created_since=created_since).resolve(app)
    deadline = Deadline(ctx, app)
    scan = await scan_runs(app, deadline, filters)
    waiting = sorted(scan.runs, key=lambda run: (run.created or app.clock.now(), run.id))
    edge = parse_argument(app.clock.now(), "older_than", older_than)
    if edge:
        # A run has waited at least since its last change, which may also be of its metadata.
        waiting = [run for run in waiting if (changed_at := run.updated_at or run.created) and changed_at < edge]
    flow = None
    if flow_begin := parse_argument(app.clock.now(), "flow_since", flow_since):
        wide = RunFilter(workflow_id=filters.workflow_id, since=flow_begin - _LONGEST_REVIEW)
        selected = await select_runs(app, wide, deadline)
        flow = reviews.Flow(flow_begin, selected.missing)
        for each in selected.runs:
            if each.created and each.created >= flow_begin and (each.reviewed or each.status == "NEEDS_REVIEW"):
                flow.sent[each.workflow_id] += 1
            if each.reviewed and each.reviewed >= flow_begin:
                flow.reviewed[each.workflow_id] += 1
    looked_into = {None: limit, "check": app.limits.detail_runs, "workflow": 0}[group_by]
    read = waiting[:looked_into]
    definitions: dict[str, list[dict[str, Any]]] = {}
    for run in {run.workflow_version.id: run for run in read}.values():
        version = run.workflow_version
        definitions[version.id] = await definition_of(app, run.workflow.id, version.version, version.id)

    def row(run: WorkflowRun) -> reviews.ReviewRow:
        return reviews.review_row(listed[run.id], run, app.clock.now(), definitions[listed[run.id].workflow_version.id])

    listed = {run.id: run for run in read}
    details = await read_details(app, deadline, list(listed), row)
    missing = [each for each in (scan.missing, flow.missing if flow else None) if each]
    if len(details.found) < len(read if group_by != "check" else waiting):
        missing.append("why some of them wait could not be read")
    return reviews.review_queue_view(
        waiting,
        details.found,
        shown=limit,
        missing=missing,
        now=app.clock.now(),
        limit=app.limits.answer_chars,
        filters=f"and unchanged since {format_instant(edge)}" if edge else "",
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
