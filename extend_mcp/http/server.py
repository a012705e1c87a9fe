"""The process that listens: it ends in good order when it is told to."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Final

import anyio
import uvicorn
from anyio.abc import TaskGroup
from sse_starlette.sse import AppStatus
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extend_mcp.http.lifecycle import Lifecycle
from extend_mcp.http.settings import HttpSettings

logger = logging.getLogger(__name__)

_LAST_SECONDS: Final = 0.5
"""How long what was broken off may take to clean up."""

_BROKEN_OFF: Final = (
    "The server ended before the call did. It is unclear whether the call took effect: look before you repeat anything."
)


@asynccontextmanager
async def serving(
    app: ASGIApp,
    lifecycle: Lifecycle,
    http: HttpSettings,
    listener: socket.socket,
    on_ready: Callable[[], None] = lambda: None,
) -> AsyncIterator[Server]:
    """A uvicorn server for ``app``, not yet started."""
    # Left to itself it would cut off every event stream as soon as the server is to end, and with it the answers of
    # calls in flight; the standing ones are ended by `Lifecycle`.
    AppStatus.enable_automatic_graceful_drain = False
    async with anyio.create_task_group() as tasks:
        config = uvicorn.Config(
            BrokenOff(app, lifecycle),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # Beyond our own bound, which leaves the probes alone: a full server must not look like a dead one.
            limit_concurrency=http.requests_at_once * 2 + 100,
            timeout_graceful_shutdown=max(round(http.shutdown_seconds), 1),
        )
        yield Server(config, lifecycle, tasks, drain_seconds=http.drain_seconds, on_ready=on_ready)
        tasks.cancel_scope.cancel()


class Server(uvicorn.Server):
    """Ends in good order: says that it is not ready, takes requests a while longer, stops listening, lets calls finish.

    Args:
        config: uvicorn's.
        lifecycle: what is under way.
        tasks: where the end is prepared.
        drain_seconds: how long requests are still taken after the first signal.
        on_ready: called once requests are taken.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        lifecycle: Lifecycle,
        tasks: TaskGroup,
        *,
        drain_seconds: float,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._tasks = tasks
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
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
        self._tasks.start_soon(self._drain)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let calls finish, then end what would stay open for ever."""
        self._lifecycle.draining = True
        self._tasks.start_soon(self._lifecycle.end_streams)
        await super().shutdown(sockets)
        if self.force_exit:
            await self._break_off()

    async def _break_off(self) -> None:
        """End calls now, and the application with them; uvicorn leaves both to the end of the loop, which logs it."""
        calls = list(self.server_state.tasks)
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls, timeout=_LAST_SECONDS)
        with anyio.move_on_after(_LAST_SECONDS):
            await self.lifespan.shutdown()

    async def _drain(self) -> None:
        logger.info("ending: requests are taken for %g s more", self._drain_seconds)
        await anyio.sleep(self._drain_seconds)
        self.should_exit = True


class BrokenOff:
    """ASGI middleware: a call that the end of the process breaks off is answered, and is no error of the application.

    Args:
        app: the application.
        lifecycle: says whether the process is about to end.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self._lifecycle.draining:
                raise
            if not begun:
                document = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": _BROKEN_OFF}}
                headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": 503, "headers": headers})
                await send({"type": "http.response.body", "body": json.dumps(document).encode()})
            else:
                await send({"type": "http.response.body", "body": b""})


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    # Head and body go out in two writes; without this the second one waits for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
