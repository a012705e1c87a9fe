"""Tools that read workflow runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.app import Ctx, app_of
from extend_mcp.tools.args import (
    BatchId,
    DetailLevel,
    Example,
    Moment,
    PageNumber,
    PageSize,
    PageToken,
    RunId,
    StatusFilter,
    StepSelector,
    WorkflowRef,
)
from extend_mcp.tools.base import READ_ONLY
from extend_mcp.tools.find import (
    Position,
    SortBy,
    SortDir,
    decode_page_token,
    encode_page_token,
    find_runs,
    read_query,
    select_step,
)
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.runs import RunView, run_view
from extend_mcp.views.steps import NoSuchPartError, StepResultView, step_view
from extend_mcp.views.tables import RunListView, run_list_view
from extend_mcp.views.untrusted import Note
from extend_mcp.views.uris import RESOURCE_CHARS, run_uri, step_uri


@RUNS.tool(title="List workflow runs", annotations=READ_ONLY)
async def list_runs(
    ctx: Ctx,
    status: StatusFilter | None = None,
    workflow: WorkflowRef | None = None,
    batch: BatchId | None = None,
    file_name_contains: Annotated[str, Field(min_length=1, max_length=255), Example("invoice")] | None = None,
    created_since: Moment | None = None,
    created_before: Moment | None = None,
    sort_by: Annotated[SortBy, Example("updatedAt")] = "createdAt",
    sort_dir: Annotated[SortDir, Example("asc")] = "desc",
    page_size: PageSize = 20,
    page_token: PageToken | None = None,
) -> RunListView:
    """List workflow runs by status, workflow, batch, file name or time, newest first.
    Use it to find runs; to learn why one failed, pass its id to get_workflow_run.
    """
    app = app_of(ctx)
    arguments = {
        "status": status,
        "workflow": workflow,
        "batch": batch,
        "file_name_contains": file_name_contains,
        "created_since": created_since,
        "created_before": created_before,
        "sort_by": sort_by if sort_by != "createdAt" else None,
        "sort_dir": sort_dir if sort_dir != "desc" else None,
        "page_size": page_size if page_size != 20 else None,
    }
    given = {name: value for name, value in arguments.items() if value is not None}
    if page_token:
        query, position = decode_page_token(page_token, given)
    else:
        query, position = await read_query(app, given), Position()
    found = await find_runs(app, query, position)
    note = None
    if found.bounded_after:
        note = f"Stopped after reading {found.bounded_after} API pages: there may be more matches further on."

    def token_after(count: int) -> str | None:
        place = found.place_after(count)
        return encode_page_token(query, place) if place else None

    return run_list_view(
        found.runs,
        token_after=token_after,
        filters=query.words(),
        note=note,
        now=app.clock.now(),
        limit=app.settings.answer_chars,
    )


@RUNS.tool(title="Explain a workflow run", annotations=READ_ONLY)
async def get_workflow_run(
    run_id: RunId,
    ctx: Ctx,
    detail: DetailLevel = "concise",
    page: PageNumber = 1,
) -> RunView:
    """Explain one run: status, progress, what failed and why, what it waits for, credits.
    Use it with an id from list_runs or the user. detail="full" adds ids, metadata and charges, in pages.
    """
    app = app_of(ctx)
    run = await app.api.get_workflow_run(run_id)
    view = run_view(run, now=app.clock.now(), detail=detail, page=page, limit=app.settings.answer_chars)
    if view.cut or (view.details and view.details.pages > 1):
        whole = run_view(run, now=app.clock.now(), detail="concise", page=1, limit=RESOURCE_CHARS)
        view.with_link(run_uri(run.id), "All steps of the run", len(whole.text.encode()))
    return view


@RUNS.tool(title="Read a step's result", annotations=READ_ONLY)
async def get_step_result(
    run_id: RunId,
    step: StepSelector,
    ctx: Ctx,
    field: Annotated[
        str, Field(min_length=1, max_length=500, description="Only this path"), Example("line_items[0].amount")
    ]
    | None = None,
    detail: DetailLevel = "concise",
    page: PageNumber = 1,
) -> StepResultView:
    """Read what one step found, in pages: text chunks, extracted fields with confidence, rules, splits.
    Use it after get_workflow_run, which lists the steps. detail="full" gives every field of the API's result.
    """
    app = app_of(ctx)
    run = await app.api.get_workflow_run(run_id)
    chosen = select_step(run.step_runs, step)
    try:
        view = step_view(run, chosen, detail=detail, page=page, limit=app.settings.answer_chars, field=field)
    except NoSuchPartError as error:
        raise CallRefusedError(f"field: the result has no such part. It begins with: {Note(error):400}.") from None
    if view.step_result.pages > 1:
        whole = step_view(run, chosen, detail="full", page=1, limit=RESOURCE_CHARS)
        view.with_link(step_uri(run.id, chosen.id or step), "The step's whole result", len(whole.text.encode()))
    return view
