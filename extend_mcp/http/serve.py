"""Serving over HTTP: listen, close what waits for its request too long, and finish the calls in flight at the end."""

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
from uvicorn.protocols.http.h11_impl import H11Protocol

from extend_mcp.actions.store import alongside
from extend_mcp.http.app import HttpApp
from extend_mcp.http.settings import HttpSettings
from extend_mcp.mcp_compat import let_event_streams_finish
from extend_mcp.settings import Settings
from extend_mcp.telemetry.redaction import Redactor

try:
    import resource
except ModuleNotFoundError:  # Windows, which has no limit on open files to look at
    resource = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_OTHER_FILES: Final = 200  # open files that are left to everything but clients: requests to Extend, Redis, logs
_CLEANUP_SECONDS: Final = 0.5  # the time that a call that was broken off has to clean up


async def serve_http(
    settings: Settings, http: HttpSettings, *, sse: bool, redactor: Redactor, on_ready: Callable[[str], None]
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


class Connection(H11Protocol):
    """A connection that is closed when the headers of its next request do not arrive in time.

    uvicorn has a timeout between two requests, which the first byte of the second one ends, and none before the first.
    Beyond the ``most`` connections the one that waits longest is closed, not the new one: a probe is a new one. A
    connection with a request in progress is never closed.
    """

    def __init__(self, *args: Any, most: int, header_seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._most = most
        self.timeout_keep_alive = header_seconds  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room, and begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            timers = [(each, each.timeout_keep_alive_task) for each in self.connections if isinstance(each, Connection)]
            waiting = {each: timer.when() for each, timer in timers if timer}
            if waiting:
                min(waiting, key=waiting.__getitem__).transport.abort()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request. Only whole headers end the wait for them, unlike in uvicorn."""
        self.conn.receive_data(data)
        self.handle_events()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection. Nothing is lost: no request is in progress."""
        super().timeout_keep_alive_handler()
        # A client that does not read its last response would keep a closing connection forever.
        self.loop.call_later(self.timeout_keep_alive, self.transport.abort)


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
            for call in (calls := [*self.server_state.tasks]):
                call.cancel()
            with anyio.move_on_after(_CLEANUP_SECONDS):
                await asyncio.gather(*calls, return_exceptions=True)
            with anyio.move_on_after(_CLEANUP_SECONDS):
                await self.lifespan.shutdown()


def open_files(most: int) -> int:
    """Return how many connections this process can hold, after raising its limit of open files if it may."""
    if resource is None:
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return min(most, max(raised - _OTHER_FILES, raised // 2))


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise an OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    # Head and body go out in two writes; without this the second one waits for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
