"""Keeping to the organization's rate limit: each request waits for its turn, and callers take turns."""

import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import httpx

from extend_mcp.api.observe import Observer
from extend_mcp.api.permits import Category, LocalPermits, Permits, category
from extend_mcp.api.wire import parse_retry_after

__all__ = ["NEVER_SENT", "Budget", "Category", "LocalPermits", "PaceTransport", "Permits", "category"]

NEVER_SENT: Final = "extend_mcp.never_sent"
"""An extension of a request: true while it waits for its first turn."""

_NOTICEABLE: Final = 0.001
"""Seconds: what is shorter is the queue's own work, not a wait."""


class _Line:
    """Who waits in one category. Callers take turns, one request each; a caller's own keep their order.

    Each request stands at its place, an event that is set when it becomes the head of the line. The head stays in
    line, and its caller ahead of the others, until it leaves: who comes meanwhile is before that caller's next.
    """

    def __init__(self) -> None:
        self._callers: OrderedDict[str, deque[anyio.Event]] = OrderedDict()
        self._head: anyio.Event | None = None

    def join(self, caller: str) -> anyio.Event:
        """Stand in line for ``caller``."""
        place = anyio.Event()
        self._callers.setdefault(caller, deque()).append(place)
        if self._head is None:
            self._call_next()
        return place

    def leave(self, caller: str, place: anyio.Event) -> None:
        """Leave the line, from wherever in it; if from its head, the next one is called."""
        places = self._callers[caller]
        places.remove(place)
        if not places:
            del self._callers[caller]
        if place is self._head:
            if places:
                self._callers.move_to_end(caller)
            self._call_next()

    def _call_next(self) -> None:
        self._head = next((places[0] for places in self._callers.values()), None)
        if self._head is not None:
            self._head.set()


class Budget:
    """Lets requests go as permits allow, fairly: one caller's long queue delays another's request by about one.

    There is one for everybody who shares a rate limit, used from one event loop. Only the head of a line asks for
    permits and sleeps; nothing runs when nobody waits.

    Args:
        permits: Counts the requests.
        sleep: Waits so many seconds.
        monotonic: Tells the time in seconds.
    """

    def __init__(
        self,
        permits: Permits,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._permits = permits
        self._sleep = sleep
        self._monotonic = monotonic
        self._lines: dict[Category, _Line] = defaultdict(_Line)

    async def turn(self, category: Category, caller: str) -> float:
        """Return as soon as one more request of this caller may go.

        Returns:
            Seconds waited, 0.0 where it could go at once.
        """
        line, start = self._lines[category], self._monotonic()
        place = line.join(caller)
        try:
            await place.wait()
            while (seconds := await self._permits.take(category)) > 0:
                await self._sleep(seconds)
        finally:
            # Also when cancelled, wherever that was: else everybody behind would wait for ever.
            line.leave(caller, place)
        waited = self._monotonic() - start
        return waited if waited >= _NOTICEABLE else 0.0

    async def refused(self, category: Category, retry_after: float | None) -> None:
        """Learn that Extend answered 429, with ``retry_after`` in seconds if it said so."""
        await self._permits.refused(category, retry_after)


class PaceTransport(httpx.AsyncBaseTransport):
    """Holds back requests that would go beyond the rate limit, and learns from those that did.

    Args:
        inner: The transport that does the work.
        budget: The rate limit, shared by all who count against it.
        caller: Names whose requests these are: callers take turns.
        observer: Is told of every wait.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        budget: Budget,
        *,
        caller: str = "",
        observer: Observer | None = None,
    ) -> None:
        self._inner = inner
        self._budget = budget
        self._caller = caller
        self._observer = observer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for the request's turn, then send it."""
        kind = category(request.method, request.url.path)
        # A later attempt of the same request finds false here, and leaves it.
        request.extensions.setdefault(NEVER_SENT, True)
        seconds = await self._budget.turn(kind, self._caller)
        request.extensions[NEVER_SENT] = False
        if seconds and self._observer is not None:
            self._observer.rate_waited(category=kind, seconds=seconds)
        response = await self._inner.handle_async_request(request)
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            try:
                await self._budget.refused(kind, parse_retry_after(response.headers.get("retry-after")))
            except BaseException:
                # Cancelled, that is: nobody else will know of the answer to close it.
                await response.aclose()
                raise
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()
