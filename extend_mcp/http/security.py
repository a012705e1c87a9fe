"""Which Host and Origin headers are accepted (MCP specification, Transports), and which scope a call needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from extend_mcp.callers import CallerUser
from extend_mcp.http.settings import HttpSettings

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def transport_security(http: HttpSettings) -> TransportSecuritySettings:
    """The SDK's checks: loopback names always, and what the operator named."""
    hosts = [*_LOOPBACK, *(f"{name}:*" for name in _LOOPBACK), *http.allowed_hosts]
    if http.public_url is not None and http.public_url.host:
        hosts += [http.public_url.host, f"{http.public_url.host}:{http.public_url.port}"]
    if http.host not in _ANY_ADDRESS:
        hosts.append(f"{http.host}:*")
    origins = http.allowed_origins or tuple(f"http://{name}:*" for name in _LOOPBACK)
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=[*origins]
    )


class ScopeChallenge:
    """ASGI middleware: a call whose tool needs a scope that the caller lacks is answered 403, naming the scope.

    A client of 2026-07-28 names method and tool in headers, so it gets the challenge that lets it ask its user for
    more (MCP specification, Authorization: scope challenge). Others, and all that is no tool call, are refused with a
    JSON-RPC error further in, where every call is checked again.

    Args:
        app: the application.
        tools: the scope that each tool needs, by its name.
        metadata_url: where the protected resource's metadata is, if there is any.
    """

    def __init__(self, app: ASGIApp, tools: Mapping[str, str], metadata_url: str | None) -> None:
        self._app = app
        self._tools = tools
        self._metadata_url = metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        headers, user = Headers(scope=scope), scope.get("user")
        if isinstance(user, CallerUser) and user.caller.scopes is not None:
            needed = self._tools.get(headers.get("mcp-name", "")) if headers.get("mcp-method") == "tools/call" else None
            if needed is not None and needed not in user.caller.scopes:
                await self._challenge(needed)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _challenge(self, needed: str) -> JSONResponse:
        words = f"This call needs the scope {needed}."
        parts = ['error="insufficient_scope"', f'scope="{needed}"', f"error_description={json.dumps(words)}"]
        if self._metadata_url:
            parts.append(f'resource_metadata="{self._metadata_url}"')
        return JSONResponse(
            {"error": "insufficient_scope", "error_description": words},
            status_code=403,
            headers={"WWW-Authenticate": f"Bearer {', '.join(parts)}"},
        )
