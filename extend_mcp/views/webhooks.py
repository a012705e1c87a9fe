"""Show webhook endpoints and subscriptions, in lists and one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field

from extend_mcp.api.models import WebhookEndpoint, WebhookSubscription, WorkflowRunSummary
from extend_mcp.views.document import Document, View, ViewPart, cell, counted, incomplete, listed
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


@dataclass(frozen=True)
class Received:
    """The runs that ended with an event that somebody subscribes to, compared with the events received here."""

    since: datetime
    ended: int  # how many runs ended
    missed: Sequence[WorkflowRunSummary]  # those whose event did not arrive, the last to end first
    missing: str | None  # why not all were read; None if all were


class CoverageRow(ViewPart):
    """A workflow, its endings that no enabled endpoint receives, and those of them that a disabled one receives."""

    workflow_id: Id
    workflow: Label | None = None
    without: list[Code]
    only_disabled: list[Code] | None = None


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
    missing: list[str] | None = None
    untrusted: str = "workflow"


def webhook_check_view(
    coverage: Sequence[CoverageRow], received: Received | None, *, missing: Sequence[str], limit: int
) -> WebhookCheckView:
    """Show which ends of runs no enabled endpoint receives, and what arrived here if this server receives webhooks."""
    uncovered = [each for each in coverage if each.without]
    view = WebhookCheckView(
        workflows=len(coverage),
        uncovered=uncovered,
        complete=not missing,
        missing=list(missing) or None,
    )
    head = [
        f"{counted(len(coverage), 'workflow')} checked; {len(uncovered):,} without a subscription for every ending.",
        *incomplete(missing),
    ]
    if received is None:
        head.append("Whether events arrived is not known here: this server receives no webhooks, or may not read runs.")
    else:
        view.received_since, view.ended, view.missed = received.since, received.ended, len(received.missed)
        view.missed_runs = [
            MissedRun(run_id=run.id, status=run.status, ended_at=run.end_time or run.updated_at)
            for run in received.missed[:_MOST_MISSED]
        ]
        head += _missed_lines(view, received)
    tail = [
        "Extend sends these events only for runs that were started through the API.",
        *(["Next: create_webhook_subscription or update_webhook_subscription adds an ending."] if uncovered else []),
    ]
    rows = [_coverage_line(row) for row in view.uncovered]
    document = Document(head, rows, tail, columns="workflow · no subscription for")
    text, shown = document.fit(limit, lambda gone: f"… {gone:,} more workflows")
    del view.uncovered[shown:]
    return view.with_text(text)


_MOST_MISSED = 40
_SHOWN_MISSED = 10


def _missed_lines(view: WebhookCheckView, received: Received) -> list[str]:
    since = f"since {cell(received.since)}"
    if not received.ended:
        return [f"No run ended with a subscribed event {since}, when this server began to receive or later."]
    if not received.missed:
        return [f"All events arrived: {counted(received.ended, 'run')} ended {since}."]
    ids = listed([each.run_id for each in view.missed_runs or []], _SHOWN_MISSED, of=len(received.missed))
    count = f"{len(received.missed):,} of {counted(received.ended, 'run')}"
    lines = [f"Missed here: the events of {count} that ended {since}, the last first: {ids}"]
    if len(received.missed) == received.ended:
        lines.append("None arrived: the subscribed endpoint may be another receiver than this server.")
    return lines


def _coverage_line(row: CoverageRow) -> str:
    called = f"{row.workflow:60} ({row.workflow_id})" if row.workflow else f"{row.workflow_id}"
    events = ", ".join(f"{each}".removeprefix("workflow_run.") for each in row.without)
    disabled = ", ".join(f"{each}".removeprefix("workflow_run.") for each in row.only_disabled or ())
    return f"{called} · {events}{f' (a disabled endpoint subscribes to {disabled})' if disabled else ''}"
