"""Tools that read workflow runs."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import anyio
import anyio.to_thread
from pydantic import Field, ValidationError

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import RunBase, WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import PAGE_SIZE
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import CHILD_KINDS, unexplained_steps
from extend_mcp.runs.lifecycle import is_moving
from extend_mcp.runs.stuck import MOVING
from extend_mcp.runs.timing import UsualTime, usual_time
from extend_mcp.scopes import WORKFLOWS_READ
from extend_mcp.tools.args import (
    DetailLevel,
    Example,
    PageNumber,
    PageSize,
    PageToken,
    RunId,
    SortBy,
    SortDir,
    StepSelector,
)
from extend_mcp.tools.base import READ_ONLY
from extend_mcp.tools.name_resolution import select_step
from extend_mcp.tools.pagination import PagePosition, open_token
from extend_mcp.tools.run_filter import DETAILS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import Deadline
from extend_mcp.tools.stuck import find_stuck
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.runs import RunView, Surroundings, run_view
from extend_mcp.views.steps import NoSuchPartError, StepResultView, step_view
from extend_mcp.views.stuck import stuck_view
from extend_mcp.views.tables import RunListView, run_list_view
from extend_mcp.views.untrusted import Note
from extend_mcp.views.uris import RESOURCE_CHARS, run_uri, step_uri

_MOST_CHILDREN = 3
"""How many failed steps are looked up among a run's child runs."""


class _Search(RunFilter):
    """Arguments of a list of runs, as its page tokens contain them."""

    sort_by: SortBy = "createdAt"
    sort_dir: SortDir = "desc"
    page_size: PageSize = 20

    def description_with_order(self) -> str:
        """Describe the filters and the order, for the answer's first line."""
        order = f"{self.sort_by.removesuffix('At')} {'latest' if self.sort_dir == 'desc' else 'earliest'} first"
        return ", ".join(part for part in (self.description(), order) if part)

    def is_past(self, run: WorkflowRunSummary) -> bool:
        """Return whether the order rules out that any later run matches."""
        moment = run.created_at if self.sort_by == "createdAt" else run.updated_at
        if moment is None:
            return False
        if self.sort_dir == "desc":
            # A run is never updated before it is created, so this holds for both orders.
            return self.since is not None and moment < self.since
        return self.sort_by == "createdAt" and self.before is not None and moment >= self.before


@RUNS.tool(title="List workflow runs", annotations=READ_ONLY, view="board")
@takes_run_filter(without=DETAILS)
async def list_runs(
    ctx: Ctx,
    filters: RunFilter,
    sort_by: Annotated[SortBy, Example("updatedAt")] = "createdAt",
    sort_dir: Annotated[SortDir, Example("asc")] = "desc",
    stuck: bool = False,
    page_size: Annotated[PageSize, Field(description="Runs per page")] = 20,
    page_token: PageToken | None = None,
) -> RunListView:
    """List workflow runs by status, workflow, batch, file name or time, newest first.
    Use it to find runs; to learn why one failed, pass its id to get_workflow_run. With stuck: those that hang, whose
    fault it probably is, and the usual times.
    """
    app = caller_context(ctx)
    if stuck:
        if filters.status and filters.status not in MOVING:
            raise CallRefusedError(f"stuck: only {', '.join(MOVING)} runs can be stuck.")
        found = await find_stuck(app, await filters.resolve(app), Deadline(ctx, app))
        return stuck_view(found, shown=page_size, limit=app.limits.answer_chars)
    search = _Search(**filters.model_dump(), sort_by=sort_by, sort_dir=sort_dir, page_size=page_size)
    place = open_token("list_runs", search.model_dump(exclude_defaults=True), page_token)
    try:
        search = _Search.model_validate(place.a) if page_token else await search.resolve(app)
    except ValidationError:
        raise CallRefusedError("page_token is not one that list_runs gave. Start again without it.") from None
    page = await _find(app, search, place)
    note = None
    if page.bounded_after:
        note = f"Stopped after reading {page.bounded_after} API pages: there may be more matches further on."

    def token_after(count: int) -> str | None:
        place = page.places[count - 1] if 0 < count < len(page.runs) else page.next
        return place.encode() if place else None

    return run_list_view(
        page.runs,
        token_after=token_after,
        filters=search.description_with_order(),
        note=note,
        now=app.clock.now(),
        limit=app.limits.answer_chars,
    )


@dataclass(frozen=True)
class _Found:
    """A page of runs.

    Attributes:
        runs: the runs.
        places: the place after each run.
        next: the place after them all; None at the end of the list.
        bounded_after: how many API pages were read, if that bound ended the search early.
    """

    runs: list[WorkflowRunSummary]
    places: list[PagePosition]
    next: PagePosition | None
    bounded_after: int | None = None


