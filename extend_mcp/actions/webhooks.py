"""Writes on webhook endpoints and subscriptions. Each decides where document data goes, so a person confirms all."""

from __future__ import annotations

from extend_mcp.actions.execute import DeleteObject, Inspection, ObjectAction
from extend_mcp.api.models import WebhookEndpoint, WebhookSubscription
from extend_mcp.api.requests import (
    CreateWebhookEndpoint,
    CreateWebhookSubscription,
    UpdateWebhookEndpoint,
    UpdateWebhookSubscription,
)
from extend_mcp.views.actions import ActionView
from extend_mcp.views.untrusted import Code, Id, Name, Url
from extend_mcp.views.webhooks import endpoint_lines, event_words, subscription_lines


class CreateEndpoint(ObjectAction):
    """Create a webhook endpoint."""

    body: CreateWebhookEndpoint
    name, repeatable = "create_webhook_endpoint", False
    made: WebhookEndpoint | None = None  # the endpoint with its signing secret, once it was created

    async def inspect(self) -> Inspection[ActionView]:
        """Show where data would go; nothing exists yet that could be read."""
        return Inspection(
            [
                f"Create webhook endpoint {Name(self.body.name)}?",
                f"Extend will send to: {Url(self.body.url)}",
                f"Events: {', '.join(self.body.enabled_events) or 'none yet'}. They hold document data.",
            ]
        )

    async def send(self) -> ActionView:
        self.made = await self.app.api.create_webhook_endpoint(self.body)
        self.target = Id(self.made.id)
        return self.answer("done", f"Created webhook endpoint {self.target}.", sent=True)

    async def look(self) -> str:
        page = await self.app.api.list_webhook_endpoints(sort_dir="desc", max_page_size=20)
        wanted = (self.body.url, self.body.name)
        same = [f"{Id(each.id)}" for each in page.data if (each.url, each.name) == wanted]
        return f"A second look finds such endpoints: {', '.join(same) or 'none'}; their secret is not shown again."


class UpdateEndpoint(ObjectAction):
    """Change a webhook endpoint; None leaves a field unchanged."""

    body: UpdateWebhookEndpoint
    name, reads, facts = "update_webhook_endpoint", "get_webhook_endpoint", endpoint_lines
    done = "The endpoint was changed."

    def ask(self, present: WebhookEndpoint) -> Inspection[ActionView]:
        body = self.body
        lines = [f"Change webhook endpoint {Name(present.name)} ({Id(self.target)})?"]
        if body.url is not None:
            lines.append(f"URL: {Url(present.url)} -> {Url(body.url)}")
        if body.name is not None:
            lines.append(f"Name: {Name(present.name)} -> {Name(body.name)}")
        if body.enabled_events is not None:
            lines.append(f"Events: {event_words(present.enabled_events)} -> {event_words(body.enabled_events)}")
        if body.status is not None:
            lines.append(f"Status: {Code(present.status)} -> {body.status}")
        return Inspection(lines, bound=[present.url, present.name, present.status, present.enabled_events])


class DeleteEndpoint(DeleteObject):
    """Delete a webhook endpoint and end its deliveries."""

    name, reads, facts = "delete_webhook_endpoint", "get_webhook_endpoint", endpoint_lines

    async def inspect(self) -> Inspection[ActionView]:
        present = await self.app.api.get_webhook_endpoint(self.target)
        page = await self.app.api.list_webhook_subscriptions(webhook_endpoint_id=self.target, max_page_size=100)
        more = "or more " if page.next_page_token else ""
        lines = ["Delete this webhook endpoint for good?", *endpoint_lines(present)]
        lines.append(f"Subscriptions that end with it: {len(page.data)} {more}".rstrip())
        return Inspection([*lines, "Its signing secret is lost."], bound=[present.url, present.enabled_events])


class CreateSubscription(ObjectAction):
    """Send one resource's events to an endpoint."""

    body: CreateWebhookSubscription
    name, repeatable = "create_webhook_subscription", False
    present: WebhookSubscription | None = None  # which Extend changes instead of adding another

    async def inspect(self) -> Inspection[ActionView]:
        endpoint, body = await self.app.api.get_webhook_endpoint(self.target), self.body
        await self._find()
        lines = [
            f"Subscribe webhook endpoint {Name(endpoint.name)} to {body.resource_type} {Name(body.resource_id):120}?",
            f"Extend will send to: {Url(endpoint.url)}",
            f"Events: {', '.join(body.enabled_events)}. They hold document data.",
        ]
        if (found := self.present) is not None:
            events = event_words(found.enabled_events)
            lines.append(f"This changes the present subscription {Id(found.id)}, which has the events {events}.")
        return Inspection(lines, bound=[endpoint.url, found and [found.id, found.enabled_events]])

    async def send(self) -> ActionView:
        made, old = await self.app.api.create_webhook_subscription(self.body), self.present
        message = f"{'Changed' if old and made.id == old.id else 'Created'} webhook subscription {Id(made.id)}."
        return self.answer("done", message, id=made.id, sent=True, details=subscription_lines(made))

    async def look(self) -> str:
        await self._find()
        if self.present is None:
            return "A second look finds no such subscription."
        return f"A second look finds {Id(self.present.id)} with the events {event_words(self.present.enabled_events)}."

    async def _find(self) -> None:
        page = await self.app.api.list_webhook_subscriptions(
            webhook_endpoint_id=self.target, resource_id=self.body.resource_id, max_page_size=20
        )
        self.present = next((each for each in page.data if each.resource_type == self.body.resource_type), None)


class UpdateSubscription(ObjectAction):
    """Replace a subscription's events."""

    body: UpdateWebhookSubscription
    name, reads, facts = "update_webhook_subscription", "get_webhook_subscription", subscription_lines
    done = "The subscription was changed."

    def ask(self, present: WebhookSubscription) -> Inspection[ActionView]:
        lines = ["Change this webhook subscription?", *subscription_lines(present)[:2]]
        lines.append(f"Events: {event_words(present.enabled_events)} -> {event_words(self.body.enabled_events)}")
        return Inspection(lines, bound=present.enabled_events)


class DeleteSubscription(DeleteObject):
    """Delete a subscription: its events are no longer sent."""

    name, reads, facts = "delete_webhook_subscription", "get_webhook_subscription", subscription_lines

    def ask(self, present: WebhookSubscription) -> Inspection[ActionView]:
        lines = ["Delete this webhook subscription?", *subscription_lines(present)]
        return Inspection(lines, bound=present.enabled_events)
