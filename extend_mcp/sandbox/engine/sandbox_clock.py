"""Simulate time: real time multiplied by a speed, plus skipped seconds."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone


class SandboxClock:
    """The sandbox's clock. It starts at the source's time and never runs backwards.

    Args:
        speed: simulated seconds per second of the source. 0 stops the clock between `advance` calls.
        source: seconds since the epoch, like `time.time`. Tests pass a constant.
    """

    def __init__(self, speed: float = 1.0, source: Callable[[], float] = time.time) -> None:
        if speed < 0:
            raise ValueError("speed must not be negative")
        self.speed = speed
        self._source = source
        self._origin = source()
        self._skipped = 0.0
        self._latest = self._at(self._origin)

    def now(self) -> datetime:
        """Return the simulated time as an aware datetime in UTC."""
        moment = self._origin + (self._source() - self._origin) * self.speed + self._skipped
        self._latest = max(self._latest, self._at(moment))
        return self._latest

    def advance(self, seconds: float) -> datetime:
        """Skip simulated seconds and return the new time.

        Raises:
            ValueError: the number is negative or not finite, or the new time is after the year 9999.
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError("a clock is advanced by a finite number of seconds, zero or more")
        before = self._skipped
        self._skipped += seconds
        try:
            return self.now()
        except OverflowError:
            self._skipped = before
            raise ValueError("a clock is not advanced beyond the year 9999") from None

    @staticmethod
    def _at(epoch_seconds: float) -> datetime:
        # Counting from the epoch also works on platforms whose fromtimestamp has a narrow range.
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=epoch_seconds)
