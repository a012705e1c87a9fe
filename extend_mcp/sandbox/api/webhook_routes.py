"""Serve the operations on webhook endpoints and subscriptions. Source: Extend API reference, Webhooks.

Create bodies are strict: unknown fields are refused.
"""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from extend_mcp.sandbox.api import list_query
from extend_mcp.sandbox.api.responses import json_response
from extend_mcp.sandbox.api.routing import Call, route
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.validation import ApiError, BodyReader, JsonObject
from extend_mcp.sandbox.engine.webhook_outbox import ENDPOINT_EVENTS, SUBSCRIPTION_EVENTS


def webhook_routes(account: SandboxAccount) -> list[BaseRoute]:
    """Build the routes under `/webhook_endpoints` and `/webhook_subscriptions`."""
    return [
        route(account, "GET", "/webhook_endpoints", list_webhook_endpoints),
        route(account, "POST", "/webhook_endpoints", create_webhook_endpoint),
        route(account, "GET", "/webhook_endpoints/{id}", get_webhook_endpoint),
        route(account, "POST", "/webhook_endpoints/{id}", update_webhook_endpoint),
        route(account, "DELETE", "/webhook_endpoints/{id}", delete_webhook_endpoint),
        route(account, "GET", "/webhook_subscriptions", list_webhook_subscriptions),
        route(account, "POST", "/webhook_subscriptions", create_webhook_subscription),
        route(account, "GET", "/webhook_subscriptions/{id}", get_webhook_subscription),
        route(account, "POST", "/webhook_subscriptions/{id}", update_webhook_subscription),
        route(account, "DELETE", "/webhook_subscriptions/{id}", delete_webhook_subscription),
    ]


def delivery_routes(account: SandboxAccount) -> list[BaseRoute]:
    """Build the control routes that list or send deliveries, and serve payloads by signed URL."""

    async def deliveries(request: Request) -> Response:
        if request.method == "POST":
            await account.webhook_sender.deliver()
        with account.lock:
            return json_response({"deliveries": [each.to_json() for each in account.outbox.deliveries]})

    async def payload(request: Request) -> Response:
        event_id = request.path_params["id"]
        with account.lock:
            account.links.check(f"/payloads/{event_id}", dict(request.query_params), account.catch_up())
            return Response(account.outbox.payloads[event_id], media_type="application/json")

    return [
        Route("/deliveries", deliveries, methods=["GET", "POST"]),
        Route("/payloads/{id}", payload, methods=["GET"]),
    ]


def list_webhook_endpoints(account: SandboxAccount, call: Call) -> JsonObject:
    """List endpoints by creation time, filtered by status, page by page."""
    status = call.query.get("status")
    if status is not None:
        _Reader(account).read_one_of(status, _STATUSES, "status")
    found = [each for each in account.outbox.endpoints.values() if status in (None, each["status"])]
    return _page(account, call, found, ("status",), "webhook_endpoints")


def create_webhook_endpoint(account: SandboxAccount, call: Call) -> JsonObject:
    """Create an endpoint. Only this response contains its signing secret."""
    reader = _Reader(account)
    body = reader.body(call.body, required=("url", "name", "enabledEvents", "apiVersion"), optional=_ENDPOINT_OPTIONS)
    fields = {"status": "enabled"} | reader.endpoint(body)
    endpoint_id, secret = account.ids("wh_"), account.ids("wss_")
    created = wire.timestamp(account.engine.now)
    endpoint = {"object": "webhook_endpoint", "id": endpoint_id, **fields, "createdAt": created}
    account.outbox.endpoints[endpoint_id] = endpoint
    account.outbox.secrets[endpoint_id] = secret
    return endpoint | {"signingSecret": secret}


def get_webhook_endpoint(account: SandboxAccount, call: Call) -> JsonObject:
    """Return one endpoint."""
    return _endpoint(account, call.path["id"])


def update_webhook_endpoint(account: SandboxAccount, call: Call) -> JsonObject:
    """Change the given fields of an endpoint."""
    endpoint, reader = _endpoint(account, call.path["id"]), _Reader(account)
    body = reader.body(call.body, required=(), optional=("url", "name", "enabledEvents", *_ENDPOINT_OPTIONS))
    endpoint.update(reader.endpoint(body))
    return endpoint


def delete_webhook_endpoint(account: SandboxAccount, call: Call) -> JsonObject:
    """Delete an endpoint with its subscriptions."""
    endpoint = _endpoint(account, call.path["id"])
    account.outbox.remove_endpoint(endpoint["id"])
    return {"id": endpoint["id"]}


def list_webhook_subscriptions(account: SandboxAccount, call: Call) -> JsonObject:
    """List subscriptions by creation time, filtered by endpoint or resource, page by page."""
    filters = ("webhookEndpointId", "resourceId")
    found = [
        each
        for each in account.outbox.subscriptions.values()
        if all(call.query.get(name) in (None, each[name]) for name in filters)
    ]
    return _page(account, call, found, filters, "webhook_subscriptions")


