"""Cancelling many runs: by ids, of a batch, or by filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from extend_mcp.actions.bulk import BulkAction
from extend_mcp.actions.cancel_run import FOLLOW_SECONDS, cancel_run, follow
from extend_mcp.actions.store import Plan, PlannedRun
from extend_mcp.api.errors import NotFoundError
from extend_mcp.api.models import RunBase, WorkflowRun
from extend_mcp.runs.lifecycle import by_urgency, describe, is_finished
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.views.actions import MOST_IDS, BulkView, skipped_words, workflow_words
from extend_mcp.views.document import age_words, counted, listed
from extend_mcp.views.untrusted import Code, Id, Name, Note

_UNFINISHED: Final = ("PENDING", "PROCESSING", "CANCELLING", "NEEDS_REVIEW")


@dataclass
class CancelRuns(BulkAction):
    """Cancel those runs that can be cancelled, among some ids or among all that a filter selects."""

    run_ids: list[str] | None  # the runs; None to find them with ``filters``
    filters: RunFilter

    name: ClassVar[str] = "cancel_runs"

    async def propose(self) -> Plan | BulkView:
        if self.run_ids is None and self.filters == RunFilter():
            return self.no_such_plan()
        now = self.app.clock.now()
        skipped: Counter[str] = Counter()
        found, missing = await self._find(skipped)
        planned: list[RunBase] = []
        for run in sorted(found, key=lambda run: (run.initial_run_at or now, run.id)):
            if describe(run.status).may_cancel:
                planned.append(run)
            else:
                skipped[_why_not(run.status)] += 1
        if not planned:
            message = "No run here can be cancelled: only PENDING and PROCESSING ones can."
            message += "".join(f" {each}." for each in missing)
            return self.answer("nothing_to_do", message, skipped=dict(skipped))
        lines = [f"Cancel {counted(len(planned), 'workflow run')}?", *set_lines(planned, skipped, now=now)]
        lines += [f"INCOMPLETE: {each}." for each in missing]
        lines += [f"Reason given: {Note(self.reason)}"] if self.reason else []
        lines.append("Cancelled runs do not resume.")
        return self.make_plan([PlannedRun(run_id=run.id, status=run.status) for run in planned], lines, skipped)

    async def _find(self, skipped: Counter[str]) -> tuple[Sequence[RunBase], list[str]]:
        if self.run_ids is not None:
            details = await self.reader.read(self.run_ids, _light)
            for error in details.failed.values():
                skipped["not found" if isinstance(error, NotFoundError) else "could not be read"] += 1
            missing = [f"{len(details.skipped):,} runs were not looked at: time was up"] if details.skipped else []
            return list(details.found.values()), missing
        # A batch is listed whole. Of filtered runs, those that ended are no news; the others are said to be left out.
        wanted = self.filters.statuses or ((None,) if self.filters.batch else _UNFINISHED)
        found: dict[str, RunBase] = {}
        missing = []
        for status in wanted:
            scan = await self.reader.scan(self.filters.model_copy(update={"status": status}))
            found |= {run.id: run for run in scan.runs}
            missing += scan.missing
        return list(found.values()), missing

    async def act(self, run: PlannedRun) -> None:
        try:
            await cancel_run(self.app, run)
        except NotFoundError:
            run.outcome = "not_found"
        # Cancelling twice does no harm, so an unclear outcome stays open for the next call.
        run.outcome = None if run.outcome == "unknown" else run.outcome

    async def finish(self) -> None:
        """Follow the runs that are still ending."""
        await follow(self.app, self.plan.runs, seconds=min(FOLLOW_SECONDS, max(self.reader.left, 0.0)))


def set_lines(runs: Sequence[RunBase], skipped: Mapping[str, int], *, now: datetime) -> list[str]:
    """Describe runs, the oldest first: workflows, statuses, the oldest and newest, credits, ids, what was left out."""
    statuses = Counter(run.status for run in runs)
    lines = [
        f"Workflows: {workflow_words(run.workflow.name for run in runs)}",
        f"Status: {', '.join(f'{statuses[status]:,} {Code(status):40}' for status in by_urgency(statuses))}",
        f"Oldest: {_one(runs[0], now)}; newest: {_one(runs[-1], now)}"
        if len(runs) > 1
        else f"Run: {_one(runs[0], now)}",
        f"Credits used so far: {sum(run.credits or 0.0 for run in runs):,.10g}",
    ]
    if len(runs) > 2:
        lines.append(f"Runs: {listed([Id(run.id) for run in runs], MOST_IDS)}")
    if skipped:
        lines.append(f"Left out: {skipped_words(skipped)}")
    return lines


def _one(run: RunBase, now: datetime) -> str:
    age = f"created {age_words(run.initial_run_at, now)} ago" if run.initial_run_at else "age unknown"
    file = f" {Name(run.files[0].name):60}" if run.files else ""
    return f"{Id(run.id)}{file}, {age}"


def _why_not(status: str) -> str:
    if is_finished(status):
        return f"already {status}"
    return {"NEEDS_REVIEW": "waiting for review", "CANCELLING": "already CANCELLING"}.get(
        status, f"{Code(status)}, which cannot be cancelled"
    )


def _light(run: WorkflowRun) -> WorkflowRun:
    return run.model_copy(update={"step_runs": [], "metadata": {}})
