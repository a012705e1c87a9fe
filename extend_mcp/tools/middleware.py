"""The MCP middleware for scopes, ``?tools=`` and prompt errors. `extend_mcp.server` has the list, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from mcp.server.apps import client_supports_apps
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, INVALID_REQUEST
from pydantic import BaseModel
from starlette.requests import Request

from extend_mcp.apps import VIEWS
from extend_mcp.callers import CallerContext
from extend_mcp.scopes import MISSING_SCOPE
from extend_mcp.skills import SCHEME
from extend_mcp.telemetry.spans import annotate_span, request_id
from extend_mcp.tools.base import write_audit_line
from extend_mcp.views.untrusted import Label


@dataclass(frozen=True)
class DeclaredScopes:
    """The scopes that parts of the server declared: tools and prompts by name, completions by argument.

    Resources are by URI or URI template, with None where no scope is needed.
    """

    tools: Mapping[str, str]
    prompts: Mapping[str, str]
    resources: Mapping[str, str | None]
    completions: Mapping[str, str]

    def of_resource(self, uri: str) -> set[str]:
        """Return the scopes that a URI needs. An unknown one needs them all."""
        fitting = [scope for each, scope in self.resources.items() if uri.startswith(each.partition("{")[0])]
        return {scope for scope in fitting or self.resources.values() if scope is not None}

    def of_request(self, method: str, params: Mapping[str, Any]) -> set[str]:
        """Return the scopes that a request needs; what is malformed is left to the SDK to refuse."""
        match method, params:
            case "tools/call", {"name": str(name)}:
                needed = self.tools.get(name)
            case "prompts/get", {"name": str(name)}:
                needed = self.prompts.get(name)
            case "completion/complete", {"argument": {"name": str(name)}}:
                needed = self.completions.get(name)
            case "resources/read" | "resources/subscribe", {"uri": str(uri)}:
                return self.of_resource(uri)
            case "subscriptions/listen", {"notifications": {"resourceSubscriptions": [*uris]}}:
                return set().union(*(self.of_resource(uri) for uri in uris if isinstance(uri, str)))
            case _:
                return set()
        return {needed} if needed else set()


class ScopeMiddleware:
    """Hold each request against the scopes of its caller, whatever the operator switched on."""

    def __init__(self, declared: DeclaredScopes) -> None:
        self._declared = declared

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Refuse what the caller may not do; leave out of lists what they could not use."""
        scopes, declared, method = ctx.lifespan_context.caller().scopes, self._declared, ctx.method
        if scopes is None:
            return await call_next(ctx)
        for lacking in sorted(declared.of_request(method, ctx.params or {}) - scopes):
            if isinstance(ctx.request, Request):
                ctx.request.scope[MISSING_SCOPE] = lacking
            if method == "tools/call":
                _record_denied(ctx)
            raise MCPError(code=INVALID_REQUEST, message=f"The credential of this caller lacks the scope {lacking}.")
        result = await call_next(ctx)
        if method == "tools/list":
            return _filtered(result, "tools", lambda each: declared.tools.get(each["name"]) in scopes)
        if method == "prompts/list":
            return _filtered(result, "prompts", lambda each: declared.prompts.get(each["name"]) in scopes)
        if method == "resources/templates/list":
            return _filtered(
                result, "resourceTemplates", lambda each: declared.of_resource(each["uriTemplate"]) <= scopes
            )
        return result


class ToolFilterMiddleware:
    """Hide the tools that a request's URL does not name, and refuse unknown tools and prompts.

    ``?tools=runs,get_file`` names toolsets and tools. It never adds to what the operator switched on: it is for
    clients with few tool slots, and grants no rights. ``toolsets`` are those that are on, with the names of their
    tools, and ``why_withheld`` returns why the operator withholds a tool; None if no such tool exists.
    """

    def __init__(
        self, toolsets: Mapping[str, Set[str]], prompts: Iterable[str], why_withheld: Callable[[str], str | None]
    ) -> None:
        self._why_withheld = why_withheld
        self._prompts = set(prompts)
        self._tools = {tool for tools in toolsets.values() for tool in tools}
        self._known = {**{tool: {tool} for tool in self._tools}, **toolsets}
        self._about = f"Toolsets: {', '.join(toolsets)}; or single tools by name."

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Filter ``tools/list``, and refuse what is hidden or does not exist."""
        name = (ctx.params or {}).get("name")
        # The SDK would make an internal error of it, with a traceback in the log.
        if ctx.method == "prompts/get" and isinstance(name, str) and name not in self._prompts:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {Label(name):80}")
        if ctx.method not in ("tools/list", "tools/call"):
            return await call_next(ctx)
        wanted = self._wanted(ctx)
        if ctx.method == "tools/call":
            # The SDK refuses a name of another type, and would make a tool result of an unknown name.
            if isinstance(name, str) and name not in (self._tools if wanted is None else wanted):
                why = None if name in self._tools else self._why_withheld(name)
                if why:
                    _record_denied(ctx)
                raise MCPError(INVALID_PARAMS, f"Unknown tool: {Label(name):80}{f'. {why}' if why else ''}")
            return await call_next(ctx)
        result = await call_next(ctx)
        return result if wanted is None else _filtered(result, "tools", lambda tool: tool["name"] in wanted)

    def _wanted(self, ctx: ServerRequestContext[Any, Any]) -> set[str] | None:
        given = ctx.request.query_params.get("tools") if isinstance(ctx.request, Request) else None
        if given is None:
            return None
        names = [name.strip() for name in given.split(",") if name.strip()]
        unknown = [f"{Label(name):40}" for name in names if name not in self._known]
        if unknown or not names:
            raise MCPError(INVALID_PARAMS, f"?tools= names {', '.join(unknown[:5]) or 'nothing'}. {self._about}")
        return {tool for name in names for tool in self._known[name]}


async def hide_views(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """List interactive views only for a host that shows them, and skills only by ``skills/list``."""
    result = await call_next(ctx)
    if ctx.method != "resources/list":
        return result
    hidden = (SCHEME,) if client_supports_apps(ctx) else (SCHEME, VIEWS)
    return _filtered(result, "resources", lambda each: not each["uri"].startswith(hidden))


async def name_span(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Give the SDK's span of a request the id that its logs and audit line have."""
    annotate_span(**{"extend_mcp.request_id": request_id.get()})
    return await call_next(ctx)


def _record_denied(ctx: ServerRequestContext[Any, Any]) -> None:
    """Count a call of a tool that exists and that the caller may not use, and write its audit line."""
    app: CallerContext = ctx.lifespan_context.current()
    tool = str((ctx.params or {})["name"])
    app.metrics.count("tool_calls_total", tool=tool, outcome="denied")
    write_audit_line(app, tool, "denied")


def _filtered(result: HandlerResult, key: str, keep: Callable[[dict[str, Any]], bool]) -> HandlerResult:
    document = result.model_dump(by_alias=True, mode="json") if isinstance(result, BaseModel) else dict(result or {})
    return {**document, key: [each for each in document.get(key, ()) if keep(each)]}
