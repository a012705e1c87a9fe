"""A proxy in front of the sandbox that holds one request until its client leaves or the test releases it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extend_mcp.sandbox.sandbox_server import running_app


@dataclass
class HoldingProxy:
    """An ASGI application in front of the sandbox's.

    Attributes:
        app: the sandbox's.
        hold: which request is held, counted from 1; 0 for none.
        seen: how many requests have come.
        held: set while one is held.
        left: set once the client of the one that was held has closed its connection.
        let: set by a test that wants the held one answered.
        base_url: where it listens.
    """

    app: ASGIApp
    hold: int = 0
    seen: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    let: threading.Event = field(default_factory=threading.Event)
    base_url: str = ""

    def again(self, hold: int) -> None:
        """Start counting again."""
        self.hold, self.seen = hold, 0
        for event in (self.held, self.left, self.let):
            event.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or hold it."""
        if scope["type"] == "http":
            self.seen += 1
            if self.seen == self.hold:
                body = await _body(receive)
                if not await self._is_let(receive):
                    return
                receive = _once(body)
        await self.app(scope, receive, send)

    async def _is_let(self, receive: Receive) -> bool:
        """Hold a request; tell whether it is to be answered, or its client has left."""
        self.held.set()
        gone = asyncio.ensure_future(receive())
        while not gone.done() and not self.let.is_set():
            await asyncio.wait([gone], timeout=0.005)
        if gone.done():
            self.left.set()
            return False
        gone.cancel()
        return True


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


@contextmanager
def holding_proxy(app: ASGIApp) -> Iterator[HoldingProxy]:
    """Serve the proxy on this machine until the block ends."""
    proxy = HoldingProxy(app)
    with running_app(proxy) as proxy.base_url:
        yield proxy
        # A request that is still held would keep the server from ending.
        proxy.let.set()
