"""Tools that administer webhook endpoints and subscriptions. A person confirms every write."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, Literal

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.actions.confirm import Revealed, already_revealed, reveal_secret
from extend_mcp.actions.execute import execute
from extend_mcp.actions.webhooks import (
    CreateEndpoint,
    CreateSubscription,
    DeleteEndpoint,
    DeleteSubscription,
    UpdateEndpoint,
    UpdateSubscription,
)
from extend_mcp.api.models import Page, WebhookSubscription
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.args import ConfirmationToken, Example, PageSize, PageToken, normalized_url
from extend_mcp.tools.name_resolution import resolve_workflow
from extend_mcp.tools.pagination import read_page
from extend_mcp.tools.toolsets import DESTRUCTIVE, PUBLISHES, READ_ONLY, WEBHOOKS
from extend_mcp.views.actions import ActionView, action_view
from extend_mcp.views.untrusted import Id, Label
from extend_mcp.views.webhooks import EndpointListView, SubscriptionListView, endpoint_list_view, subscription_list_view

EndpointId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$"), Example("wh_xK9mLPqRtN3vS8wF5hB2cQ")]
Event = Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+){1,3}$", max_length=100)]
EndpointEvents = Annotated[
    list[Event], Field(max_length=60, description="Account-wide ones; may be empty"), Example('["workflow.created"]')
]
EndpointStatus = Annotated[Literal["enabled", "disabled"], Example("enabled")]
_URL = "https://hooks.example.com/extend"
Url = Annotated[str, Field(max_length=2048), Example(_URL)]
EndpointName = Annotated[str, Field(min_length=1, max_length=255)]


@WEBHOOKS.tool(title="List webhook endpoints", annotations=READ_ONLY)
async def list_webhook_endpoints(
    ctx: Ctx,
    endpoint_id: EndpointId | None = None,
    status: EndpointStatus | None = None,
    page_size: Annotated[PageSize, Field(description="Endpoints per page")] = 20,
    page_token: PageToken | None = None,
) -> EndpointListView:
    """List where Extend sends events, or show one endpoint by id. Secrets and header values are never shown."""
    app = caller_context(ctx)
    limit = app.limits.answer_chars
    if endpoint_id:
        found = await app.api.get_webhook_endpoint(endpoint_id)
        return endpoint_list_view([found], token_after=lambda count: None, limit=limit)
    given = {"status": status, "page_size": page_size}
    items, token_after = await read_page(list_webhook_endpoints, app.api.list_webhook_endpoints, page_token, **given)
    return endpoint_list_view(items, token_after=token_after, limit=limit)


@WEBHOOKS.tool(title="Create a webhook endpoint", annotations=PUBLISHES)
async def create_webhook_endpoint(
    url: Url,
    name: EndpointName,
    events: EndpointEvents,
    ctx: Ctx,
    status: EndpointStatus = "enabled",
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Create an endpoint for account-wide events; events of workflow runs also need create_webhook_subscription.
    A person confirms first. The signing secret is shown once, to the person where the client can ask one.
    """
    app = caller_context(ctx)
    url = normalized_url("url", url, _URL)
    if earlier := already_revealed(ctx, CreateEndpoint.name):
        return _created(app, earlier)
    action = CreateEndpoint(app, url, name, events, status)
    answer = await execute(ctx, action, confirmation_token)
    if action.made is None:
        return answer
    made_id, secret = Id(action.made.id), action.made.signing_secret
    if secret is None:
        return _created(app, Revealed(made_id, shown=False), "Extend returned no signing secret.")
    plain = secret.get_secret_value()
    message = (
        f"Signing secret of webhook endpoint {Label(name)}: {plain}\n"
        "It is shown only once. Store it where your receiver reads it, then tick the box and continue."
    )
    revealed = await reveal_secret(ctx, CreateEndpoint.name, made_id, message)
    if isinstance(revealed, InputRequiredResult):
        return revealed
    unseen = f"signing_secret (shown this once only; give it to the user, do not repeat it): {plain}"
    return _created(app, revealed, "" if revealed.shown else unseen)


