"""Find runs by what is in them: names, metadata, extracted values, failures, parsed text."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from extend_mcp.callers import Ctx
from extend_mcp.history.details import RunDetails, run_details
from extend_mcp.history.search import Hit, TextQuery, list_passages
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.tools.args import FileId, Moment, StatusFilter, WorkflowRef
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import RunReader
from extend_mcp.tools.toolsets import READ_ONLY, RUNS
from extend_mcp.views.document import counted
from extend_mcp.views.tables import FoundRunsView, found_runs_view


@RUNS.tool(title="Find workflow runs", annotations=READ_ONLY)
async def find_runs(
    ctx: Ctx,
    text: Annotated[str, Field(min_length=2, max_length=200, examples=["INV-30627"])] | None = None,
    metadata: Annotated[dict[str, str], Field(examples=[{"customer": "cust_0412"}])] | None = None,
    file_id: FileId | None = None,
    workflow: WorkflowRef | None = None,
    status: StatusFilter | None = None,
    created_since: Moment | None = None,
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
) -> FoundRunsView:
    """Find the runs whose file name, metadata, extracted values, failure or parsed text contain a text, such as an
    invoice number or a company; or those with this metadata or file. Says where the text is, and how many of how many
    runs were searched: ask again to go deeper.
    """
    reader = RunReader(ctx)
    app = reader.app
    query = TextQuery(text) if text else None
    if query is None and not metadata and not file_id:
        raise CallRefusedError('Give text, metadata or file_id. Example: text="INV-30627".')
    if query is not None and not query.compact:
        raise CallRefusedError("text must contain a letter or a digit.")
    filters = RunFilter(workflow=workflow, status=status, created_since=created_since)
    filters = await filters.resolve(app)
    # Only a run that was read in full shows metadata, so the number of runs to search does not depend on it.
    searched = replace(filters.selection(), file_id=file_id)
    wanted = replace(searched, metadata=metadata or {})
    kept, history = await reader.refresh(filters, anyhow=True), await reader.history()
    if not kept or not kept.held or not history:
        raise CallRefusedError("Extend's list of runs cannot be searched: its order or times are not as documented.")
    opened: list[tuple[RunFacts, RunDetails]] = []  # have not ended, so what they show in full is never kept
    if needs_details := bool(query or metadata):
        most = app.limits.detail_runs
        unread = await history.unread(searched, most)
        # What is read of open runs is no use to the next question, so these get a third unless there is room for more.
        waiting = await history.unread(searched, max(most // 3, most - len(unread)), final=False)
        read = (await reader.read([run.id for run in waiting], run_details)).found
        opened = [(run, read[run.id]) for run in waiting if run.id in read]
        await reader.facts(unread[: most - len(waiting)])
    result = await history.search(wanted, query, lambda: reader.left <= 0)
    found = list(result.hits)
    known = {each.run.id for each in found}
    for run, details in opened:
        if run.id not in known and (metadata or {}).items() <= details.metadata.items():
            passage = query.first([*list_passages(run), *details.passages()]) if query else None
            if passage or not query:
                found.append(Hit(run, passage))
    found.sort(key=lambda each: (each.run.created is not None, each.run.created, each.run.id), reverse=True)
    facts = {run.id: details for run, details in opened} | await history.details(
        [each.run.id for each in found[:limit]]
    )
    counts = await history.read_counts(searched)
    searched_runs, waiting_runs = counts.held, 0
    if needs_details:
        searched_runs, waiting_runs = counts.read + len(opened), counts.open - len(opened)
    deeper = "; ask again to go deeper" if app.histories is not None and await history.unread(searched, 1) else ""
    names_only = "were searched by file name and reviewer's note alone"
    unsearched = {
        f"{names_only}{deeper}": counts.held - searched_runs - waiting_runs,
        f"that have not ended {names_only}; narrow the search by workflow, status or time to read them": waiting_runs,
        "hold more text than was searched": counts.cut if query else 0,
    }
    missing = [*kept.missing, *(f"{counted(count, 'run')} {what}" for what, count in unsearched.items() if count)]
    missing += ["there may be more runs than these: narrow the search"] if result.is_cut else []
    return found_runs_view(
        found,
        reader.extent(filters.description(), missing),
        speaking={run_id for run_id, details in facts.items() if details.speaks},
        query=query,
        wanted=wanted,
        runs=counts.held,
        read=searched_runs,
        as_of=kept.held.as_of,
        shown=limit,
    )
