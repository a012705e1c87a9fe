"""Opening what the replicas share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import alongside
from extend_mcp.api.rate_limit import RequestWindow
from extend_mcp.replicas.events import RedisBus, RedisSeen
from extend_mcp.replicas.rate_limit import RedisWindow
from extend_mcp.replicas.store import RedisStore
from extend_mcp.settings import SettingsError
from extend_mcp.telemetry.metrics import Metrics

_SECONDS: Final = 2.0
"""The longest time for a command to Redis."""

_FIRST_CONTACT_SECONDS: Final = 3.0


class Replicas:
    """State that this replica shares with the others, plans sealed with ``keys``, and the connections to it.

    Raises:
        SettingsError: the URL cannot be used. The text does not repeat it: it may hold a password.
    """

    def __init__(self, url: str, keys: SealingKeys, metrics: Metrics | None = None) -> None:
        redis = None
        with suppress(ValueError):
            redis = Redis.from_url(
                url,
                socket_timeout=_SECONDS,
                socket_connect_timeout=_SECONDS,
                health_check_interval=15,
                # A connection that was cut while idle is opened again; more than that is an outage.
                retry=Retry(ConstantBackoff(0.05), 1),
            )
        if redis is None:
            raise SettingsError("EXTEND_MCP_REDIS_URL: must be a redis://, rediss:// or unix:// URL")
        self._redis = redis
        self.bus, self.store, self.seen = RedisBus(redis, metrics), RedisStore(redis, keys), RedisSeen(redis)

    def window(self, name: str, per_second: int) -> RequestWindow:
        """Make the window that counts an account's requests for all replicas."""
        return RedisWindow(self._redis, name, per_second)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Connect, receive the other replicas' changes until the block ends, then close the connections."""
        try:
            async with alongside(self.bus.run):
                # Without Redis the replica still serves, alone.
                with anyio.move_on_after(_FIRST_CONTACT_SECONDS):
                    await self.bus.listening.wait()
                yield
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_SECONDS):
                await self._redis.aclose()
