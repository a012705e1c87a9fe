"""One server for all sandboxes of a test process: starting and stopping one takes longer than most tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from starlette.types import ASGIApp, Receive, Scope, Send

from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings
from extend_mcp.sandbox.sandbox_server import RunningSandbox, running_app


class Host:
    """Serves each sandbox under its own path, as long as its test lasts."""

    def __init__(self) -> None:
        self.base_url = ""
        self._rooms: dict[str, ASGIApp] = {}
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the sandbox whose name its path begins with."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        name, _, rest = scope["path"].removeprefix("/").partition("/")
        app = self._rooms.get(name)
        if app is None:
            await send({"type": "http.response.start", "status": 410, "headers": []})
            await send({"type": "http.response.body", "body": b"this test is over"})
            return
        await app({**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}, receive, send)

    @contextmanager
    def room(
        self, scenario: str = "default", *, speed: float = 0, source: Callable[[], float] = time.time
    ) -> Iterator[RunningSandbox]:
        """Serve a new sandbox whose clock runs at ``speed`` times real time; at 0 only a test advances it."""
        sandbox = Sandbox(SandboxSettings(scenario=scenario), SandboxClock(speed=speed, source=source))
        name = f"box{next(self._numbers)}"
        self._rooms[name] = sandbox.app
        sandbox.links.base_url = f"{self.base_url}/{name}"
        try:
            yield RunningSandbox(sandbox.links.base_url, sandbox)
        finally:
            del self._rooms[name]
            empty(sandbox)


def empty(sandbox: Sandbox) -> None:
    """Drop the objects of a sandbox whose test is over.

    A scenario has 100,000 of them, which refer to each other: finding them as garbage takes longer than making them.
    """
    with sandbox.lock:
        sandbox.engine._due.clear()
        sandbox.store.runs.clear()
        sandbox.store.files.clear()


@contextmanager
def hosting() -> Iterator[Host]:
    """A host that serves until the block ends."""
    host = Host()
    with running_app(host) as host.base_url:
        yield host


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
