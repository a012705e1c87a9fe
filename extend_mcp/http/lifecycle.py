"""The requests and streams in progress, and how a serving process ends without breaking them off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from starlette.requests import Request

from extend_mcp.limits import Shares
from extend_mcp.mcp_compat import FAILED_INITIALIZE

_POLL_SECONDS: Final = 0.1


@dataclass
class Lifecycle:
    """The calls in progress in this process, and whether it is about to end.

    ``shares`` counts the MCP requests in progress, subscriptions left out. What is in ``on_end`` is called when open
    streams are to end, after the calls in flight; then ``streams_end`` is set.
    """

    shares: Shares = field(default_factory=Shares)
    draining: bool = False
    on_end: set[Callable[[], object]] = field(default_factory=set)
    streams_end: bool = False

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Count a request while it is in progress (MCP middleware), and refuse more than a caller's share.

        HTTP requests are counted by `ConcurrencyLimitMiddleware`. Over /sse, and after a client of 2025-11-25 and
        before has hung up, a call has no HTTP request to itself.
        """
        if ctx.request_id is None or ctx.method == "subscriptions/listen":
            return await call_next(ctx)
        principal = ctx.lifespan_context.caller().principal
        with self.shares.hold(principal) as refused:
            if refused:
                most = self.shares.of_one_caller
                problem = f"{most} of your calls are in progress. Nothing was sent: try again later."
                raise MCPError(INTERNAL_ERROR, problem)
            try:
                return await call_next(ctx)
            except Exception:
                if ctx.method == "initialize" and isinstance(ctx.request, Request):
                    ctx.request.scope[FAILED_INITIALIZE] = True
                raise

    @property
    def calls(self) -> int:
        """Return how many MCP requests are in progress."""
        return self.shares.held.total()

    async def end_streams(self) -> None:
        """Ask all open streams to end as soon as no call is in progress, until cancelled.

        A response may travel on an open stream (SSE): two quiet looks in a row leave time to write it.
        """
        quiet = 0
        while quiet < 2:
            await anyio.sleep(_POLL_SECONDS)
            quiet = quiet + 1 if self.calls == 0 else 0
        self.streams_end = True
        while True:
            # Also those that were being opened a moment ago.
            for end in [*self.on_end]:
                end()
            await anyio.sleep(_POLL_SECONDS)
