"""check_webhooks: endings that no endpoint receives, and runs whose event did not reach this server's receiver."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import anyio

from extend_mcp.api.requests import PAGE_SIZE
from extend_mcp.runs.times import format_instant
from extend_mcp.sandbox.api.fault_injection import Fault
from tests.events.kit import SECRET, event, signed
from tests.harness import Box, BoxClock, example_run, facts_of, serving, text_of
from tests.http.kit import connected, serving_http

SCENARIO = "empty"

ALL = ["completed", "failed", "rejected", "cancelled", "needs_review"]


def subscribe(box: Box, workflow: str, events: list[str], **endpoint: Any) -> None:
    address = {"url": "https://hooks.example.com/x", "name": "x", "apiVersion": "2026-02-09", "enabledEvents": []}
    made = box.api("POST", "/webhook_endpoints", json={**address, **endpoint})["id"]
    body = {"webhookEndpointId": made, "resourceType": "workflow", "resourceId": workflow}
    events = [f"workflow_run.{each}" for each in events]
    box.api("POST", "/webhook_subscriptions", json={**body, "enabledEvents": events})


def ended(run: dict[str, Any], workflow: str, at: datetime) -> dict[str, Any]:
    return {**run, "workflow": {**run["workflow"], "id": workflow}, "endTime": format_instant(at)}


async def test_each_workflow_without_a_subscription_for_an_ending_is_named(box: Box) -> None:
    invoices, loans = box.workflow("Invoice Processing"), box.workflow("Loan Packet Review")
    subscribe(box, invoices, ["completed", "failed", "rejected"])
    subscribe(box, invoices, ["cancelled", "needs_review", "step_run.processed"])
    subscribe(box, loans, ["completed"])
    subscribe(box, loans, ["completed", "failed"], status="disabled")
    async with serving(box, toolsets="all") as client:
        result = await client.call_tool("check_webhooks", {})
        one = facts_of(await client.call_tool("check_webhooks", {"workflow": "Invoice Processing"}))
    facts = facts_of(result)
    rows = {row["workflow"]: row for row in facts["uncovered"]}
    assert (facts["workflows"], "Invoice Processing" in rows) == (4, False)
    assert rows["Loan Packet Review"]["without"] == [f"workflow_run.{each}" for each in ALL[1:]]
    assert rows["Loan Packet Review"]["only_disabled"] == ["workflow_run.failed"]
    assert rows["Insurance Claims Intake"]["without"] == [f"workflow_run.{each}" for each in ALL]
    assert "failed, rejected, cancelled, needs_review (a disabled endpoint subscribes to failed)" in text_of(result)
    assert "this server receives no webhooks" in text_of(result)
    assert (one["workflows"], one["uncovered"]) == (1, [])


async def test_runs_that_ended_without_an_event_here_are_listed(box: Box) -> None:
    workflow = box.workflow()
    subscribe(box, workflow, ["completed", "failed"])
    async with serving_http(
        box.base_url, http={"webhook_secrets": SECRET}, clock=BoxClock(box), toolsets=["runs", "webhooks"]
    ) as running:
        box.advance(3600)
        ids = {}
        for number, (status, minutes) in enumerate(
            [("PROCESSED", 10), ("PROCESSED", 20), ("FAILED", 30), ("CANCELLED", 15), ("FAILED", 1), ("PROCESSED", 90)]
        ):
            run = example_run(f"workflow_run_ended{number:016}", status)
            ids[number] = box.load(ended(run, workflow, box.now() - timedelta(minutes=minutes)))
        for number, kind in ((0, "completed"), (2, "completed")):
            body = event(f"evt_{number}", f"workflow_run.{kind}", id=ids[number])
            await running.post(body, signed(body, time.time()), "/webhooks/extend")
        await anyio.wait_all_tasks_blocked()
        async with connected(running) as client:
            result = await client.call_tool("check_webhooks", {})
            recent = facts_of(await client.call_tool("check_webhooks", {"since": "15m"}))
    facts = facts_of(result)
    # Nobody subscribes to the cancelled one's event, one is too recent, and one ended before the receiver began.
    assert (facts["ended"], facts["missed"]) == (3, 2)
    assert [run["run_id"] for run in facts["missed_runs"]] == [ids[1], ids[2]]
    assert "Missed here: the events of 2 of 3 runs" in text_of(result)
    assert (recent["ended"], recent["missed"]) == (1, 0)


async def test_a_receiver_that_no_event_reaches_is_said_to_be_another(box: Box) -> None:
    workflow = box.workflow()
    subscribe(box, workflow, ALL)
    async with serving_http(
        box.base_url, http={"webhook_secrets": SECRET}, clock=BoxClock(box), toolsets=["webhooks"]
    ) as running:
        box.advance(3600)
        run = example_run("workflow_run_endedUnseen00000001", "PROCESSED")
        box.load(ended(run, workflow, box.now() - timedelta(minutes=30)))
        async with connected(running) as client:
            text = text_of(await client.call_tool("check_webhooks", {"workflow": workflow}))
    assert "the subscribed endpoint may be another receiver" in text


async def test_runs_that_were_read_before_extend_fails_are_kept_and_the_rest_said_to_be_missing(box: Box) -> None:
    workflow = box.workflow()
    subscribe(box, workflow, ALL)
    async with serving_http(
        box.base_url, http={"webhook_secrets": SECRET}, clock=BoxClock(box), toolsets=["webhooks"]
    ) as running:
        box.advance(3600)
        for number in range(PAGE_SIZE + 1):
            run = example_run(f"workflow_run_ended{number:016}", "PROCESSED")
            box.load(ended(run, workflow, box.now() - timedelta(minutes=30)))
        # The first page of runs is read, and no other.
        take, lists = box.sandbox.faults.take, []

        def fail_the_second_list(method: str, path: str) -> Fault | None:
            lists.extend([path] if path == "/workflow_runs" else [])
            if len(lists) == 2:
                box.fault(method="GET", path="/workflow_runs", status=400, times=9)
            return take(method, path)

        setattr(box.sandbox.faults, "take", fail_the_second_list)  # noqa: B010
        async with connected(running) as client:
            facts = facts_of(await client.call_tool("check_webhooks", {}))
    assert (facts["ended"], facts["complete"]) == (PAGE_SIZE, False)
    assert any(f"reading stopped after {PAGE_SIZE} runs" in each for each in facts["missing"])
