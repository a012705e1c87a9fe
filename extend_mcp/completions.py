"""Completing ids and names while a person types them, from what was seen a moment ago."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import anyio
from mcp.server.mcpserver import MCPServer
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import WorkflowRunSummary, WorkflowSummary
from extend_mcp.callers import CallerContext, CallerRegistry
from extend_mcp.scopes import RUNS_READ, WORKFLOWS_READ
from extend_mcp.views.untrusted import clean

_FRESH_SECONDS = 30.0
_MOST_VALUES = 100
_MOST_CHARS = 120
_SECONDS = 3.0


class Recent(NamedTuple):
    """The newest runs and workflows of a caller."""

    runs: list[WorkflowRunSummary]
    workflows: list[WorkflowSummary]


def add_completions(server: MCPServer[CallerRegistry], registry: CallerRegistry) -> None:
    """Answer completion requests for the arguments of prompts and resource templates, each caller from their own."""

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        values: list[str] = []
        spec, app = COMPLETIONS.get(argument.name), registry.current()
        if spec is None:
            return Completion(values=values, total=0, has_more=False)
        # A person types: better no completion than a late one.
        with anyio.move_on_after(_SECONDS), suppress(ExtendError):
            recent = await app.remember("recent", _FRESH_SECONDS, partial(_read, app))
            found = map(clean, spec.find(recent, argument.value.strip().casefold()))
            values = list(dict.fromkeys(value for value in found if 0 < len(value) <= _MOST_CHARS))
        return Completion(values=values[:_MOST_VALUES], total=len(values), has_more=len(values) > _MOST_VALUES)


async def _read(app: CallerContext) -> Recent:
    runs = await app.api.list_workflow_runs(sort_by="createdAt", sort_dir="desc", max_page_size=100)
    workflows = await app.api.list_workflows(max_page_size=100)
    return Recent(runs.data, workflows.data)


def _runs(recent: Recent, typed: str) -> Iterable[str]:
    """Yield ids of runs whose id begins with the text, or whose status, workflow or file name contains it."""
    for run in recent.runs:
        about = " ".join([run.status, run.workflow.name, *(file.name for file in run.files)]).casefold()
        if run.id.casefold().startswith(typed) or (typed and typed in about):
            yield run.id


def _batches(recent: Recent, typed: str) -> Iterable[str]:
    return (run.batch_id for run in recent.runs if run.batch_id and run.batch_id.casefold().startswith(typed))


def _workflow_ids(recent: Recent, typed: str) -> Iterable[str]:
    found = recent.workflows
    return (each.id for each in found if each.id.casefold().startswith(typed) or typed in each.name.casefold())


def _workflow_names(recent: Recent, typed: str) -> Iterable[str]:
    # A name that has to be cleaned or cut would not be found, so its id is offered.
    return (
        each.name if clean(each.name) == each.name and len(each.name) <= _MOST_CHARS else each.id
        for each in recent.workflows
        if typed in each.name.casefold()
    )


class CompletionSpec(NamedTuple):
    """The completion of one argument: what fits the typed text, and the scope that a caller needs to see it."""

    find: Callable[[Recent, str], Iterable[str]]
    scope: str


COMPLETIONS = {
    "run_id": CompletionSpec(_runs, RUNS_READ),
    "batch_id": CompletionSpec(_batches, RUNS_READ),
    "workflow_id": CompletionSpec(_workflow_ids, WORKFLOWS_READ),
    "workflow": CompletionSpec(_workflow_names, WORKFLOWS_READ),
}
