"""Bulk plans in a real Redis: any replica continues them, nobody reads or alters them, and none is done twice."""

from __future__ import annotations

import copy
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from redis.asyncio import Redis

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import (
    MOST_PLANS_OF_A_CALLER,
    PLAN_SECONDS,
    Plan,
    PlannedRun,
    StoreUnavailableError,
)
from extend_mcp.api.errors import AuthenticationError
from extend_mcp.api.requests import CreateWorkflowRun, FileFromId, WorkflowTarget
from extend_mcp.callers import Shared
from extend_mcp.replicas.store import RedisStore
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from tests.harness import KEY, Box, BoxClock, facts_of, text_of
from tests.redis_server import RunningRedis, needs_redis, running_redis

pytestmark = needs_redis

NOW = 1_800_000_000.0
TOOL = "rerun_workflow_runs"
STATE_KEY = "state-key-of-all-replicas-0123456789"


@pytest.fixture
async def redis(redis_server: RunningRedis) -> AsyncIterator[Redis]:
    """A connection to a Redis without plans."""
    async with Redis.from_url(redis_server.url) as connection:
        await connection.flushdb()
        yield connection


def store(redis: Redis, state_key: str = STATE_KEY) -> RedisStore:
    """One replica's store."""
    return RedisStore(redis, SealingKeys([state_key]))


def plan_of(principal: str = "anna", **fields: Any) -> Plan:
    """A plan of three runs, with canaries in every field that holds account data."""
    source = CreateWorkflowRun(
        workflow=WorkflowTarget(id="workflow_canary"),
        file=FileFromId(id="file_canary"),
        metadata={"canary": "canary value"},
    )
    runs = [
        PlannedRun(run_id=f"workflow_run_canary{number}", status="FAILED", note="canary note", rerun=source)
        for number in range(3)
    ]
    question = ["Run 3 workflow runs again?", "canary-file.pdf"]
    given: dict[str, Any] = {"action": TOOL, "principal": principal, "runs": runs, "question": question}
    return Plan(**{**given, "skipped": {"canary": 1}, "made_at": NOW, **fields})


async def test_replicas_share_a_sum_that_none_passes(redis: Redis) -> None:
    one, other = store(redis), store(redis)
    assert await one.add_up("credits anna", 60.5, most=100, seconds=60) == (True, 60.5)
    assert await other.add_up("credits anna", 40, most=100, seconds=60) == (False, 60.5)
    assert await other.add_up("credits bert", 40, most=100, seconds=60) == (True, 40)
    assert await other.add_up("credits anna", -10.5, most=100, seconds=60) == (True, 50)
    results: list[bool] = []

    async def add(plans: RedisStore) -> None:
        results.append((await plans.add_up("credits anna", 5, most=100, seconds=60))[0])

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(add, (one, other)[number % 2])
    assert sum(results) == 10
    assert min([await redis.ttl(key) for key in await keys_of(redis)]) > 0


async def found(plans: RedisStore, plan: Plan, **other: Any) -> Plan | None:
    """The plan as a store has it."""
    return await plans.get(plan.id, **{"action": plan.action, "principal": plan.principal, "now": NOW, **other})


async def keys_of(redis: Redis) -> list[bytes]:
    """All keys but those that say which plans a caller has."""
    return sorted([key async for key in redis.scan_iter(match="*") if b":plans:" not in key])


async def test_another_replica_finds_the_whole_plan(redis: Redis) -> None:
    one, other = store(redis), store(redis)
    plan = plan_of()
    await one.put(plan)
    assert await found(other, plan) == plan
    plan.runs[1].outcome, plan.runs[1].sent_at = "started", NOW
    async with other.hold(plan) as ours:
        assert ours
        await other.save_run(plan, plan.runs[1])
    seen = await found(one, plan)
    assert seen == plan
    assert seen
    assert [run.run_id for run in seen.open_runs] == ["workflow_run_canary0", "workflow_run_canary2"]


async def test_an_outcome_that_was_not_noted_is_not_known_elsewhere(redis: Redis) -> None:
    plan = plan_of()
    await store(redis).put(plan)
    before = copy.deepcopy(plan)
    plan.runs[0].outcome = "started"
    assert await found(store(redis), plan) == before


