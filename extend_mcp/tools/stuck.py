"""Read what shows which runs hang, and in which step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from extend_mcp.api.models import WorkflowRun
from extend_mcp.callers import CallerContext
from extend_mcp.runs.lifecycle import MOVING, STEP_OVER
from extend_mcp.runs.statistics import RunFacts, Selection
from extend_mcp.runs.timing import Stuck, StuckRuns, stalls, stuck_runs, usual_times
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import Deadline, read_details, select_runs

_MOST_DONE = 300
"""Processed runs of a workflow that are read for its usual times, where none are kept."""

_USUAL_OF = timedelta(days=7)
"""Kept runs that are older say little about the usual time of today."""

_MOST_STEPS = 40
"""Stuck runs that are read for their step."""


async def find_stuck(app: CallerContext, filters: RunFilter, deadline: Deadline, *, shown: int) -> StuckRuns:
    """Return the runs that hang among those that a resolved filter selects, with the step of those that are shown."""
    listed = await select_runs(app, filters, deadline, filters.statuses or MOVING)
    missing = [listed.missing] if listed.missing else []
    done: list[RunFacts] = []
    for workflow in dict.fromkeys(run.workflow_id for run in listed.runs):
        query = RunFilter(workflow_id=workflow, status="PROCESSED", since=app.clock.now() - _USUAL_OF)
        history = await app.history() if listed.held else None
        if history is not None:
            done += await history.held(query.selection()) or []
        else:
            done += (await select_runs(app, query.model_copy(update={"since": None}), deadline, most=_MOST_DONE)).runs
    stuck, unjudged = stuck_runs(listed.runs, usual_times(done), app.clock.now())
    asked = [each.run.id for each in stuck if each.run.status != "PENDING"][: min(shown, _MOST_STEPS)]
    details = await read_details(app, deadline, asked, _present_step)
    return StuckRuns(
        stuck=[replace(each, step=details.found.get(each.run.id, "")) for each in stuck],
        stalls=stalls(stuck, listed.runs, done),
        moving=len(listed.runs),
        unjudged=unjudged,
        missing=missing,
    )


async def kept_stuck(app: CallerContext, filters: RunFilter) -> list[Stuck]:
    """Return the runs that hang by what was kept a moment ago, without a request."""
    history = await app.history()
    if history is None or not set(filters.statuses or MOVING) & set(MOVING):
        return []
    wanted, done = filters.selection(), []
    moving = await history.held(replace(wanted, status=",".join(filters.statuses or MOVING))) or []
    since = (app.clock.now() - _USUAL_OF).timestamp()
    for workflow in dict.fromkeys(run.workflow_id for run in moving):
        done += await history.held(Selection(status="PROCESSED", workflow_id=workflow, since=since)) or []
    return stuck_runs(moving, usual_times(done), app.clock.now())[0]


def _present_step(run: WorkflowRun) -> str:
    return next((step.title for step in run.step_runs if step.status not in STEP_OVER), "")
