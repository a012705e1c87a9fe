"""The action store in Redis: any replica can resume a plan, and a yes is used once among all of them.

Plans are sealed, so that someone who reads Redis learns nothing of them and cannot forge one. Someone who can write to
Redis can still put an old sealed value back; docs/security.md says so.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Final

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import (
    KEPT_SECONDS,
    LEASE_SECONDS,
    MOST_PLANS_OF_A_CALLER,
    ActionStore,
    Plan,
    PlannedRun,
    PlanSealer,
    StoreUnavailableError,
    renewing,
)
from extend_mcp.replicas import outage_logged

logger = logging.getLogger(__name__)

_PREFIX: Final = "extend-mcp:plan:"
_PLANS_PREFIX: Final = "extend-mcp:plans:"
_LEASE_PREFIX: Final = "extend-mcp:lease:"
_USED_PREFIX: Final = "extend-mcp:used:"
_SUM_PREFIX: Final = "extend-mcp:sum:"

_SAVE: Final = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) return 1"
)
_ADD_UP: Final = (
    "local sum = tonumber(redis.call('GET', KEYS[1]) or '0') local amount = tonumber(ARGV[1]) "
    "if amount >= 0 and sum + amount > tonumber(ARGV[2]) then return {0, tostring(sum)} end "
    "redis.call('SET', KEYS[1], tostring(sum + amount), 'EX', ARGV[3]) return {1, tostring(sum + amount)}"
)


class RedisStore(ActionStore):
    """Keeps plans in Redis, one field for each run's state, so that every outcome is saved once it is known.

    It fails closed: without Redis no plan is made, found or resumed, because a local copy may not know what another
    replica did. A holder whose lease ended while it was paused can save and send nothing more.
    """

    def __init__(self, redis: Redis, keys: SealingKeys) -> None:
        self._redis = redis
        self._sealer = PlanSealer(keys)
        self._save = redis.register_script(_SAVE)
        self._add_up = redis.register_script(_ADD_UP)
        self._held: dict[str, str] = {}

    async def put(self, plan: Plan) -> None:
        key, owned = _key(plan.principal, plan.id), _PLANS_PREFIX + _digest(plan.principal)[:16]
        fields: dict[Any, Any] = {**self._sealer.fields(key, plan)}
        with _reaching():
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
                if not await self._redis.exists(_plan_lease(each)):
                    await self._redis.delete(each)
                    await self._redis.zrem(owned, each)

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        key = _key(principal, plan_id)
        with _reaching():
            found = await self._redis.hgetall(key)
        fields = {_text(name): _text(value) for name, value in found.items()}
        return self._sealer.plan(key, fields, action=action, principal=principal, now=now)

    async def agree(self, plan: Plan) -> None:
        key = _key(plan.principal, plan.id)
        with _reaching():
            await self._redis.hset(key, *self._sealer.agreed(key))
        plan.agreed = True

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        key = _key(plan.principal, plan.id)
        lease = _plan_lease(key)
        name, sealed = self._sealer.run(key, run)
        with _reaching():
            # Checked and written in one step: a replica that takes the plan over afterwards reads this.
            saved = await self._save([lease, key], [self._held.get(lease, ""), name, sealed])
        if not saved:
            logger.warning("a plan is not held any more: this replica leaves it to another")
            raise StoreUnavailableError

    def hold(self, plan: Plan) -> AbstractAsyncContextManager[bool]:
        return self._lease(_plan_lease(_key(plan.principal, plan.id)))

    def lease(self, name: str) -> AbstractAsyncContextManager[bool]:
        return self._lease(_LEASE_PREFIX + _digest(name))

    async def use(self, proposal_id: str) -> bool:
        with _reaching():
            return bool(
                await self._redis.set(_USED_PREFIX + _digest(proposal_id), "1", nx=True, ex=round(KEPT_SECONDS))
            )

    async def unuse(self, proposal_id: str) -> None:
        with _reaching():
            await self._redis.delete(_USED_PREFIX + _digest(proposal_id))

    async def add_up(self, name: str, amount: float, *, most: float, seconds: float) -> tuple[bool, float]:
        key = _SUM_PREFIX + _digest(name)
        with _reaching():
            added, total = await self._add_up([key], [repr(amount), repr(most), round(seconds)])
        return bool(added), float(_text(total))

    @asynccontextmanager
    async def _lease(self, key: str) -> AsyncIterator[bool]:
        mine = secrets.token_hex(8)
        lock = self._redis.lock(key, timeout=LEASE_SECONDS, blocking=False, thread_local=False)
        with _reaching():
            ours = await lock.acquire(token=mine)
        if not ours:
            yield False
            return
        self._held[key] = mine

        async def renew() -> None:
            # What follows needs Redis as well and will report it.
            with outage_logged("a lease could not be renewed"):
                await lock.reacquire()

        try:
            async with renewing(renew, LEASE_SECONDS / 4):
                yield True
        finally:
            if self._held.get(key) == mine:
                del self._held[key]
            with (
                anyio.CancelScope(shield=True),
                anyio.move_on_after(2),
                outage_logged("a lease could not be released; it will expire"),
            ):
                await lock.release()


def _key(principal: str, plan_id: str) -> str:
    # A cluster places a key by the text between braces: a plan and its lease stay together.
    return f"{_PREFIX}{{{_digest(principal)[:16]}:{_digest(plan_id)}}}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _plan_lease(key: str) -> str:
    return f"{key}:lease"


def _text(value: bytes | str) -> str:
    # Bytes that are no text are not ours, and unseal as such.
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        logger.warning("the store cannot be reached: %s", type(error).__name__)
        raise StoreUnavailableError from None
