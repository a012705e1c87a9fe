"""Opening what the replicas share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import alongside
from extend_mcp.api.rate_limit import LocalWindow, RequestWindow
from extend_mcp.replicas.events import RedisBus, RedisSeen
from extend_mcp.replicas.rate_limit import RedisWindow
from extend_mcp.replicas.store import RedisStore
from extend_mcp.settings import SettingsError
from extend_mcp.telemetry.metrics import Metrics

_SECONDS = 2.0
"""The longest time for a command to Redis."""

_FIRST_CONTACT_SECONDS = 3.0


@dataclass(frozen=True)
class Replicas:
    """State that this replica shares with the others, and the connections to it."""

    redis: Redis
    bus: RedisBus
    store: RedisStore
    seen: RedisSeen

    def window(self, name: str, per_second: int) -> RequestWindow:
        """Make the window that counts an account's requests for all replicas."""
        return RedisWindow(self.redis, name, per_second, fallback=LocalWindow(per_second))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Receive the other replicas' changes until the block ends, then close the connections."""
        try:
            async with alongside(self.bus.run):
                # Without Redis the replica still serves, alone.
                with anyio.move_on_after(_FIRST_CONTACT_SECONDS):
                    await self.bus.listening.wait()
                yield
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_SECONDS):
                await self.redis.aclose()


def open_replicas(url: str, keys: SealingKeys, metrics: Metrics | None = None) -> Replicas:
    """Prepare what is shared through the Redis at ``url``, and sealed with ``keys``; nothing is connected yet.

    Raises:
        SettingsError: the URL cannot be used. The text does not repeat it: it may hold a password.
    """
    try:
        redis = Redis.from_url(
            url,
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            health_check_interval=15,
            # A connection that was cut while idle is opened again; more than that is an outage.
            retry=Retry(ConstantBackoff(0.05), 1),
        )
    except ValueError:
        redis = None
    if redis is None:
        raise SettingsError("EXTEND_MCP_REDIS_URL: must be a redis://, rediss:// or unix:// URL")
    return Replicas(redis, RedisBus(redis, metrics=metrics), RedisStore(redis, keys), RedisSeen(redis))