async def test_others_find_nothing(redis: Redis) -> None:
    plan = plan_of()
    await store(redis).put(plan)
    for other in (
        {"principal": "ben"},
        {"principal": ""},
        {"action": "cancel_runs"},
        {"now": NOW + PLAN_SECONDS + 1},
    ):
        assert await found(store(redis), plan, **other) is None
    assert await store(redis).get("another", action=TOOL, principal="anna", now=NOW) is None
    assert await found(store(redis, "another-state-key-that-was-never-shared"), plan) is None
    assert await found(store(redis), plan, now=NOW + PLAN_SECONDS) == plan


async def test_200_proposals_of_one_caller_do_not_evict_another_s_plan(redis: Redis) -> None:
    plans, mine = store(redis), plan_of("anna")
    await plans.put(mine)
    for _ in range(200):
        await plans.put(plan_of("ben"))
    assert await found(plans, mine) == mine


async def test_a_caller_has_twenty_plans_and_the_oldest_that_is_not_carried_out_makes_room(redis: Redis) -> None:
    one, other, mine = store(redis), store(redis), plan_of("anna")
    await one.put(mine)
    made = [plan_of("ben", made_at=NOW + number) for number in range(MOST_PLANS_OF_A_CALLER + 5)]
    await one.put(made[0])
    async with one.hold(made[0]) as ours:
        assert ours
        for number, plan in enumerate(made[1:]):
            await (one if number % 2 else other).put(plan)
        kept = [await found(one, plan) is not None for plan in made]
        assert kept == [True, *[False] * 4, *[True] * MOST_PLANS_OF_A_CALLER]
        await one.save_run(made[0], made[0].runs[0])
    await other.put(plan_of("ben", made_at=NOW + 100))
    assert await found(one, made[0]) is None
    assert await found(one, mine) == mine
    assert len(await keys_of(redis)) == 1 + MOST_PLANS_OF_A_CALLER
    async for key in redis.scan_iter(match="*"):
        assert await redis.ttl(key) > 0


async def test_who_reads_redis_learns_nothing(redis: Redis) -> None:
    plan = plan_of("anna@example.com")
    plans = store(redis)
    await plans.put(plan)
    async with plans.hold(plan):
        await plans.save_run(plan, plan.runs[0])
        everything = b""
        for key in await keys_of(redis):
            kept = await redis.get(key) if b"lease" in key else await redis.hgetall(key)
            everything += key + repr(kept).encode()
        [index] = [key async for key in redis.scan_iter(match="extend-mcp:plans:*")]
        everything += index + repr(await redis.lrange(index, 0, -1)).encode()
    for word in ("canary", "FAILED", "anna", "example.com", TOOL, plan.id, "again"):
        assert word.encode() not in everything, word


async def fields_of(redis: Redis, plan: Plan) -> tuple[bytes, dict[Any, Any]]:
    """Return the key of the one plan in Redis, and its fields."""
    await store(redis).put(plan)
    [key] = await keys_of(redis)
    return key, await redis.hgetall(key)


