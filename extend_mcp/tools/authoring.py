"""Tools that create, change and deploy workflows. Definitions are checked whole before anything is sent."""

from __future__ import annotations

from typing import Annotated, Any

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.actions.execute import execute
from extend_mcp.actions.workflows import CreateWorkflowAction, DeployVersion, UpdateDraft, fault_line
from extend_mcp.api.requests import CreateWorkflow, DeployWorkflowVersion, UpdateWorkflow
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.args import ConfirmationToken, WorkflowRef
from extend_mcp.tools.name_resolution import resolve_workflow
from extend_mcp.tools.toolsets import AUTHORING, CREATES, DESTRUCTIVE, PUBLISHES
from extend_mcp.views.actions import ActionView
from extend_mcp.workflows.check import find_faults

_MOST_FAULTS = 40

NewName = Annotated[str, Field(min_length=1, max_length=255)]
StepList = Annotated[
    list[dict[str, Any]],
    Field(
        min_length=1,
        max_length=500,
        description="Each {name, type, config?, next?: [{step, ...}]}",
        examples=[[{"name": "t", "type": "TRIGGER", "next": [{"step": "p"}]}, {"name": "p", "type": "PARSE"}]],
    ),
]


@AUTHORING.tool(title="Create a workflow", annotations=CREATES)
async def create_workflow(name: NewName, ctx: Ctx, steps: StepList | None = None) -> ActionView | InputRequiredResult:
    """Create a workflow with a draft; without steps it has TRIGGER and PARSE, and all faulty steps are listed at once.
    Look at a similar workflow with get_workflow(form="json") first.
    It runs after deploy_workflow_version, or as version "draft".
    """
    _refuse_faults(steps)
    return await execute(ctx, CreateWorkflowAction(caller_context(ctx), CreateWorkflow(name=name, steps=steps)))


@AUTHORING.tool(title="Change a workflow's draft", annotations=DESTRUCTIVE)
async def update_workflow(
    workflow: WorkflowRef,
    ctx: Ctx,
    name: NewName | None = None,
    steps: StepList | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Rename a workflow, or replace all steps of its draft; what runs now stays until a deploy.
    A person sees the difference and confirms first.
    """
    if name is None and steps is None:
        raise CallRefusedError("Give name, steps or both.")
    _refuse_faults(steps)
    app = caller_context(ctx)
    body = UpdateWorkflow(name=name, steps=steps)
    action = UpdateDraft(app, body, target=await resolve_workflow(app, workflow))
    return await execute(ctx, action, confirmation_token)


@AUTHORING.tool(title="Deploy a workflow version", annotations=PUBLISHES)
async def deploy_workflow_version(
    workflow: WorkflowRef,
    ctx: Ctx,
    name: NewName | None = None,
    steps: StepList | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Publish a workflow's draft, or given steps with the draft left alone, as its newest version: new runs use it.
    A person sees the difference from the newest version and confirms first.
    """
    _refuse_faults(steps, deploying=True)
    app = caller_context(ctx)
    body = DeployWorkflowVersion(name=name, steps=steps)
    action = DeployVersion(app, body, target=await resolve_workflow(app, workflow))
    return await execute(ctx, action, confirmation_token)


def _refuse_faults(steps: list[dict[str, Any]] | None, *, deploying: bool = False) -> None:
    if steps is None or not (faults := find_faults(steps, deploying=deploying)):
        return
    lines = [f"- {fault_line(fault)}" for fault in faults[:_MOST_FAULTS]]
    lines += [f"- and {len(faults) - _MOST_FAULTS} more"] if len(faults) > _MOST_FAULTS else []
    head = f"The steps have {len(faults)} {'fault' if len(faults) == 1 else 'faults'}; nothing was sent."
    raise CallRefusedError("\n".join([head, *lines, "Correct them all."]))
