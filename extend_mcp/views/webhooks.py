"""Webhook endpoints and subscriptions: lists, and one in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from extend_mcp.api.models import WebhookEndpoint, WebhookSubscription
from extend_mcp.views.base import ViewPart
from extend_mcp.views.listing import ListingView, listing, moment
from extend_mcp.views.untrusted import plain, quote, shown_url, word


class EndpointRow(ViewPart):
    """One endpoint of a list."""

    endpoint_id: str
    name: str
    url: str
    status: str
    events: list[str]
    created_at: datetime | None = None


class EndpointListView(ListingView):
    """Some endpoints."""

    endpoints: list[EndpointRow]
    untrusted: str = "name, url"


class SubscriptionRow(ViewPart):
    """One subscription of a list."""

    subscription_id: str
    endpoint_id: str
    resource: str
    events: list[str]
    created_at: datetime | None = None


class SubscriptionListView(ListingView):
    """Some subscriptions."""

    subscriptions: list[SubscriptionRow]


def endpoint_list_view(
    endpoints: list[WebhookEndpoint], *, token_after: Callable[[int], str | None], limit: int
) -> EndpointListView:
    """Show endpoints as a table."""
    return listing(
        lambda shown, count, token: EndpointListView(
            endpoints=shown, shown=count, complete=token is None, next_page_token=token
        ),
        [
            EndpointRow(
                endpoint_id=plain(each.id, 300),
                name=plain(each.name, 80),
                url=plain(shown_url(each.url), 400),
                status=plain(each.status, 40),
                events=[plain(event, 80) for event in each.enabled_events[:40]],
                created_at=each.created_at,
            )
            for each in endpoints
        ],
        lambda row: (
            f"{word(row.endpoint_id, 300)} | {quote(row.name, 60)} | {quote(row.url, 120)} | {word(row.status, 40)} | "
            f"{event_words(row.events)} | {moment(row.created_at)}"
        ),
        noun="webhook endpoints",
        columns="id | name | url | status | global events | created",
        tool="list_webhook_endpoints",
        token_after=token_after,
        limit=limit,
        note="Events of workflow runs come through subscriptions: list_webhook_subscriptions.",
    )


def subscription_list_view(
    subscriptions: list[WebhookSubscription], *, token_after: Callable[[int], str | None], limit: int
) -> SubscriptionListView:
    """Show subscriptions as a table."""
    return listing(
        lambda shown, count, token: SubscriptionListView(
            subscriptions=shown, shown=count, complete=token is None, next_page_token=token
        ),
        [
            SubscriptionRow(
                subscription_id=plain(each.id, 300),
                endpoint_id=plain(each.webhook_endpoint_id, 300),
                resource=f"{plain(each.resource_type, 40)} {plain(each.resource_id, 300)}",
                events=[plain(event, 80) for event in each.enabled_events[:40]],
                created_at=each.created_at,
            )
            for each in subscriptions
        ],
        lambda row: (
            f"{word(row.subscription_id, 300)} | {word(row.endpoint_id, 300)} | {quote(row.resource, 360)} | "
            f"{event_words(row.events)} | "
            f"{moment(row.created_at)}"
        ),
        noun="webhook subscriptions",
        columns="id | endpoint | resource | events | created",
        tool="list_webhook_subscriptions",
        token_after=token_after,
        limit=limit,
    )


def endpoint_lines(endpoint: WebhookEndpoint) -> list[str]:
    """An endpoint's facts, a line each; its headers by name only, since their values may be secrets."""
    lines = [
        f"Endpoint {quote(endpoint.name, 80)} ({word(endpoint.id, 300)}), {word(endpoint.status, 40)}",
        f"Sends to: {quote(shown_url(endpoint.url), 200)}",
        f"Global events: {event_words(endpoint.enabled_events)}",
    ]
    headers = (endpoint.advanced_options or {}).get("headers")
    if isinstance(headers, dict) and headers:
        lines.append(f"Adds headers: {', '.join(quote(name, 60) for name in list(headers)[:20])} (values not shown)")
    return lines


def subscription_lines(subscription: WebhookSubscription) -> list[str]:
    """A subscription's facts, a line each."""
    return [
        f"Subscription {word(subscription.id, 300)} of endpoint {word(subscription.webhook_endpoint_id, 300)}",
        f"Resource: {word(subscription.resource_type, 40)} {word(subscription.resource_id, 300)}",
        f"Events: {event_words(subscription.enabled_events)}",
    ]


def event_words(events: Iterable[str]) -> str:
    """Events by name, or that there are none."""
    return ", ".join(word(event, 80) for event in events) or "none"
