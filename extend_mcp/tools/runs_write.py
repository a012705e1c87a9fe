"""Tools that cancel, rerun, start, change and delete workflow runs."""

from __future__ import annotations

import re
from typing import Annotated, Any

from mcp_types import InputRequiredResult
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from extend_mcp.actions.cancel_run import CancelRun
from extend_mcp.actions.cancel_runs import CancelRuns
from extend_mcp.actions.execute import execute
from extend_mcp.actions.rerun import RerunRuns
from extend_mcp.actions.rerun_plan import CAN_RERUN, Wanted
from extend_mcp.actions.runs import DeleteRun, StartBatch, StartRun, UpdateRun
from extend_mcp.api import requests
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.scopes import CANCEL, DELETE
from extend_mcp.tools import args
from extend_mcp.tools.name_resolution import resolve_workflow
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import RunReader
from extend_mcp.tools.toolsets import CREATES, DESTRUCTIVE, RUNS, UPDATES
from extend_mcp.tools.workflows import resolve_version
from extend_mcp.urls import normalize_url
from extend_mcp.views.actions import ActionView, BatchStartedView, BulkView, CancelView, RunStartedView

_ALL_RUNS = "Give run_ids, batch or at least one filter: all runs of the account is no choice."

Reason = Annotated[str, Field(max_length=500)]
RunIds = Annotated[
    list[args.RunId], AfterValidator(lambda ids: list(dict.fromkeys(ids))), Field(min_length=1, max_length=1000)
]


@RUNS.tool(title="Cancel a workflow run", annotations=DESTRUCTIVE, scope=CANCEL)
async def cancel_workflow_run(
    run_id: args.RunId, ctx: Ctx, reason: Reason | None = None, confirmation_token: args.ConfirmationToken | None = None
) -> CancelView | InputRequiredResult:
    """Stop one PENDING or PROCESSING run for good; other states are refused without sending anything.
    Use it only when the user asked for it: a person confirms first. The answer's outcome says what happened.
    """
    return await execute(ctx, CancelRun(caller_context(ctx), target=run_id, reason=reason), confirmation_token)


@RUNS.tool(title="Cancel many workflow runs", annotations=DESTRUCTIVE, scope=CANCEL, view="plan")
@takes_run_filter(without={*DETAILS, *OF_LISTS, "workflow_version"})
async def cancel_runs(
    ctx: Ctx,
    filters: RunFilter,
    run_ids: RunIds | None = None,
    reason: Reason | None = None,
    confirmation_token: args.ConfirmationToken | None = None,
) -> BulkView | InputRequiredResult:
    """Cancel the PENDING and PROCESSING runs among run_ids, of a batch, or that fit all filters, for good.
    Use it only when the user asked: it first shows a plan that a person confirms, then acts on exactly those runs.
    Returns what became of each; a confirmation_token continues a plan and needs no other argument.
    """
    reader, others = RunReader(ctx), filters.model_dump(exclude_defaults=True, exclude={"batch"})
    ways = sum((run_ids is not None, filters.batch is not None, bool(others)))
    if ways > 1:
        raise CallRefusedError("Give run_ids, or batch, or filters: one of the three.")
    if ways == 0 and confirmation_token is None:
        raise CallRefusedError(_ALL_RUNS)
    action = CancelRuns(reader.app, reader, run_ids, await filters.resolve(reader.app), reason=reason)
    return await execute(ctx, action, confirmation_token)


