"""The ids of events that any replica has received."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from extend_mcp.events.seen import REMEMBERED_SECONDS, LocalSeen

logger = logging.getLogger(__name__)

_PREFIX: Final = "extend-mcp:event:"
_SINCE: Final = "extend-mcp:events-since"


class RedisSeen:
    """Remembers in Redis; while it fails, in this process, since an event acted on twice does no harm.

    Args:
        redis: the connections to Redis, closed by their owner.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._local = LocalSeen()

    async def first(self, event_id: str) -> bool:
        """Note an event; False where any replica noted it before."""
        if not await self._local.first(event_id):
            return False
        try:
            return bool(await self._redis.set(_key(event_id), 1, nx=True, ex=REMEMBERED_SECONDS))
        except (RedisError, OSError) as error:
            logger.warning("whether an event came before is not known of other replicas: %s", type(error).__name__)
            return True

    async def forget(self, event_id: str) -> None:
        """Take a note back."""
        await self._local.forget(event_id)
        try:
            await self._redis.delete(_key(event_id))
        except (RedisError, OSError) as error:
            logger.warning("an event's id could not be taken back: %s", type(error).__name__)

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """Return which of these any replica noted."""
        found = await self._local.known(event_ids)
        try:
            values = await self._redis.mget([_key(each) for each in event_ids]) if event_ids else []
        except (RedisError, OSError) as error:
            logger.warning("which events other replicas received is not known: %s", type(error).__name__)
            return found
        return found | {each for each, value in zip(event_ids, values, strict=True) if value is not None}

    async def since(self) -> float:
        """Return the Unix seconds since which the replicas keep every note."""
        local = await self._local.since()
        try:
            await self._redis.set(_SINCE, local, nx=True)
            kept = await self._redis.get(_SINCE)
            return max(float(kept or local), time.time() - REMEMBERED_SECONDS)
        except (RedisError, OSError, ValueError) as error:
            logger.warning("since when other replicas receive events is not known: %s", type(error).__name__)
            return local


def _key(event_id: str) -> str:
    # What Extend sends is no name for a key.
    return f"{_PREFIX}{hashlib.sha256(event_id.encode()).hexdigest()}"
