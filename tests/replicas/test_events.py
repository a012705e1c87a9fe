"""Changes reach the subscribers of all replicas, over a real Redis that comes and goes."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from mcp.server.subscriptions import ResourceUpdated, ServerEvent, ToolsListChanged
from redis.asyncio import Redis

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.replicas.connect import CHANNEL, RedisBus, Replicas
from extend_mcp.settings import SettingsError
from extend_mcp.telemetry.prometheus import PrometheusMetrics
from tests.redis_server import RunningRedis, needs_redis, running_redis

pytestmark = needs_redis


class Ear:
    """The changes that a subscriber of one replica received."""

    def __init__(self, bus: RedisBus) -> None:
        self.heard: list[ServerEvent] = []
        self._more = anyio.Event()
        self.leave = bus.subscribe(self._hear)

    @property
    def uris(self) -> list[str]:
        """Return the changed resources, in order."""
        return [event.uri for event in self.heard if isinstance(event, ResourceUpdated)]

    async def wait_for(self, uri: str) -> None:
        """Wait until a change of this resource is received."""
        with anyio.fail_after(10):
            while uri not in self.uris:
                await self._more.wait()
                self._more = anyio.Event()

    def _hear(self, event: ServerEvent) -> None:
        self.heard.append(event)
        self._more.set()


@asynccontextmanager
async def running_bus(url: str, sleep: Callable[[float], Awaitable[None]] = anyio.sleep) -> AsyncIterator[RedisBus]:
    """One replica's bus, which receives from the others."""
    redis = Redis.from_url(url)
    bus = RedisBus(redis, sleep=sleep)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.run)
        with anyio.fail_after(10):
            await bus.listening.wait()
        yield bus
        tasks.cancel_scope.cancel()
    await redis.aclose()


async def test_replicas_hear_each_other_and_themselves_once(redis_server: RunningRedis) -> None:
    async with running_bus(redis_server.url) as one, running_bus(redis_server.url) as other:
        here, there = Ear(one), Ear(other)
        await one.publish(ResourceUpdated("extend://a"))
        assert here.uris == ["extend://a"], "at once, without the way over Redis"
        await there.wait_for("extend://a")
        await other.publish(ResourceUpdated("extend://b"))
        # Redis keeps the order: by now an echo of the first would be here.
        await here.wait_for("extend://b")
        assert here.uris == there.uris == ["extend://a", "extend://b"]


async def test_who_has_left_hears_nothing_more(redis_server: RunningRedis) -> None:
    async with running_bus(redis_server.url) as one, running_bus(redis_server.url) as other:
        gone, here = Ear(other), Ear(other)
        gone.leave()
        await one.publish(ResourceUpdated("extend://a"))
        await here.wait_for("extend://a")
        assert gone.heard == []


async def test_only_changes_of_resources_are_told_to_others(redis_server: RunningRedis) -> None:
    async with running_bus(redis_server.url) as one, running_bus(redis_server.url) as other:
        here, there = Ear(one), Ear(other)
        await one.publish(ToolsListChanged())
        await one.publish(ResourceUpdated("extend://a"))
        await there.wait_for("extend://a")
        assert len(here.heard) == 2
        assert len(there.heard) == 1


GARBAGE: list[bytes] = [
    b"",
    b"not JSON",
    b"\xff\xfe\x00",
    b"null",
    b"7",
    b'"text"',
    b"[]",
    b"[" * 100_000,
    b"{}",
    b'{"from": "x"}',
    b'{"uri": "extend://forged"}',
    b'{"from": "x", "uri": null}',
    b'{"from": "x", "uri": ["extend://forged"]}',
    json.dumps({"from": "x", "uri": "extend://" + "a" * 2000}).encode(),
]


async def test_garbage_on_the_channel_is_passed_over(redis_server: RunningRedis) -> None:
    async with (
        running_bus(redis_server.url) as one,
        running_bus(redis_server.url) as other,
        Redis.from_url(redis_server.url) as stranger,
    ):
        there = Ear(other)
        for garbage in GARBAGE:
            assert await stranger.publish(CHANNEL, garbage) == 2
        await one.publish(ResourceUpdated("extend://a"))
        await there.wait_for("extend://a")
        assert len(there.heard) == 1


async def test_an_outage_is_survived_with_a_pause_between_tries(caplog: pytest.LogCaptureFixture) -> None:
    pauses: list[float] = []
    back = anyio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) >= 3:
            await back.wait()

    with running_redis() as server:
        async with running_bus(server.url, sleep) as bus, running_bus(server.url) as other:
            here, there = Ear(bus), Ear(other)
            server.stop()
            with anyio.fail_after(10):
                while len(pauses) < 3:
                    await anyio.sleep(0.01)
            assert pauses == [2.0] * 3
            await bus.publish(ResourceUpdated("extend://alone"))
            assert here.uris == ["extend://alone"], "its own subscribers still receive it"

            server.start()
            back.set()
            with anyio.fail_after(10):
                await bus.listening.wait()
                while "extend://again" not in there.uris:
                    await bus.publish(ResourceUpdated("extend://again"))
                    await anyio.sleep(0.05)
            assert there.uris == ["extend://again"] * len(there.uris), "what was sent meanwhile stayed here"
            await other.publish(ResourceUpdated("extend://answer"))
            await here.wait_for("extend://answer")
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("could not be sent to other replicas" in warning for warning in warnings)
    assert not [warning for warning in warnings if "127.0.0.1" in warning]


async def test_a_replica_starts_without_redis_and_joins_when_it_is_there() -> None:
    pauses: list[float] = []
    there = anyio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await there.wait()

    with running_redis() as server:
        server.stop()
        redis = Redis.from_url(server.url)
        metrics = PrometheusMetrics()
        assert b"redis_reachable" not in metrics.render()[0]
        bus = RedisBus(redis, metrics=metrics, sleep=sleep)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run)
            with anyio.fail_after(10):
                while not pauses:
                    await anyio.sleep(0.01)
            assert not bus.listening.is_set()
            assert b"extend_mcp_redis_reachable 0.0" in metrics.render()[0]
            server.start()
            there.set()
            with anyio.fail_after(10):
                await bus.listening.wait()
            assert b"extend_mcp_redis_reachable 1.0" in metrics.render()[0]
            tasks.cancel_scope.cancel()
        await redis.aclose()


async def test_what_is_opened_together_hears_and_closes_its_connections(redis_server: RunningRedis) -> None:
    keys = SealingKeys(["k" * 32])
    one, other = Replicas(redis_server.url, keys), Replicas(redis_server.url, keys)
    async with one.connected(), other.connected():
        there = Ear(other.bus)
        await one.bus.publish(ResourceUpdated("extend://a"))
        await there.wait_for("extend://a")
        assert await one.seen.first("evt_opened_together")
        assert not await other.seen.first("evt_opened_together")
    async with Redis.from_url(redis_server.url) as redis:
        assert await redis.pubsub_numsub(CHANNEL) == [(CHANNEL.encode(), 0)]


@pytest.mark.parametrize("url", ["", "http://canary:secret@host", "redis://:canary@host:port"])
def test_a_url_that_cannot_be_used_is_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Replicas(url, SealingKeys())
    assert "EXTEND_MCP_REDIS_URL" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None
