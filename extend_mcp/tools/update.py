"""Changing and deleting a workflow run."""

from __future__ import annotations

from typing import Annotated

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.api.errors import ExtendError, NotFoundError
from extend_mcp.api.requests import UpdateWorkflowRun
from extend_mcp.rights import DELETE
from extend_mcp.runs.lifecycle import describe, is_moving
from extend_mcp.tools.app import Ctx, app_of
from extend_mcp.tools.args import ConfirmationToken, Metadata, RunId
from extend_mcp.tools.base import DESTRUCTIVE, UPDATES, Refusal
from extend_mcp.tools.guarded import Action, Done, Plan, act
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.action import ActionView, action_view
from extend_mcp.views.change import loss_lines, metadata_lines
from extend_mcp.views.errors import error_words
from extend_mcp.views.untrusted import quote, word


@RUNS.tool(title="Change a workflow run", annotations=UPDATES)
async def update_workflow_run(
    run_id: RunId,
    ctx: Ctx,
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None,
    metadata: Metadata | None = None,
) -> ActionView:
    """Rename a run or merge metadata into it; given keys replace present ones, others stay.
    Returns the metadata before and after.
    """
    if name is None and metadata is None:
        raise Refusal("Give name, metadata or both.")
    app = app_of(ctx)
    before = await app.api.get_workflow_run(run_id)
    try:
        after = await app.api.update_workflow_run(run_id, UpdateWorkflowRun(name=name, metadata=metadata))
    except ExtendError as error:
        if error.effect == "none":
            raise
        problem = f"No clear answer came ({error_words(error)}); the change may have been made."
        return action_view(
            "unknown", problem, target=run_id, sent=True,
            next_step=f'Look with get_workflow_run({run_id}, detail="full"). Repeating the change does no harm.',
        )  # fmt: skip
    said = [f"The name is now {quote(name)} (Extend does not return it)."] if name else []
    return action_view(
        "done",
        "The run was changed.",
        target=run_id,
        sent=True,
        details=[*said, *metadata_lines(before.metadata, after.metadata)],
        limit=app.settings.answer_chars,
    )


@RUNS.tool(title="Delete a workflow run", annotations=DESTRUCTIVE, scope=DELETE)
async def delete_workflow_run(
    run_id: RunId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete one run with its results, for good. Use it only when the user asked; to stop work, cancel instead.
    A person confirms first, seeing what is lost.
    """
    app = app_of(ctx)

    async def read() -> Plan:
        run = await app.api.get_workflow_run(run_id)
        if is_moving(run.status):
            # Extend documents deleting for runs that have ended; deleting running work would hide what it costs.
            refusal = (
                f"The run is {run.status} ({describe(run.status).meaning}); only a run at rest is deleted here. "
                "Cancel it or wait for its end first."
            )
            return Plan(run.status, [], refusal)
        return Plan(run.status, loss_lines(run, app.clock.now()))

    async def send() -> Done:
        await app.api.delete_workflow_run(run_id)
        return Done("The run and its results are deleted for good.", next_step="run_workflow starts its file again.")

    async def look() -> str:
        try:
            run = await app.api.get_workflow_run(run_id)
        except NotFoundError:
            return "A second look does not find it: it is deleted."
        return f"A second look still sees it, {word(run.status)}."

    return await act(ctx, Action("delete_workflow_run", run_id, read, send, look), confirmation_token)