async def test_an_altered_field_spoils_the_plan(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of()
    key, fields = await fields_of(redis, plan)
    for name, sealed in fields.items():
        middle = len(sealed) // 2
        other = b"A" if sealed[middle : middle + 1] != b"A" else b"B"
        for forged in (sealed[:middle] + other + sealed[middle + 1 :], b"", b"{}", b"\xff", sealed[:-9]):
            await redis.hset(key, name, forged)
            assert await found(store(redis), plan) is None, (name, forged)
        await redis.hset(key, name, sealed)
    assert await found(store(redis), plan) == plan
    assert any("altered" in record.getMessage() for record in caplog.records)


async def test_a_missing_run_spoils_the_plan_and_a_strange_one_is_not_acted_on(redis: Redis) -> None:
    plan = plan_of()
    key, fields = await fields_of(redis, plan)
    item = next(name for name in fields if name.startswith(b"item:"))
    await redis.hset(key, b"item:" + b"0" * 32, fields[item])
    assert await found(store(redis), plan) == plan
    await redis.hdel(key, item)
    assert await found(store(redis), plan) is None


async def test_a_sealed_field_counts_only_in_its_own_place(redis: Redis) -> None:
    plan, later = plan_of(), plan_of()
    plans = store(redis)
    await plans.put(later)
    [later_key] = await keys_of(redis)
    await plans.put(plan)
    [key] = set(await keys_of(redis)) - {later_key}
    ours: dict[Any, Any] = await redis.hgetall(key)
    theirs: dict[Any, Any] = await redis.hgetall(later_key)

    # One run's state is not another's, nor another plan's.
    one, two, three = sorted(name for name in ours if name.startswith(b"item:"))
    their_items = [name for name in theirs if name.startswith(b"item:")]
    foreign = [(one, ours[two]), (three, ours[one]), (b"plan", theirs[b"plan"])]
    for name, sealed in foreign + [(one, theirs[each]) for each in their_items]:
        await redis.hset(key, name, sealed)
        assert await found(plans, plan) is None
        await redis.hset(key, name, ours[name])
    assert await found(plans, plan) == plan
    # A whole plan under another's name is nobody's.
    await redis.rename(later_key, key)
    assert await found(plans, plan) is None


async def test_a_plan_is_held_by_one_call_at_a_time(redis: Redis) -> None:
    one, other = store(redis), store(redis)
    plan, another = plan_of(), plan_of()
    async with one.hold(plan) as first:
        async with other.hold(plan) as second, one.hold(plan) as third, other.hold(another) as elsewhere:
            assert (first, second, third, elsewhere) == (True, False, False, True)
        # A caller that was refused has released nothing.
        async with other.hold(plan) as again:
            assert not again
    async with other.hold(plan) as after:
        assert after
    assert await keys_of(redis) == []


async def test_a_hold_ends_with_an_error_which_keeps_its_type(redis: Redis) -> None:
    plans, plan = store(redis), plan_of()
    for problem in (StoreUnavailableError(), AuthenticationError("the key is refused"), ValueError("a bug")):
        with pytest.raises(type(problem)) as caught:
            async with plans.hold(plan):
                raise problem
        assert caught.value is problem
        assert await keys_of(redis) == []


async def test_a_hold_ends_with_a_call_that_is_cancelled(redis: Redis) -> None:
    plans, plan = store(redis), plan_of()
    with anyio.CancelScope() as scope:
        async with plans.hold(plan):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await keys_of(redis) == []


async def test_a_hold_lasts_seconds_and_is_renewed_while_its_holder_lives(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans, plan = store(redis), plan_of()
    async with plans.hold(plan):
        [lease] = await keys_of(redis)
        assert 15_000 < await redis.pttl(lease) <= 20_000

    # The same, faster.
    monkeypatch.setattr("extend_mcp.actions.store.LEASE_SECONDS", 0.8)
    async with plans.hold(plan):
        for _ in range(3):
            await redis.pexpire(lease, 400)
            with anyio.fail_after(10):
                while await redis.pttl(lease) <= 400:
                    await anyio.sleep(0.005)


async def test_whoever_has_lost_the_hold_can_note_nothing_and_releases_nothing(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = store(redis), store(redis)
    plan = plan_of()
    await one.put(plan)
    [key] = await keys_of(redis)
    item = plan.runs[0]
    async with one.hold(plan):
        # What time does to one that is paused.
        await redis.delete(key + b":lease")
        with pytest.raises(StoreUnavailableError):
            await one.save_run(plan, item)
        async with other.hold(plan) as theirs:
            assert theirs
            item.outcome = "started"
            await other.save_run(plan, item)
            item.outcome = "unknown"
            with pytest.raises(StoreUnavailableError):
                await one.save_run(plan, item)
    seen = await found(one, plan)
    assert seen
    assert seen.runs[0].outcome == "started"
    assert any("not held any more" in record.getMessage() for record in caplog.records)


async def test_the_end_of_a_lost_hold_leaves_the_new_one_alone(redis: Redis) -> None:
    one, other = store(redis), store(redis)
    plan = plan_of()
    held, end, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def stand_still() -> None:
        async with one.hold(plan):
            held.set()
            await end.wait()
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stand_still)
        await held.wait()
        await redis.delete(*await keys_of(redis))
        async with other.hold(plan) as theirs:
            assert theirs
            end.set()
            await ended.wait()
            async with one.hold(plan) as ours:
                assert not ours


async def test_nothing_is_kept_for_ever(redis: Redis) -> None:
    plan, plans = plan_of(), store(redis)
    await plans.put(plan)
    async with plans.hold(plan):
        await plans.save_run(plan, plan.runs[0])
        for key in await keys_of(redis):
            assert 0 < await redis.ttl(key) <= PLAN_SECONDS + 900
    # A call that began in the plan's last second still finds what it notes into.
    [key] = await keys_of(redis)
    assert await redis.ttl(key) > PLAN_SECONDS + 60


async def test_without_redis_everything_is_refused_and_nothing_told(caplog: pytest.LogCaptureFixture) -> None:
    with running_redis() as server:
        async with Redis.from_url(server.url) as redis:
            plans, plan = store(redis), plan_of()
            await plans.put(plan)
            server.stop()
            with pytest.raises(StoreUnavailableError):
                await plans.put(plan_of())
            with pytest.raises(StoreUnavailableError):
                await found(plans, plan)
            with pytest.raises(StoreUnavailableError):
                await plans.save_run(plan, plan.runs[0])
            with pytest.raises(StoreUnavailableError):
                async with plans.hold(plan):
                    raise AssertionError("held without Redis")
            server.start()
            # Redis has forgotten it: better no plan than an old one.
            assert await found(plans, plan) is None
            async with plans.hold(plan) as ours:
                assert ours
                server.stop()
                with pytest.raises(StoreUnavailableError):
                    await plans.save_run(plan, plan.runs[0])
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings
    assert not [warning for warning in warnings if "127.0.0.1" in warning or "canary" in warning]


class Keeping(RedisStore):
    """A store that shows the test what was planned."""

    plan: Plan

    async def put(self, plan: Plan) -> None:
        """Keep a plan."""
        self.plan = plan
        await super().put(plan)


@asynccontextmanager
async def replica(box: Box, plans: RedisStore) -> AsyncIterator[Client]:
    """A server with its own store, and a client that cannot be asked."""
    settings = Settings.model_validate({"api_key": KEY, "base_url": box.base_url})
    shared = Shared(SealingKeys([STATE_KEY]), store=plans)
    server, registry = build_server(settings, clock=BoxClock(box), shared=shared)
    try:
        async with Client(server) as client:
            yield client
    finally:
        await registry.aclose()


def failed_runs(box: Box) -> list[str]:
    """The failed runs of one batch of the scenario."""
    failed = [run for run in box.state()["runs"] if run["batchId"] and run["status"] == "FAILED"]
    return [run["id"] for run in failed if run["batchId"] == failed[0]["batchId"]]


def started(box: Box) -> list[str]:
    """The runs of which a rerun was sent."""
    return [each["body"]["metadata"]["rerunOf"] for each in box.requests("POST") if each["path"] == "/workflow_runs"]


async def test_a_rerun_that_was_noted_as_sent_is_never_sent_again(box: Box, redis: Redis) -> None:
    first, second = Keeping(redis, SealingKeys([STATE_KEY])), store(redis)
    ids = failed_runs(box)
    assert len(ids) > 2
    async with replica(box, first) as client:
        facts = facts_of(await client.call_tool(TOOL, {"run_ids": ids}))
    # The first replica notes one as sent, and never returns; whether it left, nobody knows.
    planned = [run.run_id for run in first.plan.runs]
    lost = first.plan.runs[0]
    lost.sent_at = box.now().timestamp()
    async with first.hold(first.plan):
        await first.save_run(first.plan, lost)
    async with replica(box, second) as client:
        again = {"confirmation_token": facts["confirmation_token"]}
        done = facts_of(await client.call_tool(TOOL, again))
        repeated = facts_of(await client.call_tool(TOOL, again))
    assert done["outcome"] == "done"
    assert done["counts"] == {"unknown": 1, "started": len(planned) - 1}
    assert repeated["counts"] == done["counts"]
    assert sorted(started(box)) == sorted(set(planned) - {lost.run_id})


async def test_an_outage_in_the_middle_stops_before_anything_more_is_sent(box: Box) -> None:
    ids = failed_runs(box)
    with running_redis() as server:
        async with Redis.from_url(server.url) as redis, replica(box, store(redis)) as client:
            facts = facts_of(await client.call_tool(TOOL, {"run_ids": ids}))
            again = {"confirmation_token": facts["confirmation_token"]}
            server.stop()
            refused = await client.call_tool(TOOL, again)
    assert refused.is_error
    assert "Plans cannot be read or kept at the moment" in text_of(refused)
    assert started(box) == []


async def test_a_refused_key_ends_a_plan_in_words_of_its_own(box: Box, redis: Redis) -> None:
    ids = failed_runs(box)
    async with replica(box, store(redis)) as client:
        facts = facts_of(await client.call_tool(TOOL, {"run_ids": ids}))
        box.fault(method="POST", path="/workflow_runs", status=401, times=100)
        refused = await client.call_tool(TOOL, {"confirmation_token": facts["confirmation_token"]})
    assert refused.is_error
    assert "failed inside" not in text_of(refused)
    assert "key" in text_of(refused)
    assert not [key for key in await keys_of(redis) if b"lease" in key]
