"""Serves a sandbox over a real socket: for a person (`serve`) and for tests (`running_sandbox`)."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import anyio
import uvicorn
from starlette.types import ASGIApp

from extend_mcp.sandbox.clock import SandboxClock
from extend_mcp.sandbox.protocol import SandboxProtocol
from extend_mcp.sandbox.sandbox import Sandbox
from extend_mcp.sandbox.settings import DEFAULT_SETTINGS, SandboxSettings


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that answers at `base_url`."""

    base_url: str
    sandbox: Sandbox


class _Server(uvicorn.Server):
    """A server that says when it listens and takes a signal as a wish to end, not as an accident."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The base class raises the signal again after it has shut down, which would end in a traceback.
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
        sandbox: what to serve.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        on_ready: called with the base URL, e.g. `http://127.0.0.1:43121`, once requests are accepted.

    Raises:
        OSError: the address cannot be listened on.
    """
    with _listen(host, port) as listener:
        sandbox.links.base_url = base_url = _base_url(listener)
        server = _server(sandbox.app, lambda: on_ready(base_url))
        try:
            await server.serve(sockets=[listener])
        except asyncio.CancelledError:
            # Left to itself, a cancelled server would keep its connections open.
            if server.started:
                with anyio.CancelScope(shield=True):
                    await server.shutdown(sockets=[listener])
            raise


@contextmanager
def running_sandbox(
    settings: SandboxSettings = DEFAULT_SETTINGS, clock: SandboxClock | None = None
) -> Iterator[RunningSandbox]:
    """Serve a new sandbox on a free port of this machine from a daemon thread, until the block ends."""
    sandbox = Sandbox(settings, clock)
    with running_app(sandbox.app) as base_url:
        sandbox.links.base_url = base_url
        yield RunningSandbox(base_url, sandbox)


@contextmanager
def running_app(app: ASGIApp) -> Iterator[str]:
    """Serve an application with the sandbox's protocol, as `running_sandbox` does; gives its base URL."""
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
        http=SandboxProtocol,
        ws="none",
        lifespan="on",
        # Without a configuration of its own, uvicorn's warnings go where the program's go: to stderr.
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config, on_listening)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # Head and body go out in two writes. Connections inherit the option; asyncio does not set it on a socket it was
    # given, and without it the second write waits some 40 ms for the client's acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
