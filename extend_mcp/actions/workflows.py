"""Creating, changing and deploying workflow definitions."""

from __future__ import annotations

from typing import Any

from extend_mcp.actions.execute import Inspection, ObjectAction
from extend_mcp.api.models import Workflow
from extend_mcp.api.requests import CreateWorkflow, DeployWorkflowVersion, UpdateWorkflow
from extend_mcp.callers import CallerContext
from extend_mcp.tools.workflows import read_published
from extend_mcp.views.actions import ActionView
from extend_mcp.views.untrusted import Code, Id, Name, Note
from extend_mcp.views.workflows import diff_lines, graph_lines
from extend_mcp.workflows.check import Fault, find_faults, find_warnings
from extend_mcp.workflows.merge import branches_without_block, contains, merged_draft

Steps = list[dict[str, Any]]


def draft_lines(workflow: Workflow) -> list[str]:
    """Return the steps of a workflow's draft and what is odd in them, a line each."""
    steps = workflow.draft_version.steps
    return [*graph_lines(steps), *warning_lines(steps)]


class CreateWorkflowAction(ObjectAction):
    """Create a workflow with a draft. Nobody is asked: nothing runs until a deploy."""

    body: CreateWorkflow
    name, repeatable = "create_workflow", False
    after_unclear = "Look with list_workflows before repeating it."

    async def send(self) -> ActionView:
        made = await self.app.api.create_workflow(self.body)
        self.target = Id(made.id)
        return self.answer(
            "done",
            f"Created workflow {self.target}.",
            sent=True,
            details=draft_lines(made),
            next_step=f"deploy_workflow_version({self.target}) publishes it.",
        )


class UpdateDraft(ObjectAction):
    """Rename a workflow, or replace the steps of its draft."""

    body: UpdateWorkflow
    name, reads, facts, done = "update_workflow", "get_workflow", draft_lines, "The draft was changed."

    def ask(self, present: Workflow) -> Inspection[ActionView]:
        lines = [f"Change the draft of workflow {Name(present.name):255} ({Id(self.target)})?"]
        if self.body.name is not None:
            lines.append(f"Name: {Name(present.name):255} -> {Name(self.body.name):255}")
        if self.body.steps is not None:
            after = merged_draft(present.draft_version.steps, self.body.steps)
            lines += diff_lines(present.draft_version.steps, after)
            lines += [
                f"Branch {Name(branch)} of {Name(step)} has no block: Extend adds one that is always true."
                for step, branch in branches_without_block(after)
            ]
            # Extend may see it otherwise: the draft that the given steps are merged into is its own.
            lines += [f"Extend may refuse it: {fault_line(fault)}" for fault in find_faults(after)[:5]]
            lines += warning_lines(after)
        return Inspection(lines, bound=[present.name, present.draft_version.steps])

    async def look(self) -> str:
        present = await self.app.api.get_workflow(self.target)
        # What was left out, Extend kept or filled in.
        same = self.body.steps is None or contains(present.draft_version.steps, self.body.steps)
        as_asked = same and (self.body.name is None or present.name == self.body.name)
        return f"A second look shows the draft {'as' if as_asked else 'not as'} asked for."


class DeployVersion(ObjectAction):
    """Publish a workflow's draft, or given steps, as its newest version."""

    body: DeployWorkflowVersion
    name, repeatable = "deploy_workflow_version", False

    async def inspect(self) -> Inspection[ActionView]:
        present = await self.app.api.get_workflow(self.target)
        before, label = await _published(self.app, self.target)
        after = present.draft_version.steps if self.body.steps is None else self.body.steps
        what = "the draft" if self.body.steps is None else "the given steps"
        called = f", named {Name(self.body.name):255}" if self.body.name is not None else ""
        workflow = f"{Name(present.name):255} ({Id(self.target)})"
        lines = [
            f"Deploy {what} of workflow {workflow} as a new version{called}?",
            f"New runs without a version use it from then on. Difference from {label}:",
            *diff_lines(before, after),
        ]
        # The draft came from Extend: what this version finds odd in it, Extend may know better.
        lines += [f"Extend may refuse it: {fault_line(fault)}" for fault in find_faults(after, deploying=True)[:5]]
        lines += warning_lines(after, deploying=True)
        return Inspection(lines, bound=[label, before, after])

    async def send(self) -> ActionView:
        made = await self.app.api.deploy_workflow_version(self.target, self.body)
        message = f"Deployed version {Code(made.version)} ({Id(made.id)})."
        return self.answer("done", message, sent=True, next_step="run_workflow uses it when no version is given.")

    async def look(self) -> str:
        _, label = await _published(self.app, self.target)
        return f"A second look shows {label}."


async def _published(app: CallerContext, workflow_id: str) -> tuple[Steps, str]:
    """Return the steps of the newest published version, and what to call it."""
    latest = await read_published(app, workflow_id)
    if latest is None:
        return [], "nothing: no version is published yet"
    return latest.steps, f"version {Code(latest.version)}, the newest published"


def warning_lines(steps: Steps, *, deploying: bool = False) -> list[str]:
    """Return the first warnings about a definition, a line each."""
    return [f"Warning: {fault_line(each)}" for each in find_warnings(steps, deploying=deploying)[:5]]


def fault_line(fault: Fault) -> str:
    """Return a fault of a definition as a line of text."""
    return f"{Code(fault.path):160}: {Note(fault.rule)!s}"
