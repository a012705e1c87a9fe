"""Turn events into signed webhook deliveries for the endpoints that subscribe to them.

Source: Extend API reference, Webhooks. Events of workflow runs reach only subscriptions to their workflow.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.seeded_random import IdMaker
from extend_mcp.sandbox.engine.signed_links import SignedLinks
from extend_mcp.sandbox.engine.validation import JsonObject
from extend_mcp.sandbox.sandbox_settings import SandboxSettings

_RUN_KINDS = (
    "parse_run",
    "edit_run",
    "form_detection_run",
    "extract_run",
    "classify_run",
    "split_run",
    "batch_processor_run",
    "batch_parse_run",
)
_PROCESSOR_CHANGES = ("created", "updated", "deleted", "draft.updated", "version.published")

ENDPOINT_EVENTS = (
    *(f"{kind}.{end}" for kind in _RUN_KINDS for end in ("processed", "failed")),
    *(f"{kind}.{change}" for kind in ("extractor", "classifier", "splitter") for change in _PROCESSOR_CHANGES),
    "workflow.created",
    "workflow.deployed",
    "workflow.deleted",
)
"""Events that an endpoint can receive for the whole account."""

_BATCH_EVENTS = ("batch_processor_run.processed", "batch_processor_run.failed")
SUBSCRIPTION_EVENTS = {
    "extractor": ("extract_run.processed", "extract_run.failed", *_BATCH_EVENTS),
    "classifier": ("classify_run.processed", "classify_run.failed", *_BATCH_EVENTS),
    "splitter": ("split_run.processed", "split_run.failed", *_BATCH_EVENTS),
    "workflow": (
        "workflow_run.completed",
        "workflow_run.failed",
        "workflow_run.needs_review",
        "workflow_run.rejected",
        "workflow_run.cancelled",
        "workflow_run.step_run.processed",
    ),
}
"""Events that a subscription to one resource can receive, by resource type."""

RUN_EVENTS = {
    "PROCESSED": "workflow_run.completed",
    "FAILED": "workflow_run.failed",
    "NEEDS_REVIEW": "workflow_run.needs_review",
    "REJECTED": "workflow_run.rejected",
    "CANCELLED": "workflow_run.cancelled",
}
"""The event of a run's new status."""

_PAYLOAD_LIFE = timedelta(hours=1)


@dataclass
class Attempt:
    """One attempt to deliver. `outcome` is the HTTP status or the type of the error."""

    at: str
    outcome: str


@dataclass
class Delivery:
    """One event for one endpoint."""

    event_id: str
    event_type: str
    endpoint_id: str
    subject_id: str
    body: bytes
    due_at: datetime | None
    """Time of the next attempt, or None if none will follow."""
    attempts: list[Attempt] = field(default_factory=list)
    delivered: bool = False

    @property
    def status(self) -> str:
        """Return `pending`, `delivered` or `given_up`."""
        if self.delivered:
            return "delivered"
        return "pending" if self.due_at else "given_up"

    def to_json(self) -> JsonObject:
        """Describe the delivery for the control route."""
        return {
            "eventId": self.event_id,
            "eventType": self.event_type,
            "webhookEndpointId": self.endpoint_id,
            "id": self.subject_id,
            "status": self.status,
            "dueAt": wire.timestamp(self.due_at) if self.due_at else None,
            "attempts": [vars(attempt) for attempt in self.attempts],
        }