@WEBHOOKS.tool(title="Change a webhook endpoint", annotations=DESTRUCTIVE)
async def update_webhook_endpoint(
    endpoint_id: EndpointId,
    ctx: Ctx,
    url: Url | None = None,
    name: EndpointName | None = None,
    events: EndpointEvents | None = None,
    status: EndpointStatus | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Change an endpoint's URL, name, events or status. A person sees before and after and confirms first."""
    if url is None and name is None and events is None and status is None:
        raise CallRefusedError("Give at least one of url, name, events and status.")
    if url is not None:
        url = normalized_url("url", url, _URL)
    action = UpdateEndpoint(caller_context(ctx), endpoint_id, url, name, events, status)
    return await execute(ctx, action, confirmation_token)


@WEBHOOKS.tool(title="Delete a webhook endpoint", annotations=DESTRUCTIVE)
async def delete_webhook_endpoint(
    endpoint_id: EndpointId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete an endpoint and end its deliveries, for good. To pause it, set its status to disabled instead.
    A person confirms first.
    """
    return await execute(ctx, DeleteEndpoint(caller_context(ctx), endpoint_id), confirmation_token)


def _created(app: CallerContext, revealed: Revealed, detail: str = "") -> ActionView:
    return action_view(
        "done",
        f"Created webhook endpoint {revealed.target}.",
        target=revealed.target,
        sent=True,
        details=[detail or "The signing secret was shown to the user; it is not part of this answer."],
        next_step=f"create_webhook_subscription({revealed.target}, ...) adds events of workflow runs.",
        limit=app.limits.answer_chars,
    )


SubscriptionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$"), Example("whes_xK9mLPqRtN3vS8wF5hB2")]
Events = Annotated[
    list[Event], Field(min_length=1, max_length=60), Example('["workflow_run.completed", "workflow_run.failed"]')
]
ResourceType = Annotated[Literal["workflow", "extractor", "classifier", "splitter"], Example("workflow")]


@WEBHOOKS.tool(title="List webhook subscriptions", annotations=READ_ONLY)
async def list_webhook_subscriptions(
    ctx: Ctx,
    subscription_id: SubscriptionId | None = None,
    endpoint_id: EndpointId | None = None,
    resource_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None,
    page_size: Annotated[PageSize, Field(description="Subscriptions per page")] = 20,
    page_token: PageToken | None = None,
) -> SubscriptionListView:
    """List which resources' events go to which endpoint, or show one subscription by id."""
    app = caller_context(ctx)
    limit = app.limits.answer_chars
    if subscription_id:
        found = await app.api.get_webhook_subscription(subscription_id)
        return subscription_list_view([found], token_after=lambda count: None, limit=limit)
    given = {"endpoint_id": endpoint_id, "resource_id": resource_id, "page_size": page_size}

    def read(*, endpoint_id: str | None, **query: Any) -> Awaitable[Page[WebhookSubscription]]:
        return app.api.list_webhook_subscriptions(webhook_endpoint_id=endpoint_id, **query)

    items, token_after = await read_page(list_webhook_subscriptions, read, page_token, **given)
    return subscription_list_view(items, token_after=token_after, limit=limit)


@WEBHOOKS.tool(title="Create a webhook subscription", annotations=PUBLISHES)
async def create_webhook_subscription(
    endpoint_id: EndpointId,
    resource_id: Annotated[str, Field(min_length=1, max_length=255, description="Id; of a workflow, or its name")],
    events: Events,
    ctx: Ctx,
    resource_type: ResourceType = "workflow",
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Send one resource's events to an endpoint, such as workflow_run.completed of a workflow. A person confirms."""
    app = caller_context(ctx)
    resource = await resolve_workflow(app, resource_id) if resource_type == "workflow" else resource_id
    action = CreateSubscription(app, endpoint_id, resource_type, resource, events)
    return await execute(ctx, action, confirmation_token)


@WEBHOOKS.tool(title="Change a webhook subscription", annotations=DESTRUCTIVE)
async def update_webhook_subscription(
    subscription_id: SubscriptionId,
    events: Events,
    ctx: Ctx,
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Replace a subscription's events. A person sees before and after and confirms first."""
    return await execute(ctx, UpdateSubscription(caller_context(ctx), subscription_id, events), confirmation_token)


@WEBHOOKS.tool(title="Delete a webhook subscription", annotations=DESTRUCTIVE)
async def delete_webhook_subscription(
    subscription_id: SubscriptionId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete a subscription: its events are no longer sent. A person confirms first."""
    return await execute(ctx, DeleteSubscription(caller_context(ctx), subscription_id), confirmation_token)
