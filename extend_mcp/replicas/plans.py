"""Bulk plans that any replica can go on with, sealed: who reads Redis learns nothing of them, nor can change them."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Any, Final

import anyio
from mcp.server.mcpserver import InvalidRequestState
from redis.asyncio import Redis
from redis.exceptions import RedisError

from extend_mcp.tools.plans import PLAN_SECONDS, Item, Plan, PlansUnavailableError
from extend_mcp.tools.seal import SealKeys

logger = logging.getLogger(__name__)

_PREFIX: Final = "extend-mcp:plan:"
_LEASE_SECONDS: Final = 20.0
"""How long a plan stays held when its holder dies; a living one renews it."""

_KEPT_SECONDS: Final = PLAN_SECONDS + 900
"""How long Redis keeps a plan: beyond the end of a call that began just before the plan grew too old, so that what such
a call notes is not left behind alone for ever."""

_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_RENEW: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)
_NOTE: Final = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) return 1"
)


class RedisPlans:
    """Keeps plans in Redis, each run's state in a field of its own, so that an outcome is kept as soon as it is known.

    It fails closed: with Redis out of reach no plan is made, found or gone on with, since a copy of one's own may not
    know what another replica did. So it does for a holder whose hold has ended while it stood still: what it would note
    or send comes too late.

    Args:
        redis: the connections to Redis; whoever opened them closes them.
        keys: what the plans are sealed with; the same for all replicas.
    """

    def __init__(self, redis: Redis, keys: SealKeys) -> None:
        self._redis = redis
        self._keys = keys
        self._release = redis.register_script(_RELEASE)
        self._renew = redis.register_script(_RENEW)
        self._note = redis.register_script(_NOTE)
        self._held: dict[str, str] = {}

    async def put(self, plan: Plan) -> None:
        """Keep a new plan."""
        key = _key(plan.principal, plan.id)
        head = {**asdict(plan), "items": [item.run_id for item in plan.items], "agreed": None}
        fields: dict[Any, Any] = {"plan": self._seal(key, "plan", head)}
        for item in plan.items:
            name = _item(key, item.run_id)
            fields[name] = self._seal(key, name, asdict(item))
        if plan.agreed:
            fields["agreed"] = self._seal(key, "agreed", True)
        with _reaching():
            async with self._redis.pipeline(transaction=True) as both:
                both.hset(key, mapping=fields)
                both.expire(key, round(_KEPT_SECONDS))
                await both.execute()

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        """Find a plan of this action and principal that has not grown too old."""
        key = _key(principal, plan_id)
        with _reaching():
            found = await self._redis.hgetall(key)
        fields = {_text(name): _text(value) for name, value in found.items()}
        head = self._open(key, "plan", fields)
        if head is None or head["action"] != action or head["principal"] != principal:
            return None
        if now - head["made_at"] > PLAN_SECONDS:
            return None
        items = [self._open(key, _item(key, run_id), fields) for run_id in head["items"]]
        if None in items:
            logger.warning("a plan was kept in part, or altered: it is left alone")
            return None
        agreed = self._open(key, "agreed", fields) is True
        return Plan(**{**head, "items": [Item(**item) for item in items if item], "agreed": agreed})

    async def agree(self, plan: Plan) -> None:
        """Note that a person has agreed to the plan."""
        key = _key(plan.principal, plan.id)
        with _reaching():
            await self._redis.hset(key, "agreed", self._seal(key, "agreed", True))
        plan.agreed = True

    async def note(self, plan: Plan, item: Item) -> None:
        """Keep what is known of one of its runs, as long as this store holds the plan.

        Raises:
            PlansUnavailableError: Redis is out of reach, or the plan is not held any more.
        """
        key = _key(plan.principal, plan.id)
        lease, name = _lease(key), _item(key, item.run_id)
        with _reaching():
            # Checked and written in one: whoever takes the plan over afterwards reads what is noted here.
            noted = await self._note(
                [lease, key], [self._held.get(lease, ""), name, self._seal(key, name, asdict(item))]
            )
        if not noted:
            logger.warning("a plan is not held any more: this replica leaves it to another")
            raise PlansUnavailableError

    @asynccontextmanager
    async def at_work(self, plan: Plan) -> AsyncIterator[bool]:
        """Hold the plan while a call carries it out; gives False where another replica's call holds it."""
        key, mine = _lease(_key(plan.principal, plan.id)), secrets.token_hex(8)
        with _reaching():
            ours = bool(await self._redis.set(key, mine, nx=True, px=round(_LEASE_SECONDS * 1000)))
        if not ours:
            yield False
            return
        self._held[key] = mine
        problem: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_lease, key, mine)
                try:
                    yield True
                except Exception as error:
                    # Raised out here, or the task group would wrap what callers know by its type.
                    problem = error
                tasks.cancel_scope.cancel()
            if problem is not None:
                raise problem
        finally:
            if self._held.get(key) == mine:
                del self._held[key]
            with anyio.CancelScope(shield=True), anyio.move_on_after(2):
                try:
                    await self._release([key], [mine])
                except (RedisError, OSError):
                    logger.warning("a plan's hold could not be released; it ends by itself")

    async def _keep_lease(self, key: str, mine: str) -> None:
        while True:
            await anyio.sleep(_LEASE_SECONDS / 4)
            try:
                await self._renew([key], [mine, round(_LEASE_SECONDS * 1000)])
            except (RedisError, OSError):
                # What follows needs Redis as well and will say so.
                logger.warning("a plan's hold could not be renewed")

    def _seal(self, key: str, name: str, value: Any) -> str:
        # Key and field are sealed in, so that nothing can be put in another's place.
        return self._keys.codec.seal(json.dumps([key, name, value]).encode())

    def _open(self, key: str, name: str, fields: dict[str, str]) -> Any:
        try:
            sealed_key, sealed_name, value = json.loads(self._keys.codec.unseal(fields[name]))
        except (KeyError, ValueError, InvalidRequestState):
            return None
        return value if (sealed_key, sealed_name) == (key, name) else None


def _key(principal: str, plan_id: str) -> str:
    owner = hashlib.sha256(principal.encode()).hexdigest()[:16]
    # What stands between braces decides where a cluster keeps a key: a plan and its hold stay together.
    return f"{_PREFIX}{{{owner}:{hashlib.sha256(plan_id.encode()).hexdigest()[:32]}}}"


def _item(key: str, run_id: str) -> str:
    return f"item:{hashlib.sha256(f'{key} {run_id}'.encode()).hexdigest()[:32]}"


def _lease(key: str) -> str:
    return f"{key}:lease"


def _text(value: bytes | str) -> str:
    # What is no text is none of ours, and opens as such.
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        logger.warning("plans cannot be read or kept: %s", type(error).__name__)
        raise PlansUnavailableError from None
