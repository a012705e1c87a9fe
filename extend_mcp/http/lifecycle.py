"""The end of a serving process, in good order: told as not ready, then closed to new calls, then empty, then gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_LOOK_EVERY: Final = 0.1
_STREAMS: Final = frozenset({"subscriptions/listen"})


@dataclass
class Lifecycle:
    """What is under way in this process, and whether it is about to end.

    Attributes:
        draining: whether the process is about to end; /readyz says so.
        calls: how many MCP requests are being answered, subscriptions left out.
        on_end: called when standing streams are to end, once calls in flight have been answered.
    """

    draining: bool = False
    calls: int = 0
    on_end: list[Callable[[], None]] = field(default_factory=list)
    _standing: set[anyio.Event] = field(default_factory=set)

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Count a request while it is answered (server middleware)."""
        if ctx.request_id is None or ctx.method in _STREAMS:
            return await call_next(ctx)
        self.calls += 1
        try:
            return await call_next(ctx)
        finally:
            self.calls -= 1

    @contextmanager
    def standing(self) -> Iterator[anyio.Event]:
        """Register a stream that would stay open for ever; gives the event that asks it to end."""
        end = anyio.Event()
        self._standing.add(end)
        try:
            yield end
        finally:
            self._standing.discard(end)

    @property
    def streams(self) -> int:
        """How many standing streams are open."""
        return len(self._standing)

    async def end_streams(self) -> None:
        """Ask all standing streams to end as soon as no call is being answered.

        An answer may travel on a standing stream (SSE): two quiet looks in a row leave it the time to be written.
        """
        quiet = 0
        while quiet < 2:
            await anyio.sleep(_LOOK_EVERY)
            quiet = quiet + 1 if self.calls == 0 else 0
        for end in self.on_end:
            end()
        for stream in list(self._standing):
            stream.set()


class StandingStreams:
    """ASGI middleware: a GET of an event stream ends when the process does, as if its client had gone.

    Args:
        app: the application.
        lifecycle: says when.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        begun = again = ended = False

        async def watched_send(message: Message) -> None:
            nonlocal begun, again, ended
            if message["type"] == "http.response.start":
                # The SDK's /sse answers a second time when its stream has ended.
                begun, again = True, begun
            if again:
                return
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        with self._lifecycle.standing() as end:

            async def receive_or_end() -> Message:
                message: Message = {"type": "http.disconnect"}
                async with anyio.create_task_group() as tasks:

                    async def client() -> None:
                        nonlocal message
                        message = await receive()
                        tasks.cancel_scope.cancel()

                    tasks.start_soon(client)
                    await end.wait()
                    tasks.cancel_scope.cancel()
                return message

            await self._app(scope, receive_or_end, watched_send)
        if begun and not ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
