"""Several replicas, as real processes behind a load balancer: any of them continues where another one stopped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ResourceUpdatedNotification
from redis import Redis

from extend_mcp.actions.bulk import AT_ONCE
from extend_mcp.views.uris import run_uri
from tests.e2e.proxy import balancing
from tests.e2e.replicas import Fleet, connected, fleet, run_event
from tests.harness import ERAS, Mode, Person, facts_of, text_of
from tests.redis_server import needs_redis

pytestmark = [needs_redis, pytest.mark.thorough]

CANCEL = "cancel_workflow_run"
_numbers = count(1)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three replicas that keep no sessions, for all tests of this file."""
    with fleet(tmp_path_factory.mktemp("three"), 3, stateless=True) as made:
        yield made


@pytest.fixture
def replicas(three: Fleet) -> Iterator[Fleet]:
    """The three, all of them there; in the end nothing has crashed inside."""
    three.refresh()
    yield three
    three.check()


@pytest.fixture
def with_sessions(tmp_path: Path) -> Iterator[Fleet]:
    """Two replicas that keep sessions."""
    with fleet(tmp_path, 2, stateless=False) as made:
        yield made
        made.check()


def run_id() -> str:
    """The id of a run that no other test has."""
    return f"workflow_run_replica{next(_numbers):013d}"


def where(replicas: Fleet, tool: str, outcome: str) -> list[int]:
    """Return the replicas that gave a call of this tool this outcome, once for each time."""
    return [
        place for place, replica in enumerate(replicas.replicas) for each in replica.outcomes(tool) if each == outcome
    ]


async def test_a_person_asked_by_one_replica_is_heard_by_another(replicas: Fleet) -> None:
    run = replicas.extend.load(run_id(), "PROCESSING")
    person = Person()
    async with (
        balancing(replicas.ports) as proxy,
        connected(proxy.url, person=person) as client,
    ):
        assert client.protocol_version == "2026-07-28"
        facts = facts_of(await client.call_tool(CANCEL, {"run_id": run}))
    assert facts["outcome"] == "cancelled"
    assert len(person.asked) == 1
    [asked], [cancelled] = where(replicas, CANCEL, "asked"), where(replicas, CANCEL, "cancelled")
    assert asked != cancelled
    assert len(await replicas.extend.requests("POST", f"/workflow_runs/{run}/cancel")) == 1


