"""Tools that read workflow runs."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from typing import Annotated, Any

import anyio
import anyio.to_thread
from pydantic import Field

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import PAGE_SIZE
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.history.details import RunDetails
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import CHILD_KINDS, unexplained_steps
from extend_mcp.runs.lifecycle import MOVING, is_moving
from extend_mcp.runs.statistics import run_facts
from extend_mcp.runs.timing import Usual, usual_times
from extend_mcp.tools import args
from extend_mcp.tools.name_resolution import select_step
from extend_mcp.tools.pagination import PagePosition, open_token
from extend_mcp.tools.run_filter import MOMENTS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import CALL_SECONDS, Places, RunLists, RunReader
from extend_mcp.tools.stuck import find_stuck
from extend_mcp.tools.toolsets import READ_ONLY, RUNS
from extend_mcp.views.incidents import stuck_view
from extend_mcp.views.runs import RunView, run_view
from extend_mcp.views.steps import NoSuchPartError, StepResultView, step_view
from extend_mcp.views.tables import RunListView, cause_words, run_list_view
from extend_mcp.views.untrusted import Note
from extend_mcp.views.uris import RESOURCE_CHARS, run_uri, step_uri

_USUAL_SECONDS = 60.0
_MOST_CHILDREN = 3
"""Failed steps of a run that are looked up among its child runs."""

CAUSED = ("FAILED", "NEEDS_REVIEW")
"""Statuses whose cause no list shows. Why a run was rejected is in the list."""

_CAUSE_SECONDS = 20.0
"""Time that a list spends on single runs."""

_CANDIDATES = 24
"""Runs that are looked into at once for a filter by cause."""

_LONG_AGO = datetime(2000, 1, 1, tzinfo=timezone.utc)

ResultPath = Annotated[
    str, Field(min_length=1, max_length=500, description="Only this path", examples=["line_items[0].amount"])
]
LineText = Annotated[str, Field(min_length=1, max_length=200, description="Only lines with this text")]


@RUNS.tool(title="List workflow runs", annotations=READ_ONLY, view="board")
@takes_run_filter(without={"metadata"})
async def list_runs(
    ctx: Ctx,
    filters: RunFilter,
    sort_by: args.SortBy | None = None,
    sort_dir: args.SortDir = "desc",
    stuck: bool = False,
    ids_only: Annotated[bool, Field(description="Short: ids by workflow and status")] = False,
    page_size: Annotated[args.PageSize, Field(description="Runs per page")] = 20,
    page_token: args.PageToken | None = None,
) -> RunListView:
    """List workflow runs, newest first; those that failed, were rejected or wait for review with the cause.
    To learn more of one, pass its id to get_workflow_run. With stuck: those that hang, whose fault it probably is, and
    the usual times.
    """
    reader = RunReader(ctx, CALL_SECONDS if stuck else _CAUSE_SECONDS)
    app = reader.app
    if stuck:
        if not set(filters.statuses) <= set(MOVING):
            raise CallRefusedError(f"stuck: only {', '.join(MOVING)} runs can be stuck.")
        if filters.needs_details or filters.reviewer:
            raise CallRefusedError("stuck: a run that failed or was reviewed does not hang; leave out these filters.")
        found, extent = await find_stuck(reader, await filters.resolve(app), shown=page_size)
        return stuck_view(found, extent, shown=page_size)
    given = {"sort_by": sort_by, "sort_dir": sort_dir, "ids_only": ids_only, "page_size": page_size}
    search = filters.model_copy(update=given)
    start = open_token("list_runs", search.model_dump(exclude_defaults=True), page_token)
    # Later pages mean the same: "24h" moves.
    now = datetime.fromtimestamp(start.n or app.clock.now().timestamp() // 1, timezone.utc)
    try:
        search = await (RunFilter.model_validate(start.a) if page_token else search).resolve(app, now)
        by_cause = search.failure_reason is not None or search.failing_step is not None
        listed = search.model_copy(update={"status": "FAILED"}) if by_cause and not search.status else search
        lists = RunLists(reader, listed, start, app.limits.filter_pages)
    except ValueError:
        raise CallRefusedError("page_token is not one that list_runs gave. Start again without it.") from None
    page = await (_find(reader, search, lists) if by_cause else lists.take(search.page_size))
    runs, is_full = [run for run, _ in page], len(page) == search.page_size
    places = page[-1][1] if is_full else lists.places
    notes = []
    if lists.ended_by and any(places) and not is_full:
        notes.append(f"Stopped after {lists.ended_by}: there may be more matches further on.")
    known: dict[str, RunDetails] = {}
    # Only a list of such runs is worth a request for each; in others, what is kept is shown.
    if reads := not search.ids_only and (by_cause or bool(set(search.statuses) & set(CAUSED))):
        known = (await reader.facts([run_facts(run) for run in runs if run.status in CAUSED])).found
    if app.histories and app.histories.is_open and (history := await app.history()):
        known |= await history.details([run.id for run in runs if run.id not in known])
    current = {run_id: each.status for run_id, each in known.items()}
    unknown = sum(run.status in CAUSED and current.get(run.id) != run.status for run in runs)
    if reads and unknown:
        notes.append(f"Why {unknown:,} of these failed or wait could not be read in time.")
    arguments = search.model_dump(mode="json", exclude_defaults=True, exclude=set(MOMENTS.values()))
    began = int(now.timestamp()) if arguments.keys() & MOMENTS.keys() else None
    order = f"{search.order.removesuffix('At')} {'latest' if search.sort_dir == 'desc' else 'earliest'} first"

    def token_after(count: int) -> str | None:
        after = page[count - 1][1] if 0 < count < len(page) else places
        if not any(after):
            return None
        token, skip = after[0] if len(after) == 1 and after[0] else (None, 0)
        several = after if len(after) > 1 else None
        return PagePosition(k=start.k, a=arguments, n=began, t=token, s=skip, m=several).encode()

    return run_list_view(
        runs,
        causes={run.id: words for run in runs if (words := cause_words(run, known.get(run.id)))},
        token_after=token_after,
        filters=f"{words}, {order}" if (words := search.description()) else order,
        ids_only=search.ids_only,
        note=" ".join(notes) or None,
        now=app.clock.now(),
        limit=app.limits.answer_chars,
    )


async def _find(reader: RunReader, search: RunFilter, lists: RunLists) -> list[tuple[WorkflowRunSummary, Places]]:
    """Return a page of the runs that failed in the step or for the reason wanted, and the places after each."""
    found: list[tuple[WorkflowRunSummary, Places]] = []
    while len(found) < search.page_size and not lists.ended_by and (taken := await lists.take(_CANDIDATES)):
        # Where few of many runs failed for this reason, lists of child runs are faster than looking into each.
        reason, since = search.failure_reason if reader.reads else None, search.since or _LONG_AGO
        read = await reader.insights([run_facts(run) for run, _ in taken], reason=reason, since=since)
        if read.skipped or reader.reads >= reader.app.limits.detail_runs:
            lists.ended_by = f"looking into {reader.reads:,} runs"
        for run, after in taken:
            if (each := read.found.get(run.id)) and search.matches_details(each.cause, {}):
                found.append((run, after))
    return found[: search.page_size]


@RUNS.tool(title="Explain a workflow run", annotations=READ_ONLY, view="run")
async def get_workflow_run(
    run_id: args.RunId, ctx: Ctx, detail: args.DetailLevel = "concise", page: args.PageNumber = 1
) -> RunView:
    """Explain one run: status, progress, what failed and why, what it waits for, credits.
    Use it with an id from list_runs or the user. detail="full" adds ids, metadata and charges, in pages.
    """
    reader = RunReader(ctx)
    app = reader.app
    run = await read_run(app, run_id)
    show = partial(run_view, run, now=app.clock.now(), **await _surroundings(reader, run))
    view = show(detail=detail, page=page, limit=app.limits.answer_chars)
    if view.cut or (view.details and view.details.pages > 1):
        whole = show(detail="concise", page=1, limit=RESOURCE_CHARS)
        view.with_link(run_uri(run.id), "All steps of the run", len(whole.text.encode()))
    return view


async def read_run(app: CallerContext, run_id: str) -> WorkflowRun:
    """Read a run and, where a failed step does not hold its child run, the child run that has the reason."""
    run = await app.api.get_workflow_run(run_id)
    for step in unexplained_steps(run)[:_MOST_CHILDREN]:
        kind, key = CHILD_KINDS[step.step_type]
        with suppress(ExtendError):
            page = await app.api.list_child_runs(kind, source_id=run.id, status="FAILED", max_page_size=20)
            files = {file.id for file in step.files}
            # A step that takes the parts of a file has a child run for each.
            fitting = [child for child in page.data if len(page.data) == 1 or child.file.id in files]
            if len(fitting) == 1:
                step.result = {**(step.result or {}), key: fitting[0].model_dump(mode="json", by_alias=True)}
    return run


async def _surroundings(reader: RunReader, run: WorkflowRun) -> dict[str, Any]:
    """Read what explains a run that moves or waits. What cannot be read is left out: the run itself is the answer."""
    found: dict[str, Any] = {}
    version = run.workflow_version

    async def note(name: str, read: Awaitable[Any]) -> None:
        with suppress(ExtendError):
            found[name] = await read

    async with anyio.create_task_group() as group:
        if is_moving(run.status) or run.status == "NEEDS_REVIEW":
            group.start_soon(note, "changed_at", _last_change(reader.app, run))
        if is_moving(run.status):
            group.start_soon(note, "usual", _usual_time(reader.app, run))
        elif run.status == "NEEDS_REVIEW":
            group.start_soon(note, "definition", reader.definition(run.workflow.id, version.version, version.id))
    return found


async def _last_change(app: CallerContext, run: WorkflowRun) -> datetime | None:
    # Only a list says when a run last changed, and it cannot be asked for one id.
    page = await app.api.list_workflow_runs(
        status=run.status,
        workflow_id=run.workflow.id or None,
        batch_id=run.batch_id,
        file_name_contains=run.files[0].name[:255] or None if run.files else None,
        sort_by="updatedAt",
        sort_dir="desc",
        max_page_size=20,
    )
    return next((each.updated_at for each in page.data if each.id == run.id), None)


async def _usual_time(app: CallerContext, run: WorkflowRun) -> Usual | None:
    async def read() -> Usual | None:
        query = RunFilter(status="PROCESSED", workflow_id=run.workflow.id or None).api_query()
        page = await app.api.list_workflow_runs(**query | {"max_page_size": PAGE_SIZE})
        return usual_times(map(run_facts, page.data)).get(run.workflow.id)

    return await app.remember(f"usual time of {run.workflow.id}", _USUAL_SECONDS, read)


@RUNS.tool(title="Read a step's result", annotations=READ_ONLY)
async def get_step_result(
    run_id: args.RunId,
    step: args.StepSelector,
    ctx: Ctx,
    field: ResultPath | None = None,
    contains: LineText | None = None,
    detail: args.DetailLevel = "concise",
    page: args.PageNumber = 1,
) -> StepResultView:
    """Read what one step found, in pages: text chunks, extracted fields with confidence, rules, splits.
    Use it after get_workflow_run, which lists the steps. detail="full" gives every field of the API's result.
    """
    app = caller_context(ctx)
    run = await app.api.get_workflow_run(run_id)
    chosen = select_step(run.step_runs, step)
    try:
        limit = app.limits.answer_chars
        show = partial(step_view, run, chosen, detail=detail, page=page, limit=limit, field=field, contains=contains)
        # A step can hold millions of characters, and others wait while they are cleaned here.
        view = await anyio.to_thread.run_sync(show)
    except NoSuchPartError as error:
        raise CallRefusedError(f"field: the result has no such part. It begins with: {Note(error):400}.") from None
    if view.step_result.pages > 1:
        show = partial(step_view, run, chosen, detail="full", page=1, limit=RESOURCE_CHARS)
        whole = await anyio.to_thread.run_sync(show)
        view.with_link(step_uri(run.id, chosen.id or step), "The step's whole result", len(whole.text.encode()))
    return view
