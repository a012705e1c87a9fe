"""Starting, changing and deleting one workflow run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from extend_mcp.actions.execute import Action, DeleteObject, Inspection, OnObject
from extend_mcp.actions.spend import spending, usual_credits
from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import (
    CreateWorkflowRun,
    CreateWorkflowRunBatch,
    FileFromId,
    FileFromText,
    FileFromUrl,
    UpdateWorkflowRun,
)
from extend_mcp.callers import CallerContext
from extend_mcp.runs.lifecycle import describe, is_moving
from extend_mcp.scopes import RUNS_READ
from extend_mcp.views.actions import (
    ActionView,
    BatchStartedView,
    RunActionView,
    RunStartedView,
    batch_question,
    batch_started_view,
    batch_unclear_view,
    loss_lines,
    metadata_lines,
    run_started_view,
    start_unclear_view,
)
from extend_mcp.views.errors import error_words
from extend_mcp.views.untrusted import Code, Label


@dataclass
class UpdateRun(OnObject):
    """Rename a run, or merge metadata into it. Nobody is asked; a caller who may read sees what was there before."""

    new_name: str | None
    metadata: dict[str, Any] | None

    name: ClassVar[str] = "update_workflow_run"
    kind: ClassVar[type[ActionView]] = RunActionView
    _before: WorkflowRun | None = None

    async def inspect(self) -> None:
        """Read the metadata before the change."""
        self._before = await self.app.api.get_workflow_run(self.object_id)

    async def send(self) -> ActionView:
        """Change the run."""
        assert self._before is not None
        body = UpdateWorkflowRun(name=self.new_name, metadata=self.metadata)
        after = await self.app.api.update_workflow_run(self.object_id, body)
        details = [f"The name is now {Label(self.new_name):120} (Extend does not return it)."] if self.new_name else []
        if self.app.caller.has_scope(RUNS_READ):
            details += metadata_lines(self._before.metadata, after.metadata)
        return self.answer("done", "The run was changed.", sent=True, details=details)

    async def verify(self, error: ExtendError) -> ActionView:
        """Say that the change may have been made."""
        message = f"No clear answer came ({error_words(error)}); the change may have been made."
        look = f'Look with get_workflow_run({self.object_id}, detail="full").'
        return self.answer("unknown", message, sent=True, next_step=f"{look} Repeating the change does no harm.")


@dataclass
class DeleteRun(DeleteObject):
    """Delete a run with its results."""

    name: ClassVar[str] = "delete_workflow_run"
    kind: ClassVar[type[ActionView]] = RunActionView
    deleted: ClassVar[str] = "The run and its results are deleted for good."
    then: ClassVar[str | None] = "run_workflow starts its file again."

    async def inspect(self) -> Inspection[ActionView]:
        """Read what would be lost; refuse a run that is still moving."""
        run = await self.app.api.get_workflow_run(self.object_id)
        if is_moving(run.status):
            # Extend documents deleting for runs that have ended; deleting running work would hide what it costs.
            message = (
                f"The run is {run.status} ({describe(run.status).meaning}); only a run at rest is deleted here. "
                "Cancel it or wait for its end first."
            )
            return Inspection(refusal=self.answer("refused", message))
        facts, age = loss_lines(run, self.app.clock.now())
        return Inspection(facts, age, bound=[run.metadata, [file.id for file in run.files]], status=run.status)

    def found(self, found: WorkflowRun) -> str:
        """Say in what status the run is."""
        return f"sees it, {Code(found.status)}"


@dataclass
class StartRun(Action[RunStartedView]):
    """Start a workflow on one file or package. Nobody is asked. It is sent once."""

    body: CreateWorkflowRun

    name: ClassVar[str] = "run_workflow"
    kind: ClassVar[type[RunStartedView]] = RunStartedView
    repeatable: ClassVar[bool] = False
    _begun: datetime | None = None

    async def send(self) -> RunStartedView:
        """Start the run."""
        self._begun = self.app.clock.now()
        files = len(self.body.package.files) if self.body.package else 1
        async with spending(self.app, self.body.workflow.id, files):
            return run_started_view(await self.app.api.create_workflow_run(self.body))

    async def verify(self, error: ExtendError) -> RunStartedView:
        """List runs on the same file that were created since the request."""
        found = await _created_since(self.app, self.body.workflow.id, self._begun)
        found = [run for run in found if _may_be_of(run, self.body)] if found is not None else None
        return start_unclear_view(error_words(error), found)


@dataclass
class StartBatch(Action[BatchStartedView]):
    """Start a workflow on many files. Above a number of files a person is asked. It is sent once."""

    body: CreateWorkflowRunBatch
    workflow_name: str = ""

    name: ClassVar[str] = "run_workflow_batch"
    kind: ClassVar[type[BatchStartedView]] = BatchStartedView
    repeatable: ClassVar[bool] = False
    _begun: datetime | None = None

    async def inspect(self) -> Inspection[BatchStartedView] | None:
        """Describe a batch of many files, with its usual credits; None for a small one."""
        files = len(self.body.inputs)
        if files <= self.app.limits.unasked_files:
            return None
        usual = await usual_credits(self.app, self.body.workflow.id)
        cost = usual.words(files) if usual else "unknown, since no processed run of this workflow shows them"
        question = batch_question(self.body, self.workflow_name)
        # The usual credits move with each run that ends; a yes is bound to the files and the workflow.
        return Inspection(question, [f"Credits: {cost}"], bound=self.body.to_json().decode())

    async def send(self) -> BatchStartedView:
        """Start the batch."""
        self._begun = self.app.clock.now()
        files = len(self.body.inputs)
        async with spending(self.app, self.body.workflow.id, files):
            return batch_started_view(await self.app.api.create_workflow_run_batch(self.body), files)

    async def verify(self, error: ExtendError) -> BatchStartedView:
        """List batches that were created since the request."""
        found = await _created_since(self.app, self.body.workflow.id, self._begun)
        return batch_unclear_view(error_words(error), found)


def _may_be_of(run: WorkflowRunSummary, body: CreateWorkflowRun) -> bool:
    """Return whether a run may have been started by this request, by its files; True if Extend does not say."""
    sent = body.package.files if body.package else [body.file]
    ids = {file.id for file in run.files if file.id}
    names = {file.name for file in run.files if file.name}
    for each in sent:
        if isinstance(each, FileFromId):
            if ids and each.id not in ids:
                return False
        elif each is not None and (name := each.name or _name_in(each)) and names and name not in names:
            return False
    return True


def _name_in(file: FileFromUrl | FileFromText) -> str:
    """Return the name that a URL ends with; empty for text and a URL without one."""
    return unquote(urlsplit(file.url).path.rpartition("/")[2]) if isinstance(file, FileFromUrl) else ""


async def _created_since(
    app: CallerContext, workflow_id: str, begun: datetime | None
) -> list[WorkflowRunSummary] | None:
    """Return the workflow's runs created since ``begun``, newest first; None if they could not be read."""
    assert begun is not None
    try:
        page = await app.api.list_workflow_runs(
            workflow_id=workflow_id, sort_by="createdAt", sort_dir="desc", max_page_size=10
        )
    except ExtendError:
        return None
    # Clocks differ by a little between machines.
    return [run for run in page.data if run.created_at and (run.created_at - begun).total_seconds() > -5]
