"""Keeping to the account's rate limit (Extend API reference, Rate limits).

Extend counts reads (GET), starts of work (RUN) and other changes (WRITE) apart, per organization and second.
"""

import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import anyio
import httpx

Category = Literal["GET", "WRITE", "RUN"]

_RUNS: Final = ("/workflow_runs", "/workflow_runs/batch")


class Pace:
    """Lets at most so many requests of one category go in any one second, in the order they came.

    Args:
        per_second: The limit, 1 or more.
        sleep: Waits; given so that tests need not.
        monotonic: Tells the time in seconds.
    """

    def __init__(
        self, per_second: int, *, sleep: Callable[[float], Awaitable[None]], monotonic: Callable[[], float]
    ) -> None:
        self._per_second = per_second
        self._sleep = sleep
        self._monotonic = monotonic
        self._sent: deque[float] = deque(maxlen=per_second)
        self._queue = anyio.Lock()

    async def turn(self) -> None:
        """Return as soon as one more request may go."""
        async with self._queue:
            while len(self._sent) == self._per_second:
                wait = self._sent[0] + 1.0 - self._monotonic()
                if wait <= 0:
                    break
                await self._sleep(max(wait, 0.001))
            # The oldest one falls out by itself.
            self._sent.append(self._monotonic())


class PaceTransport(httpx.AsyncBaseTransport):
    """Holds back requests that would go beyond the rate limit.

    Args:
        inner: The transport that does the work.
        per_second: Most requests a second in each category.
        sleep: Waits.
        monotonic: Tells the time in seconds.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        per_second: int,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._paces: dict[Category, Pace] = defaultdict(lambda: Pace(per_second, sleep=sleep, monotonic=monotonic))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for the request's turn, then send it."""
        await self._paces[category(request.method, request.url.path)].turn()
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()


def category(method: str, path: str) -> Category:
    """The category that a request counts in. Where cancels and deletes count is not documented: as writes here."""
    if method == "GET":
        return "GET"
    return "RUN" if method == "POST" and path.endswith(_RUNS) else "WRITE"
