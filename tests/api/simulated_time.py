"""Simulated time, requests that wait in it, and responses, for tests of the rate limit."""

from __future__ import annotations

import heapq
import itertools

import anyio
import httpx

from extend_mcp.api.rate_limit import LocalWindow, RateLimiter


class Clock:
    """Time that passes only by sleeping, or by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.seconds += seconds

    def limiter(self, per_second: int) -> RateLimiter:
        window = LocalWindow(per_second, monotonic=self.monotonic)
        return RateLimiter(window, sleep=self.sleep, monotonic=self.monotonic)


class Simulation:
    """Many requests in simulated time, which moves to the next wake-up when no task has anything left to do."""

    def __init__(self, per_second: int) -> None:
        self.seconds = 0.0
        self.sent: list[tuple[str, int, float]] = []
        """The caller and the number of each request, and when it was sent."""
        self.asleep = 0
        window = LocalWindow(per_second, monotonic=self.monotonic)
        self.limiter = RateLimiter(window, sleep=self._sleep_alone, monotonic=self.monotonic)
        self._due: list[tuple[float, int, anyio.Event]] = []
        self._ties = itertools.count()
        self._stirred = 0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self._stirred += 1
        moment = (self.seconds + seconds, next(self._ties), anyio.Event())
        heapq.heappush(self._due, moment)
        try:
            await moment[2].wait()
        finally:
            self._stirred += 1
            if moment in self._due:
                self._due.remove(moment)
                heapq.heapify(self._due)

    async def _sleep_alone(self, seconds: float) -> None:
        self.asleep += 1
        assert self.asleep == 1, "only the first in the queue sleeps"
        try:
            await self.sleep(seconds)
        finally:
            self.asleep -= 1

    async def send(self, caller: str, number: int) -> None:
        """Wait for the rate limit, and note when the request was sent."""
        await self.limiter.acquire("GET", caller)
        self._stirred += 1
        self.sent.append((caller, number, self.seconds))

    async def settle(self) -> None:
        """Let every task do what it can at this moment."""
        quiet = 0
        while quiet < 20:
            before = self._stirred
            await anyio.lowlevel.checkpoint()
            quiet = quiet + 1 if before == self._stirred else 0

    async def run(self, until: float = float("inf")) -> None:
        """Let time pass until no task sleeps any more, or until a moment."""
        await self.settle()
        while self._due and self._due[0][0] <= until:
            self.seconds, _, event = heapq.heappop(self._due)
            event.set()
            await self.settle()
        if until != float("inf"):
            self.seconds = until

    def order(self) -> str:
        """The callers of the requests, in the order in which these were sent."""
        return "".join(caller for caller, _, _ in self.sent)


def answer_with(*statuses: int, **headers: str) -> httpx.MockTransport:
    """Respond with these statuses, one after the other, the last one always."""
    left = list(statuses)
    return httpx.MockTransport(
        lambda request: httpx.Response(left.pop(0) if len(left) > 1 else left[0], headers=headers, json={})
    )