@RUNS.tool(title="Run workflow runs again", annotations=CREATES, view="plan")
@takes_run_filter(without={*OF_LISTS, "file_name_contains"})
async def rerun_workflow_runs(
    ctx: Ctx,
    filters: RunFilter,
    run_ids: RunIds | None = None,
    version: args.VersionToRerun = "newest",
    again: Annotated[bool, Field(description="Even if a rerun exists already")] = False,
    include_processed: Annotated[bool, Field(description="PROCESSED too, if the version is newer")] = False,
    include_hopeless: Annotated[bool, Field(description="Even if the file is at fault")] = False,
    priority: args.Priority | None = None,
    confirmation_token: args.ConfirmationToken | None = None,
) -> BulkView | InputRequiredResult:
    """Run failed, rejected or cancelled runs again: run_ids, a batch, or what fits all filters (FAILED by default).
    A person first confirms a plan by cause with its credits, which leaves out what was rerun or cannot be helped.
    Returns the new run of each; a token continues a plan.
    """
    reader, filtered = RunReader(ctx), filters != RunFilter()
    if run_ids is not None and filtered:
        raise CallRefusedError("Give run_ids or filters, not both.")
    if run_ids is None and not filtered and confirmation_token is None:
        raise CallRefusedError(_ALL_RUNS)
    if not set(filters.statuses) <= {*CAN_RERUN, "PROCESSED"}:
        raise CallRefusedError(f"status: only {', '.join(sorted(CAN_RERUN))} and PROCESSED runs can be run again.")
    if "PROCESSED" in filters.statuses and not include_processed:
        raise CallRefusedError("PROCESSED runs are run again only with include_processed=true.")
    if include_processed and version in ("same", "draft"):
        raise CallRefusedError(
            "include_processed: PROCESSED runs are run again with a newer published version only, so that something "
            "can change."
        )
    wanted = Wanted(
        run_ids=run_ids,
        filters=await filters.resolve(reader.app),
        version=version,
        again=again,
        include_processed=include_processed,
        include_hopeless=include_hopeless,
        priority=priority,
    )
    return await execute(ctx, RerunRuns(reader.app, reader, wanted), confirmation_token)


def _url_or_id(reference: str) -> str:
    if "://" in reference:
        return normalize_url(reference)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", reference):
        raise ValueError("must be an http address or a file id")
    return reference


FileRef = Annotated[str, AfterValidator(_url_or_id), Field(min_length=1, max_length=8192, description="URL or file id")]