async def _find(app: CallerContext, search: _Search, start: PagePosition) -> _Found:
    """Read as many API pages as one page of the answer needs, within the operator's bound."""
    arguments = search.model_dump(mode="json", exclude_defaults=True)
    runs: list[WorkflowRunSummary] = []
    places: list[PagePosition] = []

    def place(token: str | None, skip: int = 0) -> PagePosition:
        return PagePosition(k=start.k, a=arguments, t=token, s=skip)

    pager = app.api.iter_workflow_runs(
        **search.api_query(sort_by=search.sort_by, sort_dir=search.sort_dir),
        # Without filters of our own an API page is exactly an answer's page.
        page_size=PAGE_SIZE if search.filters_here else search.page_size,
    )
    token, skip, pages_read = start.t, start.s, 0
    async with aclosing(pager.pages(token)) as pages:
        async for page in pages:
            following = place(page.next_page_token) if page.next_page_token else None
            for index, run in enumerate(page.data[skip:], skip + 1):
                if search.is_past(run):
                    return _Found(runs, places, None)
                if not search.matches(run):
                    continue
                runs.append(run)
                places.append(place(token, index))
                if len(runs) == search.page_size:
                    return _Found(runs, places, places[-1] if index < len(page.data) else following)
            pages_read += 1
            if following is None or (runs and not search.filters_here):
                return _Found(runs, places, following)
            if pages_read == app.limits.filter_pages:
                return _Found(runs, places, following, bounded_after=pages_read)
            token, skip = page.next_page_token, 0
    return _Found(runs, places, None)


@RUNS.tool(title="Explain a workflow run", annotations=READ_ONLY, view="run")
async def get_workflow_run(
    run_id: RunId,
    ctx: Ctx,
    detail: DetailLevel = "concise",
    page: PageNumber = 1,
) -> RunView:
    """Explain one run: status, progress, what failed and why, what it waits for, credits.
    Use it with an id from list_runs or the user. detail="full" adds ids, metadata and charges, in pages.
    """
    app = caller_context(ctx)
    run = await read_run(app, run_id)
    show = partial(run_view, run, now=app.clock.now(), around=await _surroundings(app, run))
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
            page = await app.api.list_child_runs(kind, run.id, status="FAILED", max_page_size=20)
            files = {file.id for file in step.files}
            # A step that takes the parts of a file has a child run for each.
            fitting = [child for child in page.data if len(page.data) == 1 or child.file.id in files]
            if len(fitting) == 1:
                step.result = {**(step.result or {}), key: fitting[0].model_dump(mode="json", by_alias=True)}
    return run


async def _surroundings(app: CallerContext, run: WorkflowRun) -> Surroundings:
    """Read what explains a run that moves or waits. What cannot be read is left out: the run itself is the answer."""
    found: dict[str, Any] = {}

    async def note(name: str, read: Awaitable[Any]) -> None:
        with suppress(ExtendError):
            found[name] = await read

    in_review = run.status == "NEEDS_REVIEW"
    async with anyio.create_task_group() as group:
        if is_moving(run.status) or in_review:
            group.start_soon(note, "changed_at", _last_change(app, run))
        if is_moving(run.status):
            group.start_soon(note, "usual", _usual_time(app, run))
        if in_review and app.caller.has_scope(WORKFLOWS_READ):
            group.start_soon(note, "definition", definition_of(app, run))
    return Surroundings(**found)


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


async def _usual_time(app: CallerContext, run: WorkflowRun) -> UsualTime | None:
    page = await app.api.list_workflow_runs(
        status="PROCESSED",
        workflow_id=run.workflow.id or None,
        sort_by="createdAt",
        sort_dir="desc",
        max_page_size=PAGE_SIZE,
    )
    return usual_time(run, page.data)


async def definition_of(app: CallerContext, run: RunBase) -> list[dict[str, Any]]:
    """Return the steps of the version that a run used."""
    version = run.workflow_version
    return (await app.api.get_workflow_version(run.workflow.id, version.id or version.version)).steps


@RUNS.tool(title="Read a step's result", annotations=READ_ONLY)
async def get_step_result(
    run_id: RunId,
    step: StepSelector,
    ctx: Ctx,
    field: Annotated[
        str, Field(min_length=1, max_length=500, description="Only this path"), Example("line_items[0].amount")
    ]
    | None = None,
    contains: Annotated[str, Field(min_length=1, max_length=200, description="Only lines with this text")]
    | None = None,
    detail: DetailLevel = "concise",
    page: PageNumber = 1,
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
