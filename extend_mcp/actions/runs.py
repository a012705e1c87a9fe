"""Starting, changing and deleting one workflow run."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from extend_mcp.actions.execute import Action, DeleteObject, Inspection, ObjectAction, ViewT
from extend_mcp.actions.spend import spending, usual_credits
from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import (
    CreateWorkflowRun,
    CreateWorkflowRunBatch,
    FileFromId,
    FileFromText,
    FileFromUrl,
    UpdateWorkflowRun,
)
from extend_mcp.clock import CLOCK_SKEW
from extend_mcp.runs.lifecycle import describe, is_moving
from extend_mcp.scopes import RUNS_READ
from extend_mcp.views.actions import ActionView, BatchStartedView, RunActionView, RunStartedView
from extend_mcp.views.document import counted, listed
from extend_mcp.views.runs import age_line, steps_done
from extend_mcp.views.untrusted import Code, DashboardUrl, Id, Label, Name, Note, Url

_MOST_HOSTS = 30


class UpdateRun(ObjectAction):
    """Rename a run, or merge metadata into it. Nobody is asked; a caller who may read sees what was there before."""

    body: UpdateWorkflowRun
    name, kind = "update_workflow_run", RunActionView
    after_unclear = 'Look with get_workflow_run(detail="full"); repeating the change does no harm.'
    _before: WorkflowRun

    async def inspect(self) -> Inspection[ActionView]:
        self._before = await self.app.api.get_workflow_run(self.target)
        return Inspection()

    async def send(self) -> ActionView:
        after = await self.app.api.update_workflow_run(self.target, self.body)
        name = self.body.name
        details = [f"The name is now {Label(name):120} (Extend does not return it)."] if name else []
        if self.app.caller.has_scope(RUNS_READ):
            details += _metadata_lines(self._before.metadata, after.metadata)
        return self.answer("done", "The run was changed.", sent=True, details=details)


def _status_lines(run: WorkflowRun) -> list[str]:
    return [f"its status {Code(run.status):40}"]


class DeleteRun(DeleteObject):
    """Delete a run with its results."""

    name, kind, reads = "delete_workflow_run", RunActionView, "get_workflow_run"
    facts = _status_lines

    def ask(self, run: WorkflowRun) -> Inspection[ActionView]:
        """Show what would be lost; refuse a run that is still moving."""
        if is_moving(run.status):
            # Extend documents deleting for runs that have ended; deleting running work would hide what it costs.
            message = (
                f"The run is {run.status} ({describe(run.status).meaning}); only a run at rest is deleted here. "
                "Cancel it or wait for its end first."
            )
            return Inspection(refusal=self.answer("refused", message))
        files = listed([Name(file.name or file.id) for file in run.files], 3)
        spent = f"; {run.credits:g} credits were spent on it" if run.credits is not None else ""
        steps, keys = counted(steps_done(run), "finished step"), counted(len(run.metadata), "key")
        question = [
            f"Delete workflow run {Id(run.id)} for good?",
            f"Workflow: {Name(run.workflow.name)}, file: {files or 'none'}",
            f"Status: {Code(run.status):40}",
            f"Lost for good: the results of {steps}, metadata ({keys}) and the run's history{spent}",
        ]
        if run.reviewed:
            question.append(f"A person has reviewed it ({Name(run.reviewed_by_user or 'unknown')}); that is lost too.")
        question.append("The file itself stays.")
        age = age_line(run, self.app.clock.now())
        bound = [run.metadata, [file.id for file in run.files]]
        return Inspection(question, [f"Age: {age}"] if age else [], bound=bound, status=run.status)


@dataclass
class Start(Action[ViewT]):
    """A start of work. It is sent once, and counts against the caller's credits of the day."""

    body: Any

    repeatable: ClassVar[bool] = False
    after_unclear: ClassVar[str] = 'Look with list_runs(created_since="10m") before starting it again.'
    noun: ClassVar[str]
    _begun: datetime = field(init=False, repr=False)

    def spending(self, files: int) -> AbstractAsyncContextManager[None]:
        """Count the start while it is sent, and note when that began."""
        self._begun = self.app.clock.now()
        return spending(self.app, self.body.workflow.id, files)

    @abstractmethod
    def id_if_started(self, run: WorkflowRunSummary) -> str | None:
        """Return the id of what this request may have started, if the run may be of it."""

    async def look(self) -> str:
        """Name what may have been started since the request."""
        page = await self.app.api.list_workflow_runs(
            workflow_id=self.body.workflow.id, sort_by="createdAt", sort_dir="desc", max_page_size=10
        )
        # Clocks differ by a little between machines.
        since = self._begun - CLOCK_SKEW
        found = [self.id_if_started(run) for run in page.data if run.created_at and run.created_at > since]
        ids = self.known["candidates"] = [Id(each) for each in dict.fromkeys(found) if each]
        if not ids:
            return f"No such {self.noun} was created since the request, so far."
        return f"Created since the request, so possibly this {self.noun}: {listed(ids, len(ids))}."


