"""One rate limit for all replicas: counted in Redis, so that together they keep it and learn from each other."""

import logging
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from extend_mcp.api.permits import (
    LONGEST_PAUSE,
    REGROW,
    SHORTEST_WAIT,
    WINDOW,
    Category,
    LocalPermits,
    Permits,
    pause,
)

logger = logging.getLogger(__name__)

_PREFIX: Final = "extend-mcp:rate:"

_SCRIPT: Final = """
-- The rules of LocalPermits, in microseconds of Redis's own clock.
-- KEYS: when the requests of the last second went, oldest first (list); what refusals taught (hash).
-- ARGV: take or refused; per_second; regrow; window; longest pause; the pause that a refusal asks for.
-- Returns the microseconds after which to ask again, 0 if the request may go.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local most, regrow, window, longest, pause =
  tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local learned = redis.call('HMGET', KEYS[2], 'limit', 'halved', 'until')
local limit, halved, until_ = tonumber(learned[1]) or most, tonumber(learned[2]) or 0, tonumber(learned[3]) or 0
-- The clock was set back, or another machine has taken over: what it said before means nothing now.
if halved > now or until_ > now + longest then limit, halved, until_ = most, 0, 0 end
local quiet = math.max(now - math.max(halved, until_), 0)
limit = math.min(limit + math.floor(quiet / regrow), most)

-- As digits: Lua writes large numbers with an exponent and drops what does not fit.
local function digits(number) return string.format('%.0f', number) end

if ARGV[1] == 'refused' then
  if now >= math.max(until_, halved + window) then
    limit, halved = math.max(math.floor(limit / 2), 1), now
    redis.call('HSET', KEYS[2], 'limit', limit, 'halved', digits(halved))
  end
  until_ = math.max(until_, now + pause)
  redis.call('HSET', KEYS[2], 'until', digits(until_))
  -- Forgotten when the limit has grown back, and not before refusals of the same second have come in.
  local kept = math.max(until_ - now + (most - limit + 1) * regrow, window)
  redis.call('PEXPIRE', KEYS[2], digits(math.ceil(kept / 1000)))
  return 0
end

if now < until_ then return until_ - now end
local newest = tonumber(redis.call('LINDEX', KEYS[1], -1))
if newest and newest > now then redis.call('DEL', KEYS[1]) end
local oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
while oldest and oldest + window <= now do
  redis.call('LPOP', KEYS[1])
  oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
end
if redis.call('LLEN', KEYS[1]) < limit then
  redis.call('RPUSH', KEYS[1], digits(now))
  redis.call('PEXPIRE', KEYS[1], digits(2 * window / 1000))
  return 0
end
return tonumber(redis.call('LINDEX', KEYS[1], -limit)) + window - now
"""


class RedisPermits(Permits):
    """Counts in Redis, by the rules of `LocalPermits`; while Redis fails, in this process.

    During an outage each replica keeps ``fallback``'s limit by itself, so all together may send as many times that;
    Extend's refusals then teach each of them. A failed Redis is left alone for ``again`` seconds, so that an outage
    does not cost each request ``timeout`` seconds.

    Args:
        redis: The connections to Redis, whoever opened them closes them. Its own retries end with ``timeout``.
        name: Names the rate limit: an account's ``budget``.
        per_second: The limit of all replicas together, 1 or more.
        fallback: Counts while Redis fails, and along with it before, so that it knows of the last second.
        regrow: Seconds without a refusal after which the limit grows by one, above 0.
        timeout: Seconds to wait for Redis, above 0.
        again: Seconds after which a failed Redis is asked again.
        monotonic: Tells the time in seconds, for ``again`` only.
    """

    def __init__(
        self,
        redis: Redis,
        name: str,
        per_second: int,
        *,
        fallback: LocalPermits,
        regrow: float = REGROW,
        timeout: float = 0.5,
        again: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._script = redis.register_script(_SCRIPT)
        # What stands between braces decides where a cluster keeps a key; a name must not bring braces of its own.
        self._name = quote(name, safe=":", errors="backslashreplace")
        self._rules = [per_second, *(_micros(seconds) for seconds in (regrow, WINDOW, LONGEST_PAUSE))]
        self._fallback = fallback
        self._timeout = timeout
        self._again = again
        self._monotonic = monotonic
        self._down_until: float | None = None

    async def take(self, category: Category) -> float:
        """Count one request if it may go; see `Permits`."""
        seconds = await self._ask("take", category)
        if seconds is None:
            return await self._fallback.take(category)
        if seconds > 0:
            return max(seconds, SHORTEST_WAIT)
        await self._fallback.take(category)
        return 0.0

    async def refused(self, category: Category, retry_after: float | None) -> None:
        """Pause and halve the limit, for all replicas; see `Permits`."""
        await self._fallback.refused(category, retry_after)
        await self._ask("refused", category, pause(retry_after))

    async def _ask(self, event: str, category: Category, pause: float = 0.0) -> float | None:
        """Run the script; None while Redis fails."""
        if self._down_until is not None and self._monotonic() < self._down_until:
            return None
        base = f"{_PREFIX}{{{self._name}:{category}}}"
        keys = [f"{base}:sent", f"{base}:learned"]
        args: list[str | int] = [event, *self._rules, _micros(pause)]
        try:
            # Its TimeoutError is an OSError.
            with anyio.fail_after(self._timeout):
                micros: int = await self._script(keys, args)
        except (RedisError, OSError) as exc:
            if self._down_until is None:
                # The kind only: the text may quote addresses or what was sent.
                logger.warning(
                    "Redis cannot be used (%s): this replica counts its requests to Extend by itself",
                    type(exc).__name__,
                )
            self._down_until = self._monotonic() + self._again
            return None
        if self._down_until is not None:
            self._down_until = None
            logger.info("Redis can be used again: requests to Extend are counted with the other replicas")
        return micros / 1e6


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)
