"""The official SDK judges webhook administration, and its verifier the deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.contract.judge import Judge, WebhookSignatureVerificationError, extend_ai, webhook_types

RUN_EVENTS = ["workflow_run.completed", "workflow_run.step_run.processed"]


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers.items()), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_endpoint(judge: Judge, url: str = "https://hooks.example/x", **fields: Any) -> Any:
    return judge.strictly(
        webhook_types.WebhookEndpointCreate,
        lambda: judge.sdk.webhook_endpoints.create(
            url=url, name="Ops", enabled_events=["workflow.created"], api_version="2026-02-09", **fields
        ),
    )


def test_the_life_of_an_endpoint(judge: Judge) -> None:
    options = {"headers": {"x-team": "ops"}, "payload": {"format": "url", "url_threshold_bytes": 1000}}
    made = make_endpoint(judge, status="disabled", advanced_options=options)
    assert made.signing_secret.startswith("wss_")
    for _ in range(2):
        make_endpoint(judge)
    found = judge.strictly(webhook_types.WebhookEndpoint, lambda: judge.sdk.webhook_endpoints.retrieve(made.id))
    assert found.advanced_options.payload.url_threshold_bytes == 1000
    changed = judge.strictly(
        webhook_types.WebhookEndpoint,
        lambda: judge.sdk.webhook_endpoints.update(made.id, status="enabled", enabled_events=["workflow.deployed"]),
    )
    assert (changed.status, changed.enabled_events) == ("enabled", ["workflow.deployed"])
    everything = judge.every(webhook_types.WebhookEndpoint, judge.sdk.webhook_endpoints.list)
    assert len(everything) == 3
    assert all("signingSecret" not in each for each in everything)
    assert judge.sdk.webhook_endpoints.list(status="disabled").data == []
    assert judge.sdk.webhook_endpoints.delete(made.id).id == made.id
    with pytest.raises(extend_ai.NotFoundError):
        judge.sdk.webhook_endpoints.retrieve(made.id)


def test_the_life_of_a_subscription(judge: Judge) -> None:
    endpoint = make_endpoint(judge)
    workflow = judge.sandbox.state()["workflows"][0]["id"]

    def subscribe(kind: str, resource: str, events: list[str]) -> Any:
        return judge.strictly(
            webhook_types.WebhookSubscription,
            lambda: judge.sdk.webhook_subscriptions.create(
                webhook_endpoint_id=endpoint.id, resource_type=kind, resource_id=resource, enabled_events=events
            ),
        )

    made = subscribe("workflow", workflow, RUN_EVENTS)
    subscribe("extractor", "ex_1", ["extract_run.processed"])
    subscribe("classifier", "cl_1", ["classify_run.failed"])
    subscribe("splitter", "sp_1", ["split_run.processed"])
    everything = judge.every(webhook_types.WebhookSubscription, judge.sdk.webhook_subscriptions.list)
    assert len(everything) == 4
    assert [each.id for each in judge.sdk.webhook_subscriptions.list(resource_id=workflow).data] == [made.id]
    assert len(judge.sdk.webhook_subscriptions.list(webhook_endpoint_id=endpoint.id).data) == 4
    judge.strictly(
        webhook_types.WebhookSubscription,
        lambda: judge.sdk.webhook_subscriptions.update(made.id, enabled_events=RUN_EVENTS[:1]),
    )
    found = judge.strictly(webhook_types.WebhookSubscription, lambda: judge.sdk.webhook_subscriptions.retrieve(made.id))
    assert found.enabled_events == RUN_EVENTS[:1]
    assert judge.sdk.webhook_subscriptions.delete(made.id).id == made.id
    with pytest.raises(extend_ai.NotFoundError):
        judge.sdk.webhook_subscriptions.retrieve(made.id)


def test_a_second_subscription_of_an_endpoint_and_a_resource_changes_the_first(judge: Judge) -> None:
    workflow, other = (each["id"] for each in judge.sandbox.state()["workflows"][:2])

    def subscribe(endpoint: str, resource: str, events: list[str]) -> Any:
        return judge.strictly(
            webhook_types.WebhookSubscription,
            lambda: judge.sdk.webhook_subscriptions.create(
                webhook_endpoint_id=endpoint, resource_type="workflow", resource_id=resource, enabled_events=events
            ),
        )

    first, second = make_endpoint(judge).id, make_endpoint(judge).id
    made = subscribe(first, workflow, RUN_EVENTS)
    assert made.id.startswith("whes_")
    changed = subscribe(first, workflow, RUN_EVENTS[:1])
    assert (changed.id, changed.enabled_events) == (made.id, RUN_EVENTS[:1])
    assert len({made.id, subscribe(second, workflow, RUN_EVENTS).id, subscribe(first, other, RUN_EVENTS).id}) == 3
    assert len(judge.sdk.webhook_subscriptions.list().data) == 3


@pytest.mark.parametrize("version", ["2024-12-23", "2025-04-21", "2026-02-09", "2025-01-01"])
def test_an_endpoint_takes_any_supported_api_version(judge: Judge, version: str) -> None:
    def create() -> Any:
        return judge.sdk.webhook_endpoints.create(
            url="https://hooks.example/x", name="Ops", enabled_events=[], api_version=version
        )

    if version == "2025-01-01":
        with pytest.raises(extend_ai.BadRequestError):
            create()
    else:
        assert judge.strictly(webhook_types.WebhookEndpointCreate, create).api_version == version


@pytest.mark.parametrize("by_url", [False, True])
def test_the_sdk_verifies_and_reads_what_is_delivered(judge: Judge, by_url: bool) -> None:
    workflow = judge.sandbox.state()["workflows"][0]["id"]
    options = {"advanced_options": {"payload": {"format": "url", "url_threshold_bytes": 0}}} if by_url else {}
    with receiver() as (url, got):
        endpoint = make_endpoint(judge, url, **options)
        judge.sdk.webhook_subscriptions.create(
            webhook_endpoint_id=endpoint.id, resource_type="workflow", resource_id=workflow, enabled_events=RUN_EVENTS
        )
        judge.sdk.workflows.create(name="New")
        run = judge.sdk.workflow_runs.create(workflow={"id": workflow}, file={"text": "a"})
        judge.sandbox.advance(300)
        httpx.post(f"{judge.base_url}/_sandbox/deliveries", trust_env=False, verify=False).raise_for_status()
    kinds = []
    for headers, body in got:
        assert headers["x-extend-api-version"] == "2026-02-09"
        event = judge.sdk.webhooks.verify_and_parse(
            body.decode(), headers, endpoint.signing_secret, allow_signed_url=True
        )
        if by_url:
            assert judge.sdk.webhooks.is_signed_url_event(event)
            event = judge.sdk.webhooks.fetch_signed_payload_sync(event)
        kinds.append(event.event_type)
    assert kinds[0] == "workflow.created"
    assert set(kinds[1:-1]) == {"workflow_run.step_run.processed"}
    assert kinds[-1] == "workflow_run.completed"
    assert event.payload.id == run.id
    headers, body = got[0]
    with pytest.raises(WebhookSignatureVerificationError):
        judge.sdk.webhooks.verify_and_parse(body.decode() + " ", headers, endpoint.signing_secret)
