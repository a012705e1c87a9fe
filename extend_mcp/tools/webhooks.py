"""Tools that administer webhook endpoints and subscriptions, and find webhooks that nobody receives."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.actions import webhooks as actions
from extend_mcp.actions.confirm import already_revealed, reveal_secret
from extend_mcp.actions.execute import execute
from extend_mcp.api import requests
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.events.event import END_EVENTS, RUN_EVENTS, end_mark
from extend_mcp.refusal import CallRefusedError
from extend_mcp.scopes import RUNS_READ, WORKFLOWS_READ
from extend_mcp.tools.args import ConfirmationToken, Moment, PageSize, PageToken, WebUrl, WorkflowRef
from extend_mcp.tools.name_resolution import resolve_workflow
from extend_mcp.tools.pagination import read_all, read_page
from extend_mcp.tools.run_filter import RunFilter, parse_argument
from extend_mcp.tools.run_scan import RunReader
from extend_mcp.tools.toolsets import DESTRUCTIVE, PUBLISHES, READ_ONLY, WEBHOOKS
from extend_mcp.views import webhooks as views
from extend_mcp.views.actions import ActionView
from extend_mcp.views.document import Extent
from extend_mcp.views.tables import list_view
from extend_mcp.views.untrusted import Id, Label

EndpointId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$", examples=["wh_xK9mLPqRtN3vS8wF5hB2cQ"])]
Event = Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+){1,3}$", max_length=100)]
EndpointEvents = Annotated[
    list[Event], Field(max_length=60, description="Account-wide ones; may be empty", examples=[["workflow.created"]])
]
EndpointStatus = Literal["enabled", "disabled"]
EndpointUrl = Annotated[WebUrl, Field(max_length=2048, examples=["https://hooks.example.com/extend"])]
EndpointName = Annotated[str, Field(min_length=1, max_length=255)]


@WEBHOOKS.tool(title="List webhook endpoints", annotations=READ_ONLY)
async def list_webhook_endpoints(
    ctx: Ctx,
    endpoint_id: EndpointId | None = None,
    status: EndpointStatus | None = None,
    page_size: Annotated[PageSize, Field(description="Endpoints per page")] = 20,
    page_token: PageToken | None = None,
) -> views.EndpointListView:
    """List where Extend sends events, or show one endpoint by id. Secrets and header values are never shown."""
    app = caller_context(ctx)
    limit = app.limits.answer_chars
    if endpoint_id:
        found = await app.api.get_webhook_endpoint(endpoint_id)
        return list_view(views.EndpointListView, [found], token_after=lambda count: None, limit=limit)
    given = {"status": status, "page_size": page_size}
    items, token_after = await read_page(list_webhook_endpoints, app.api.list_webhook_endpoints, page_token, **given)
    return list_view(views.EndpointListView, items, token_after=token_after, limit=limit)


@WEBHOOKS.tool(title="Create a webhook endpoint", annotations=PUBLISHES)
async def create_webhook_endpoint(
    url: EndpointUrl,
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
    made_id = already_revealed(ctx, actions.CreateEndpoint.name)
    detail = shown = "The signing secret was shown to the user; it is not part of this answer."
    if not made_id:
        body = requests.CreateWebhookEndpoint(url=url, name=name, enabled_events=events, status=status)
        action = actions.CreateEndpoint(app, body)
        answer = await execute(ctx, action, confirmation_token)
        if action.made is None:
            return answer
        made_id, secret, detail = Id(action.made.id), action.made.signing_secret, "Extend returned no signing secret."
        if secret is not None:
            plain = secret.get_secret_value()
            message = (
                f"Signing secret of webhook endpoint {Label(name)}: {plain}\n"
                "It is shown only once. Store it where your receiver reads it, then tick the box and continue."
            )
            revealed = await reveal_secret(ctx, actions.CreateEndpoint.name, made_id, message)
            if isinstance(revealed, InputRequiredResult):
                return revealed
            unseen = f"signing_secret (shown this once only; give it to the user, do not repeat it): {plain}"
            detail = shown if revealed else unseen
    return ActionView(
        outcome="done",
        id=made_id,
        request_sent=True,
        message=f"Created webhook endpoint {made_id}.",
        details=[detail],
        next_step=f"create_webhook_subscription({made_id}, ...) adds events of workflow runs.",
    ).rendered(app.limits.answer_chars, [detail])


@WEBHOOKS.tool(title="Change a webhook endpoint", annotations=DESTRUCTIVE)
async def update_webhook_endpoint(
    endpoint_id: EndpointId,
    ctx: Ctx,
    url: EndpointUrl | None = None,
    name: EndpointName | None = None,
    events: EndpointEvents | None = None,
    status: EndpointStatus | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Change an endpoint's URL, name, events or status. A person sees before and after and confirms first."""
    if url is None and name is None and events is None and status is None:
        raise CallRefusedError("Give at least one of url, name, events and status.")
    body = requests.UpdateWebhookEndpoint(url=url, name=name, enabled_events=events, status=status)
    action = actions.UpdateEndpoint(caller_context(ctx), body, target=endpoint_id)
    return await execute(ctx, action, confirmation_token)


