"""Keep requests within Extend's rate limits.

Extend counts reads (GET), starts of work (RUN) and other changes (WRITE) apart, per organization and second
(Extend API reference, Rate limits). A request that would exceed the limit waits here instead of being refused there.
"""

import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, Literal, Protocol
from weakref import WeakValueDictionary

import anyio

Category = Literal["GET", "WRITE", "RUN"]

WINDOW: Final = 1.0
"""Seconds in which the limit holds."""

DEFAULT_PAUSE: Final = 1.0
"""Seconds without requests after a 429 that has no Retry-After."""

LONGEST_PAUSE: Final = 60.0
"""Seconds; a longer Retry-After is cut to this, so that a mistaken one does not stop a server for the day."""

SHORTEST_WAIT: Final = 0.001
"""Seconds; a shorter wait is rounding, and could be too short to move a clock."""


class RequestWindow(Protocol):
    """Counts the requests of one rate limit over the last second, in this process or in Redis."""

    async def take(self, category: Category) -> float:
        """Count one request and return 0.0, or return the seconds after which to ask again."""
        ...

    async def pause(self, category: Category, seconds: float) -> None:
        """Allow no request of the category for so many seconds. A pause that lasts longer already is kept."""
        ...


class LocalWindow(RequestWindow):
    """Counts in this process: at most ``per_second`` requests of a category in any one second."""

    def __init__(self, per_second: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._sent: dict[Category, deque[float]] = defaultdict(lambda: deque(maxlen=per_second))
        self._paused_until: dict[Category, float] = {}
        self._monotonic = monotonic

    async def take(self, category: Category) -> float:
        now, sent = self._monotonic(), self._sent[category]
        free_at = self._paused_until.get(category, now)
        if len(sent) == sent.maxlen:
            free_at = max(free_at, sent[0] + WINDOW)
        if free_at > now:
            return max(free_at - now, SHORTEST_WAIT)
        sent.append(now)
        return 0.0

    async def pause(self, category: Category, seconds: float) -> None:
        until = self._monotonic() + seconds
        self._paused_until[category] = max(until, self._paused_until.get(category, until))


def _lock() -> anyio.Lock:
    # A request that need not wait continues at once, instead of after everything else that is ready.
    return anyio.Lock(fast_acquire=True)


@dataclass(eq=False)
class RateLimiter:
    """Delays requests until their category is within its limit, which a window counts.

    Everything that counts against the same limit shares one limiter, in one event loop. Each caller's requests keep
    their order, and callers alternate: a long queue of one delays a request of another by about one.
    """

    window: RequestWindow
    _: KW_ONLY
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    monotonic: Callable[[], float] = time.monotonic
    _queues: dict[Category, anyio.Lock] = field(default_factory=lambda: defaultdict(_lock))
    _caller_queues: WeakValueDictionary[tuple[Category, str], anyio.Lock] = field(default_factory=WeakValueDictionary)

    async def acquire(self, category: Category, caller: str = "") -> float:
        """Wait until one more request may be sent, and return the seconds waited: 0.0 if it could be sent at once."""
        start = self.monotonic()
        caller_queue = self._caller_queues.setdefault((category, caller), _lock())
        # Locks are granted in order, and only the first request of each caller waits for the second one.
        async with caller_queue, self._queues[category]:
            while (seconds := await self.window.take(category)) > 0:
                await self.sleep(seconds)
        waited = self.monotonic() - start
        return waited if waited >= SHORTEST_WAIT else 0.0

    async def pause(self, category: Category, retry_after: float | None) -> None:
        """Send nothing of the category for a while, after Extend returned 429; ``retry_after`` is in seconds."""
        seconds = DEFAULT_PAUSE if retry_after is None else min(max(retry_after, 0.0), LONGEST_PAUSE)
        await self.window.pause(category, seconds)


def category_of(method: str, path: str) -> Category:
    """Return the category that a request counts in. Extend does not document cancels and deletes: taken as writes."""
    if method == "GET":
        return "GET"
    return "RUN" if method == "POST" and path.endswith(("/workflow_runs", "/workflow_runs/batch")) else "WRITE"
