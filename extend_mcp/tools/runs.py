"""The runs toolset: list, explain, cancel and start workflow runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeAlias

from mcp_types import InputRequiredResult
from pydantic import AnyHttpUrl, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.api.requests import CreateWorkflowRun, FileFromId, FileFromText, FileFromUrl, WorkflowTarget
from extend_mcp.runs.times import parse_moment
from extend_mcp.tools.app import App, Ctx, app_of
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
from extend_mcp.tools.base import CREATES, DESTRUCTIVE, READ_ONLY, Refusal, Toolset
from extend_mcp.tools.cancel import cancel
from extend_mcp.tools.find import (
    Position,
    RunQuery,
    SortBy,
    SortDir,
    decode_page_token,
    encode_page_token,
    find_runs,
    resolve_workflow,
    select_step,
)
from extend_mcp.views.cancel import CancelView
from extend_mcp.views.errors import error_words
from extend_mcp.views.lists import RunListView, run_list_view
from extend_mcp.views.run import RunView, run_view, step_view
from extend_mcp.views.start import RunStartedView, run_started_view, start_unclear_view

FileInput: TypeAlias = FileFromUrl | FileFromId | FileFromText

RUNS = Toolset("runs")


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
        query, position = await _query(app, given), Position()
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


async def _query(app: App, given: dict[str, Any]) -> RunQuery:
    """Make a query of the arguments: times become instants, a workflow's name its id."""
    query = RunQuery.model_validate(given)
    query.since = _moment(app, "created_since", query.created_since)
    query.before = _moment(app, "created_before", query.created_before)
    if query.since and query.before and query.since >= query.before:
        raise Refusal("created_since must be earlier than created_before.")
    query.workflow_id = await resolve_workflow(app, query.workflow) if query.workflow else None
    return query


@RUNS.tool(title="Explain a workflow run", annotations=READ_ONLY)
async def get_workflow_run(
    run_id: RunId,
    ctx: Ctx,
    detail: DetailLevel = "concise",
    step: StepSelector | None = None,
    page: PageNumber = 1,
) -> RunView:
    """Explain one run: status, progress, what failed and why, what it waits for, credits; or one step's result.
    Use it with an id from list_runs or the user. detail="full" adds ids, metadata and charges, in pages.
    """
    app = app_of(ctx)
    run = await app.api.get_workflow_run(run_id)
    limit = app.settings.answer_chars
    if step is not None:
        return step_view(run, select_step(run.step_runs, step), detail=detail, page=page, limit=limit)
    return run_view(run, now=app.clock.now(), detail=detail, page=page, limit=limit)


@RUNS.tool(title="Cancel a workflow run", annotations=DESTRUCTIVE)
async def cancel_workflow_run(
    run_id: RunId,
    ctx: Ctx,
    reason: Annotated[str, Field(max_length=500, description="Shown to the person who confirms")] | None = None,
    confirmation_token: Annotated[str, Field(max_length=4096, description="From confirmation_required")] | None = None,
) -> CancelView | InputRequiredResult:
    """Stop one PENDING or PROCESSING run for good; other states are refused without sending anything.
    Use it only when the user asked for it: a person confirms first. The answer's outcome says what happened.
    """
    return await cancel(ctx, run_id, reason, confirmation_token)


@RUNS.tool(title="Start a workflow run", annotations=CREATES)
async def run_workflow(
    workflow: WorkflowRef,
    ctx: Ctx,
    file_url: Annotated[str, Field(max_length=8192), Example("https://example.com/invoice.pdf")] | None = None,
    file_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$"), Example("file_xK9mLPqRtN3vS8wF5hB2cQ")]
    | None = None,
    text: Annotated[str, Field(min_length=1, max_length=1_000_000)] | None = None,
    file_name: Annotated[str, Field(min_length=1, max_length=255, description="With file_url or text")] | None = None,
    version: Annotated[
        str,
        Field(pattern=r"^(draft|[0-9]{1,9})$", description='"3" or "draft"; default: newest'),
        Example("3"),
    ]
    | None = None,
    metadata: Annotated[dict[str, Any], Example('{"customer": "acme"}')] | None = None,
    priority: Annotated[int, Field(ge=1, le=100, description="Lower runs first"), Example("50")] | None = None,
) -> RunStartedView:
    """Start a workflow on one file, given by exactly one of file_url, file_id or text. It costs credits.
    Returns the run's id at once; follow it with get_workflow_run. If the outcome is unknown, look before repeating.
    """
    app = app_of(ctx)
    _check_file(file_url, file_id, text, file_name)
    if metadata is not None and len(to_json(metadata)) > 10_240:
        raise Refusal("metadata: must be at most 10 KB as JSON.")
    workflow_id = await resolve_workflow(app, workflow)
    return await _start(app, workflow_id, version, _file(file_url, file_id, text, file_name), metadata, priority)


async def _start(
    app: App,
    workflow_id: str,
    version: str | None,
    file: FileInput,
    metadata: dict[str, Any] | None,
    priority: int | None,
) -> RunStartedView:
    begun = app.clock.now()
    body = CreateWorkflowRun(
        workflow=WorkflowTarget(id=workflow_id, version=version),
        file=file,
        metadata=metadata,
        priority=priority,
    )
    try:
        return run_started_view(await app.api.create_workflow_run(body))
    except ExtendError as error:
        if error.effect == "none":
            raise
        return start_unclear_view(error_words(error), await _created_since(app, workflow_id, begun))


async def _created_since(app: App, workflow_id: str, begun: datetime) -> list[WorkflowRunSummary] | None:
    """The workflow's runs created since ``begun``, newest first; None when they could not be read."""
    try:
        page = await app.api.list_workflow_runs(
            workflow_id=workflow_id, sort_by="createdAt", sort_dir="desc", max_page_size=10
        )
    except ExtendError:
        return None
    # Clocks differ by a little between machines.
    return [run for run in page.data if run.created_at and (run.created_at - begun).total_seconds() > -5]


def _file(url: str | None, file_id: str | None, text: str | None, name: str | None) -> FileInput:
    if url is not None:
        return FileFromUrl(url=url, name=name)
    if file_id is not None:
        return FileFromId(id=file_id)
    assert text is not None
    return FileFromText(text=text, name=name)


def _check_file(url: str | None, file_id: str | None, text: str | None, name: str | None) -> None:
    given = [argument for argument in (url, file_id, text) if argument is not None]
    if len(given) != 1:
        raise Refusal("Give exactly one of file_url, file_id and text.")
    if file_id is not None and name is not None:
        raise Refusal("file_name goes with file_url or text; a file_id already has its name.")
    if url is not None:
        try:
            TypeAdapter(AnyHttpUrl).validate_python(url)
        except ValidationError:
            raise Refusal('file_url: must be an http or https address. Example: "https://example.com/a.pdf".') from None


def _moment(app: App, name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text, app.clock.now())
    except ValueError as error:
        raise Refusal(f'{name}: {error}. Example: {name}="24h".') from None
