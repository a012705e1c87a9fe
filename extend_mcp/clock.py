"""Read the time through one object, so that tests can replace it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Final

import anyio

CLOCK_SKEW: Final = timedelta(seconds=5)
"""Largest difference between this machine's clock and Extend's."""


class Clock:
    """The machine's own time, in the three uses that it has here."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Return seconds that only increase, for deadlines."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait ``seconds`` of real time."""
        await anyio.sleep(seconds)
