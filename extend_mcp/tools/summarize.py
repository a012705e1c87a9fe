"""Counting many runs: the first question of whoever is on call."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import failures_of
from extend_mcp.runs.statistics import Statistics, Tally, created_at
from extend_mcp.tools.app import App, Ctx, app_of
from extend_mcp.tools.args import BatchId, Example, Moment, StatusFilter, WorkflowRef
from extend_mcp.tools.base import READ_ONLY
from extend_mcp.tools.find import RunQuery, read_query
from extend_mcp.tools.gather import Deadline, Walk, read_details
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.insights import Before, Group, SummaryView, summary_view

GroupBy = Literal["workflow", "version", "status", "failure_reason", "failing_step", "file_type", "metadata"]

_FROM_DETAILS = frozenset({"failure_reason", "failing_step", "metadata"})
"""What a list does not tell, so that runs must be read one by one."""


@RUNS.tool(title="Summarize workflow runs", annotations=READ_ONLY)
async def summarize_runs(
    ctx: Ctx,
    group_by: Annotated[GroupBy, Example("failure_reason")] = "workflow",
    metadata_key: Annotated[str, Field(min_length=1, max_length=255, description="With metadata")] | None = None,
    created_since: Moment | None = None,
    created_before: Moment | None = None,
    status: StatusFilter | None = None,
    workflow: WorkflowRef | None = None,
    batch: BatchId | None = None,
    file_name_contains: Annotated[str, Field(min_length=1, max_length=255), Example("invoice")] | None = None,
) -> SummaryView:
    """Count runs: how many, how they ended, times, credits, what waits, and the change against the window before.
    Use it for "what is wrong, since when, how much"; failure_reason and failing_step look into failed runs alone.
    Returns figures, and says what was left out.
    """
    if (group_by == "metadata") != (metadata_key is not None):
        raise CallRefusedError('metadata_key goes with group_by="metadata", and that needs it.')
    app = app_of(ctx)
    arguments = {
        "status": status,
        "workflow": workflow,
        "batch": batch,
        "file_name_contains": file_name_contains,
        "created_since": created_since,
        "created_before": created_before,
    }
    query = await read_query(app, {name: value for name, value in arguments.items() if value is not None})
    return await summarize(ctx, query, group_by, metadata_key)


async def summarize(ctx: Ctx, query: RunQuery, group_by: GroupBy, metadata_key: str | None = None) -> SummaryView:
    """Count the runs that a query finds.

    Args:
        ctx: the call; it is told the progress.
        query: which runs; with ``since``, the window before is counted too.
        group_by: what the groups are.
        metadata_key: whose values group the runs, with ``metadata``.
    """
    app = app_of(ctx)
    deadline = Deadline(ctx, app)
    count = _Count(group_by, metadata_key, most_unread=app.settings.detail_runs)
    before = await _count(app, query, deadline, count)
    if group_by in _FROM_DETAILS:
        await _look_into(app, deadline, count)
    return summary_view(
        count.statistics,
        labels=count.labels,
        grouped_by=metadata_key or group_by.replace("_", " "),
        filters=query.filters(),
        before=before,
        missing=count.missing,
        now=app.clock.now(),
        limit=app.settings.answer_chars,
    )


@dataclass
class _Count:
    group_by: GroupBy
    metadata_key: str | None
    statistics: Statistics = field(default_factory=Statistics)
    labels: dict[str, Group] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    most_unread: int = 0
    unread: dict[str, WorkflowRunSummary] = field(default_factory=dict)
    """Runs whose group only they themselves tell, the newest first; not more than will be read."""
    beyond: int = 0
    """How many more of them there are."""

    def add(self, run: WorkflowRunSummary) -> None:
        if self.group_by not in _FROM_DETAILS:
            self.statistics.add(run, self._group(run))
            return
        self.statistics.add(run, None)
        if self.group_by != "metadata" and run.status != "FAILED":
            return
        if len(self.unread) < self.most_unread:
            self.unread[run.id] = run
        else:
            self.beyond += 1

    def learn(self, run: WorkflowRunSummary, key: str) -> None:
        self.labels[key] = Group(key)
        self.statistics.add_to_group(run, key)

    def _group(self, run: WorkflowRunSummary) -> str:
        workflow = run.workflow
        if self.group_by == "workflow":
            key, label = workflow.id, Group(workflow.name, workflow.id)
        elif self.group_by == "version":
            version = run.workflow_version.version or "?"
            key, label = f"{workflow.id} {version}", Group(f"{workflow.name}, version {version}")
        elif self.group_by == "file_type":
            key = (run.files[0].type if run.files else "") or "unknown"
            label = Group(key)
        else:
            key, label = run.status, Group(run.status)
        self.labels.setdefault(key, label)
        return key

    def told_by(self, run: WorkflowRun) -> str:
        """The group that a run in full belongs to."""
        if self.group_by == "metadata":
            value = run.metadata.get(self.metadata_key or "")
            return "(not set)" if value is None else str(value)[:200]
        failures = failures_of(run)
        cause = failures[0] if failures else None
        told = (cause.where if self.group_by == "failing_step" else cause.reason) if cause else ""
        if self.group_by == "failing_step":
            return f"{run.workflow.name}: {told}" if told else "before any step"
        return told or "no reason given"


async def _count(app: App, query: RunQuery, deadline: Deadline, count: _Count) -> Before | None:
    """Count the window, and the one of the same length before it where the window has a length."""
    length: timedelta | None = None
    wide = query
    if query.since:
        length = (query.before or app.clock.now()) - query.since
        wide = query.model_copy(update={"since": query.since - length})
    walk = Walk(wide, app.settings.summary_runs)
    then = Tally()
    async with aclosing(walk.runs(app, deadline)) as runs:
        async for run in runs:
            created = created_at(run)
            if query.since and created and created < query.since:
                then.add(run)
            else:
                count.add(run)
    # The walk goes backwards: where it was cut short, the window itself may be whole all the same.
    in_window = query.since is None or walk.reached is None or walk.reached >= query.since
    if walk.missing and in_window:
        count.missing.append(walk.missing)
        return None
    return Before(then, complete=walk.missing is None) if length is not None else None


async def _look_into(app: App, deadline: Deadline, count: _Count) -> None:
    details = await read_details(app, deadline, list(count.unread), count.told_by)
    for run_id, key in details.found.items():
        count.learn(count.unread[run_id], key)
    of = len(count.unread) + count.beyond
    if len(details.found) < of:
        count.missing.append(f"the groups hold the newest {len(details.found):,} of {of:,} runs; others were not read")
