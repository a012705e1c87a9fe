"""Serve a sandbox over a socket: `serve` for the command line, `running_sandbox` for tests."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from extend_mcp.sandbox.api.fault_injection import CONNECTION
from extend_mcp.sandbox.engine.sandbox_clock import SandboxClock
from extend_mcp.sandbox.sandbox import Sandbox
from extend_mcp.sandbox.sandbox_settings import DEFAULT_SETTINGS, SandboxSettings


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that serves at `base_url`."""

    base_url: str
    sandbox: Sandbox


class _Protocol(H11Protocol):
    """HTTP/1.1 that gives each request its transport as an ASGI extension, so that a fault can end the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        serve = self.app

        async def serve_with_connection(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[CONNECTION] = transport
            await serve(scope, receive, send)

        self.app = serve_with_connection


class _Server(uvicorn.Server):
    """A server that reports when it listens, and shuts down on a signal without a traceback."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The base class raises the signal again after shutdown, which would print a traceback.
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve(
    sandbox: Sandbox,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[str], None] = lambda base_url: None,
) -> None:
    """Serve until SIGINT or SIGTERM, or until cancelled.

    Args:
        sandbox: the sandbox to serve.
        host: the address to listen on.
        port: the port to listen on, or 0 for a free one.
        on_ready: called with the base URL, e.g. `http://127.0.0.1:43121`, once requests are accepted.

    Raises:
        OSError: the address is not available.
    """
    with _listen(host, port) as listener:
        sandbox.links.base_url = base_url = _base_url(listener)
        server = _server(sandbox.app, lambda: on_ready(base_url))
        try:
            await server.serve(sockets=[listener])
        except asyncio.CancelledError:
            # Without this, a cancelled server keeps its connections open.
            if server.started:
                with anyio.CancelScope(shield=True):
                    await server.shutdown(sockets=[listener])
            raise


@contextmanager
def running_sandbox(
    settings: SandboxSettings = DEFAULT_SETTINGS, clock: SandboxClock | None = None
) -> Iterator[RunningSandbox]:
    """Serve a new sandbox on a free local port from a daemon thread until the block ends."""
    sandbox = Sandbox(settings, clock)
    with running_app(sandbox.app) as base_url:
        sandbox.links.base_url = base_url
        yield RunningSandbox(base_url, sandbox)


@contextmanager
def running_app(app: ASGIApp) -> Iterator[str]:
    """Serve an application the way `running_sandbox` does and yield its base URL."""
    listening = threading.Event()
    server = _server(app, listening.set)
    with _listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])), name="extend-sandbox", daemon=True
        )
        thread.start()
        try:
            if not listening.wait(timeout=10):
                raise RuntimeError("the sandbox did not start within 10 seconds")
            yield _base_url(listener)
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def _server(app: ASGIApp, on_listening: Callable[[], None]) -> _Server:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        # Without its own configuration, uvicorn logs warnings to stderr like the rest of the program.
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config, on_listening)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # Head and body are two writes. Without this option the second waits about 40 ms for the acknowledgement of the
    # first. Connections inherit the option, which asyncio does not set on a socket it did not create.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