def create_webhook_subscription(account: SandboxAccount, call: Call) -> JsonObject:
    """Subscribe an endpoint to events of one resource, or change the events of the present subscription."""
    reader = _Reader(account)
    body = reader.body(
        call.body, required=("webhookEndpointId", "resourceType", "resourceId", "enabledEvents"), optional=()
    )
    kind = reader.read_one_of(body["resourceType"], tuple(SUBSCRIPTION_EVENTS), "resourceType")
    resource = reader.read_text(body["resourceId"], "resourceId")
    events = reader.events(body["enabledEvents"], SUBSCRIPTION_EVENTS[kind])
    endpoint = _endpoint(account, reader.read_text(body["webhookEndpointId"], "webhookEndpointId"))
    if kind == "workflow" and resource not in account.store.workflows:
        raise ApiError(404, "Workflow not found")
    for present in account.outbox.subscriptions.values():
        if (present["webhookEndpointId"], present["resourceType"], present["resourceId"]) == (
            endpoint["id"],
            kind,
            resource,
        ):
            present["enabledEvents"] = events
            return present
    subscription = {
        "object": "webhook_subscription",
        "id": account.ids("whes_"),
        "webhookEndpointId": endpoint["id"],
        "resourceType": kind,
        "resourceId": resource,
        "enabledEvents": events,
        "createdAt": wire.timestamp(account.engine.now),
    }
    account.outbox.subscriptions[subscription["id"]] = subscription
    return subscription


def get_webhook_subscription(account: SandboxAccount, call: Call) -> JsonObject:
    """Return one subscription."""
    return _subscription(account, call.path["id"])


def update_webhook_subscription(account: SandboxAccount, call: Call) -> JsonObject:
    """Replace a subscription's events."""
    subscription, reader = _subscription(account, call.path["id"]), _Reader(account)
    body = reader.body(call.body, required=("enabledEvents",), optional=())
    subscription["enabledEvents"] = reader.events(
        body["enabledEvents"], SUBSCRIPTION_EVENTS[subscription["resourceType"]]
    )
    return subscription


def delete_webhook_subscription(account: SandboxAccount, call: Call) -> JsonObject:
    """Delete a subscription."""
    subscription = _subscription(account, call.path["id"])
    del account.outbox.subscriptions[subscription["id"]]
    return {"id": subscription["id"]}


_API_VERSIONS = ("2024-12-23", "2025-04-21", "2026-02-09")
"""Supported versions that Extend's documentation names. An endpoint keeps the one that it was created with."""

_STATUSES = ("enabled", "disabled")
_ENDPOINT_OPTIONS = ("status", "advancedOptions")


class _Reader(BodyReader):
    def __init__(self, account: SandboxAccount) -> None:
        super().__init__(account.settings.validation_status)

    def body(self, body: object, *, required: tuple[str, ...], optional: tuple[str, ...]) -> JsonObject:
        """Read an object that has only these fields."""
        found = self.read_object(body, "body")
        for name in found:
            if name not in (*required, *optional):
                self.refuse("Unrecognized key", name)
        for name in required:
            if found.get(name) is None:
                self.refuse("Required", name)
        return {name: value for name, value in found.items() if value is not None}

    def endpoint(self, body: JsonObject) -> JsonObject:
        """Check the given fields of an endpoint."""
        if "url" in body and not self.read_text(body["url"], "url").startswith(("http://", "https://")):
            self.refuse("Invalid URL", "url")
        if "name" in body:
            self.read_text(body["name"], "name")
        if "enabledEvents" in body:
            self.events(body["enabledEvents"], ENDPOINT_EVENTS, least=0)
        if "apiVersion" in body:
            self.read_one_of(body["apiVersion"], _API_VERSIONS, "apiVersion")
        if "status" in body:
            self.read_one_of(body["status"], _STATUSES, "status")
        if "advancedOptions" in body:
            self._options(self.read_object(body["advancedOptions"], "advancedOptions"))
        return body

    def events(self, value: object, known: Iterable[str], *, least: int = 1) -> list[str]:
        events = self.read_array(value, "enabledEvents")
        if len(events) < least:
            self.refuse("Expected at least one event", "enabledEvents")
        for index, event in enumerate(events):
            self.read_one_of(event, tuple(known), f"enabledEvents.{index}")
        return events

    def _options(self, options: JsonObject) -> None:
        headers, payload = options.get("headers"), options.get("payload")
        if headers is not None:
            for name, value in self.read_object(headers, "advancedOptions.headers").items():
                if not isinstance(value, str):
                    self.refuse("Expected a string", f"advancedOptions.headers.{name}")
        if payload is not None:
            wanted = self.read_object(payload, "advancedOptions.payload")
            self.read_one_of(wanted.get("format"), ("json", "url"), "advancedOptions.payload.format")
            threshold = wanted.get("urlThresholdBytes")
            if threshold is not None and (type(threshold) is not int or threshold < 0):
                self.refuse("Expected a whole number", "advancedOptions.payload.urlThresholdBytes")


def _endpoint(account: SandboxAccount, endpoint_id: str) -> JsonObject:
    endpoint = account.outbox.endpoints.get(endpoint_id)
    if endpoint is None:
        raise ApiError(404, "Webhook endpoint not found")
    return endpoint


def _subscription(account: SandboxAccount, subscription_id: str) -> JsonObject:
    subscription = account.outbox.subscriptions.get(subscription_id)
    if subscription is None:
        raise ApiError(404, "Webhook subscription not found")
    return subscription


def _page(
    account: SandboxAccount, call: Call, items: list[JsonObject], filters: tuple[str, ...], scope: str
) -> JsonObject:
    wanted = list_query.read_list_query(call.query, filters, account.settings, scope=scope)
    page, token = list_query.page_of(
        items,
        lambda item: (wire.read_timestamp(item["createdAt"]) or account.started_at, item["id"]),
        wanted,
        account.settings,
    )
    return list_query.list_body(page, token, account.settings)
