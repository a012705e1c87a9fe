"""``?tools=`` on the HTTP endpoint: a client takes only some of what the operator offers."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import BaseModel
from starlette.requests import Request

from extend_mcp.views.untrusted import quote

PARAMETER = "tools"


class NarrowedTools:
    """Server middleware that hides the tools which a request's URL does not name.

    ``?tools=runs,get_file`` names toolsets and tools. It never adds to what the operator switched on, so it is
    a convenience for clients with few tool slots and no matter of rights.

    Args:
        toolsets: the names of the tools of every toolset that is switched on.
    """

    def __init__(self, toolsets: Mapping[str, Set[str]]) -> None:
        self._tools = {tool for tools in toolsets.values() for tool in tools}
        self._known = {**{tool: {tool} for tool in self._tools}, **toolsets}
        self._about = f"Toolsets: {', '.join(toolsets)}; or single tools by name."

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Filter ``tools/list``, and refuse ``tools/call`` of a tool that is hidden or does not exist."""
        if ctx.method not in ("tools/list", "tools/call"):
            return await call_next(ctx)
        wanted = self._wanted(ctx)
        if ctx.method == "tools/call":
            name = (ctx.params or {}).get("name")
            # The SDK refuses a name of another type, and would make a tool result of an unknown name.
            if isinstance(name, str) and name not in (self._tools if wanted is None else wanted):
                raise MCPError(code=INVALID_PARAMS, message=f"Unknown tool: {quote(name, 80)}")
            return await call_next(ctx)
        if wanted is None:
            return await call_next(ctx)
        result = await call_next(ctx)
        document = (
            result.model_dump(by_alias=True, mode="json") if isinstance(result, BaseModel) else dict(result or {})
        )
        return {**document, "tools": [tool for tool in document.get("tools", ()) if tool["name"] in wanted]}

    def _wanted(self, ctx: ServerRequestContext[Any, Any]) -> set[str] | None:
        given = ctx.request.query_params.get(PARAMETER) if isinstance(ctx.request, Request) else None
        if given is None:
            return None
        names = [name.strip() for name in given.split(",") if name.strip()]
        unknown = [name for name in names if name not in self._known]
        if unknown or not names:
            said = ", ".join(quote(name, 40) for name in unknown[:5]) or "nothing"
            raise MCPError(code=INVALID_PARAMS, message=f"?{PARAMETER}= names {said}. {self._about}")
        return {tool for name in names for tool in self._known[name]}
