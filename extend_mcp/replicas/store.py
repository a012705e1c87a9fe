"""The action store in Redis: any replica can resume a plan, and a yes is used once among all of them.

Plans are sealed, so that someone who reads Redis learns nothing of them and cannot forge one. Someone who can write to
Redis can still put an old sealed value back; docs/security.md says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import KEPT_SECONDS, MOST_PLANS_OF_A_CALLER, ActionStore, lease_of

_WRITE: Final = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) return 1"
)
_EXTEND: Final = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2])"
_ADD: Final = (
    "local sum = tonumber(redis.call('GET', KEYS[1]) or '0') local amount = tonumber(ARGV[1]) "
    "if amount >= 0 and sum + amount > tonumber(ARGV[2]) then return {0, tostring(sum)} end "
    "redis.call('SET', KEYS[1], tostring(sum + amount), 'EX', ARGV[3]) return {1, tostring(sum + amount)}"
)


class RedisStore(ActionStore):
    """Keeps plans in Redis, one field for each run's state, so that every outcome is saved once it is known.

    It fails closed: without Redis no plan is made, found or resumed, because a local copy may not know what another
    replica did.
    """

    unreachable = (RedisError, OSError)

    def __init__(self, redis: Redis, keys: SealingKeys) -> None:
        super().__init__(keys)
        self._redis = redis
        self._if_held, self._if_ours, self._up_to = map(redis.register_script, (_WRITE, _EXTEND, _ADD))

    async def _keep(self, place: str, owner: str, fields: Mapping[str, str]) -> None:
        owned = f"extend-mcp:plans:{owner}"
        async with self._redis.pipeline(transaction=True) as both:
            both.hset(place, mapping=dict[Any, Any](fields))
            both.expire(place, round(KEPT_SECONDS))
            await both.execute()
        async with self._redis.pipeline(transaction=True) as both:
            both.rpush(owned, place)
            both.expire(owned, round(KEPT_SECONDS))
            both.lrange(owned, 0, -MOST_PLANS_OF_A_CALLER - 1)
            *_, oldest = await both.execute()
        for each in map(_text, oldest):
            # What is saved of a run after its plan was deleted would be kept for ever.
            if not await self._redis.exists(lease_of(each)):
                await self._redis.delete(each)
                await self._redis.lrem(owned, 0, each)

    async def _read(self, place: str) -> dict[str, str]:
        return {_text(name): _text(value) for name, value in (await self._redis.hgetall(place)).items()}

    async def _write(self, place: str, field: str, value: str, mine: str) -> bool:
        return bool(await self._if_held([lease_of(place), place], [mine, field, value]))

    async def _claim(self, place: str, value: str, seconds: float) -> bool:
        return bool(await self._redis.set(place, value, nx=True, px=round(seconds * 1000)))

    async def _extend(self, place: str, value: str, seconds: float) -> None:
        await self._if_ours([place], [value, round(seconds * 1000)])

    async def _add(self, place: str, amount: float, most: float, seconds: float) -> tuple[bool, float]:
        added, total = await self._up_to([place], [repr(amount), repr(most), round(seconds)])
        return bool(added), float(_text(total))


def _text(value: bytes | str) -> str:
    # Bytes that are no text are not ours, and unseal as such.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