@pytest.mark.parametrize("mode", ERAS)
async def test_a_token_of_one_replica_counts_at_another(replicas: Fleet, mode: Mode) -> None:
    run = replicas.extend.load(run_id(), "PROCESSING")
    async with balancing(replicas.ports) as proxy, connected(proxy.url, mode=mode) as client:
        plan = facts_of(await client.call_tool(CANCEL, {"run_id": run}))
        assert plan["outcome"] == "confirmation_required"
        assert await replicas.extend.requests("POST", "/workflow_runs/*/cancel") == []
        arguments = {"run_id": run, "confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool(CANCEL, arguments))
    assert facts["outcome"] == "cancelled"
    [shown], [cancelled] = where(replicas, CANCEL, "confirmation_required"), where(replicas, CANCEL, "cancelled")
    assert shown != cancelled


@pytest.mark.parametrize("mode", ERAS)
async def test_a_plan_of_one_replica_is_carried_out_by_another(replicas: Fleet, mode: Mode) -> None:
    ids = [replicas.extend.load(run_id(), "PROCESSING") for _ in range(3)]
    async with balancing(replicas.ports) as proxy, connected(proxy.url, mode=mode) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
        assert plan["outcome"] == "confirmation_required"
        facts = facts_of(await client.call_tool("cancel_runs", {"confirmation_token": plan["confirmation_token"]}))
    assert (facts["outcome"], facts["planned"]) == ("done", 3)
    [proposed], [done] = where(replicas, "cancel_runs", "confirmation_required"), where(replicas, "cancel_runs", "done")
    assert proposed != done
    sent = await replicas.extend.requests("POST", "/workflow_runs/*/cancel")
    assert sorted(request["path"].split("/")[2] for request in sent) == ids


async def test_an_event_at_one_replica_reaches_a_listener_of_another(replicas: Fleet) -> None:
    one, other, third = replicas.replicas
    run, another = (replicas.extend.load(run_id(), "PROCESSING") for _ in range(2))
    event = run_event(run)
    async with connected(other.url) as client, client.listen(resource_subscriptions=[run_uri(run)]) as heard:
        assert await one.deliver(run_event(another)) == "accepted"
        assert await one.deliver(event) == "accepted"
        with anyio.fail_after(10):
            first = await anext(heard)
        # That of the other run came before it.
        assert first == ResourceUpdated(run_uri(run))
        assert await third.deliver(event) == "duplicate", "what one replica has received, all have"


# The client's word for what is served for older servers' sake.
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_an_older_client_hears_of_an_event_at_another_replica_and_gets_its_last_answer(
    with_sessions: Fleet,
) -> None:
    one, other = with_sessions.replicas
    run, another = (with_sessions.extend.load(run_id(), "PROCESSING") for _ in range(2))
    heard: list[str] = []
    notified = anyio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.append(str(message.params.uri))
            notified.set()

    async with connected(other.url, mode="legacy", on_message=hear) as client, anyio.create_task_group() as tasks:
        assert client.protocol_version == "2025-11-25"
        await client.session.subscribe_resource(run_uri(run))
        with anyio.fail_after(20):
            # The session's long-lived stream opens next to the subscription: until then nothing is received.
            while not notified.is_set():
                await one.deliver(run_event(another))
                await one.deliver(run_event(run))
                with anyio.move_on_after(0.2):
                    await notified.wait()
        assert set(heard) == {run_uri(run)}

        # The client checks answers against the list of tools, which it could not ask for in the end.
        await client.list_tools()
        # The replica ends: the call in flight is answered, and then the session's stream ends.
        with_sessions.extend.fault("GET", "/workflow_runs/*", delaySeconds=1.2)
        answers: list[str] = []

        async def call() -> None:
            answers.append(text_of(await client.call_tool("get_workflow_run", {"run_id": another})))

        tasks.start_soon(call)
        with anyio.fail_after(10):
            while not await other.calls():
                await anyio.sleep(0.01)
        other.ask_to_end()
        assert await anyio.to_thread.run_sync(other.await_end) == 0
    assert another in answers[0]


async def test_a_wait_at_one_replica_ends_by_an_event_at_another(replicas: Fleet) -> None:
    one, other, _ = replicas.replicas
    run = replicas.extend.load(run_id(), "PROCESSING")
    path = f"/workflow_runs/{run}"
    answers: list[dict[str, Any]] = []

    async with connected(other.url) as client, anyio.create_task_group() as tasks:

        async def wait() -> None:
            answers.append(facts_of(await client.call_tool("wait_for_run", {"run_ids": [run], "seconds": 60})))

        tasks.start_soon(wait)
        await replicas.extend.await_requests(1, "GET", path)
        begun = time.monotonic()
        # Without events the first looks are three quarters of a second apart, or more.
        for looks in range(2, 22):
            await one.deliver(run_event(run, "workflow_run.step_run.processed") | {"payload": {"workflowRunId": run}})
            await replicas.extend.await_requests(looks, "GET", path)
        replicas.extend.finish(run, "PROCESSED")
        await one.deliver(run_event(run))
        with anyio.fail_after(10):
            while not answers:
                await anyio.sleep(0.01)
        took = time.monotonic() - begun
    looks = len(await replicas.extend.requests("GET", path))
    assert looks > took / 0.75 + 10, f"{looks} looks in {took:.1f} s"
    assert "PROCESSED" in str(answers[0])


@pytest.mark.parametrize("mode", ERAS)
async def test_a_replica_that_is_told_to_end_loses_no_call(replicas: Fleet, mode: Mode) -> None:
    ids = [replicas.extend.load(run_id(), "PROCESSING") for _ in range(20)]
    # Longer than the replica still takes requests, so that it stops accepting while it answers.
    replicas.extend.fault("GET", "/workflow_runs/*", delaySeconds=1.2, times=1000)
    leaving = replicas.replicas[1]
    answers: list[tuple[str, str]] = []

    async with balancing(replicas.ports) as proxy, connected(proxy.url, mode=mode) as client:

        async def call(run: str, free: anyio.CapacityLimiter) -> None:
            async with free:
                answers.append((run, text_of(await client.call_tool("get_workflow_run", {"run_id": run}))))

        async with anyio.create_task_group() as tasks:
            free = anyio.CapacityLimiter(100)
            for number in range(200):
                tasks.start_soon(call, ids[number % 20], free)
            with anyio.fail_after(20):
                while await leaving.calls() < 20:
                    await anyio.sleep(0.01)
            held = proxy.holding[leaving.port]
            leaving.ask_to_end()
            with anyio.fail_after(10):
                while leaving.port in proxy.ready:
                    await anyio.sleep(0.01)
            told_first = leaving.alive
            status = await anyio.to_thread.run_sync(leaving.await_end)
            ended_early = len(answers) < 200
    assert held >= 20, "it was in the middle of calls"
    assert told_first, "it said so before it stopped accepting"
    assert ended_early, "and the others continued without it"
    assert status == 0
    assert Counter(run for run, text in answers if run in text) == dict.fromkeys(ids, 10)
    assert proxy.broken == 0
    assert len(await replicas.extend.requests("GET", "/workflow_runs/*")) == 200, "none was asked twice"
    assert proxy.ready == {replica.port for replica in replicas.replicas if replica is not leaving}


@pytest.mark.parametrize(
    ("mode", "words"),
    # An older client's answer is an event stream, which has begun: nobody can put words into it any more.
    [("auto", "unclear whether the call took effect"), ("legacy", "ended without a response")],
)
async def test_a_replica_that_dies_in_a_cancel_leaves_a_clear_word(replicas: Fleet, mode: Mode, words: str) -> None:
    run = replicas.extend.load(run_id(), "PROCESSING")
    async with balancing(replicas.ports) as proxy, connected(proxy.url, mode=mode) as client:
        plan = facts_of(await client.call_tool(CANCEL, {"run_id": run}))
        arguments = {"run_id": run, "confirmation_token": plan["confirmation_token"]}
        replicas.extend.fault("POST", f"/workflow_runs/{run}/cancel", delaySeconds=30)
        errors: list[MCPError] = []

        async def cancel() -> None:
            with pytest.raises(MCPError) as caught:
                await client.call_tool(CANCEL, arguments)
            errors.append(caught.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await replicas.extend.await_requests(1, "POST", f"/workflow_runs/{run}/cancel")
            [port] = [port for port, held in proxy.holding.items() if held]
            replicas.at(port).kill()
        assert words in str(errors[0])
        seen = facts_of(await client.call_tool("get_workflow_run", {"run_id": run}))
    assert seen["status"] in ("CANCELLED", "CANCELLING")
    assert len(await replicas.extend.requests("POST", f"/workflow_runs/{run}/cancel")) == 1, "it was not sent again"


async def test_an_interrupted_rerun_goes_on_at_another_replica_and_starts_nothing_twice(replicas: Fleet) -> None:
    ids = await replicas.extend.failed_runs(3 + AT_ONCE + 3)
    replicas.extend.forget()
    tool = "rerun_workflow_runs"
    async with balancing(replicas.ports) as proxy, connected(proxy.url) as client:
        plan = facts_of(await client.call_tool(tool, {"run_ids": ids, "include_hopeless": True}))
        again = {"confirmation_token": plan["confirmation_token"]}
        replicas.extend.fault("POST", "/workflow_runs", delaySeconds=0.01, times=3)
        replicas.extend.fault("POST", "/workflow_runs", delaySeconds=30, times=AT_ONCE)
        async with anyio.create_task_group() as tasks:

            async def carry_out() -> None:
                with pytest.raises(MCPError, match="unclear whether the call took effect"):
                    await client.call_tool(tool, again)

            tasks.start_soon(carry_out)
            # Three are answered, as many as can be are in progress, three are still to come.
            await replicas.extend.await_requests(3 + AT_ONCE, "POST", "/workflow_runs")
            [port] = [port for port, held in proxy.holding.items() if held]
            replicas.at(port).kill()
        busy = facts_of(await client.call_tool(tool, again))
        assert busy["outcome"] == "busy"
        let_the_lease_run_out(replicas)
        facts = facts_of(await client.call_tool(tool, again))
    assert (facts["outcome"], facts["counts"]) == ("done", {"started": len(ids)})
    found = [result for result in facts["results"] if "found by looking" in result["note"]]
    assert len(found) == AT_ONCE
    created = await replicas.extend.requests("POST", "/workflow_runs")
    assert sorted(request["body"]["metadata"]["rerunOf"] for request in created) == sorted(ids)
    [done] = where(replicas, tool, "done")
    assert replicas.replicas[done].port != port


async def test_a_replica_that_slept_through_its_hold_starts_nothing_more(replicas: Fleet) -> None:
    ids = await replicas.extend.failed_runs(AT_ONCE + 6)
    replicas.extend.forget()
    one, other, _ = replicas.replicas
    tool = "rerun_workflow_runs"
    late: list[CallToolResult] = []
    async with connected(one.url) as client, connected(other.url) as elsewhere, anyio.create_task_group() as tasks:
        plan = facts_of(await client.call_tool(tool, {"run_ids": ids, "include_hopeless": True}))
        again = {"confirmation_token": plan["confirmation_token"]}
        # The first are started at once, ten a second; before they are answered the replica's machine is paused.
        replicas.extend.fault("POST", "/workflow_runs", delaySeconds=4, times=AT_ONCE)

        async def carry_out() -> None:
            late.append(await client.call_tool(tool, again))

        tasks.start_soon(carry_out)
        await replicas.extend.await_requests(AT_ONCE, "POST", "/workflow_runs")
        with one.standing_still():
            let_the_lease_run_out(replicas)
            facts = facts_of(await elsewhere.call_tool(tool, again))
    assert (facts["outcome"], facts["counts"]) == ("done", {"started": len(ids)})
    assert "nothing more is sent" in text_of(late[0])
    created = await replicas.extend.requests("POST", "/workflow_runs")
    assert sorted(request["body"]["metadata"]["rerunOf"] for request in created) == sorted(ids)


def let_the_lease_run_out(replicas: Fleet) -> None:
    """Do what 20 seconds would: the leases of a replica that has died, on the plan and on the runs in progress, end."""
    with Redis.from_url(replicas.redis.url) as redis:
        plans = list(redis.scan_iter(match="extend-mcp:plan:*:lease"))
        runs = list(redis.scan_iter(match="extend-mcp:lease:*"))
        assert (len(plans), len(runs)) == (1, AT_ONCE)
        for lease in (*plans, *runs):
            assert 0 < redis.pttl(lease) <= 20_000
            redis.delete(lease)


async def test_a_listener_of_a_replica_that_is_told_to_end_hears_the_end(replicas: Fleet) -> None:
    leaving = replicas.replicas[2]
    run = replicas.extend.load(run_id(), "PROCESSING")
    async with connected(leaving.url) as client, client.listen(resource_subscriptions=[run_uri(run)]) as heard:
        leaving.ask_to_end()
        # A stream that breaks off would raise here.
        assert [event async for event in heard] == []
        assert await anyio.to_thread.run_sync(leaving.await_end) == 0


async def test_without_redis_each_replica_works_on_and_only_plans_wait(replicas: Fleet) -> None:
    one, other, _ = replicas.replicas
    run, another = (replicas.extend.load(run_id(), "PROCESSING") for _ in range(2))
    async with balancing(replicas.ports) as proxy, connected(proxy.url) as client:
        replicas.redis.stop()
        plan = facts_of(await client.call_tool(CANCEL, {"run_id": run}))
        arguments = {"run_id": run, "confirmation_token": plan["confirmation_token"]}
        assert facts_of(await client.call_tool(CANCEL, arguments))["outcome"] == "cancelled"
        refused = await client.call_tool("cancel_runs", {"run_ids": [another]})
        assert refused.is_error
        assert "Plans cannot be read or kept at the moment" in text_of(refused)
        replicas.redis.start()
        assert (
            facts_of(await client.call_tool("cancel_runs", {"run_ids": [another]}))["outcome"]
            == "confirmation_required"
        )
    async with connected(other.url) as client, client.listen(resource_subscriptions=[run_uri(another)]) as heard:
        with anyio.fail_after(20):
            first = None
            while first is None:
                await one.deliver(run_event(another))
                with anyio.move_on_after(0.2):
                    first = await anext(heard)
