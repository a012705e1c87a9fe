"""The tool that finds webhooks that nobody receives: endings without a subscription, and runs without an event."""

from __future__ import annotations

from collections import defaultdict
from contextlib import aclosing
from datetime import datetime, timedelta, timezone

from extend_mcp.api.models import WebhookSubscription, WorkflowRunSummary
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.events.event import END_EVENTS, RUN_EVENTS, end_mark
from extend_mcp.scopes import RUNS_READ, WORKFLOWS_READ
from extend_mcp.tools.args import Moment, WorkflowRef
from extend_mcp.tools.name_resolution import resolve_workflow
from extend_mcp.tools.pagination import read_all
from extend_mcp.tools.run_filter import parse_argument
from extend_mcp.tools.run_scan import Deadline
from extend_mcp.tools.toolsets import READ_ONLY, WEBHOOKS
from extend_mcp.views.webhooks import Coverage, Received, WebhookCheckView, webhook_check_view

_UNDERWAY = timedelta(minutes=2)
"""Longest an event may take to arrive: Extend repeats a delivery that failed."""


@WEBHOOKS.tool(title="Check webhooks", annotations=READ_ONLY)
async def check_webhooks(ctx: Ctx, workflow: WorkflowRef | None = None, since: Moment = "24h") -> WebhookCheckView:
    """Find which workflows have no enabled subscription for which ending of a run. Where this server receives webhooks,
    also find the runs that ended since then without an event. Use it when a system missed results.
    """
    app = caller_context(ctx)
    now, most = app.clock.now(), app.limits.filter_pages
    begin = parse_argument(app, "since", since) or now
    chosen = await resolve_workflow(app, workflow) if workflow else None
    missing = []
    subscriptions, complete = await read_all(
        app.api.list_webhook_subscriptions(resource_id=chosen) if chosen else app.api.list_webhook_subscriptions(),
        most_pages=most,
    )
    endpoints, all_endpoints = await read_all(app.api.list_webhook_endpoints(), most_pages=most)
    if not (complete and all_endpoints):
        missing.append("not all subscriptions and endpoints were read")
    enabled = {each.id for each in endpoints if each.status == "enabled"}
    names = dict.fromkeys([chosen] if chosen else [each.resource_id for each in subscriptions if _is_of_runs(each)], "")
    if app.caller.has_scope(RUNS_READ, WORKFLOWS_READ):
        workflows, complete = await read_all(app.api.list_workflows(), most_pages=most)
        names |= {each.id: each.name for each in workflows if chosen in (None, each.id)}
        missing += [] if complete else ["not all workflows were read"]
    else:
        missing.append("workflows without any subscription are not listed: this caller may not read workflows")
    covered: defaultdict[str, set[str]] = defaultdict(set)
    disabled: defaultdict[str, set[str]] = defaultdict(set)
    for each in (subscription for subscription in subscriptions if _is_of_runs(subscription)):
        (covered if each.webhook_endpoint_id in enabled else disabled)[each.resource_id].update(each.enabled_events)
    coverage = [
        Coverage(
            workflow_id=workflow_id,
            name=name,
            without=[event for event in RUN_EVENTS if event not in covered[workflow_id]],
            only_disabled=[event for event in RUN_EVENTS if event in disabled[workflow_id] - covered[workflow_id]],
        )
        for workflow_id, name in names.items()
    ]
    received = None
    if app.events is not None and app.caller.has_scope(RUNS_READ):
        began = datetime.fromtimestamp(await app.events.since(), timezone.utc)
        window = (max(begin, began), now - _UNDERWAY)
        received = await _received(app, Deadline(ctx, app), window, chosen, covered)
        missing += [received.missing] if received.missing else []
    return webhook_check_view(coverage, received, missing=missing, limit=app.limits.answer_chars)


def _is_of_runs(subscription: WebhookSubscription) -> bool:
    return subscription.resource_type == "workflow"


async def _received(
    app: CallerContext,
    deadline: Deadline,
    window: tuple[datetime, datetime],
    workflow_id: str | None,
    covered: dict[str, set[str]],
) -> Received:
    """Compare the runs that ended in a window with the events that the receiver took."""
    assert app.events is not None
    begin, end = window
    ended: dict[str, WorkflowRunSummary] = {}
    missing = None
    pager = app.api.list_workflow_runs(workflow_id=workflow_id, sort_by="updatedAt", sort_dir="desc")
    async with aclosing(pager.pages()) as pages:
        for _ in range(app.limits.summary_runs):
            page = await anext(pages, None)
            if page is None:
                break
            for run in page.data:
                event = END_EVENTS.get(run.status)
                moment = run.end_time or run.updated_at
                if event in covered[run.workflow.id] and moment and begin <= moment <= end:
                    ended[end_mark(event, run.id)] = run
            if page.data and (oldest := page.data[-1].updated_at) and oldest < begin:
                break
            if deadline.left <= 0:
                missing = "time was up before all runs that ended were read"
                break
            await deadline.report(f"{len(ended):,} runs that ended read")
    known = await app.events.known(list(ended))
    missed = [run for mark, run in ended.items() if mark not in known]
    return Received(begin, len(ended), missed, missing)
