"""Administering webhook endpoints. Each write decides where document data goes, so a person confirms every one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp_types import InputRequiredResult
from pydantic import AnyHttpUrl, Field, TypeAdapter, ValidationError

from extend_mcp.api.errors import NotFoundError
from extend_mcp.api.models import Page, WebhookEndpoint
from extend_mcp.api.requests import (
    CreateWebhookEndpoint,
    UpdateWebhookEndpoint,
)
from extend_mcp.tools.app import Ctx, app_of
from extend_mcp.tools.args import ConfirmationToken, Example, PageSize, PageToken
from extend_mcp.tools.base import DESTRUCTIVE, READ_ONLY, Refusal
from extend_mcp.tools.guarded import Action, Done, Plan, act
from extend_mcp.tools.paging import read_page
from extend_mcp.tools.show_once import ShownOnce, show_once, was_shown
from extend_mcp.tools.toolsets import WEBHOOKS
from extend_mcp.views.action import ActionView, action_view
from extend_mcp.views.untrusted import clean, plain, quote, shown_url
from extend_mcp.views.webhooks import (
    EndpointListView,
    endpoint_lines,
    endpoint_list_view,
    event_words,
)

EndpointId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$"), Example("wh_xK9mLPqRtN3vS8wF5hB2cQ")]
Event = Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+){1,3}$", max_length=100)]
EndpointEvents = Annotated[
    list[Event],
    Field(max_length=60, description="Account-wide ones; may be empty"),
    Example('["workflow.created"]'),
]
EndpointStatus = Annotated[Literal["enabled", "disabled"], Example("enabled")]
Url = Annotated[str, Field(max_length=2048), Example("https://hooks.example.com/extend")]
EndpointName = Annotated[str, Field(min_length=1, max_length=255)]


@WEBHOOKS.tool(title="List webhook endpoints", annotations=READ_ONLY)
async def list_webhook_endpoints(
    ctx: Ctx,
    endpoint_id: EndpointId | None = None,
    status: EndpointStatus | None = None,
    page_size: PageSize = 20,
    page_token: PageToken | None = None,
) -> EndpointListView:
    """List where Extend sends events, or show one endpoint by id. Secrets and header values are never shown."""
    app = app_of(ctx)
    limit = app.settings.answer_chars
    if endpoint_id:
        found = await app.api.get_webhook_endpoint(endpoint_id)
        return endpoint_list_view([found], token_after=lambda count: None, limit=limit)
    given = {**({"status": status} if status else {}), **({"page_size": page_size} if page_size != 20 else {})}

    async def fetch(chosen: dict[str, Any], token: str | None) -> Page[WebhookEndpoint]:
        return await app.api.list_webhook_endpoints(
            status=chosen.get("status"), max_page_size=chosen.get("page_size", 20), next_page_token=token
        )

    page = await read_page("list_webhook_endpoints", given, page_token, fetch)
    return endpoint_list_view(page.items, token_after=page.token_after, limit=limit)


@WEBHOOKS.tool(title="Create a webhook endpoint", annotations=DESTRUCTIVE)
async def create_webhook_endpoint(
    url: Url,
    name: EndpointName,
    events: EndpointEvents,
    ctx: Ctx,
    status: EndpointStatus = "enabled",
    confirmation_token: ConfirmationToken | None = None,
) -> ActionView | InputRequiredResult:
    """Create an endpoint for account-wide events; events of workflow runs need create_webhook_subscription besides.
    A person confirms first. The signing secret is shown once, to the person where the client can ask one.
    """
    app = app_of(ctx)
    _check_url(url)
    if shown := was_shown(ctx, "create_webhook_endpoint"):
        return _created(shown)
    made: list[WebhookEndpoint] = []

    async def read() -> Plan:
        question = [
            f"Create webhook endpoint {quote(name, 80)}?",
            f"Extend will send to: {quote(shown_url(url), 200)}",
            f"Events: {', '.join(events) or 'none yet'}. They hold document data.",
        ]
        return Plan("new", question)

    async def send() -> Done:
        body = CreateWebhookEndpoint(url=url, name=name, enabled_events=events, status=status)
        made.append(await app.api.create_webhook_endpoint(body))
        return Done(f"Created webhook endpoint {plain(made[0].id, 300)}.")

    async def look() -> str:
        page = await app.api.list_webhook_endpoints(sort_dir="desc", max_page_size=20)
        same = [clean(each.id) for each in page.data if each.url == url and each.name == name]
        return f"A second look finds such endpoints: {', '.join(same) or 'none'}; their secret is not shown again."

    bound = [url, name, events, status]
    answer = await act(ctx, Action("create_webhook_endpoint", "new", read, send, look, bound), confirmation_token)
    if not made:
        return answer
    secret = made[0].signing_secret
    if secret is None:
        return _created(ShownOnce(plain(made[0].id, 300), told=False), note="Extend returned no signing secret.")
    words = (
        f"Signing secret of webhook endpoint {quote(name, 80)}: {secret.get_secret_value()}\n"
        "It is shown this once only. Store it where your receiver reads it, then tick and go on."
    )
    told = await show_once(ctx, "create_webhook_endpoint", plain(made[0].id, 300), words)
    if isinstance(told, InputRequiredResult):
        return told
    if told.told:
        return _created(told)
    return _created(told, secret=secret.get_secret_value())


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
        raise Refusal("Give at least one of url, name, events and status.")
    if url is not None:
        _check_url(url)
    app = app_of(ctx)

    async def read() -> Plan:
        present = await app.api.get_webhook_endpoint(endpoint_id)
        lines = [f"Change webhook endpoint {quote(present.name, 80)} ({plain(endpoint_id, 300)})?"]
        if url is not None:
            lines.append(f"URL: {quote(shown_url(present.url), 200)} -> {quote(shown_url(url), 200)}")
        if name is not None:
            lines.append(f"Name: {quote(present.name, 80)} -> {quote(name, 80)}")
        if events is not None:
            lines.append(f"Events: {event_words(present.enabled_events)} -> {event_words(events)}")
        if status is not None:
            lines.append(f"Status: {clean(present.status)[:40]} -> {status}")
        return Plan("|".join([present.url, present.name, present.status, *present.enabled_events]), lines)

    async def send() -> Done:
        body = UpdateWebhookEndpoint(url=url, name=name, enabled_events=events, status=status)
        return Done(
            "The endpoint was changed.", endpoint_lines(await app.api.update_webhook_endpoint(endpoint_id, body))
        )

    async def look() -> str:
        present = await app.api.get_webhook_endpoint(endpoint_id)
        return f"A second look shows: {'; '.join(endpoint_lines(present))}."

    action = Action("update_webhook_endpoint", endpoint_id, read, send, look, [url, name, events, status])
    return await act(ctx, action, confirmation_token)


@WEBHOOKS.tool(title="Delete a webhook endpoint", annotations=DESTRUCTIVE)
async def delete_webhook_endpoint(
    endpoint_id: EndpointId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete an endpoint and end its deliveries, for good. To pause it, set its status to disabled instead.
    A person confirms first.
    """
    app = app_of(ctx)

    async def read() -> Plan:
        present = await app.api.get_webhook_endpoint(endpoint_id)
        page = await app.api.list_webhook_subscriptions(webhook_endpoint_id=endpoint_id, max_page_size=100)
        more = "or more " if page.next_page_token else ""
        lines = ["Delete this webhook endpoint for good?", *endpoint_lines(present)]
        lines.append(f"Subscriptions that end with it: {len(page.data)} {more}".rstrip())
        return Plan("present", [*lines, "Its signing secret is lost."])

    async def send() -> Done:
        await app.api.delete_webhook_endpoint(endpoint_id)
        return Done("The endpoint is deleted for good.")

    async def look() -> str:
        try:
            await app.api.get_webhook_endpoint(endpoint_id)
        except NotFoundError:
            return "A second look does not find it: it is deleted."
        return "A second look still finds it."

    return await act(ctx, Action("delete_webhook_endpoint", endpoint_id, read, send, look), confirmation_token)


def _created(shown: ShownOnce, *, secret: str | None = None, note: str = "") -> ActionView:
    if secret is not None:
        details = [f"signing_secret (shown this once only; give it to the user, do not repeat it): {secret}"]
    else:
        details = [note or "The signing secret was shown to the user; it is not part of this answer."]
    return action_view(
        "done",
        f"Created webhook endpoint {shown.target}.",
        target=shown.target,
        sent=True,
        details=details,
        next_step=f"create_webhook_subscription({shown.target}, ...) adds events of workflow runs.",
    )


def _check_url(url: str) -> None:
    try:
        TypeAdapter(AnyHttpUrl).validate_python(url)
    except ValidationError:
        raise Refusal('url: must be an http or https address. Example: "https://hooks.example.com/extend".') from None
