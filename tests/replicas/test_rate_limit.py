"""One limit for all replicas, against a real Redis and its own clock; and what happens without Redis."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator

import anyio
import pytest
from redis.asyncio import Redis

from extend_mcp.api.rate_limit import Category, RateLimiter, RequestWindow
from extend_mcp.replicas.rate_limit import RedisWindow
from tests.redis_server import RunningRedis, needs_redis, running_redis

pytestmark = needs_redis

LIMIT = 50
AGAIN = 2.0


class Clock:
    """Time that passes by hand, for what is counted in this process."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Replica:
    """One server's connection, its clock, and the permits it asks."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        limit: int = LIMIT,
        timeout: float = 5.0,
    ) -> None:
        self.clock = Clock()
        self.redis = Redis.from_url(url)
        self.window = RedisWindow(self.redis, name, limit, timeout, AGAIN, self.clock)


@pytest.fixture
def name() -> str:
    """A rate limit that no other test uses."""
    return f"organization:{uuid.uuid4()}"


@pytest.fixture
async def replicas(redis_server: RunningRedis, name: str) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two servers of one organization."""
    one, other = Replica(redis_server.url, name), Replica(redis_server.url, name)
    yield one, other
    await one.redis.aclose()
    await other.redis.aclose()


async def taken(window: RequestWindow, kind: Category = "GET") -> int:
    """Return how many requests may be sent at this moment."""
    count = 0
    while await window.take(kind) == 0:
        count += 1
    return count


async def ago(redis: Redis, seconds: float) -> str:
    """A moment as the script keeps it: microseconds of Redis's clock."""
    whole, micros = await redis.time()
    return str(whole * 1_000_000 + micros - round(seconds * 1e6))