class Override(BaseModel):
    """A processor's output to use instead of running it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    processor_id: Annotated[str, Field(min_length=1, max_length=255)]
    output: dict[str, Any]


class BatchItem(BaseModel):
    """One file of a batch."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    file: FileRef | None = None
    text: Annotated[str, Field(min_length=1, max_length=1_000_000)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    metadata: dict[str, Any] | None = None
    secrets: dict[str, Any] | None = None


@RUNS.tool(title="Start a workflow run", annotations=CREATES)
async def run_workflow(
    workflow: args.WorkflowRef,
    ctx: Ctx,
    file_url: Annotated[args.WebUrl, Field(max_length=8192, examples=["https://example.com/a.pdf"])] | None = None,
    file_id: args.FileId | None = None,
    text: Annotated[str, Field(min_length=1, max_length=1_000_000)] | None = None,
    package: Annotated[
        list[FileRef],
        Field(
            min_length=2, max_length=50, description="2-50 URLs or file ids as one run", examples=[["file_a", "file_b"]]
        ),
    ]
    | None = None,
    file_name: Annotated[str, Field(min_length=1, max_length=255, description="With file_url or text")] | None = None,
    version: args.VersionRef | None = None,
    metadata: args.Metadata | None = None,
    priority: args.Priority | None = None,
    outputs: Annotated[
        list[Override],
        Field(
            description="Outputs to use instead of running their processors",
            examples=[[{"processor_id": "ex_1", "output": {"value": {}}}]],
        ),
    ]
    | None = None,
    secrets: args.Secrets | None = None,
) -> RunStartedView | InputRequiredResult:
    """Start a workflow on exactly one of file_url, file_id, text or package; it costs credits.
    Returns the run's id at once; follow it with wait_for_run. If the outcome is unknown, look before repeating.
    """
    app = caller_context(ctx)
    given = [each for each in (file_url, file_id, text, package) if each is not None]
    if len(given) != 1:
        raise CallRefusedError("Give exactly one of file_url, file_id, text and package.")
    if file_name is not None and file_url is None and text is None:
        raise CallRefusedError("file_name goes with file_url or text; a file_id already has its name.")
    if outputs and package:
        raise CallRefusedError("outputs cannot be combined with package.")
    if len(set(package or ())) < len(package or ()):
        raise CallRefusedError("package: the same file is given twice.")
    file: requests.FileInput | None = None
    if file_url is not None:
        file = requests.FileFromUrl(url=file_url, name=file_name)
    elif file_id is not None or text is not None:
        file = requests.FileFromId(id=file_id) if file_id else requests.FileFromText(text=text or "", name=file_name)
    files = [_by_reference(each, None) for each in package or ()]
    body = requests.CreateWorkflowRun(
        workflow=await _target(app, workflow, version),
        file=file,
        package=requests.PackageFiles(files=files) if files else None,
        outputs=[requests.OutputOverride(**dict(each)) for each in outputs or ()] or None,
        metadata=metadata,
        priority=priority,
        secrets=secrets or None,
    )
    return await execute(ctx, StartRun(app, body))


@RUNS.tool(title="Start a batch of workflow runs", annotations=CREATES)
async def run_workflow_batch(
    workflow: args.WorkflowRef,
    inputs: Annotated[
        list[BatchItem],
        Field(
            min_length=1,
            max_length=1000,
            description="Each: file (URL or file id) or text",
            examples=[[{"file": "https://example.com/a.pdf", "metadata": {"row": 1}}]],
        ),
    ],
    ctx: Ctx,
    version: args.VersionRef | None = None,
    priority: args.Priority | None = None,
    confirmation_token: args.ConfirmationToken | None = None,
) -> BatchStartedView | InputRequiredResult:
    """Start a workflow on each of 1-1000 files at once; it costs credits for each, and a person confirms many.
    Returns the batch id: wait_for_run(batch) and list_runs(batch) follow it.
    """
    app = caller_context(ctx)
    items = [_batch_input(f"inputs[{index}]", item) for index, item in enumerate(inputs)]
    target = await _target(app, workflow, version)
    body = requests.CreateWorkflowRunBatch(workflow=target, inputs=items, priority=priority)
    return await execute(ctx, StartBatch(app, body, workflow), confirmation_token)


@RUNS.tool(title="Change a workflow run", annotations=UPDATES)
async def update_workflow_run(
    run_id: args.RunId,
    ctx: Ctx,
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None,
    metadata: args.Metadata | None = None,
) -> ActionView | InputRequiredResult:
    """Rename a run or merge metadata into it; given keys replace present ones, others stay.
    Returns the metadata before and after.
    """
    if name is None and metadata is None:
        raise CallRefusedError("Give name, metadata or both.")
    body = requests.UpdateWorkflowRun(name=name, metadata=metadata)
    return await execute(ctx, UpdateRun(caller_context(ctx), body, target=run_id))


@RUNS.tool(title="Delete a workflow run", annotations=DESTRUCTIVE, scope=DELETE)
async def delete_workflow_run(
    run_id: args.RunId, ctx: Ctx, confirmation_token: args.ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete one run with its results, for good. Use it only when the user asked; to stop work, cancel instead.
    A person confirms first, seeing what is lost.
    """
    return await execute(ctx, DeleteRun(caller_context(ctx), target=run_id), confirmation_token)


async def _target(app: CallerContext, workflow: str, version: str | None) -> requests.WorkflowTarget:
    workflow_id = await resolve_workflow(app, workflow)
    return requests.WorkflowTarget(id=workflow_id, version=await resolve_version(app, workflow_id, version))


def _batch_input(where: str, item: BatchItem) -> requests.BatchInput:
    if (item.file is None) == (item.text is None):
        raise CallRefusedError(f"{where}: give either file or text.")
    file: requests.FileInput = requests.FileFromText(text=item.text or "", name=item.name)
    if item.file is not None:
        file = _by_reference(item.file, item.name)
    return requests.BatchInput(file=file, metadata=item.metadata, secrets=item.secrets or None)


def _by_reference(reference: str, name: str | None) -> requests.FileFromUrl | requests.FileFromId:
    is_url = "://" in reference
    return requests.FileFromUrl(url=reference, name=name) if is_url else requests.FileFromId(id=reference)
