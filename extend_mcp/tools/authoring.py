"""Creating, changing and deploying workflows. Definitions are checked whole before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.requests import CreateWorkflow, DeployWorkflowVersion, UpdateWorkflow
from extend_mcp.tools.app import App, Ctx, app_of
from extend_mcp.tools.args import ConfirmationToken, Example, WorkflowRef
from extend_mcp.tools.base import CREATES, DESTRUCTIVE, Refusal
from extend_mcp.tools.find import resolve_workflow
from extend_mcp.tools.guarded import Action, Done, Plan, act, digest
from extend_mcp.tools.toolsets import AUTHORING
from extend_mcp.tools.workflows import all_versions, newest
from extend_mcp.views.action import ActionView, action_view
from extend_mcp.views.errors import error_words
from extend_mcp.views.untrusted import plain, quote, word
from extend_mcp.views.workflow import diff_lines, graph_lines

if TYPE_CHECKING:
    from extend_mcp.workflows.check import Fault

_MOST_FAULTS = 40

Name = Annotated[str, Field(min_length=1, max_length=255)]
Steps = Annotated[
    list[dict[str, Any]],
    Field(min_length=1, max_length=500, description="Each {name, type, config?, next?: [{step, ...}]}"),
    Example('[{"name": "t", "type": "TRIGGER", "next": [{"step": "p"}]}, {"name": "p", "type": "PARSE"}]'),
]


@AUTHORING.tool(title="Create a workflow", annotations=CREATES)
async def create_workflow(name: Name, ctx: Ctx, steps: Steps | None = None) -> ActionView:
    """Create a workflow with a draft; without steps it has TRIGGER and PARSE, and faulty steps are all named at once.
    See get_workflow(form="json") of a like one first. It runs after deploy_workflow_version, or as version "draft".
    """
    app = app_of(ctx)
    _refuse_faults(steps)
    try:
        made = await app.api.create_workflow(CreateWorkflow(name=name, steps=steps))
    except ExtendError as error:
        if error.effect == "none":
            raise
        message = f"No clear answer came ({error_words(error)}). The workflow may have been created. It was not resent."
        return action_view("unknown", message, sent=True, next_step="Look with list_workflows before repeating it.")
    return action_view(
        "done",
        f"Created workflow {plain(made.id, 300)}.",
        target=plain(made.id, 300),
        sent=True,
        details=graph_lines(made.draft_version.steps),
        next_step=f"deploy_workflow_version({plain(made.id, 300)}) publishes it.",
        limit=app.settings.answer_chars,
    )


@AUTHORING.tool(title="Change a workflow's draft", annotations=DESTRUCTIVE)
async def update_workflow(
    workflow: WorkflowRef,
    ctx: Ctx,
    name: Name | None = None,
    steps: Steps | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Rename a workflow, or replace all steps of its draft; what runs now stays until a deploy.
    A person sees the difference and confirms first.
    """
    if name is None and steps is None:
        raise Refusal("Give name, steps or both.")
    _refuse_faults(steps)
    app = app_of(ctx)
    workflow_id = await resolve_workflow(app, workflow)

    async def read() -> Plan:
        present = await app.api.get_workflow(workflow_id)
        lines = [f"Change the draft of workflow {quote(present.name, 80)} ({plain(workflow_id, 300)})?"]
        if name is not None:
            lines.append(f"Name: {quote(present.name, 80)} -> {quote(name, 80)}")
        if steps is not None:
            lines += diff_lines(present.draft_version.steps, steps)
        return Plan(digest([present.name, present.draft_version.steps]), lines)

    async def send() -> Done:
        made = await app.api.update_workflow(workflow_id, UpdateWorkflow(name=name, steps=steps))
        return Done("The draft was changed.", graph_lines(made.draft_version.steps))

    async def look() -> str:
        present = await app.api.get_workflow(workflow_id)
        same = steps is None or not _differs(present.draft_version.steps, steps)
        as_asked = same and (name is None or present.name == name)
        return f"A second look shows the draft {'as' if as_asked else 'not as'} asked for."

    action = Action("update_workflow", workflow_id, read, send, look, binding=[name, steps])
    return await act(ctx, action, confirmation_token)


@AUTHORING.tool(title="Deploy a workflow version", annotations=DESTRUCTIVE)
async def deploy_workflow_version(
    workflow: WorkflowRef,
    ctx: Ctx,
    name: Name | None = None,
    steps: Steps | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Publish a workflow's draft, or given steps with the draft left alone, as its newest version: new runs use it.
    A person sees the difference from the newest version and confirms first.
    """
    _refuse_faults(steps, deploying=True)
    app = app_of(ctx)
    workflow_id = await resolve_workflow(app, workflow)

    async def read() -> Plan:
        present = await app.api.get_workflow(workflow_id)
        before, label = await _published(app, workflow_id)
        after = present.draft_version.steps if steps is None else steps
        what = "the draft" if steps is None else "the given steps"
        lines = [
            f"Deploy {what} of workflow {quote(present.name, 80)} ({plain(workflow_id, 300)}) as a new version?",
            f"New runs without a version use it from then on. Difference from {label}:",
            *diff_lines(before, after),
        ]
        # The draft came from Extend: what this version finds odd in it, Extend may know better.
        lines += [f"Extend may refuse it: {_words(fault)}" for fault in _faults(after, deploying=True)[:5]]
        return Plan(digest([label, before, after]), lines)

    async def send() -> Done:
        made = await app.api.deploy_workflow_version(workflow_id, DeployWorkflowVersion(name=name, steps=steps))
        return Done(
            f"Deployed version {plain(made.version, 40)} ({plain(made.id, 300)}).",
            next_step="run_workflow uses it when no version is given.",
        )

    async def look() -> str:
        _, label = await _published(app, workflow_id)
        return f"A second look shows {label}."

    action = Action("deploy_workflow_version", workflow_id, read, send, look, binding=[name, steps])
    return await act(ctx, action, confirmation_token)


async def _published(app: App, workflow_id: str) -> tuple[list[dict[str, Any]], str]:
    """The steps of the newest published version, and what to call it."""
    latest = newest(await all_versions(app, workflow_id))
    if latest is None:
        return [], "nothing: no version is published yet"
    version = await app.api.get_workflow_version(workflow_id, latest.id)
    return version.steps, f"version {plain(latest.version, 40)}, the newest published"


def _faults(steps: list[dict[str, Any]], *, deploying: bool) -> list[Fault]:
    # Imported on first use: its models of all step types would delay every start.
    from extend_mcp.workflows.check import find_faults

    return find_faults(steps, deploying=deploying)


def _refuse_faults(steps: list[dict[str, Any]] | None, *, deploying: bool = False) -> None:
    faults = _faults(steps, deploying=deploying) if steps is not None else []
    if not faults:
        return
    lines = [f"- {_words(fault)}" for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        lines.append(f"- and {len(faults) - _MOST_FAULTS} more")
    noun = "fault" if len(faults) == 1 else "faults"
    raise Refusal("\n".join([f"The steps have {len(faults)} {noun}; nothing was sent.", *lines, "Correct them all."]))


def _words(fault: Fault) -> str:
    return f"{word(fault.path, 160)}: {plain(fault.rule, 300)}"


def _differs(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    return digest(before) != digest(after)
