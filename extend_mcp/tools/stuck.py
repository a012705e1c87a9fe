"""Read what shows which runs hang, and in which step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from extend_mcp.api.models import WorkflowRun
from extend_mcp.runs.lifecycle import MOVING, STEP_OVER
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.timing import Stuck, StuckRuns, stuck_runs
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import RunReader
from extend_mcp.views.document import Extent

_MOST_DONE = 300
"""Processed runs of a workflow that are read for its usual times, where none are kept."""

_USUAL_OF = timedelta(days=7)
"""Kept runs that are older say little about the usual time of today."""

_MOST_STEPS = 40
"""Stuck runs that are read for their step."""


async def find_stuck(reader: RunReader, filters: RunFilter, *, shown: int) -> tuple[StuckRuns, Extent]:
    """Return the runs that hang among those that a resolved filter selects, with the step of those that are shown."""
    listed = await reader.select(filters, filters.statuses or MOVING)
    found = await _judge(reader, listed.runs, held=bool(listed.held))
    asked = [each.run.id for each in found.stuck if each.run.status != "PENDING"][: min(shown, _MOST_STEPS)]
    steps = (await reader.read(asked, _present_step)).found
    stuck = [replace(each, step=steps.get(each.run.id, "")) for each in found.stuck]
    return replace(found, stuck=stuck), reader.extent(missing=listed.missing)


async def kept_stuck(reader: RunReader, filters: RunFilter) -> list[Stuck]:
    """Return the runs that hang by what was kept a moment ago, without a request."""
    history, statuses = await reader.app.history(), filters.statuses or MOVING
    if history is None or not set(statuses) & set(MOVING):
        return []
    moving = await history.held(replace(filters.selection(), status=",".join(statuses)))
    return (await _judge(reader, moving or [], held=True)).stuck


async def _judge(reader: RunReader, moving: list[RunFacts], *, held: bool) -> StuckRuns:
    """Judge runs by the processed ones of their workflows."""
    now, done = reader.app.clock.now(), list[RunFacts]()
    history = await reader.app.history() if held else None
    for workflow in dict.fromkeys(run.workflow_id for run in moving):
        query = RunFilter(workflow_id=workflow, status="PROCESSED")
        if history is None:
            done += (await reader.select(query, most=_MOST_DONE)).runs
        else:
            done += await history.held(replace(query.selection(), since=(now - _USUAL_OF).timestamp())) or []
    return stuck_runs(moving, done, now)


def _present_step(run: WorkflowRun) -> str:
    return next((step.title for step in run.step_runs if step.status not in STEP_OVER), "")
