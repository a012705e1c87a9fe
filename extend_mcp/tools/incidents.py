"""Tools for the morning after: which failures are still open, and what was processed twice."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.reruns import RERUN_OF, Repeat, chains, fate, same_files
from extend_mcp.tools.args import Example
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import Deadline, read_insights, select_runs
from extend_mcp.tools.toolsets import INCIDENTS, READ_ONLY
from extend_mcp.views.incidents import Chain, DoneTwiceView, OpenFailuresView, done_twice_view, open_failures_view

Shown = Annotated[int, Field(ge=1, le=200, description="How many to name"), Example("20")]


@INCIDENTS.tool(title="List open failures", annotations=READ_ONLY)
@takes_run_filter(without={*OF_LISTS, "status", "file_name_contains"})
async def list_open_failures(ctx: Ctx, filters: RunFilter, limit: Shown = 10) -> OpenFailuresView:
    """Sort the documents that failed in a window by what became of them: resolved by a good run of the same document
    since, running, failed again, never rerun; and list the open ones by cause. Rerun them with rerun_workflow_runs.
    """
    app = caller_context(ctx)
    if filters.created_since is None:
        raise CallRefusedError('created_since is needed: failures of which time? Example: created_since="24h".')
    filters, deadline = await filters.resolve(app), Deadline(ctx, app)
    # A rerun may be of another time or version.
    wide = RunFilter(workflow_id=filters.workflow_id, since=filters.since)
    listed = await select_runs(app, wide, deadline)
    missing = [listed.missing] if listed.missing else []
    failed = [run for run in listed.runs if run.status == "FAILED" and filters.selects(run)]
    insights = await read_insights(app, deadline, failed)
    unread = [run for run in failed if run.id not in insights.found]
    if filters.needs_details:
        failed = [
            run
            for run in failed
            if (each := insights.found.get(run.id)) and filters.matches_details(each.cause, each.metadata)
        ]
        if unread:
            more = "; ask again to look into them" if app.histories else ""
            missing.append(f"{len(unread):,} failed runs were not looked into and are not counted{more}")
    history = await app.history()
    # Of a good run the mark is known only if another question had to read it.
    kept = await history.metadata(wide.selection(), RERUN_OF) if history else {}
    read = {run_id: each.metadata.get(RERUN_OF) for run_id, each in insights.found.items()}
    marks = {run_id: mark for run_id, mark in (kept | read).items() if mark}
    wanted = {run.id for run in failed}
    found: list[Chain] = []
    for chain in chains(listed.runs, marks):
        first = next((place for place, run in enumerate(chain) if run.id in wanted), None)
        if first is not None:
            chain = chain[first:]
            last = next(run for run in reversed(chain) if run.id in wanted)
            known = insights.found.get(last.id)
            found.append(Chain(last, fate(chain), known.cause if known else None, is_read=known is not None))
    return open_failures_view(
        found,
        failed=len(failed),
        filters=filters.description(),
        missing=missing,
        shown=limit,
        now=app.clock.now(),
        limit=app.limits.answer_chars,
    )


@INCIDENTS.tool(title="List what was processed twice", annotations=READ_ONLY)
@takes_run_filter(without={*DETAILS, *OF_LISTS, "status", "file_name_contains"})
async def list_done_twice(ctx: Ctx, filters: RunFilter, limit: Shown = 10) -> DoneTwiceView:
    """List the files that more than one run of the same workflow processed in a window, with the credits spent twice.
    Intended reruns (by their rerunOf mark, or after a failure) are left out.
    """
    app = caller_context(ctx)
    filters, deadline = await filters.resolve(app), Deadline(ctx, app)
    listed = await select_runs(app, filters, deadline, ["PROCESSED"] if filters.since is None else ())
    missing = [listed.missing] if listed.missing else []
    groups = same_files(run for run in listed.runs if run.status == "PROCESSED")
    repeated = [group for group in groups if len(group) > 1]
    unsure = [run for group in repeated for run in group[1:]]
    insights = await read_insights(app, deadline, unsure, noun="repeated runs looked into")
    if len(insights.found) < len(unsure):
        missing.append(f"{len(unsure) - len(insights.found):,} runs were not looked into: they may be intended reruns")
    intended = {run_id for run_id, each in insights.found.items() if each.metadata.get(RERUN_OF)}
    repeats = [Repeat(group[0], rest) for group in repeated if (rest := [r for r in group[1:] if r.id not in intended])]
    return done_twice_view(
        repeats,
        intended=len(intended),
        filters=filters.description(),
        missing=missing,
        shown=limit,
        limit=app.limits.answer_chars,
    )
