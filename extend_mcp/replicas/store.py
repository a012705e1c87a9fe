"""The action store in Redis: any replica can resume a plan, and a yes is used once among all of them.

Plans are sealed, so that someone who reads Redis learns nothing of them and cannot forge one. Someone who can write to
Redis can still put an old sealed value back; docs/security.md says so.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import RedisError

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import KEPT_SECONDS, MOST_PLANS_OF_A_CALLER, Plan, SealedStore, digest

_SAVE: Final = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) return 1"
)
_ADD_UP: Final = (
    "local sum = tonumber(redis.call('GET', KEYS[1]) or '0') local amount = tonumber(ARGV[1]) "
    "if amount >= 0 and sum + amount > tonumber(ARGV[2]) then return {0, tostring(sum)} end "
    "redis.call('SET', KEYS[1], tostring(sum + amount), 'EX', ARGV[3]) return {1, tostring(sum + amount)}"
)


class RedisStore(SealedStore):
    """Keeps plans in Redis, one field for each run's state, so that every outcome is saved once it is known.

    It fails closed: without Redis no plan is made, found or resumed, because a local copy may not know what another
    replica did.
    """

    unreachable = (RedisError, OSError)
    prefix: ClassVar = "extend-mcp:"

    def __init__(self, redis: Redis, keys: SealingKeys) -> None:
        super().__init__(keys)
        self._redis = redis
        self._save = redis.register_script(_SAVE)
        self._add_up = redis.register_script(_ADD_UP)

    async def put(self, plan: Plan) -> None:
        key, owned = self._plan_place(plan.principal, plan.id), f"{self.prefix}plans:{digest(plan.principal)[:16]}"
        fields: dict[Any, Any] = {**self._fields(key, plan)}
        with self._reaching():
            async with self._redis.pipeline(transaction=True) as both:
                both.hset(key, mapping=fields)
                both.expire(key, round(KEPT_SECONDS))
                await both.execute()
            async with self._redis.pipeline(transaction=True) as both:
                both.zadd(owned, {key: plan.made_at})
                both.expire(owned, round(KEPT_SECONDS))
                both.zrange(owned, 0, -MOST_PLANS_OF_A_CALLER - 1)
                *_, oldest = await both.execute()
            for each in map(_text, oldest):
                # What is saved of a run after its plan was deleted would be kept for ever.
                if not await self._redis.exists(_lease_of(each)):
                    await self._redis.delete(each)
                    await self._redis.zrem(owned, each)

    async def use(self, proposal_id: str) -> bool:
        place = self._place("used", proposal_id)
        with self._reaching():
            return bool(await self._redis.set(place, "1", nx=True, ex=round(KEPT_SECONDS)))

    async def unuse(self, proposal_id: str) -> None:
        with self._reaching():
            await self._redis.delete(self._place("used", proposal_id))

    async def add_up(self, name: str, amount: float, *, most: float, seconds: float) -> tuple[bool, float]:
        with self._reaching():
            added, total = await self._add_up([self._place("sum", name)], [repr(amount), repr(most), round(seconds)])
        return bool(added), float(_text(total))

    async def _read(self, place: str) -> dict[str, str]:
        return {_text(name): _text(value) for name, value in (await self._redis.hgetall(place)).items()}

    async def _write(self, place: str, field: str, value: str, lease: str = "", mine: str = "") -> bool:
        if lease:
            return bool(await self._save([lease, place], [mine, field, value]))
        await self._redis.hset(place, field, value)
        return True

    def _lock(self, place: str, seconds: float) -> Lock:
        return self._redis.lock(place, timeout=seconds, blocking=False, thread_local=False)

    def _plan_place(self, principal: str, plan_id: str) -> str:
        # A cluster places a key by the text between braces: a plan and its lease stay together.
        return f"{self.prefix}plan:{{{digest(principal)[:16]}:{digest(plan_id)}}}"

    def _plan_lease(self, plan: Plan) -> str:
        return _lease_of(self._plan_place(plan.principal, plan.id))


def _lease_of(key: str) -> str:
    return f"{key}:lease"


def _text(value: bytes | str) -> str:
    # Bytes that are no text are not ours, and unseal as such.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
