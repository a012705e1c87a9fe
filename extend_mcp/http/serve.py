"""Serving over HTTP: listen, and finish the calls in flight when the process ends."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final

import anyio
import uvicorn

from extend_mcp.actions.store import alongside
from extend_mcp.http.app import HttpApp
from extend_mcp.http.connections import Connection, open_files
from extend_mcp.http.settings import HttpSettings
from extend_mcp.mcp_compat import let_event_streams_finish
from extend_mcp.settings import Settings
from extend_mcp.telemetry.redaction import Redactor

logger = logging.getLogger(__name__)

_CLEANUP_SECONDS: Final = 0.5
"""The time that a call that was broken off has to clean up."""


async def serve_http(
    settings: Settings,
    http: HttpSettings,
    *,
    sse: bool,
    redactor: Redactor,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; arguments as for `HttpApp`.

    ``on_ready`` is called with the address of the MCP endpoint once requests are taken.

    Raises:
        SettingsError: the settings do not fit together.
        OSError: the address cannot be listened on.
    """
    app = HttpApp(settings, http, redactor, sse=sse)
    with listen(http.host, http.port) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        server = GracefulServer(app, lambda: on_ready(f"http://{shown}:{port}/mcp"))
        try:
            await server.serve(sockets=[listener])
        finally:
            with anyio.CancelScope(shield=True):
                await app.registry.aclose()


class GracefulServer(uvicorn.Server):
    """Ends in steps: reports that it is not ready, takes requests a while longer, stops listening, lets calls end."""

    def __init__(self, app: HttpApp, on_ready: Callable[[], None]) -> None:
        let_event_streams_finish()
        limits = app.limits
        connection: Any = partial(Connection, most=open_files(limits.connections), header_seconds=limits.header_seconds)
        config = uvicorn.Config(
            app.asgi,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # Not uvicorn's limit of connections, which refuses the newest, and with it the probes of a server in use.
            http=connection,
            timeout_graceful_shutdown=max(round(limits.shutdown_seconds), 1),
        )
        super().__init__(config)
        self._lifecycle, self._drain_seconds, self._on_ready = app.lifecycle, limits.drain_seconds, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and report it."""
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal ends at once."""
        # Not uvicorn's own, which raises the signal again once it has shut down: that would end in its status.
        if self._lifecycle.draining:
            self.force_exit = self.should_exit = True
            return
        self._lifecycle.draining = True
        logger.info("ending: requests are taken for %g s more", self._drain_seconds)
        asyncio.get_running_loop().call_later(self._drain_seconds, setattr, self, "should_exit", True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let calls finish, then end the streams that would stay open forever."""
        self._lifecycle.draining = True
        async with alongside(self._lifecycle.end_streams):
            await super().shutdown(sockets)
        if self.force_exit:
            # uvicorn leaves calls and the application to the end of the loop, which logs it.
            calls = [*self.server_state.tasks]
            for call in calls:
                call.cancel()
            if calls:
                await asyncio.wait(calls, timeout=_CLEANUP_SECONDS)
            with anyio.move_on_after(_CLEANUP_SECONDS):
                await self.lifespan.shutdown()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise an OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    # Head and body go out in two writes; without this the second one waits for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