class Outbox:
    """Webhook endpoints, their subscriptions, and all deliveries, sent or due."""

    def __init__(self, ids: IdMaker, settings: SandboxSettings, links: SignedLinks) -> None:
        self.endpoints: dict[str, JsonObject] = {}
        self.secrets: dict[str, str] = {}
        self.subscriptions: dict[str, JsonObject] = {}
        self.deliveries: list[Delivery] = []
        self.payloads: dict[str, bytes] = {}
        """Payloads delivered as URLs, by event ID."""
        self._links = links
        self._ids = ids
        self._retry_seconds = settings.webhook_retry_seconds

    def run_event(self, event_type: str, workflow_id: object, payload: JsonObject, now: datetime) -> None:
        """Send an event of a run to the subscriptions to its workflow."""
        wanting = {
            str(each["webhookEndpointId"])
            for each in self.subscriptions.values()
            if each["resourceType"] == "workflow"
            and each["resourceId"] == workflow_id
            and event_type in each["enabledEvents"]
        }
        self._send(event_type, wanting, payload, now)

    def account_event(self, event_type: str, payload: JsonObject, now: datetime) -> None:
        """Send an event to the endpoints that receive it for the whole account."""
        wanting = {key for key, each in self.endpoints.items() if event_type in each["enabledEvents"]}
        self._send(event_type, wanting, payload, now)

    def due(self, now: datetime) -> list[Delivery]:
        """Return the deliveries to try now, oldest first."""
        waiting = [each for each in self.deliveries if each.due_at is not None and each.due_at <= now]
        return sorted(waiting, key=lambda each: each.due_at or now)

    def tried(self, delivery: Delivery, outcome: str, now: datetime, *, delivered: bool) -> None:
        """Record an attempt and when the next one is due."""
        delivery.attempts.append(Attempt(wire.timestamp(now), outcome))
        delivery.delivered = delivered
        retry = len(delivery.attempts) - 1
        again = not delivered and retry < len(self._retry_seconds)
        delivery.due_at = now + timedelta(seconds=self._retry_seconds[retry]) if again else None

    def headers(self, delivery: Delivery, timestamp: int) -> dict[str, str]:
        """Return the headers of a delivery signed at a time in Unix seconds, with those that the endpoint adds."""
        signed = f"v0:{timestamp}:".encode() + delivery.body
        endpoint = self.endpoints[delivery.endpoint_id]
        options = endpoint.get("advancedOptions") or {}
        return {
            **(options.get("headers") or {}),
            "content-type": "application/json",
            "x-extend-api-version": str(endpoint["apiVersion"]),
            "x-extend-request-timestamp": str(timestamp),
            "x-extend-request-signature": hmac.new(
                self.secrets[delivery.endpoint_id].encode(), signed, hashlib.sha256
            ).hexdigest(),
        }

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Delete an endpoint with its subscriptions and due deliveries."""
        self.endpoints.pop(endpoint_id)
        self.secrets.pop(endpoint_id)
        for key, each in list(self.subscriptions.items()):
            if each["webhookEndpointId"] == endpoint_id:
                del self.subscriptions[key]
        for delivery in self.deliveries:
            if delivery.endpoint_id == endpoint_id:
                delivery.due_at = None

    def _send(self, event_type: str, endpoint_ids: set[str], payload: JsonObject, now: datetime) -> None:
        wanting = [each for each in sorted(endpoint_ids) if self.endpoints[each]["status"] == "enabled"]
        if not wanting:
            return
        event_id = self._ids("evt_")
        event = {"eventId": event_id, "eventType": event_type, "payload": payload}
        for endpoint_id in wanting:
            body = self._body(event, self.endpoints[endpoint_id], now)
            subject = str(payload.get("id"))
            self.deliveries.append(Delivery(event_id, event_type, endpoint_id, subject, body, now))

    def _body(self, event: JsonObject, endpoint: JsonObject, now: datetime) -> bytes:
        payload, whole = event["payload"], _json(event)
        wanted = (endpoint.get("advancedOptions") or {}).get("payload") or {}
        if wanted.get("format") != "url" or len(whole) <= (wanted.get("urlThresholdBytes") or 0):
            return whole
        self.payloads[event["eventId"]] = _json(payload)
        url = self._links.make(f"/payloads/{event['eventId']}", now, _PAYLOAD_LIFE)
        return _json(event | {"payload": {"object": "signed_data_url", "data": url, "id": payload.get("id")}})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
