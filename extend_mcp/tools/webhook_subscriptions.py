"""Administering webhook subscriptions: which resource's events go to which endpoint. A person confirms every write."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.api.errors import NotFoundError
from extend_mcp.api.models import Page, WebhookSubscription
from extend_mcp.api.requests import CreateWebhookSubscription, UpdateWebhookSubscription
from extend_mcp.tools.app import Ctx, app_of
from extend_mcp.tools.args import ConfirmationToken, Example, PageSize, PageToken
from extend_mcp.tools.base import DESTRUCTIVE, READ_ONLY
from extend_mcp.tools.find import resolve_workflow
from extend_mcp.tools.guarded import Action, Done, Plan, act
from extend_mcp.tools.paging import read_page
from extend_mcp.tools.toolsets import WEBHOOKS
from extend_mcp.tools.webhook_endpoints import EndpointId, Event
from extend_mcp.views.action import ActionView
from extend_mcp.views.untrusted import clean, plain, quote, shown_url
from extend_mcp.views.webhooks import (
    SubscriptionListView,
    event_words,
    subscription_lines,
    subscription_list_view,
)

SubscriptionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$"), Example("whs_xK9mLPqRtN3vS8wF5hB2")]
Events = Annotated[
    list[Event],
    Field(min_length=1, max_length=60),
    Example('["workflow_run.completed", "workflow_run.failed"]'),
]
ResourceType = Annotated[Literal["workflow", "extractor", "classifier", "splitter"], Example("workflow")]


@WEBHOOKS.tool(title="List webhook subscriptions", annotations=READ_ONLY)
async def list_webhook_subscriptions(
    ctx: Ctx,
    subscription_id: SubscriptionId | None = None,
    endpoint_id: EndpointId | None = None,
    resource_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None,
    page_size: PageSize = 20,
    page_token: PageToken | None = None,
) -> SubscriptionListView:
    """List which resources' events go to which endpoint, or show one subscription by id."""
    app = app_of(ctx)
    limit = app.settings.answer_chars
    if subscription_id:
        found = await app.api.get_webhook_subscription(subscription_id)
        return subscription_list_view([found], token_after=lambda count: None, limit=limit)
    arguments = {
        "endpoint_id": endpoint_id,
        "resource_id": resource_id,
        "page_size": page_size if page_size != 20 else None,
    }
    given = {name: value for name, value in arguments.items() if value is not None}

    async def fetch(chosen: dict[str, Any], token: str | None) -> Page[WebhookSubscription]:
        return await app.api.list_webhook_subscriptions(
            webhook_endpoint_id=chosen.get("endpoint_id"),
            resource_id=chosen.get("resource_id"),
            max_page_size=chosen.get("page_size", 20),
            next_page_token=token,
        )

    page = await read_page("list_webhook_subscriptions", given, page_token, fetch)
    return subscription_list_view(page.items, token_after=page.token_after, limit=limit)


@WEBHOOKS.tool(title="Create a webhook subscription", annotations=DESTRUCTIVE)
async def create_webhook_subscription(
    endpoint_id: EndpointId,
    resource_id: Annotated[str, Field(min_length=1, max_length=255, description="Id; of a workflow, or its name")],
    events: Events,
    ctx: Ctx,
    resource_type: ResourceType = "workflow",
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Send one resource's events to an endpoint, such as workflow_run.completed of a workflow. A person confirms."""
    app = app_of(ctx)
    resource = await resolve_workflow(app, resource_id) if resource_type == "workflow" else resource_id

    async def read() -> Plan:
        endpoint = await app.api.get_webhook_endpoint(endpoint_id)
        lines = [
            f"Subscribe webhook endpoint {quote(endpoint.name, 80)} to {resource_type} {quote(resource, 120)}?",
            f"Extend will send to: {quote(shown_url(endpoint.url), 200)}",
            f"Events: {', '.join(events)}. They hold document data.",
        ]
        return Plan(endpoint.url, lines)

    async def send() -> Done:
        body = CreateWebhookSubscription(
            webhook_endpoint_id=endpoint_id, resource_type=resource_type, resource_id=resource, enabled_events=events
        )
        made = await app.api.create_webhook_subscription(body)
        return Done(f"Created webhook subscription {plain(made.id, 300)}.", subscription_lines(made))

    async def look() -> str:
        page = await app.api.list_webhook_subscriptions(
            webhook_endpoint_id=endpoint_id, resource_id=resource, max_page_size=20
        )
        return f"A second look finds: {', '.join(clean(each.id) for each in page.data) or 'none'}."

    action = Action("create_webhook_subscription", endpoint_id, read, send, look, [resource_type, resource, events])
    return await act(ctx, action, confirmation_token)


@WEBHOOKS.tool(title="Change a webhook subscription", annotations=DESTRUCTIVE)
async def update_webhook_subscription(
    subscription_id: SubscriptionId,
    events: Events,
    ctx: Ctx,
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Replace a subscription's events. A person sees before and after and confirms first."""
    app = app_of(ctx)

    async def read() -> Plan:
        present = await app.api.get_webhook_subscription(subscription_id)
        lines = ["Change this webhook subscription?", *subscription_lines(present)[:2]]
        lines.append(f"Events: {event_words(present.enabled_events)} -> {event_words(events)}")
        return Plan("|".join(present.enabled_events), lines)

    async def send() -> Done:
        body = UpdateWebhookSubscription(enabled_events=events)
        changed = await app.api.update_webhook_subscription(subscription_id, body)
        return Done("The subscription was changed.", subscription_lines(changed))

    async def look() -> str:
        present = await app.api.get_webhook_subscription(subscription_id)
        return f"A second look shows the events {event_words(present.enabled_events)}."

    return await act(
        ctx, Action("update_webhook_subscription", subscription_id, read, send, look, events), confirmation_token
    )


@WEBHOOKS.tool(title="Delete a webhook subscription", annotations=DESTRUCTIVE)
async def delete_webhook_subscription(
    subscription_id: SubscriptionId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete a subscription: its events are no longer sent. A person confirms first."""
    app = app_of(ctx)

    async def read() -> Plan:
        present = await app.api.get_webhook_subscription(subscription_id)
        return Plan("present", ["Delete this webhook subscription?", *subscription_lines(present)])

    async def send() -> Done:
        await app.api.delete_webhook_subscription(subscription_id)
        return Done("The subscription is deleted.")

    async def look() -> str:
        try:
            await app.api.get_webhook_subscription(subscription_id)
        except NotFoundError:
            return "A second look does not find it: it is deleted."
        return "A second look still finds it."

    return await act(ctx, Action("delete_webhook_subscription", subscription_id, read, send, look), confirmation_token)
