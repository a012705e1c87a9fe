"""The events received before. Extend delivers at least once, so the same event may come again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

REMEMBERED_SECONDS: Final = 24 * 3600
"""The time for which an event's id is kept: far longer than a signature is valid."""

_MOST = 100_000


class Seen:
    """Remembers the ids of events, and which runs' ends were received, in this process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._since = monotonic()
        self._until: OrderedDict[str, float] = OrderedDict()

    async def first(self, event_id: str) -> bool:
        """Note an event; False where it was noted before."""
        now = self._monotonic()
        while self._until and (len(self._until) > _MOST or next(iter(self._until.values())) <= now):
            _, until = self._until.popitem(last=False)
            self._since = max(self._since, until - REMEMBERED_SECONDS)
        if event_id in self._until:
            return False
        self._until[event_id] = now + REMEMBERED_SECONDS
        return True

    async def forget(self, event_id: str) -> None:
        """Take a note back, so that the event may come again."""
        self._until.pop(event_id, None)

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """Return which of these were noted."""
        return self._until.keys() & set(event_ids)

    async def since(self) -> float:
        """Return the Unix seconds since which every note is kept."""
        now = self._monotonic()
        return self._wall() - (now - max(self._since, now - REMEMBERED_SECONDS))
