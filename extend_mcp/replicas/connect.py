"""The connection to what replicas share: events that any of them received, the store of actions, the rate limit."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import anyio
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import alongside
from extend_mcp.api.rate_limit import RequestWindow
from extend_mcp.events.event import REMEMBERED_SECONDS, Seen
from extend_mcp.replicas.rate_limit import RedisWindow
from extend_mcp.replicas.store import RedisStore
from extend_mcp.settings import SettingsError
from extend_mcp.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

CHANNEL: Final = "extend-mcp:events"
_SINCE: Final = "extend-mcp:events-since"
_PAUSE: Final = 2.0
_LONGEST_URI: Final = 2000

_SECONDS: Final = 2.0  # the longest time for a command to Redis
_FIRST_CONTACT_SECONDS: Final = 3.0


@contextmanager
def outage_logged(consequence: str) -> Iterator[None]:
    """Run a command of Redis; where that fails, log the consequence and continue after the block."""
    try:
        yield
    except (RedisError, OSError) as error:
        # The type only: the text may quote addresses or what was sent.
        logger.warning("%s: %s", consequence, type(error).__name__)


class RedisBus(InMemorySubscriptionBus):
    """The SDK's `SubscriptionBus` over Redis. This replica's own subscribers do not need Redis.

    A change that is published while Redis is out of reach stays in this replica: an event is a hint to look again,
    and a waiting call also looks without one. ``listening`` is set once this replica receives the others' changes.
    """

    def __init__(
        self, redis: Redis, metrics: Metrics | None = None, sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:
        super().__init__()
        self._redis, self._metrics, self._sleep = redis, metrics or Metrics(), sleep
        self._origin = secrets.token_hex(8)
        self.listening = anyio.Event()

    async def publish(self, event: ServerEvent) -> None:
        await super().publish(event)
        if isinstance(event, ResourceUpdated):
            with outage_logged("a change could not be sent to other replicas"):
                await self._redis.publish(CHANNEL, json.dumps({"from": self._origin, "uri": event.uri}))

    async def run(self) -> None:
        """Receive the other replicas' changes until cancelled; reconnect when Redis fails."""
        while True:
            with outage_logged("changes of other replicas are not received"):
                await self._listen()
            self._metrics.set("redis_reachable", 0)
            if self.listening.is_set():
                self.listening = anyio.Event()
            await self._sleep(_PAUSE)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(CHANNEL)
            self.listening.set()
            self._metrics.set("redis_reachable", 1)
            while True:
                # Now and then the client asks whether Redis is there: a connection may be cut without a word.
                message = await channel.get_message(timeout=5.0)
                if message and message["type"] == "message" and (uri := self._uri(message["data"])):
                    await super().publish(ResourceUpdated(uri))

    def _uri(self, data: bytes | str) -> str | None:
        """Return the resource that another replica's message names; None for our own messages and invalid ones."""
        try:
            document = json.loads(data)
            origin, uri = document["from"], document["uri"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return uri if origin != self._origin and isinstance(uri, str) and len(uri) <= _LONGEST_URI else None


class RedisSeen(Seen):
    """Remembers in Redis; while it fails, in this process, since an event acted on twice does no harm."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self._redis = redis

    async def first(self, event_id: str) -> bool:
        if not await super().first(event_id):
            return False
        with outage_logged("whether an event came before is not known of other replicas"):
            return bool(await self._redis.set(_key(event_id), 1, nx=True, ex=REMEMBERED_SECONDS))
        return True

    async def forget(self, event_id: str) -> None:
        await super().forget(event_id)
        with outage_logged("an event's id could not be taken back"):
            await self._redis.delete(_key(event_id))

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        found = await super().known(event_ids)
        with outage_logged("which events other replicas received is not known"):
            values = await self._redis.mget([_key(each) for each in event_ids]) if event_ids else []
            found |= {each for each, value in zip(event_ids, values, strict=True) if value is not None}
        return found

    async def since(self) -> float:
        local = await super().since()
        with outage_logged("since when other replicas receive events is not known"):
            await self._redis.set(_SINCE, local, nx=True)
            kept = await self._redis.get(_SINCE)
            return max(float(kept or local), time.time() - REMEMBERED_SECONDS)
        return local


def _key(event_id: str) -> str:
    # What Extend sends is no name for a key.
    return f"extend-mcp:event:{hashlib.sha256(event_id.encode()).hexdigest()}"


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
