"""Time that stands still, callers in it, and answers, for tests of taking turns."""

from __future__ import annotations

import heapq
import itertools

import anyio
import httpx

from extend_mcp.api.pace import Budget, LocalPermits


class Clock:
    """Time that passes only by sleeping, or by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.seconds += seconds

    def budget(self, per_second: int) -> Budget:
        return Budget(LocalPermits(per_second, monotonic=self.monotonic), sleep=self.sleep, monotonic=self.monotonic)


class Simulation:
    """Many callers in simulated time: it moves on to the next sleeper's moment when nobody has anything left to do."""

    def __init__(self, per_second: int) -> None:
        self.seconds = 0.0
        self.sent: list[tuple[str, int, float]] = []
        """Who went: caller, number, moment."""
        self.asleep = 0
        self.permits = LocalPermits(per_second, monotonic=self.monotonic)
        self.budget = Budget(self.permits, sleep=self._sleep_as_head, monotonic=self.monotonic)
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

    async def _sleep_as_head(self, seconds: float) -> None:
        self.asleep += 1
        assert self.asleep == 1, "only the head of a line sleeps"
        try:
            await self.sleep(seconds)
        finally:
            self.asleep -= 1

    async def go(self, caller: str, number: int) -> None:
        """Wait for a turn and note when it came."""
        await self.budget.turn("GET", caller)
        self._stirred += 1
        self.sent.append((caller, number, self.seconds))

    async def settle(self) -> None:
        """Let everybody do what they can at this moment."""
        quiet = 0
        while quiet < 20:
            before = self._stirred
            await anyio.lowlevel.checkpoint()
            quiet = quiet + 1 if before == self._stirred else 0

    async def run(self, until: float = float("inf")) -> None:
        """Let time pass until nobody sleeps any more, or until a moment."""
        await self.settle()
        while self._due and self._due[0][0] <= until:
            self.seconds, _, event = heapq.heappop(self._due)
            event.set()
            await self.settle()
        if until != float("inf"):
            self.seconds = until

    def order(self) -> str:
        """Who went, by their names."""
        return "".join(caller for caller, _, _ in self.sent)


def answer_with(*statuses: int, **headers: str) -> httpx.MockTransport:
    """Answer with these statuses in turn, the last one for ever."""
    left = list(statuses)
    return httpx.MockTransport(
        lambda request: httpx.Response(left.pop(0) if len(left) > 1 else left[0], headers=headers, json={})
    )
