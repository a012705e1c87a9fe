"""The events received before. Extend delivers at least once, so the same event may come again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

REMEMBERED_SECONDS: Final = 24 * 3600
"""The time for which an event's id is kept: far longer than a signature is valid."""

_MOST = 100_000


class Seen(Protocol):
    """Remembers the ids of events."""

    async def first(self, event_id: str) -> bool:
        """Note an event; False where it was noted before."""
        ...

    async def forget(self, event_id: str) -> None:
        """Take a note back, so that the event may come again."""
        ...


class LocalSeen:
    """Remembers in this process.

    Args:
        monotonic: time in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: OrderedDict[str, float] = OrderedDict()

    async def first(self, event_id: str) -> bool:
        """Note an event; False where it was noted before."""
        now = self._monotonic()
        while self._until and (len(self._until) > _MOST or next(iter(self._until.values())) <= now):
            self._until.popitem(last=False)
        if event_id in self._until:
            return False
        self._until[event_id] = now + REMEMBERED_SECONDS
        return True

    async def forget(self, event_id: str) -> None:
        """Take a note back."""
        self._until.pop(event_id, None)
