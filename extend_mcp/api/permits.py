"""How many requests may go, by Extend's categories: a limit that holds in any one second and learns from refusals.

Extend counts reads (GET), starts of work (RUN) and other changes (WRITE) apart, per organization and second
(Extend API reference, Rate limits). Others may use the same organization, so the limit that is really left is not
known: a refusal halves it, quiet time lets it grow back.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

Category = Literal["GET", "WRITE", "RUN"]

WINDOW: Final = 1.0
"""Seconds in which the limit holds."""

PAUSE: Final = 1.0
"""Seconds without requests after a refusal that names none."""

LONGEST_PAUSE: Final = 60.0
"""Seconds, the most of a Retry-After that is kept to: a mistaken one must not stop a server for the day."""

REGROW: Final = 2.0
"""Seconds without a refusal after which the limit grows by one."""

SHORTEST_WAIT: Final = 0.001
"""Seconds: what rounding leaves of a wait is not worth asking again for, and could be too little to move a clock."""

_RUNS: Final = ("/workflow_runs", "/workflow_runs/batch")


class Permits(Protocol):
    """Counts the requests of one rate limit, wherever the count is kept."""

    async def take(self, category: Category) -> float:
        """Ask for one request.

        Returns:
            0.0 if it may go, and then it is counted; else the seconds after which to ask again.
        """
        ...

    async def refused(self, category: Category, retry_after: float | None) -> None:
        """Learn that Extend answered 429.

        Args:
            category: What the refused request counted as.
            retry_after: Seconds Extend asks to wait; None if it did not say.
        """
        ...


@dataclass
class _Count:
    """The state of one category, in seconds of the clock.

    Attributes:
        limit: the limit right after it was last halved.
        sent: when the requests of the last second went, oldest first.
        halved: when the limit was last halved.
        until: nothing goes before this.
    """

    limit: int
    sent: deque[float] = field(default_factory=deque)
    halved: float = float("-inf")
    until: float = float("-inf")


class LocalPermits(Permits):
    """Counts in this process.

    At most ``per_second`` requests of a category go in any one second. After a refusal none goes until the pause it
    asked for is over, and the limit is half of what it was, at least 1; for every ``regrow`` seconds without another
    it grows by one, up to ``per_second``. Requests sent together are refused together: refusals within the pause, or
    within a second, halve once.

    Args:
        per_second: The limit, 1 or more.
        monotonic: Tells the time in seconds.
        regrow: Seconds, above 0.
    """

    def __init__(
        self, per_second: int, *, monotonic: Callable[[], float] = time.monotonic, regrow: float = REGROW
    ) -> None:
        self._per_second = per_second
        self._monotonic = monotonic
        self._regrow = regrow
        self._counts: dict[Category, _Count] = defaultdict(lambda: _Count(per_second))

    async def take(self, category: Category) -> float:
        """Count one request if it may go; see `Permits`."""
        count, now = self._counts[category], self._monotonic()
        if now < count.until:
            return max(count.until - now, SHORTEST_WAIT)
        sent, limit = count.sent, self._limit(count, now)
        while sent and sent[0] + WINDOW <= now:
            sent.popleft()
        if len(sent) < limit:
            sent.append(now)
            return 0.0
        # After a halving there may be more in the window than the limit: all of those must leave it.
        return max(sent[-limit] + WINDOW - now, SHORTEST_WAIT)

    async def refused(self, category: Category, retry_after: float | None) -> None:
        """Pause, and halve the limit; see `Permits`."""
        count, now = self._counts[category], self._monotonic()
        if now >= max(count.until, count.halved + WINDOW):
            count.limit = max(self._limit(count, now) // 2, 1)
            count.halved = now
        count.until = max(count.until, now + pause(retry_after))

    def _limit(self, count: _Count, now: float) -> int:
        # A pause teaches nothing about the limit, so growing starts after it.
        quiet = max(now - max(count.halved, count.until), 0.0)
        return int(min(count.limit + quiet / self._regrow, self._per_second))


def pause(retry_after: float | None) -> float:
    """Seconds to send nothing after a refusal with this Retry-After."""
    return PAUSE if retry_after is None else min(max(retry_after, 0.0), LONGEST_PAUSE)


def category(method: str, path: str) -> Category:
    """The category that a request counts in. Where cancels and deletes count is not documented: as writes here."""
    if method == "GET":
        return "GET"
    return "RUN" if method == "POST" and path.endswith(_RUNS) else "WRITE"