async def test_together_they_keep_the_limit_in_any_second(replicas: tuple[Replica, Replica]) -> None:
    ends: list[float] = []

    async def send(limiter: RateLimiter) -> None:
        await limiter.acquire("GET")
        ends.append(time.monotonic())

    begun = time.monotonic()
    async with anyio.create_task_group() as tasks:
        for replica in replicas:
            limiter = RateLimiter(replica.window, sleep=anyio.sleep)
            for _ in range(LIMIT * 3 // 4):
                tasks.start_soon(send, limiter)
    assert len(ends) == 2 * (LIMIT * 3 // 4)
    assert ends[LIMIT - 1] - begun < 0.9, "the first 50 at once"
    # Redis counted the first after the begin, and the 51st before its end was seen here.
    assert ends[LIMIT] - begun >= 1
    assert ends[-1] - begun < 1.9, "and all the others as soon as a second is over"


async def test_what_went_in_the_last_second_counts_and_nothing_older(
    replicas: tuple[Replica, Replica], name: str
) -> None:
    one, _ = replicas
    moments = [await ago(one.redis, seconds) for seconds in (1.3, 1.1, *[0.5] * (LIMIT - 1))]
    await one.redis.rpush(f"extend-mcp:rate:{{{name}:GET}}:sent", *moments)
    assert await one.window.take("GET") == 0
    assert 0 < await one.window.take("GET") <= 0.5


async def test_categories_and_organizations_are_counted_apart(
    replicas: tuple[Replica, Replica], redis_server: RunningRedis
) -> None:
    one, other = replicas
    assert await taken(one.window) == LIMIT
    assert await taken(other.window) == 0
    assert await taken(other.window, "RUN") == LIMIT
    # A name with braces would decide where a cluster keeps it, and a broken character could not be sent.
    stranger = Replica(redis_server.url, "organization:}{\udc80 {x}")
    try:
        assert await taken(stranger.window) == LIMIT
    finally:
        await stranger.redis.aclose()


async def test_a_pause_of_one_holds_the_other_back_and_leaves_the_limit(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    await one.window.pause("GET", 0.1)
    wait = await other.window.take("GET")
    assert 0 < wait <= 0.1
    assert await other.window.take("WRITE") == 0
    await anyio.sleep(wait + 0.002)
    assert await taken(one.window) + await taken(other.window) == LIMIT


async def test_a_shorter_pause_does_not_end_a_longer_one(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    await one.window.pause("GET", 7.0)
    await other.window.pause("GET", 0.5)
    await one.window.pause("GET", 0.0)
    assert 6.5 < await other.window.take("GET") <= 7


async def test_nothing_is_left_in_redis_for_ever(replicas: tuple[Replica, Replica], name: str) -> None:
    one, _ = replicas
    await one.window.take("RUN")
    await one.window.pause("RUN", 30.0)
    keys = sorted([key.decode() async for key in one.redis.scan_iter(match="*")])
    own = [key for key in keys if name in key]
    assert own == [f"extend-mcp:rate:{{{name}:RUN}}:{what}" for what in ("paused", "sent")]
    assert 1000 < await one.redis.pttl(own[1]) <= 2000
    assert 29_000 < await one.redis.pttl(own[0]) <= 30_000


async def test_a_clock_that_was_set_back_blocks_nobody(replicas: tuple[Replica, Replica], name: str) -> None:
    one, _ = replicas
    later = await ago(one.redis, -86_400)
    base = f"extend-mcp:rate:{{{name}:GET}}"
    await one.redis.rpush(f"{base}:sent", *[later] * LIMIT)
    assert await taken(one.window) == LIMIT


async def test_a_call_that_is_cancelled_while_redis_is_busy_leaves_the_connection_sound(
    replicas: tuple[Replica, Replica],
) -> None:
    one, other = replicas
    await one.window.pause("WRITE", 60.0)
    await other.redis.client_pause(100)
    with anyio.move_on_after(0.02) as scope:
        await one.window.take("WRITE")
    assert scope.cancelled_caught
    # The late answer to the first would be a long wait here.
    assert await one.window.take("GET") == 0
    assert await one.window.take("WRITE") > 50


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_outage_is_bridged_told_once_and_over_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "extend_mcp")
    with running_redis() as server:
        replica = Replica(server.url, "organization:1", limit=5)
        assert await taken(replica.window) == 5
        server.stop()
        assert await replica.window.take("GET") > 0, "what went before the outage still counts"
        assert await taken(replica.window, "RUN") == 5
        await replica.window.pause("WRITE", 7.0)
        assert await replica.window.take("WRITE") == 7, "and a pause is kept"
        replica.clock.seconds += AGAIN
        assert await replica.window.take("GET") == 0
        assert len(warnings_of(caplog)) == 1, "once an outage, however long and often asked"

        server.start()
        assert await replica.window.take("WRITE") == 5, "Redis is left alone for a while"
        replica.clock.seconds += AGAIN
        assert await taken(replica.window, "WRITE") == 5, "an empty Redis knows of no pause"
        assert caplog.messages[-1].startswith("Redis can be used again")

        server.stop()
        assert await replica.window.take("WRITE") == 3
        assert len(warnings_of(caplog)) == 2
        await replica.redis.aclose()
    assert all(server.url not in message and "127.0.0.1" not in message for message in caplog.messages)


async def test_a_redis_that_hangs_costs_the_time_out_once(
    replicas: tuple[Replica, Replica], redis_server: RunningRedis, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, other = replicas
    slow = Replica(redis_server.url, name, timeout=0.02)
    try:
        await other.redis.client_pause(200)
        start = time.monotonic()
        assert await taken(slow.window) == LIMIT
        assert time.monotonic() - start < 0.15
        assert len(warnings_of(caplog)) == 1
    finally:
        await slow.redis.aclose()
        await other.redis.client_unpause()


async def test_a_redis_that_refuses_the_script_is_an_outage_and_says_nothing_of_it(
    replicas: tuple[Replica, Replica], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = replicas
    await one.redis.set(f"extend-mcp:rate:{{{name}:GET}}:sent", "a string, not a list")
    assert await taken(one.window) == LIMIT
    [warning] = warnings_of(caplog)
    assert "ResponseError" in warning
    assert name not in warning
