"""The ids of events that any replica has received."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from extend_mcp.events.event import REMEMBERED_SECONDS, Seen
from extend_mcp.replicas import outage_logged

_PREFIX: Final = "extend-mcp:event:"
_SINCE: Final = "extend-mcp:events-since"


class RedisSeen(Seen):
    """Remembers in Redis; while it fails, in this process, since an event acted on twice does no harm.

    Args:
        redis: the connections to Redis, closed by their owner.
    """

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
    return f"{_PREFIX}{hashlib.sha256(event_id.encode()).hexdigest()}"