class StartRun(Start[RunStartedView]):
    """Start a workflow on one file or package. Nobody is asked."""

    body: CreateWorkflowRun
    name, kind, noun = "run_workflow", RunStartedView, "run"

    async def send(self) -> RunStartedView:
        async with self.spending(len(self.body.package.files) if self.body.package else 1):
            run = await self.app.api.create_workflow_run(self.body)
        return self.answer(
            "started",
            f"Started run {Id(run.id)} of {Label(run.workflow.name)}, status {Code(run.status)}.",
            sent=True,
            run_id=run.id,
            status=run.status,
            workflow=run.workflow.name,
            dashboard_url=DashboardUrl(run.dashboard_url) or None,
            next_step=f'wait_for_run(["{Id(run.id)}"]) follows it.',
        )

    def id_if_started(self, run: WorkflowRunSummary) -> str | None:
        return run.id if _may_be_of(run, self.body) else None


@dataclass
class StartBatch(Start[BatchStartedView]):
    """Start a workflow on many files. Above a number of files a person is asked."""

    body: CreateWorkflowRunBatch
    workflow_name: str = ""
    name, kind, noun = "run_workflow_batch", BatchStartedView, "batch"

    async def inspect(self) -> Inspection[BatchStartedView]:
        """Describe a batch of many files, with its usual credits; a small one is not asked about."""
        files = len(self.body.inputs)
        if files <= self.app.limits.unasked_files:
            return Inspection()
        usual = await usual_credits(self.app, self.body.workflow.id)
        cost = usual.words(files) if usual else "unknown, since no processed run of this workflow shows them"
        # The usual credits move with each run that ends; a yes is bound to the files and the workflow, in the body.
        return Inspection(self._question(), [f"Credits: {cost}"])

    def _question(self) -> list[str]:
        files, workflow = [each.file for each in self.body.inputs], self.body.workflow
        hosts = Counter(
            urlsplit(file.url).netloc.rpartition("@")[2] for file in files if isinstance(file, FileFromUrl)
        ).most_common()
        said = [f"{count:,} from {Url(f'https://{host}')}" for host, count in hosts[:_MOST_HOSTS]]
        rest = sum(count for _, count in hosts[_MOST_HOSTS:])
        said += [f"{rest:,} from other hosts"] if rest else []
        for kind, name in ((FileFromId, "uploaded"), (FileFromText, "given as text")):
            if count := sum(isinstance(file, kind) for file in files):
                said.append(f"{count:,} {name}")
        version = f", version {Code(workflow.version)}" if workflow.version else ""
        called = f"{Id(workflow.id)}"
        if self.workflow_name not in ("", workflow.id):
            called = f"{Name(self.workflow_name)} ({called})"
        return [
            f"Start {counted(len(files), 'workflow run')}, one for each file? You will be charged credits.",
            f"Workflow: {called}{version}",
            f"Files: {', '.join(said)}",
        ]

    async def send(self) -> BatchStartedView:
        files = len(self.body.inputs)
        async with self.spending(files):
            batch = Id((await self.app.api.create_workflow_run_batch(self.body)).id)
        return self.answer(
            "started",
            f"Started batch {batch} of {counted(files, 'run')}.",
            sent=True,
            batch_id=batch,
            runs=files,
            next_step=f'wait_for_run(batch="{batch}") follows it; list_runs(batch="{batch}") lists its runs.',
        )

    def id_if_started(self, run: WorkflowRunSummary) -> str | None:
        return run.batch_id


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


def _metadata_lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return metadata before and after, one key a line, changes first."""
    names = list(dict.fromkeys([*after, *before]))
    changed = [name for name in names if name not in before or name not in after or before[name] != after[name]]
    lines = [f"{Name(name)}: {_value(before, name)} -> {_value(after, name)}" for name in changed]
    same = [f"{Name(name)}" for name in names if name not in changed]
    if same:
        lines.append(f"Unchanged: {', '.join(same)}")
    return lines or ["Metadata: none, before and after."]


def _value(values: dict[str, Any], name: str) -> str:
    return f"{Note(json.dumps(values[name], ensure_ascii=False))}" if name in values else "none"
