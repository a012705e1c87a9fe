"""One rate limit for all replicas, counted in Redis."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from extend_mcp.api.rate_limit import SHORTEST_WAIT, WINDOW, Category, LocalWindow, RequestWindow

logger = logging.getLogger(__name__)

_SCRIPT: Final = """
-- The rules of LocalWindow, in microseconds of Redis's own clock.
-- KEYS: when the latest requests went, oldest first (list); a key that exists during a pause.
-- ARGV: the limit; the window; the length of a pause to begin, or 0 to count a request. All times in microseconds.
-- Returns the microseconds after which to ask again, 0 if the request was counted.
local limit, window, pause = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local paused = math.max(redis.call('PTTL', KEYS[2]), 0)
if pause > 0 then
  if pause / 1000 > paused then redis.call('SET', KEYS[2], '', 'PX', math.ceil(pause / 1000)) end
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait = paused * 1000
-- With a negative age the clock was set back, or another machine has taken over: what it said before means nothing.
local first = redis.call('LINDEX', KEYS[1], -limit)
local age = first and now - tonumber(first)
if age and age >= 0 and age < window then wait = math.max(wait, window - age) end
if wait > 0 then return wait end
-- As digits: Lua writes large numbers with an exponent.
redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], -limit, -1)
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', 2 * window / 1000))
return 0
"""


@dataclass(eq=False)
class RedisWindow(RequestWindow):
    """Counts in Redis, by the rules of `LocalWindow`; while Redis fails, in this process.

    During an outage each replica keeps the limit alone, so all together may send that many times as much. The local
    window also counts before, so that it knows the requests of the last second. A failed Redis is not asked for
    ``again`` seconds, so that an outage does not delay each request by ``timeout``, within which the retries of Redis
    must end.
    """

    redis: Redis
    name: str
    per_second: int
    timeout: float = 0.5
    again: float = 2.0
    monotonic: Callable[[], float] = time.monotonic
    _down_until: float | None = None

    def __post_init__(self) -> None:
        self._script = self.redis.register_script(_SCRIPT)
        # The braces of a key decide where a cluster keeps it; a name must not add its own.
        self._name = quote(self.name, safe=":", errors="backslashreplace")
        self._local = LocalWindow(self.per_second, monotonic=self.monotonic)

    async def take(self, category: Category) -> float:
        seconds = await self._run_script(category)
        if seconds is None:
            return await self._local.take(category)
        if seconds > 0:
            return max(seconds, SHORTEST_WAIT)
        await self._local.take(category)
        return 0.0

    async def pause(self, category: Category, seconds: float) -> None:
        await self._local.pause(category, seconds)
        if seconds > 0:
            await self._run_script(category, pause=seconds)

    async def _run_script(self, category: Category, *, pause: float = 0.0) -> float | None:
        """Return the seconds that the script answers with; None while Redis fails."""
        if self._down_until is not None and self.monotonic() < self._down_until:
            return None
        base = f"extend-mcp:rate:{{{self._name}:{category}}}"
        try:
            # Its TimeoutError is an OSError.
            with anyio.fail_after(self.timeout):
                micros: int = await self._script(
                    [f"{base}:sent", f"{base}:paused"], [self.per_second, round(WINDOW * 1e6), round(pause * 1e6)]
                )
        except (RedisError, OSError) as error:
            if self._down_until is None:
                # The type only: the text may quote addresses or what was sent.
                reason = type(error).__name__
                logger.warning("Redis cannot be used (%s): this replica counts its requests to Extend alone", reason)
            self._down_until = self.monotonic() + self.again
            return None
        if self._down_until is not None:
            self._down_until = None
            logger.info("Redis can be used again: requests to Extend are counted with the other replicas")
        return micros / 1e6
