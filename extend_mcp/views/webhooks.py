"""Show webhook endpoints and subscriptions, in lists and one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from extend_mcp.api.models import WebhookEndpoint, WebhookSubscription
from extend_mcp.views.document import ViewPart
from extend_mcp.views.tables import ListingView, listing, moment
from extend_mcp.views.untrusted import Code, Id, Label, Name, Note, Url


class EndpointRow(ViewPart):
    """One endpoint of a list."""

    endpoint_id: Id
    name: Label
    url: Url
    status: Code
    events: list[Code]
    created_at: datetime | None = None


class EndpointListView(ListingView):
    """Some endpoints."""

    endpoints: list[EndpointRow]
    untrusted: str = "name, url"


class SubscriptionRow(ViewPart):
    """One subscription of a list."""

    subscription_id: Id
    endpoint_id: Id
    resource: Note
    events: list[Code]
    created_at: datetime | None = None


class SubscriptionListView(ListingView):
    """Some subscriptions."""

    subscriptions: list[SubscriptionRow]


def endpoint_list_view(
    endpoints: list[WebhookEndpoint], *, token_after: Callable[[int], str | None], limit: int
) -> EndpointListView:
    """Show endpoints as a table."""
    rows = [
        EndpointRow(
            endpoint_id=each.id,
            name=each.name,
            url=each.url,
            status=each.status,
            events=each.enabled_events[:40],
            created_at=each.created_at,
        )
        for each in endpoints
    ]
    view = EndpointListView(endpoints=rows, shown=len(rows), complete=True)
    return listing(
        view,
        view.endpoints,
        [
            f"{row.endpoint_id} · {row.name:60} · {row.url:120} · {row.status} · {event_words(row.events)} · "
            f"{moment(row.created_at)}"
            for row in view.endpoints
        ],
        noun="webhook endpoint",
        columns="id · name · url · status · global events · created",
        tool="list_webhook_endpoints",
        token_after=token_after,
        limit=limit,
        note=lambda kept: "Events of workflow runs come through subscriptions: list_webhook_subscriptions.",
    )


def subscription_list_view(
    subscriptions: list[WebhookSubscription], *, token_after: Callable[[int], str | None], limit: int
) -> SubscriptionListView:
    """Show subscriptions as a table."""
    rows = [
        SubscriptionRow(
            subscription_id=each.id,
            endpoint_id=each.webhook_endpoint_id,
            resource=f"{each.resource_type} {each.resource_id}",
            events=each.enabled_events[:40],
            created_at=each.created_at,
        )
        for each in subscriptions
    ]
    view = SubscriptionListView(subscriptions=rows, shown=len(rows), complete=True)
    return listing(
        view,
        view.subscriptions,
        [
            f"{row.subscription_id} · {row.endpoint_id} · {row.resource:300} · {event_words(row.events)} · "
            f"{moment(row.created_at)}"
            for row in view.subscriptions
        ],
        noun="webhook subscription",
        columns="id · endpoint · resource · events · created",
        tool="list_webhook_subscriptions",
        token_after=token_after,
        limit=limit,
    )


def endpoint_lines(endpoint: WebhookEndpoint) -> list[str]:
    """Return an endpoint's facts, a line each; its headers by name only, since their values may be secrets."""
    lines = [
        f"Endpoint {Name(endpoint.name)} ({Id(endpoint.id)}), {Code(endpoint.status)}",
        f"Sends to: {Url(endpoint.url)}",
        f"Global events: {event_words(endpoint.enabled_events)}",
    ]
    headers = (endpoint.advanced_options or {}).get("headers")
    if isinstance(headers, dict) and headers:
        names = ", ".join(f"{Name(name):60}" for name in list(headers)[:20])
        lines.append(f"Adds headers: {names} (values not shown)")
    return lines


def subscription_lines(subscription: WebhookSubscription) -> list[str]:
    """Return a subscription's facts, a line each."""
    return [
        f"Subscription {Id(subscription.id)} of endpoint {Id(subscription.webhook_endpoint_id)}",
        f"Resource: {Code(subscription.resource_type)} {Id(subscription.resource_id)}",
        f"Events: {event_words(subscription.enabled_events)}",
    ]


def event_words(events: Iterable[str]) -> str:
    """List events by name, or write "none"."""
    return ", ".join(f"{Code(event)}" for event in events) or "none"
