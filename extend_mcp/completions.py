"""Completing ids and names while a person types them, from what was seen a moment ago."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

import anyio
from mcp.server.mcpserver import MCPServer
from mcp_types import Completion, CompletionArgument

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import WorkflowRunSummary, WorkflowSummary
from extend_mcp.callers import CallerContext, CallerRegistry
from extend_mcp.scopes import RUNS_READ, WORKFLOWS_READ
from extend_mcp.views.untrusted import clean

_FRESH_SECONDS = 30.0
_MOST_VALUES = 100
_MOST_CHARS = 120
_SECONDS = 3.0

Candidates: TypeAlias = "Iterable[tuple[str | None, str]]"
"""Values, each with a text about it. A value fits what is typed if it begins with that, or if its text holds it."""


def _runs(runs: list[WorkflowRunSummary], _: object) -> Candidates:
    return ((run.id, " ".join([run.status, run.workflow.name, *(file.name for file in run.files)])) for run in runs)


def _workflow_names(_: object, workflows: list[WorkflowSummary]) -> Candidates:
    # A name that has to be cleaned or cut would not be found, so its id is offered.
    fit = ((each, clean(each.name) == each.name and len(each.name) <= _MOST_CHARS) for each in workflows)
    return ((each.name if fits else each.id, each.name) for each, fits in fit)


COMPLETIONS: Final[dict[str, tuple[str, Callable[..., Candidates]]]] = {
    "run_id": (RUNS_READ, _runs),
    "batch_id": (RUNS_READ, lambda runs, _: ((run.batch_id, "") for run in runs)),
    "workflow_id": (WORKFLOWS_READ, lambda _, workflows: ((each.id, each.name) for each in workflows)),
    "workflow": (WORKFLOWS_READ, _workflow_names),
}
"""By argument, the scope that a caller needs, and the candidates among the newest runs and workflows."""


def add_completions(server: MCPServer[CallerRegistry], registry: CallerRegistry) -> None:
    """Answer completion requests for the arguments of prompts and resource templates, each caller from their own."""

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(_ref: Any, argument: CompletionArgument, _context: Any) -> Completion:
        app, values, typed = registry.current(), [], argument.value.strip().casefold()
        if argument.name in COMPLETIONS:
            # A person types: better no completion than a late one.
            with anyio.move_on_after(_SECONDS), suppress(ExtendError):
                recent = await app.remember("recent", _FRESH_SECONDS, partial(_read, app))
                candidates = COMPLETIONS[argument.name][1](*recent)
                found = (clean(value) for value, text in candidates if value and _fits(typed, value, text))
                values = list(dict.fromkeys(value for value in found if 0 < len(value) <= _MOST_CHARS))
        return Completion(values=values[:_MOST_VALUES], total=len(values), has_more=len(values) > _MOST_VALUES)


def _fits(typed: str, value: str, text: str) -> bool:
    return value.casefold().startswith(typed) or typed in text.casefold()


async def _read(app: CallerContext) -> tuple[list[WorkflowRunSummary], list[WorkflowSummary]]:
    runs = await app.api.list_workflow_runs(sort_by="createdAt", sort_dir="desc", max_page_size=100)
    return runs.data, (await app.api.list_workflows(max_page_size=100)).data
