"""Events that any replica received: their changes reach the subscribers of all, and each is acted on once."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import anyio
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent
from redis.asyncio import Redis
from redis.exceptions import RedisError

from extend_mcp.events.event import REMEMBERED_SECONDS, Seen
from extend_mcp.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

CHANNEL: Final = "extend-mcp:events"
_SINCE: Final = "extend-mcp:events-since"
_PAUSE: Final = 2.0
_LONGEST_URI: Final = 2000


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
                message = await channel.get_message(timeout=5.0)
                if message is None:
                    # A connection that was cut without a word is found by asking.
                    await channel.ping()
                elif message.get("type") == "message" and (uri := self._uri(message["data"])):
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
