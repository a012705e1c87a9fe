"""The webhook receiver in the application, sent to by hand and by the sandbox as Extend would."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from mcp.server.subscriptions import ResourceUpdated, ServerEvent
from pydantic import SecretStr

from extend_mcp.events.event import Seen
from extend_mcp.events.receiver import Receiver
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.views.uris import batch_uri, run_uri, step_uri
from tests.events.kit import SECRET, event, signed
from tests.harness import ERAS, Box, BoxClock, Mode, example_run, facts_of
from tests.http.kit import Running, connected, serving_http
from tests.http.test_connections import connections

SCENARIO = "empty"

RUN = "workflow_run_webhook000000000001"
PATH = "/webhooks/extend"


@asynccontextmanager
async def receiving(box: Box, **options: Any) -> AsyncIterator[tuple[Running, list[ServerEvent]]]:
    """A server that takes webhooks, and what its bus carries."""
    http = {"webhook_secrets": f"wss_older,{SECRET}", **options.pop("http", {})}
    async with serving_http(box.base_url, http=http, **options) as running:
        heard: list[ServerEvent] = []
        running.app.shared.bus.subscribe(heard.append)
        yield running, heard


async def settle(heard: list[ServerEvent], count: int) -> None:
    with anyio.fail_after(5):
        while len(heard) < count:
            await anyio.sleep(0.01)


async def test_a_delivery_is_answered_at_once_and_becomes_changes(box: Box) -> None:
    body = event("evt_1", id=RUN, batchId="batch_1")
    async with receiving(box) as (running, heard):
        answer = await running.post(body, signed(body, time.time()), PATH)
        await settle(heard, 2)
        metrics = (await running.get("/metrics")).text
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    assert heard == [ResourceUpdated(run_uri(RUN)), ResourceUpdated(batch_uri("batch_1"))]
    assert 'extend_mcp_webhook_events_total{outcome="accepted"} 1.0' in metrics


async def test_what_is_not_from_extend_now_is_refused_and_changes_nothing(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    body, now = event("evt_1", id=RUN), time.time()
    async with receiving(box) as (running, heard):
        good = signed(body, now)
        tries = {
            "no signature": (body, {"Content-Type": "application/json"}, 401),
            "bad signature": (body, {**good, "x-extend-request-signature": "0" * 64}, 401),
            "another secret": (body, signed(body, now, "wss_of_someone"), 401),
            "stale": (body, signed(body, now - 301), 401),
            "from the future": (body, signed(body, now + 90), 401),
            "another body": (event("evt_2", id=RUN), good, 401),
            "no event": (b"[]", signed(b"[]", now), 400),
        }
        for what, (sent, headers, status) in tries.items():
            assert (await running.post(sent, headers, PATH)).status_code == status, what
        assert (await running.get(PATH)).status_code == 405
        large = b" " * (5 * 1024 * 1024)
        assert (await running.post(large, signed(large, now), PATH)).status_code == 413
        await anyio.wait_all_tasks_blocked()
        assert heard == []
    assert SECRET not in caplog.text


async def test_a_replayed_delivery_is_acknowledged_and_not_acted_on_again(box: Box) -> None:
    """Extend sends at least once: it must get 2xx, or it sends for ever."""
    body = event("evt_1", id=RUN)
    other = event("evt_2", id=RUN)
    async with receiving(box) as (running, heard):
        headers = signed(body, time.time())
        first = await running.post(body, headers, PATH)
        replayed = await running.post(body, headers, PATH)
        again = await running.post(body, signed(body, time.time() - 1), PATH)
        await running.post(other, signed(other, time.time()), PATH)
        await settle(heard, 2)
    assert [each.json()["status"] for each in (first, replayed, again)] == ["accepted", "duplicate", "duplicate"]
    assert len(heard) == 2


async def test_more_than_can_be_worked_on_is_asked_for_again_later() -> None:
    """Nothing takes from the queue here; what does not fit may come again."""
    outcomes: list[str] = []

    class Noting(Metrics):
        def count(self, name: str, amount: float = 1, **labels: str) -> None:
            outcomes.append(labels["outcome"])

    seen = Seen()
    receiver = Receiver(
        [SecretStr(SECRET)],
        seen=seen,
        bus=None,
        payload_hosts=[],
        metrics=Noting(),
        wall=lambda: 1e9,  # type: ignore[arg-type]
    )
    from starlette.requests import Request

    async def send(number: int) -> int:
        body = event(f"evt_{number}", id=RUN)
        raw = [(name.lower().encode(), value.encode()) for name, value in signed(body, 1e9).items()]

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        return (
            await receiver.receive(Request({"type": "http", "method": "POST", "headers": raw}, receive))
        ).status_code

    statuses = [await send(number) for number in range(1001)]
    assert statuses[-1] == 503
    assert set(statuses[:-1]) == {200}
    assert outcomes[-1] == "full"
    assert await seen.first("evt_1000"), "it is not remembered, so that it counts when it comes again"
    with anyio.move_on_after(0):
        await receiver.run()


async def test_one_event_that_goes_wrong_does_not_end_the_reception(box: Box) -> None:
    first, second = event("evt_1", id=RUN), event("evt_2", id=RUN)
    async with receiving(box) as (running, heard):
        broken = True

        async def publish(change: ServerEvent) -> None:
            nonlocal broken
            if broken:
                broken = False
                raise RuntimeError("a bus that fails once")
            heard.append(change)

        assert running.app.receiver is not None
        running.app.receiver.bus.publish = publish  # type: ignore[method-assign]
        for body in (first, second):
            await running.post(body, signed(body, time.time()), PATH)
        await settle(heard, 1)


@pytest.mark.parametrize("by_url", [False, True])
async def test_the_sandbox_delivers_as_extend_does_and_a_subscriber_hears_of_it(box: Box, by_url: bool) -> None:
    """Endpoint and subscription are made through the API, the run is started and finishes, its events arrive signed."""
    host = box.base_url.removeprefix("http://").split("/")[0]
    endpoint = box.api(
        "POST",
        "/webhook_endpoints",
        json={
            "url": "http://127.0.0.1:9/later",
            "name": "test",
            "enabledEvents": ["workflow.created"],
            "apiVersion": "2026-02-09",
            **({"advancedOptions": {"payload": {"format": "url", "urlThresholdBytes": 0}}} if by_url else {}),
        },
    )
    box.api(
        "POST",
        "/webhook_subscriptions",
        json={
            "webhookEndpointId": endpoint["id"],
            "resourceType": "workflow",
            "resourceId": box.workflow(),
            "enabledEvents": ["workflow_run.completed", "workflow_run.step_run.processed"],
        },
    )
    http = {"webhook_secrets": endpoint["signingSecret"], "webhook_payload_hosts": host if by_url else ""}
    async with receiving(box, http=http, clock=BoxClock(box)) as (running, heard):
        box.api("POST", f"/webhook_endpoints/{endpoint['id']}", json={"url": f"{running.url}{PATH}"})
        run = box.api("POST", "/workflow_runs", json={"workflow": {"id": box.workflow()}, "file": {"text": "a"}})["id"]
        async with connected(running) as client, client.listen(resource_subscriptions=[run_uri(run)]) as stream:
            box.advance(300)
            await anyio.to_thread.run_sync(
                lambda: httpx.post(f"{box.base_url}/_sandbox/deliveries", trust_env=False).raise_for_status()
            )
            with anyio.fail_after(5):
                assert await stream.__anext__() == ResourceUpdated(run_uri(run))
        await settle(heard, 2)
    # Steps name their run only in the payload: behind a URL it had to be fetched.
    assert len([each for each in heard if each == ResourceUpdated(run_uri(run))]) >= 3


async def test_a_payload_that_is_not_fetched_leaves_what_the_event_itself_says(box: Box) -> None:
    behind = {"object": "signed_data_url", "data": "https://evil.example/x", "id": RUN}
    run_event, step_event = event("evt_1", **behind), event("evt_2", "workflow_run.step_run.processed", **behind)
    async with receiving(box) as (running, heard):
        for body in (step_event, run_event):
            await running.post(body, signed(body, time.time()), PATH)
        await settle(heard, 1)
    assert heard == [ResourceUpdated(run_uri(RUN))]


@pytest.mark.filterwarnings("ignore:resources/")
@pytest.mark.parametrize("mode", ERAS)
async def test_both_eras_hear_of_a_run_and_of_its_steps(box: Box, mode: Mode) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    step = step_uri(RUN, "2")
    body = event("evt_1", "workflow_run.step_run.processed", id="s", workflowRunId=RUN)
    async with receiving(box) as (running, _):
        if mode == "auto":
            async with connected(running) as client, client.listen(resource_subscriptions=[step]) as stream:
                await running.post(body, signed(body, time.time()), PATH)
                with anyio.fail_after(5):
                    assert await stream.__anext__() == ResourceUpdated(step)
            return
        from mcp.client.client import Client

        updated: list[str] = []
        got = anyio.Event()

        async def hear(message: Any) -> None:
            params = getattr(getattr(message, "root", message), "params", None)
            if getattr(params, "uri", None):
                updated.append(str(params.uri))
                got.set()

        async with Client(running.mcp, mode="legacy", message_handler=hear) as client:
            capabilities = client.server_capabilities
            assert capabilities
            assert capabilities.resources
            assert capabilities.resources.subscribe
            await client.subscribe_resource(step)
            # The client opens its long-lived stream on its own, some time after the handshake.
            with anyio.fail_after(5):
                while not running.app.lifecycle.on_end:
                    await anyio.sleep(0.01)
            await running.post(body, signed(body, time.time()), PATH)
            with anyio.fail_after(5):
                await got.wait()
            await client.unsubscribe_resource(step)
            assert open_subscriptions(running) == 0
            assert updated == [step]


@pytest.mark.filterwarnings("ignore:resources/")
async def test_a_session_that_ends_takes_its_subscriptions_along(box: Box) -> None:
    from mcp.client.client import Client

    box.load(example_run(RUN, "PROCESSING"))
    async with receiving(box) as (running, _):
        async with Client(running.mcp, mode="legacy") as client:
            await client.subscribe_resource(run_uri(RUN))
            await client.subscribe_resource(run_uri(RUN))
            assert open_subscriptions(running) == 1
        with anyio.fail_after(5):
            while open_subscriptions(running):
                await anyio.sleep(0.01)


async def test_waiting_ends_with_the_event_and_not_with_the_next_look(box: Box) -> None:
    """Time is stopped, so no second look would ever come on its own."""
    box.load(example_run(RUN, "PROCESSING"))
    slept = anyio.Event()

    async def forever() -> None:
        slept.set()
        await anyio.sleep_forever()

    clock = BoxClock(box, before_sleep=forever)
    body = event("evt_1", id=RUN)
    async with receiving(box, clock=clock) as (running, _), connected(running) as client:
        answer: dict[str, Any] = {}

        async def wait() -> None:
            answer.update(facts_of(await client.call_tool("wait_for_run", {"run_ids": [RUN], "seconds": 45})))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await slept.wait()
                box.finish(RUN, "PROCESSED", before_cancel=False)
                await running.post(body, signed(body, time.time()), PATH)
    assert answer["runs"][0]["status"] == "PROCESSED"
    assert len([r for r in box.requests("GET") if r["path"] == f"/workflow_runs/{RUN}"]) == 2


async def test_a_change_made_by_a_tool_is_told_to_subscribers(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    async with (
        serving_http(box.base_url, clock=BoxClock(box), confirmation="trusted") as running,
        connected(running) as client,
        client.listen(resource_subscriptions=[run_uri(RUN)]) as stream,
    ):
        await client.call_tool("cancel_workflow_run", {"run_id": RUN})
        with anyio.fail_after(5):
            assert await stream.__anext__() == ResourceUpdated(run_uri(RUN))


async def test_subscriptions_are_bounded_and_released(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    from mcp.shared.exceptions import MCPError

    uri = run_uri(RUN)
    async with receiving(box, limits={"subscriptions": 2}) as (running, _), connected(running) as client:
        async with client.listen(resource_subscriptions=[uri]), client.listen(resource_subscriptions=[uri]):
            with pytest.raises(MCPError, match="Too many subscriptions"):
                async with client.listen(resource_subscriptions=[uri]):
                    pass
        with anyio.fail_after(5):
            while True:
                try:
                    async with client.listen(resource_subscriptions=[uri]):
                        break
                except MCPError:
                    await anyio.sleep(0.02)
        with pytest.raises(MCPError, match="at most 50"):
            async with client.listen(resource_subscriptions=[f"{uri}{n}" for n in range(51)]):
                pass
        for odd in ("file:///etc/passwd", "extend://workflow-runs/", "extend://nothing/5"):
            with pytest.raises(MCPError):
                async with client.listen(resource_subscriptions=[odd]):
                    pass
    assert open_subscriptions(running) == 0


def open_subscriptions(running: Running) -> int:
    """Return how many the server holds."""
    return running.app.subscriptions.shares.held.total()


def unfinished_delivery(size: int) -> bytes:
    """A delivery of which the last byte is missing."""
    return f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * (size - 1)


async def test_unsigned_deliveries_hold_a_bounded_number_of_bytes(box: Box) -> None:
    limits = {"delivery_bytes": 40_000, "deliveries_bytes": 100_000}
    body = event("evt_1", id=RUN)
    async with (
        receiving(box, limits=limits) as (running, _),
        connections(running, 3, unfinished_delivery(33_000)) as held,
    ):
        with anyio.fail_after(4):
            # Those that are held have arrived once there is no room for a small one.
            while (full := await running.post(b"x" * 2_000, path=PATH)).status_code != 503:
                await anyio.sleep(0.01)
            await held[0].send(b"x")
            assert b" 401 " in await held[0].receive()
        taken = await running.post(body, signed(body, time.time()), PATH)
        too_large = await running.post(b"x" * 40_001, path=PATH)
    assert full.text == "Too many requests are being received."
    assert (too_large.status_code, taken.status_code) == (413, 200)


async def test_a_delivery_that_does_not_arrive_is_not_waited_for(box: Box) -> None:
    async with (
        receiving(box, limits={"delivery_seconds": 0.1}) as (running, _),
        connections(running, 1, unfinished_delivery(100)) as [stream],
    ):
        with anyio.fail_after(5):
            assert (await stream.receive()).startswith(b"HTTP/1.1 408 ")


async def test_an_event_makes_the_next_question_read_the_run_again(box: Box) -> None:
    """A change that the list of runs does not show: only the event says so."""
    run = {**example_run(RUN, "FAILED"), "failureReason": "FIRST", "stepRuns": []}
    box.load(run)
    box.load({**run, "id": "workflow_run_other"})

    async def reasons(client: Any) -> dict[str, int]:
        facts = facts_of(await client.call_tool("explain_failure", {"created_since": "2020-01-01T00:00:00Z"}))
        return {each["reason"]: each["runs"] for each in facts["causes"]}

    async with receiving(box) as (running, heard), connected(running) as client:
        assert await reasons(client) == {"FIRST": 2}
        box.sandbox.record(RUN).run["failureReason"] = "SECOND"
        assert await reasons(client) == {"FIRST": 2}
        box.forget()
        body = event("evt_1", "workflow_run.failed", id=RUN)
        await running.post(body, signed(body, time.time()), PATH)
        await settle(heard, 1)
        assert await reasons(client) == {"FIRST": 1, "SECOND": 1}
        assert [each["path"] for each in box.requests()] == ["/workflow_runs", f"/workflow_runs/{RUN}"]
