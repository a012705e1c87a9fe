"""An event that any replica has received is known to all, and to each alone while Redis is gone."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from extend_mcp.events.event import REMEMBERED_SECONDS
from extend_mcp.replicas.connect import RedisSeen
from tests.redis_server import RunningRedis, needs_redis, running_redis

pytestmark = needs_redis


@pytest.fixture
async def redis(redis_server: RunningRedis) -> AsyncIterator[Redis]:
    """A connection that replicas share, since it holds none of their data."""
    async with Redis.from_url(redis_server.url) as connection:
        yield connection


@pytest.fixture
def event_id() -> str:
    """An event that no other test has."""
    return f"evt_{uuid.uuid4().hex}"


async def test_an_event_is_first_once_among_all_replicas(redis: Redis, event_id: str) -> None:
    one, other, third = RedisSeen(redis), RedisSeen(redis), RedisSeen(redis)
    assert await one.first(event_id)
    assert not await other.first(event_id)
    assert not await one.first(event_id)
    assert not await third.first(event_id)
    assert await other.first(f"{event_id}_another")


async def test_an_event_that_is_taken_back_may_come_again_at_any_replica(redis: Redis, event_id: str) -> None:
    one, other = RedisSeen(redis), RedisSeen(redis)
    assert await one.first(event_id)
    await one.forget(event_id)
    assert await other.first(event_id)
    assert not await one.first(event_id)


async def test_what_one_replica_received_another_knows(redis: Redis, event_id: str) -> None:
    await redis.delete("extend-mcp:events-since")
    one, other = RedisSeen(redis), RedisSeen(redis)
    begun = await one.since()
    await one.first(event_id)
    assert await other.known([event_id, f"{event_id}_another"]) == {event_id}
    assert await other.known([]) == set()
    assert await other.since() == begun


@pytest.mark.parametrize("strange", ["", " ", "a\r\nSET x 1", "\x00", "ä" * 255, "*"])
async def test_an_id_is_never_part_of_a_key(redis: Redis, event_id: str, strange: str) -> None:
    name = event_id + strange
    before = {key async for key in redis.scan_iter(match="extend-mcp:event:*")}
    assert await RedisSeen(redis).first(name)
    [key] = {key async for key in redis.scan_iter(match="extend-mcp:event:*")} - before
    assert event_id.encode() not in key
    assert len(key) == len("extend-mcp:event:") + 64
    assert REMEMBERED_SECONDS - 60 < await redis.ttl(key) <= REMEMBERED_SECONDS


async def test_while_redis_is_gone_each_replica_remembers_alone(
    event_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running_redis() as server:
        async with Redis.from_url(server.url) as redis:
            one, other = RedisSeen(redis), RedisSeen(redis)
            assert await one.first(f"{event_id}_before")
            server.stop()
            assert not await one.first(f"{event_id}_before")
            assert await one.first(event_id)
            assert not await one.first(event_id)
            assert await other.first(event_id), "acted on twice, which does no harm"
            await one.forget(event_id)
            assert await one.first(event_id)
            server.start()
            assert await one.first(f"{event_id}_after")
            assert not await other.first(f"{event_id}_after")
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings
    assert not [warning for warning in warnings if "127.0.0.1" in warning or event_id in warning]
