"""What a caller's scopes leave out is neither listed nor served, whatever the operator switched on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST
from pydantic import BaseModel

from extend_mcp.scopes import scope_of_completion, scope_of_prompt, scope_of_resource


class AllowedOnly:
    """Server middleware that holds each request against the scopes of its caller.

    Args:
        tools: the scope that each tool needs, by its name.
    """

    def __init__(self, tools: Mapping[str, str]) -> None:
        self._tools = tools

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Refuse what the caller may not do; leave out of lists what they could not use."""
        scopes = ctx.lifespan_context.caller().scopes
        if scopes is None:
            return await call_next(ctx)
        for needed in self._needed(ctx.method, ctx.params or {}):
            if needed not in scopes:
                raise MCPError(code=INVALID_REQUEST, message=f"The credential of this caller lacks the scope {needed}.")
        result = await call_next(ctx)
        if ctx.method == "tools/list":
            return _filtered(result, "tools", "name", lambda name: self._tools.get(name) in scopes)
        if ctx.method == "prompts/list":
            return _filtered(result, "prompts", "name", lambda name: scope_of_prompt(name) in scopes)
        if ctx.method == "resources/templates/list":
            return _filtered(result, "resourceTemplates", "uriTemplate", lambda uri: scope_of_resource(uri) in scopes)
        return result

    def _needed(self, method: str, params: Mapping[str, Any]) -> list[str]:
        """The scopes that a request needs; what is malformed is left to the SDK to refuse."""
        name, uri = params.get("name"), params.get("uri")
        if method == "tools/call" and isinstance(name, str):
            return [self._tools[name]] if name in self._tools else []
        if method == "prompts/get" and isinstance(name, str):
            return [scope_of_prompt(name)]
        if method in ("resources/read", "resources/subscribe") and isinstance(uri, str):
            return _present([scope_of_resource(uri)])
        if method == "subscriptions/listen":
            wanted = (params.get("notifications") or {}).get("resourceSubscriptions")
            return _present([scope_of_resource(each) for each in wanted or () if isinstance(each, str)])
        if method == "completion/complete":
            return [scope_of_completion(str((params.get("argument") or {}).get("name")))]
        return []


def _present(scopes: list[str | None]) -> list[str]:
    return [scope for scope in scopes if scope is not None]


def _filtered(result: HandlerResult, key: str, by: str, keep: Any) -> HandlerResult:
    document = result.model_dump(by_alias=True, mode="json") if isinstance(result, BaseModel) else dict(result or {})
    return {**document, key: [each for each in document.get(key, ()) if keep(each[by])]}
