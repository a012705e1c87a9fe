"""An event loop whose time leaps: with nothing left to read, it is at once the time of the next timer.

So every time-out and every wait of the client is the real one, on real sockets, and costs no real time. Both ends of
each connection belong to this loop: what one end has written, the other can read at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

_GRACE = 0.003
"""Real seconds in which the kernel may still deliver something before time leaps."""


class _LeapingSelector(selectors.BaseSelector):
    """Waits a moment for sockets, and never for timers."""

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._inner.select(timeout)
        ready = self._inner.select(min(timeout, _GRACE))
        if not ready:
            self.now += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class LeapingLoop(asyncio.SelectorEventLoop):
    """See this module."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Seconds since the loop was made, leaps included."""
        return self._leaping.now
