"""The requests and streams in progress, and how a serving process ends without breaking them off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from starlette.requests import Request

from extend_mcp.mcp_compat import FAILED_INITIALIZE

_POLL_SECONDS: Final = 0.1
_STREAMS: Final = frozenset({"subscriptions/listen"})


@dataclass
class Lifecycle:
    """The calls in progress in this process, and whether it is about to end.

    Attributes:
        calls_of_one_caller: the most MCP requests that one caller may have in progress; None where there is one caller.
        draining: whether the process is about to end; /readyz reports it.
        calls: how many MCP requests are in progress, subscriptions left out.
        on_end: called when open streams are to end, after the calls in flight.
    """

    calls_of_one_caller: int | None = None
    draining: bool = False
    calls: int = 0
    on_end: list[Callable[[], None]] = field(default_factory=list)
    _streams: set[anyio.Event] = field(default_factory=set)
    _of_caller: Counter[str] = field(default_factory=Counter)

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Count a request while it is in progress (MCP middleware), and refuse more than a caller's share.

        HTTP requests are counted by `ConcurrencyLimitMiddleware`. Over /sse, and after a client of 2025-11-25 and
        before has hung up, a call has no HTTP request to itself.
        """
        if ctx.request_id is None or ctx.method in _STREAMS:
            return await call_next(ctx)
        principal = ctx.lifespan_context.caller().principal
        most = self.calls_of_one_caller
        if most is not None and self._of_caller[principal] >= most:
            raise MCPError(INTERNAL_ERROR, f"{most} of your calls are in progress. Nothing was sent: try again later.")
        self.calls += 1
        self._of_caller[principal] += 1
        try:
            return await call_next(ctx)
        except Exception:
            if ctx.method == "initialize" and isinstance(ctx.request, Request):
                ctx.request.scope[FAILED_INITIALIZE] = True
            raise
        finally:
            self.calls -= 1
            self._of_caller[principal] -= 1
            if not self._of_caller[principal]:
                del self._of_caller[principal]

    @contextmanager
    def open_stream(self) -> Iterator[anyio.Event]:
        """Register a stream that would stay open forever; yields the event that asks it to end."""
        end = anyio.Event()
        self._streams.add(end)
        try:
            yield end
        finally:
            self._streams.discard(end)

    @property
    def streams(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    async def end_streams(self) -> None:
        """Ask all open streams to end as soon as no call is in progress.

        A response may travel on an open stream (SSE): two quiet looks in a row leave time to write it.
        """
        quiet = 0
        while quiet < 2:
            await anyio.sleep(_POLL_SECONDS)
            quiet = quiet + 1 if self.calls == 0 else 0
        for end in self.on_end:
            end()
        for stream in list(self._streams):
            stream.set()
