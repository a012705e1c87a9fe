"""Show webhook endpoints and subscriptions, in lists and one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import Field

from extend_mcp.api.models import WebhookEndpoint, WebhookSubscription
from extend_mcp.views.document import Document, Extent, OrNone, View, ViewPart, cell, counted, listed
from extend_mcp.views.tables import ListingRow, ListingView
from extend_mcp.views.untrusted import Code, Id, Label, Name, Url


class EndpointRow(ListingRow):
    """One endpoint of a list."""

    endpoint_id: Id = Field(validation_alias="id")
    name: Label
    url: Url
    status: Code
    events: list[Code] = Field(validation_alias="enabled_events")
    created_at: datetime | None = None


class EndpointListView(ListingView):
    """Some endpoints."""

    rows_field, noun, tool = "endpoints", "webhook endpoint", "list_webhook_endpoints"
    columns = "id · name · url · status · global events · created"
    footnote = "Events of workflow runs come through subscriptions: list_webhook_subscriptions."

    endpoints: list[EndpointRow]
    untrusted: str = "name, url"


class SubscriptionRow(ListingRow):
    """One subscription of a list."""

    subscription_id: Id = Field(validation_alias="id")
    endpoint_id: Id = Field(validation_alias="webhook_endpoint_id")
    resource_type: Code
    resource_id: Id
    events: list[Code] = Field(validation_alias="enabled_events")
    created_at: datetime | None = None


class SubscriptionListView(ListingView):
    """Some subscriptions."""

    rows_field, noun, tool = "subscriptions", "webhook subscription", "list_webhook_subscriptions"
    columns = "id · endpoint · type · resource · events · created"

    subscriptions: list[SubscriptionRow]


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


class CoverageRow(ViewPart):
    """A workflow, its endings that no enabled endpoint receives, and those of them that a disabled one receives."""

    workflow_id: Id
    workflow: OrNone[Label] = None
    without: list[Code]
    only_disabled: OrNone[list[Code]] = None

    def line(self) -> str:
        """Write the workflow and its endings in one line."""
        called = f"{self.workflow:60} ({self.workflow_id})" if self.workflow else f"{self.workflow_id}"
        line = f"{called} · {event_words(self.without)}"
        if self.only_disabled:
            line += f" (a disabled endpoint subscribes to {event_words(self.only_disabled)})"
        return line.replace("workflow_run.", "")


class MissedRun(ViewPart):
    """A run that ended without an event here."""

    run_id: Id
    status: Code
    ended_at: datetime | None = None


class WebhookCheckView(View):
    """Workflows and runs whose ends no enabled endpoint received."""

    workflows: int
    uncovered: list[CoverageRow]
    received_since: datetime | None = None
    ended: int | None = None
    missed: int | None = None
    missed_runs: list[MissedRun] | None = None
    complete: bool
    missing: OrNone[list[str]] = None
    untrusted: str = "workflow"


def webhook_check_view(
    rows: Sequence[CoverageRow],
    extent: Extent,
    *,
    since: datetime | None = None,
    ended: int = 0,
    missed: Sequence[MissedRun] = (),
) -> WebhookCheckView:
    """Show the workflows and runs whose ends were not received.

    This server receives webhooks since a moment, or none. So many runs ended with a subscribed event since then, and
    the events of the ``missed`` ones, the last to end first, did not arrive here.
    """
    view = WebhookCheckView(
        workflows=len(rows),
        uncovered=[each for each in rows if each.without],
        complete=not extent.missing,
        missing=extent.missing,
    )
    checked = f"{counted(len(rows), 'workflow')} checked"
    head = [f"{checked}; {len(view.uncovered):,} without a subscription for every ending.", *extent.incomplete]
    tail = ["Extend sends these events only for runs that were started through the API."]
    if view.uncovered:
        tail.append("Next: create_webhook_subscription or update_webhook_subscription adds an ending.")
    if since is None:
        head.append("Whether events arrived is not known here: this server receives no webhooks, or may not read runs.")
    else:
        view.received_since, view.ended, view.missed = since, ended, len(missed)
        view.missed_runs = list(missed[:_MOST_MISSED])
        head += _missed_lines(cell(since), ended, missed)
    document = Document(head, [row.line() for row in view.uncovered], tail, columns="workflow · no subscription for")
    text, shown = document.fit(extent.limit, "… {:,} more workflows".format)
    del view.uncovered[shown:]
    return view.with_text(text)


_MOST_MISSED, _SHOWN_MISSED = 40, 10


def _missed_lines(since: str, ended: int, missed: Sequence[MissedRun]) -> list[str]:
    if not ended:
        return [f"No run ended with a subscribed event since {since}, when this server began to receive or later."]
    if not missed:
        return [f"All events arrived: {counted(ended, 'run')} ended since {since}."]
    ids = listed([each.run_id for each in missed], _SHOWN_MISSED)
    count = f"{len(missed):,} of {counted(ended, 'run')}"
    lines = [f"Missed here: the events of {count} that ended since {since}, the last first: {ids}"]
    if len(missed) == ended:
        lines.append("None arrived: the subscribed endpoint may be another receiver than this server.")
    return lines