@WEBHOOKS.tool(title="Delete a webhook endpoint", annotations=DESTRUCTIVE)
async def delete_webhook_endpoint(
    endpoint_id: EndpointId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete an endpoint and end its deliveries, for good. To pause it, set its status to disabled instead.
    A person confirms first.
    """
    return await execute(ctx, actions.DeleteEndpoint(caller_context(ctx), target=endpoint_id), confirmation_token)


SubscriptionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$", examples=["whes_xK9mLPqRtN3vS8wF5hB2"])]
Events = Annotated[
    list[Event], Field(min_length=1, max_length=60, examples=[["workflow_run.completed", "workflow_run.failed"]])
]
ResourceType = Literal["workflow", "extractor", "classifier", "splitter"]


@WEBHOOKS.tool(title="List webhook subscriptions", annotations=READ_ONLY)
async def list_webhook_subscriptions(
    ctx: Ctx,
    subscription_id: SubscriptionId | None = None,
    endpoint_id: EndpointId | None = None,
    resource_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None,
    page_size: Annotated[PageSize, Field(description="Subscriptions per page")] = 20,
    page_token: PageToken | None = None,
) -> views.SubscriptionListView:
    """List which resources' events go to which endpoint, or show one subscription by id."""
    app = caller_context(ctx)
    limit = app.limits.answer_chars
    if subscription_id:
        found = await app.api.get_webhook_subscription(subscription_id)
        return list_view(views.SubscriptionListView, [found], token_after=lambda count: None, limit=limit)
    given = {"endpoint_id": endpoint_id, "resource_id": resource_id, "page_size": page_size}
    read = app.api.list_webhook_subscriptions
    items, token_after = await read_page(
        list_webhook_subscriptions,
        lambda endpoint_id, **query: read(webhook_endpoint_id=endpoint_id, **query),
        page_token,
        **given,
    )
    return list_view(views.SubscriptionListView, items, token_after=token_after, limit=limit)


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
    body = requests.CreateWebhookSubscription(
        webhook_endpoint_id=endpoint_id, resource_type=resource_type, resource_id=resource, enabled_events=events
    )
    action = actions.CreateSubscription(app, body, target=endpoint_id)
    return await execute(ctx, action, confirmation_token)


@WEBHOOKS.tool(title="Change a webhook subscription", annotations=DESTRUCTIVE)
async def update_webhook_subscription(
    subscription_id: SubscriptionId, events: Events, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Replace a subscription's events. A person sees before and after and confirms first."""
    body = requests.UpdateWebhookSubscription(enabled_events=events)
    action = actions.UpdateSubscription(caller_context(ctx), body, target=subscription_id)
    return await execute(ctx, action, confirmation_token)


@WEBHOOKS.tool(title="Delete a webhook subscription", annotations=DESTRUCTIVE)
async def delete_webhook_subscription(
    subscription_id: SubscriptionId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete a subscription: its events are no longer sent. A person confirms first."""
    action = actions.DeleteSubscription(caller_context(ctx), target=subscription_id)
    return await execute(ctx, action, confirmation_token)


_UNDERWAY = timedelta(minutes=2)
"""Longest an event may take to arrive: Extend repeats a delivery that failed."""


@WEBHOOKS.tool(title="Check webhooks", annotations=READ_ONLY)
async def check_webhooks(
    ctx: Ctx, workflow: WorkflowRef | None = None, since: Moment = "24h"
) -> views.WebhookCheckView:
    """Find which workflows have no enabled subscription for which ending of a run. Where this server receives webhooks,
    also find the runs that ended since then without an event. Use it when a system missed results.
    """
    app = caller_context(ctx)
    now, most = app.clock.now(), app.limits.filter_pages
    begin = parse_argument(now, "since", since) or now
    chosen = await resolve_workflow(app, workflow) if workflow else None
    missing = []
    read, complete = await read_all(app.api.list_webhook_subscriptions(resource_id=chosen), most_pages=most)
    subscriptions = [each for each in read if each.resource_type == "workflow"]
    endpoints, all_endpoints = await read_all(app.api.list_webhook_endpoints(), most_pages=most)
    if not (complete and all_endpoints):
        missing.append("not all subscriptions and endpoints were read")
    names = dict.fromkeys([chosen] if chosen else [each.resource_id for each in subscriptions], "")
    if app.caller.has_scope(RUNS_READ, WORKFLOWS_READ):
        workflows, complete = await read_all(app.api.list_workflows(), most_pages=most)
        names |= {each.id: each.name for each in workflows if chosen in (None, each.id)}
        missing += [] if complete else ["not all workflows were read"]
    else:
        missing.append("workflows without any subscription are not listed: this caller may not read workflows")
    enabled = {each.id for each in endpoints if each.status == "enabled"}
    sent = [(each.webhook_endpoint_id in enabled, each.resource_id, each.enabled_events) for each in subscriptions]
    covered = {(workflow_id, event) for is_on, workflow_id, events in sent if is_on for event in events}
    disabled = {(workflow_id, event) for _, workflow_id, events in sent for event in events} - covered
    coverage = [
        views.CoverageRow(
            workflow_id=each,
            workflow=name,
            without=[event for event in RUN_EVENTS if (each, event) not in covered],
            only_disabled=[event for event in RUN_EVENTS if (each, event) in disabled],
        )
        for each, name in names.items()
    ]
    received: dict[str, Any] = {}
    if app.events is not None and app.caller.has_scope(RUNS_READ):
        begin, end = max(begin, datetime.fromtimestamp(await app.events.since(), timezone.utc)), now - _UNDERWAY
        scan = await RunReader(ctx).scan(RunFilter(workflow_id=chosen, changed_since=begin))
        ended: dict[str, views.MissedRun] = {}
        for run in scan.runs:
            event, moment = END_EVENTS.get(run.status), run.end_time or run.updated_at
            if event and (run.workflow.id, event) in covered and moment and begin <= moment <= end:
                ended[end_mark(event, run.id)] = views.MissedRun(run_id=run.id, status=run.status, ended_at=moment)
        known = await app.events.known(list(ended))
        missed = [run for mark, run in ended.items() if mark not in known]
        received = {"since": begin, "ended": len(ended), "missed": missed}
        missing += scan.missing
    return views.webhook_check_view(coverage, Extent(now, app.limits.answer_chars, missing=missing), **received)
