"""Gives the application the means to end a connection, which plain ASGI has not."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from extend_mcp.sandbox.gate import CONNECTION


class SandboxProtocol(H11Protocol):
    """HTTP/1.1 whose requests carry their transport as an ASGI extension."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the application for this one connection."""
        super().connection_made(transport)
        serve = self.app

        async def serve_with_connection(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[CONNECTION] = transport
            await serve(scope, receive, send)

        self.app = serve_with_connection
