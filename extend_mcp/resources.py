"""Serve what a client can attach to a conversation: runs, steps, workflows, batches and the account, as short text.

Each resource is the view that the tool of the same object gives, without its page limit. Their ids, and the arguments
of prompts, are completed while a person types, from what was seen a moment ago.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Final, TypeAlias

import anyio
import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp_types import Annotations, Completion, CompletionArgument

from extend_mcp import __version__
from extend_mcp.api.errors import ExtendError, NotFoundError
from extend_mcp.api.models import WorkflowRunSummary, WorkflowSummary
from extend_mcp.callers import CallerContext, CallerRegistry, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.ids import is_workflow_id, parse_batch_id, parse_run_id
from extend_mcp.scopes import RUNS_READ, WORKFLOWS_READ
from extend_mcp.tools.name_resolution import select_step
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import RunReader
from extend_mcp.views.document import error_words
from extend_mcp.views.runs import run_view, wait_view, waited_run
from extend_mcp.views.steps import step_view
from extend_mcp.views.untrusted import Id, Url, clean
from extend_mcp.views.uris import ACCOUNT, BATCH, RESOURCE_CHARS, RUN, STEP, WORKFLOW
from extend_mcp.views.workflows import workflow_view

_FRESH_SECONDS = 30.0
_MOST_VALUES = 100
_MOST_CHARS = 120
_SECONDS = 3.0

_CONFIRMATION = {
    "ask": "a person is asked; where the client cannot ask, a sealed token and a second call",
    "person": "a person, and nobody else",
    "token": "a sealed token and a second call",
    "trusted": "none: the operator trusts every caller",
}


async def run_resource(run_id: str, ctx: Ctx) -> str:
    """Show a workflow run: its status, what failed or is awaited, and every step."""
    app = caller_context(ctx)
    run = await app.api.get_workflow_run(run_id)
    return run_view(run, now=app.clock.now(), detail="concise", page=1, limit=RESOURCE_CHARS).text


async def step_resource(run_id: str, step: str, ctx: Ctx) -> str:
    """Show the whole result of one step, by its number, name, type or id."""
    run = await caller_context(ctx).api.get_workflow_run(run_id)
    chosen = select_step(run.step_runs, step)
    show = partial(step_view, run, chosen, detail="full", page=1, limit=RESOURCE_CHARS)
    return (await anyio.to_thread.run_sync(show)).text


async def workflow_resource(workflow_id: str, ctx: Ctx) -> str:
    """Show a workflow's draft as a graph."""
    if not is_workflow_id(workflow_id):
        raise CallRefusedError("extend://workflows/{workflow_id} takes a workflow's id, not its name.")
    found = await caller_context(ctx).api.get_workflow(workflow_id)
    return workflow_view(found, found.draft_version, form="graph", page=1, limit=RESOURCE_CHARS).text


async def batch_resource(batch_id: str, ctx: Ctx) -> str:
    """Show the status of each run of a batch, failures first."""
    scan = await RunReader(ctx).scan(RunFilter(batch=batch_id))
    rows = [waited_run(run) for run in scan.runs]
    problem, go_on = "".join(scan.missing) or None, f'wait_for_run(batch="{batch_id}")'
    return wait_view(rows, waited=0, explained=None, problem=problem, go_on=go_on, limit=RESOURCE_CHARS).text


def account_resource(registry: CallerRegistry) -> str:
    """Show the account and region of this server, what it may do, and its limits. No secrets."""
    context = registry.current()
    settings, limits, caller = context.settings, context.limits, context.caller
    where = "the embedded sandbox: nothing here is real" if settings.sandbox else str(Url(settings.api_base_url))
    writes = "reading only" if settings.read_only else "reading and writing"
    account = caller.account
    lines = [
        *([f"Account: {account.label}"] if account.label else []),
        f"extend-mcp {__version__}",
        f"Extend API: {where}",
        f"Caller: {Id(caller.principal)}",
        f"Workspace: {Id(account.workspace_id or '') or 'as the API key says'}",
        f"API key: {'set' if account.api_key else 'not set (EXTEND_API_KEY)'}",
        f"Toolsets: {', '.join(settings.toolsets)}; {writes}",
        f"Scopes: {'all' if caller.scopes is None else ', '.join(sorted(caller.scopes)) or 'none'}",
        f"Confirmation of what destroys or publishes: {_CONFIRMATION[settings.confirmation]}",
        f"Requests a second, by category: at most {settings.requests_per_second}",
        f"Batches that ask a person: of more than {limits.unasked_files:,} files",
        f"Credits a day that a caller may start work for: {settings.credits_per_day or 'no limit'}",
        f"Runs in one summary: at most {limits.summary_runs:,}",
        f"Runs looked into one by one in a call: at most {limits.detail_runs:,}",
        f"Runs acted on in one call: at most {limits.bulk_runs:,}",
    ]
    return "\n".join(lines)


RESOURCES: Final[tuple[tuple[str, str, str, Callable[..., Any], str | None], ...]] = (
    (RUN, "workflow-run", "Workflow run", run_resource, RUNS_READ),
    (STEP, "step-result", "Step result", step_resource, RUNS_READ),
    (WORKFLOW, "workflow", "Workflow", workflow_resource, WORKFLOWS_READ),
    (BATCH, "batch", "Batch of runs", batch_resource, RUNS_READ),
    (ACCOUNT, "account", "Account and server", account_resource, None),
)
"""URI or template, name and title of each resource, the function that reads and describes it, and its scope."""


def add_resources(server: MCPServer[CallerRegistry], registry: CallerRegistry) -> None:
    """Register the resources and their templates."""
    for uri, name, title, read, _ in RESOURCES:
        is_template = "{" in uri
        about = Annotations(audience=["user", "assistant"], priority=0.7 if is_template else 0.3)
        register = server.resource(
            uri, name=name, title=title, description=read.__doc__, mime_type="text/plain", annotations=about
        )
        # The SDK gives a context to templates alone.
        register(_explained(read) if is_template else partial(read, registry))


def _explained(read: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
    @wraps(read)
    async def explained(**arguments: Any) -> str:
        try:
            return await read(**_parsed(arguments))
        except NotFoundError:
            raise ResourceNotFoundError("There is no such object for this API key.") from None
        except CallRefusedError as refusal:
            raise ResourceNotFoundError(str(refusal)) from None
        except ExtendError as error:
            raise ResourceError(f"{error_words(error)}. {error.next_step}") from None

    return explained


def _parsed(arguments: dict[str, Any]) -> dict[str, Any]:
    parsers = {"run_id": parse_run_id, "batch_id": parse_batch_id}
    try:
        return {name: parsers[name](value) if name in parsers else value for name, value in arguments.items()}
    except ValueError as error:
        raise CallRefusedError(f"The id {error}.") from None


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
