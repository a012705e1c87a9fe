"""Answer questions about many runs: figures, one failure among others, the review queue, two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio.lowlevel
from pydantic import Field

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import PAGE_SIZE
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.history.details import RunDetails
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import ACCOUNT_REASONS, Failure, failures_of
from extend_mcp.runs.statistics import RunFacts, Statistics, Tally, run_facts
from extend_mcp.runs.times import format_instant
from extend_mcp.runs.timing import present_state
from extend_mcp.scopes import WORKFLOWS_READ
from extend_mcp.tools.args import Example, Moment, RunId, WorkflowRef
from extend_mcp.tools.base import READ_ONLY
from extend_mcp.tools.run_filter import DETAILS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import Deadline, RunScan, collect, read_details, read_facts
from extend_mcp.tools.runs import definition_of, read_run
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.actions import status_words
from extend_mcp.views.checks import failed_checks
from extend_mcp.views.insights import (
    Before,
    ComparisonView,
    FailureView,
    Group,
    Kept,
    ReviewFacts,
    ReviewQueueView,
    SummaryView,
    comparison_view,
    failure_view,
    review_queue_view,
    summary_view,
)
from extend_mcp.views.instructions import spoken_to
from extend_mcp.views.runs import review_lines

if TYPE_CHECKING:
    from extend_mcp.history.history import KeptRuns

GroupBy = Literal["workflow", "version", "status", "failure_reason", "failing_step", "file_type", "metadata"]

_RUNS_A_TURN = 2000
"""How many runs are counted before other tasks get their turn."""

_FROM_DETAILS = frozenset({"failure_reason", "failing_step", "metadata"})
"""Groups that the list of runs does not show: each run must be read."""


@RUNS.tool(title="Summarize workflow runs", annotations=READ_ONLY)
@takes_run_filter(without=DETAILS)
async def summarize_runs(
    ctx: Ctx,
    filters: RunFilter,
    group_by: Annotated[GroupBy, Example("failure_reason")] = "workflow",
    metadata_key: Annotated[str, Field(min_length=1, max_length=255, description="With metadata")] | None = None,
) -> SummaryView:
    """Count runs: how many, how they ended, times, credits, what waits, and the change against the window before.
    Use it for "what is wrong, since when, how much"; failure_reason and failing_step look into failed runs alone.
    Returns figures, and says what was left out.
    """
    if (group_by == "metadata") != (metadata_key is not None):
        raise CallRefusedError('metadata_key goes with group_by="metadata", and that needs it.')
    return await summarize(ctx, await filters.resolve(caller_context(ctx)), group_by, metadata_key)


async def summarize(ctx: Ctx, filters: RunFilter, group_by: GroupBy, metadata_key: str | None = None) -> SummaryView:
    """Count the runs that a resolved filter selects.

    Args:
        ctx: the call.
        filters: selects the runs; with ``since``, the window before is counted too.
        group_by: groups the runs.
        metadata_key: the key whose values are the groups, with ``metadata``.
    """
    app = caller_context(ctx)
    deadline = Deadline(ctx, app)
    count = _Count(group_by, metadata_key)
    before, kept = await _count_windows(app, filters, deadline, count)
    if count.unread:
        await _read_groups(app, deadline, count, held=kept is not None)
    return summary_view(
        count.statistics,
        labels=count.labels,
        grouped_by=metadata_key or group_by.replace("_", " "),
        filters=filters.description(),
        before=before,
        kept=kept,
        missing=count.missing,
        now=app.clock.now(),
        limit=app.limits.answer_chars,
    )


@dataclass
class _Count:
    group_by: GroupBy
    metadata_key: str | None
    statistics: Statistics = field(default_factory=Statistics)
    labels: dict[str, Group] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    metadata: dict[str, str | None] = field(default_factory=dict)
    """Values of the metadata key, by the ids of the runs for which it is known."""
    unread: list[RunFacts] = field(default_factory=list)
    """Runs that must be read to learn their group, newest first."""
    concerned: int = 0
    """How many runs belong in a group."""

    def add(self, run: RunFacts) -> None:
        if self.group_by not in _FROM_DETAILS:
            self.statistics.add(run, self._group(run))
            return
        self.statistics.add(run, None)
        if self.group_by == "metadata":
            is_known = run.id in self.metadata
            value: str | None = self.metadata.get(run.id)
        elif run.status != "FAILED":
            return
        else:
            value = run.reason if self.group_by == "failure_reason" else run.step
            is_known = value is not None
        self.concerned += 1
        if is_known:
            self.add_to_group(run, value)
        else:
            self.unread.append(run)

    def add_details(self, run: RunFacts, details: RunDetails) -> None:
        if self.group_by == "metadata":
            self.add_to_group(run, (details.metadata or {}).get(self.metadata_key or ""))
        else:
            self.add_to_group(run, details.reason if self.group_by == "failure_reason" else details.step)

    def add_to_group(self, run: RunFacts, value: str | None) -> None:
        if self.group_by == "metadata":
            key = "(not set)" if value is None else value[:200]
        elif self.group_by == "failing_step":
            key = f"{run.workflow_name}: {value}" if value else "before any step"
        else:
            key = value or "no reason given"
        self.labels[key] = Group(key)
        self.statistics.add_to_group(run, key)

    def _group(self, run: RunFacts) -> str:
        if self.group_by == "workflow":
            key, label = run.workflow_id, Group(run.workflow_name, run.workflow_id)
        elif self.group_by == "version":
            version = run.version or "?"
            key, label = f"{run.workflow_id} {version}", Group(f"{run.workflow_name}, version {version}")
        elif self.group_by == "file_type":
            key = run.file_type or "unknown"
            label = Group(key)
        else:
            key, label = run.status, Group(run.status)
        self.labels.setdefault(key, label)
        return key


async def _count_windows(
    app: CallerContext, filters: RunFilter, deadline: Deadline, count: _Count
) -> tuple[Before | None, Kept | None]:
    """Count the window, and the one of the same length before it if the window has a length."""
    length: timedelta | None = None
    wide = filters
    if filters.since:
        length = (filters.before or app.clock.now()) - filters.since
        wide = filters.model_copy(update={"since": filters.since - length})
    before = Tally()

    def add(run: RunFacts) -> None:
        if filters.since and run.created and run.created < filters.since:
            before.add(run)
        else:
            count.add(run)

    held = await _held_runs(app, wide, deadline)
    if held is not None:
        if count.metadata_key and (history := await app.history()):
            count.metadata = await history.metadata(wide.selection(), count.metadata_key)
        for number, facts in enumerate(held.runs):
            if number % _RUNS_A_TURN == 0:
                await anyio.lowlevel.checkpoint()
            add(facts)
        kept, missing, reached = Kept(held.as_of, held.pass_at, held.since), held.missing, held.since
    else:
        scan = RunScan(wide, app.limits.summary_runs)
        async with aclosing(scan.runs(app, deadline)) as runs:
            async for run in runs:
                add(run_facts(run))
        kept, missing, reached = None, scan.missing, scan.reached
    # Runs are read backwards: if that ended early, the window itself may still be complete.
    in_window = filters.since is None or reached is None or reached >= filters.since
    if missing and in_window:
        count.missing.append(missing)
        return None, kept
    return (Before(before, complete=missing is None) if length is not None else None), kept


async def _held_runs(app: CallerContext, filters: RunFilter, deadline: Deadline) -> KeptRuns | None:
    """Return the runs that a filter selects from the kept ones; None where reading them from the API is better."""
    # How Extend compares file names is not documented, so only Extend can apply that filter.
    history = None if filters.file_name_contains else await app.history()
    if history is None:
        return None
    return await history.read(
        app.api,
        filters.selection(),
        deadline,
        most_pages=-(-app.limits.summary_runs // PAGE_SIZE),
        only_if_held=bool(filters.status or filters.workflow_id or filters.batch),
    )


async def _read_groups(app: CallerContext, deadline: Deadline, count: _Count, *, held: bool) -> None:
    details = await read_facts(app, deadline, count.unread, held=held)
    for run in count.unread:
        if run.id in details.found:
            count.add_details(run, details.found[run.id])
    unknown = len(count.unread) - len(details.found)
    if unknown:
        known = count.concerned - unknown
        more = "; ask again to read more" if app.histories else "; the others were not read"
        count.missing.append(f"the groups hold the newest {known:,} of {count.concerned:,} runs{more}")


@RUNS.tool(title="Explain a failure", annotations=READ_ONLY)
async def explain_failure(run_id: RunId, ctx: Ctx, created_since: Moment = "7d") -> FailureView:
    """Explain why one run failed: the step, its error, whether running it again can help, how many runs of the
    workflow failed for the same reason since created_since, whether runs succeeded since, and what differs from the
    last good run.
    """
    return await _explain_one(ctx, run_id, created_since)


async def _explain_one(ctx: Ctx, run_id: str, created_since: str) -> FailureView:
    app = caller_context(ctx)
    run = await read_run(app, run_id)
    failures = failures_of(run)
    if not failures:
        review = " ".join(f"{line}." for line in review_lines(run))
        raise CallRefusedError(
            f"The run is {status_words(run.status)}, and nothing in it failed. {review} "
            f"get_workflow_run({run_id}) shows it.".replace("  ", " ")
        )
    cause = failures[0]
    deadline = Deadline(ctx, app)
    filters = await RunFilter(created_since=created_since, status="FAILED").resolve(app)
    filters.workflow_id = run.workflow.id or None
    scan = RunScan(filters, app.limits.summary_runs)
    failed = await collect(scan, app, deadline)
    others = [each for each in failed if each.id != run.id]
    asked = [each.id for each in others[: app.limits.detail_runs]]
    details = await read_details(app, deadline, asked, _cause, noun="other failed runs read")
    alike = [each for each in others if (other := details.found.get(each.id)) and other.reason == cause.reason]
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
        same_step=sum(found.where == cause.where for each in alike if (found := details.found[each.id])),
        good=await _last_good(app, run, deadline),
        later=await _later_good(app, run, cause),
        window=f"created since {format_instant(filters.since)}",
        missing=missing,
        now=app.clock.now(),
    )


def _cause(run: WorkflowRun) -> Failure | None:
    return next(iter(failures_of(run)), None)


async def _later_good(app: CallerContext, run: WorkflowRun, cause: Failure) -> WorkflowRunSummary | None:
    """Return the newest processed run that started after this one failed, if any.

    It is one of the same workflow, or of any where the account itself was the cause.
    """
    workflow = None if cause.reason in ACCOUNT_REASONS else run.workflow.id or None
    page = await app.api.list_workflow_runs(
        status="PROCESSED", workflow_id=workflow, sort_by="createdAt", sort_dir="desc", max_page_size=1
    )
    failed_at = run.end_time or run.initial_run_at
    found = [each for each in page.data if each.start_time and failed_at and each.start_time > failed_at]
    return found[0] if found else None


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
    """List the runs that wait for a person's review, oldest first, with each failed check, the values that failed it
    and the dashboard link. Reviews are made in the dashboard; the API cannot approve or reject.
    """
    app = caller_context(ctx)
    filters = RunFilter(status="NEEDS_REVIEW", workflow=workflow, created_since=created_since)
    deadline = Deadline(ctx, app)
    scan = RunScan(await filters.resolve(app), app.limits.summary_runs)
    waiting = sorted(await collect(scan, app, deadline), key=lambda run: (run.created or app.clock.now(), run.id))
    definitions = await _definitions(app, waiting[:limit])

    def known(run: WorkflowRun) -> ReviewFacts:
        checks = failed_checks(run, definitions.get(run.workflow_version.id, ()))
        return ReviewFacts(checks, present_state(run, changed.get(run.id)), spoken_to(run))

    changed = {run.id: run.updated_at for run in waiting[:limit]}
    details = await read_details(app, deadline, [run.id for run in waiting[:limit]], known)
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
