import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox, SandboxClock
from extend_mcp.sandbox.sandbox_server import running_sandbox
from tests.sandbox.kit import HEADERS, client_of, create, endpoint, make_sandbox, subscribe, workflow_id


@dataclass
class Receiver:
    """A local webhook receiver. It responds with the given statuses one after another, then with 200."""

    url: str
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    came: Event = field(default_factory=Event)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(found.statuses.pop(0) if found.statuses else 200)
            self.end_headers()
            found.came.set()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


async def test_events_of_a_run_are_signed_and_reach_its_subscription(
    sandbox: Sandbox, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    made = await endpoint(api, receiver.url, advancedOptions={"headers": {"X-Team": "ops"}})
    await subscribe(api, made["id"], workflow_id(sandbox), "workflow_run.completed", "workflow_run.step_run.processed")
    run = await create(api, sandbox)
    sandbox.advance(300)
    await api.post("/_sandbox/deliveries")
    events = receiver.events()
    assert [event["eventType"] for event in events] == [
        *["workflow_run.step_run.processed"] * (len(events) - 1),
        "workflow_run.completed",
    ]
    assert events[-1]["payload"] == (await api.get(f"/workflow_runs/{run['id']}")).json()
    assert events[0]["payload"]["object"] == "workflow_step_run"
    assert len({event["eventId"] for event in events}) == len(events)
    for headers, body in receiver.got:
        signed = f"v0:{headers['x-extend-request-timestamp']}:".encode() + body
        expected = hmac.new(made["signingSecret"].encode(), signed, hashlib.sha256).hexdigest()
        assert headers["x-extend-request-signature"] == expected
        assert headers["x-team"] == "ops"


@pytest.mark.parametrize(
    ("name", "action", "event"),
    [
        ("a.pdf", "", "completed"),
        ("corrupt.pdf", "", "failed"),
        ("review.pdf", "", "needs_review"),
        ("review.pdf", "reject", "rejected"),
        ("a.pdf", "cancel", "cancelled"),
    ],
)
async def test_each_end_has_its_event(
    sandbox: Sandbox, api: httpx.AsyncClient, name: str, action: str, event: str
) -> None:
    made = await endpoint(api)
    wanted = [f"workflow_run.{end}" for end in ("completed", "failed", "needs_review", "rejected", "cancelled")]
    await subscribe(api, made["id"], workflow_id(sandbox), *wanted)
    run = await create(api, sandbox, name)
    if action == "cancel":
        await api.post(f"/workflow_runs/{run['id']}/cancel")
    sandbox.advance(300)
    if action == "reject":
        sandbox.review(run["id"], "reject")
    types = [each.event_type for each in sandbox.outbox.deliveries]
    assert types[-1] == f"workflow_run.{event}"
    assert len(types) == (2 if action == "reject" else 1)


async def test_events_skip_disabled_endpoints_and_other_workflows(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    disabled, other = await endpoint(api, status="disabled"), await endpoint(api)
    await subscribe(api, disabled["id"], workflow_id(sandbox), "workflow_run.completed")
    await subscribe(api, other["id"], workflow_id(sandbox, "Loan Packet Review"), "workflow_run.completed")
    await create(api, sandbox)
    # Only runs created through the API emit events, not those of the scenario.
    sandbox.advance(3600)
    assert sandbox.outbox.deliveries == []


async def test_account_events_reach_endpoints(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    await endpoint(api, enabledEvents=["workflow.created", "workflow.deployed"])
    await endpoint(api, enabledEvents=["workflow.deleted"])
    made = (await api.post("/workflows", json={"name": "New"})).json()
    await api.post(f"/workflows/{made['id']}/versions")
    assert [each.event_type for each in sandbox.outbox.deliveries] == ["workflow.created", "workflow.deployed"]


async def test_a_failed_delivery_is_retried_on_schedule_and_given_up(receiver: Receiver) -> None:
    sandbox = make_sandbox(webhook_retry_seconds=(10.0, 60.0))
    async with client_of(sandbox) as api:
        made = await endpoint(api, receiver.url, enabledEvents=["workflow.created"])
        receiver.statuses += [500, 404, 302]
        await api.post("/workflows", json={"name": "New"})
        seen = []
        for seconds in (0, 9, 1, 59, 1, 100_000):
            sandbox.advance(seconds)
            (delivery,) = (await api.post("/_sandbox/deliveries")).json()["deliveries"]
            seen.append((len(delivery["attempts"]), delivery["status"]))
    assert seen == [
        (1, "pending"),
        (1, "pending"),
        (2, "pending"),
        (2, "pending"),
        (3, "given_up"),
        (3, "given_up"),
    ]
    assert len(receiver.got) == 3
    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["HTTP 500", "HTTP 404", "HTTP 302"]
    assert delivery["webhookEndpointId"] == made["id"]


async def test_a_dead_receiver_is_recorded_and_a_second_attempt_delivers(receiver: Receiver) -> None:
    sandbox = make_sandbox()
    async with client_of(sandbox) as api:
        made = await endpoint(api, "http://127.0.0.1:1/", enabledEvents=["workflow.created"])
        await api.post("/workflows", json={"name": "New"})
        (first,) = (await api.post("/_sandbox/deliveries")).json()["deliveries"]
        assert first["attempts"][0]["outcome"] == "ConnectError"
        await api.post(f"/webhook_endpoints/{made['id']}", json={"url": receiver.url})
        sandbox.advance(10)
        (second,) = (await api.post("/_sandbox/deliveries")).json()["deliveries"]
    assert second["status"] == "delivered"
    (event,) = receiver.events()
    assert event["payload"]["name"] == "New"


@pytest.mark.parametrize("options", [{"headers": {"x": "\u2713"}}, {"headers": {"x": "a\nb"}}])
async def test_an_unusable_endpoint_does_not_stop_the_others(
    sandbox: Sandbox, api: httpx.AsyncClient, receiver: Receiver, options: dict[str, Any]
) -> None:
    for url in (receiver.url, "http://[", "http://127.0.0.1:99999/"):
        await endpoint(api, url, enabledEvents=["workflow.created"], advancedOptions=options)
    await endpoint(api, receiver.url, enabledEvents=["workflow.created"])
    await api.post("/workflows", json={"name": "New"})
    deliveries = (await api.post("/_sandbox/deliveries")).json()["deliveries"]
    assert [each["status"] for each in deliveries].count("delivered") == 1
    assert all(len(each["attempts"]) == 1 for each in deliveries)


async def test_a_large_payload_is_sent_as_a_signed_url_that_expires(
    sandbox: Sandbox, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    options = {"payload": {"format": "url", "urlThresholdBytes": 200}}
    await endpoint(api, receiver.url, enabledEvents=["workflow.created"], advancedOptions=options)
    await api.post("/workflows", json={"name": "New"})
    await api.post("/_sandbox/deliveries")
    (event,) = receiver.events()
    assert event["payload"]["object"] == "signed_data_url"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)) as anyone:
        assert (await anyone.get(event["payload"]["data"])).json()["name"] == "New"
        assert (await anyone.get(event["payload"]["data"] + "0")).status_code == 403
        sandbox.advance(3601)
        assert (await anyone.get(event["payload"]["data"])).status_code == 403


def test_a_served_sandbox_delivers_on_its_own(receiver: Receiver) -> None:
    with (
        running_sandbox(clock=SandboxClock(speed=0)) as running,
        httpx.Client(base_url=running.base_url, headers=HEADERS, verify=False) as api,
    ):
        body = {
            "url": receiver.url,
            "name": "Ops",
            "enabledEvents": ["workflow.created"],
            "apiVersion": "2026-02-09",
        }
        api.post("/webhook_endpoints", json=body).raise_for_status()
        api.post("/workflows", json={"name": "New"}).raise_for_status()
        assert receiver.came.wait(timeout=10)
    assert len(receiver.got) == 1
