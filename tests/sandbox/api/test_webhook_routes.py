import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox, SandboxClock
from extend_mcp.sandbox.sandbox_server import running_sandbox
from tests.sandbox.kit import HEADERS, client_of, create, make_sandbox, workflow_id


@dataclass
class Receiver:
    """A webhook receiver on this machine; answers with the given statuses in turn, then with 200."""

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


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(sandbox) as client:
        yield client


async def endpoint(api: httpx.AsyncClient, url: str = "https://hooks.example/x", **fields: Any) -> dict[str, Any]:
    body = {"url": url, "name": "Ops", "enabledEvents": [], "apiVersion": "2026-02-09", **fields}
    answer = await api.post("/webhook_endpoints", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def subscribe(api: httpx.AsyncClient, endpoint_id: str, resource: str, *events: str) -> dict[str, Any]:
    body = {
        "webhookEndpointId": endpoint_id,
        "resourceType": "workflow",
        "resourceId": resource,
        "enabledEvents": list(events),
    }
    answer = await api.post("/webhook_subscriptions", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_the_secret_is_in_the_create_answer_alone(api: httpx.AsyncClient) -> None:
    made = await endpoint(api)
    secret = made.pop("signingSecret")
    assert secret.startswith("wss_")
    path = f"/webhook_endpoints/{made['id']}"
    assert (await api.get(path)).json() == made
    listed = (await api.get("/webhook_endpoints")).json()["data"]
    assert listed == [made]
    changed = (await api.post(path, json={"status": "disabled"})).json()
    assert changed == made | {"status": "disabled"}
    state = await api.get("/_sandbox/deliveries")
    assert secret not in state.text


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"extra": 1}, "extra"),
        ({"url": None}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"name": ""}, "name"),
        ({"enabledEvents": ["workflow_run.completed"]}, "enabledEvents.0"),
        ({"enabledEvents": None}, "enabledEvents"),
        ({"apiVersion": "2025-01-01"}, "apiVersion"),
        ({"status": "paused"}, "status"),
        ({"advancedOptions": {"headers": {"a": 1}}}, "advancedOptions.headers.a"),
        ({"advancedOptions": {"payload": {"format": "xml"}}}, "advancedOptions.payload.format"),
        ({"advancedOptions": {"payload": {"format": "url", "urlThresholdBytes": -1}}}, "urlThresholdBytes"),
    ],
)
async def test_a_bad_endpoint_is_refused_with_its_path(
    api: httpx.AsyncClient, change: dict[str, Any], path: str
) -> None:
    body = {"url": "https://x.example", "name": "n", "enabledEvents": [], "apiVersion": "2026-02-09", **change}
    answer = await api.post("/webhook_endpoints", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"].endswith(path)


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"extra": 1}, 400, "extra"),
        ({"enabledEvents": []}, 400, "enabledEvents"),
        ({"enabledEvents": ["workflow.created"]}, 400, "enabledEvents.0"),
        ({"resourceType": "file"}, 400, "resourceType"),
        ({"resourceId": "workflow_none"}, 404, "Workflow not found"),
        ({"webhookEndpointId": "wh_none"}, 404, "Webhook endpoint not found"),
    ],
)
async def test_a_bad_subscription_is_refused(
    sandbox: Sandbox, api: httpx.AsyncClient, change: dict[str, Any], status: int, told: str
) -> None:
    made = await endpoint(api)
    body = {
        "webhookEndpointId": made["id"],
        "resourceType": "workflow",
        "resourceId": workflow_id(sandbox),
        "enabledEvents": ["workflow_run.failed"],
        **change,
    }
    answer = await api.post("/webhook_subscriptions", json=body)
    assert answer.status_code == status
    assert answer.json()["message"].endswith(told)


async def test_the_life_of_a_subscription(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    one, other = await endpoint(api), await endpoint(api)
    made = await subscribe(api, one["id"], workflow_id(sandbox), "workflow_run.failed")
    path = f"/webhook_subscriptions/{made['id']}"
    changed = (await api.post(path, json={"enabledEvents": ["workflow_run.completed"]})).json()
    assert changed == made | {"enabledEvents": ["workflow_run.completed"]}
    assert (await api.get(path)).json() == changed
    for query, count in (
        ({"webhookEndpointId": one["id"]}, 1),
        ({"webhookEndpointId": other["id"]}, 0),
        ({"resourceId": workflow_id(sandbox)}, 1),
        ({"resourceId": "x"}, 0),
    ):
        assert len((await api.get("/webhook_subscriptions", params=query)).json()["data"]) == count
    assert (await api.delete(f"/webhook_endpoints/{one['id']}")).json() == {"id": one["id"]}
    assert (await api.get(path)).status_code == 404, "a subscription ends with its endpoint"
    second = await subscribe(api, other["id"], workflow_id(sandbox), "workflow_run.failed")
    assert (await api.delete(f"/webhook_subscriptions/{second['id']}")).json() == {"id": second["id"]}
    assert (await api.get("/webhook_subscriptions")).json()["data"] == []


async def test_a_run_s_events_are_signed_and_reach_its_subscription(
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


async def test_who_gets_no_event(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    disabled, other = await endpoint(api, status="disabled"), await endpoint(api)
    await subscribe(api, disabled["id"], workflow_id(sandbox), "workflow_run.completed")
    await subscribe(api, other["id"], workflow_id(sandbox, "Loan Packet Review"), "workflow_run.completed")
    await create(api, sandbox)
    # What a scenario or a person put there emits no events: only what the API created does.
    sandbox.advance(3600)
    assert sandbox.outbox.deliveries == []


async def test_account_events_reach_endpoints(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    await endpoint(api, enabledEvents=["workflow.created", "workflow.deployed"])
    await endpoint(api, enabledEvents=["workflow.deleted"])
    made = (await api.post("/workflows", json={"name": "New"})).json()
    await api.post(f"/workflows/{made['id']}/versions")
    assert [each.event_type for each in sandbox.outbox.deliveries] == ["workflow.created", "workflow.deployed"]


async def test_a_failed_delivery_is_tried_again_on_schedule_and_given_up(receiver: Receiver) -> None:
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


async def test_a_dead_receiver_is_no_accident_and_a_second_try_delivers(receiver: Receiver) -> None:
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
async def test_an_endpoint_that_cannot_be_sent_to_stops_nothing(
    sandbox: Sandbox, api: httpx.AsyncClient, receiver: Receiver, options: dict[str, Any]
) -> None:
    for url in (receiver.url, "http://[", "http://127.0.0.1:99999/"):
        await endpoint(api, url, enabledEvents=["workflow.created"], advancedOptions=options)
    await endpoint(api, receiver.url, enabledEvents=["workflow.created"])
    await api.post("/workflows", json={"name": "New"})
    deliveries = (await api.post("/_sandbox/deliveries")).json()["deliveries"]
    assert [each["status"] for each in deliveries].count("delivered") == 1
    assert all(len(each["attempts"]) == 1 for each in deliveries)


async def test_a_large_payload_goes_by_a_signed_url_that_ends(
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
        httpx.Client(base_url=running.base_url, headers=HEADERS) as api,
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
