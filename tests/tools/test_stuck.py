"""list_runs(stuck=true): which runs hang, in which step, and whose fault it probably is."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from extend_mcp.runs.times import format_instant
from tests.harness import ERAS, Box, Mode, example, facts_of, serving, text_of

SCENARIO = "empty"


def load(box: Box, number: int, *, workflow: str, status: str, minutes_ago: float) -> str:
    """Load a run that last changed so many minutes ago; a processed one took a minute."""
    run = copy.deepcopy(example("workflow_run.allsteps"))
    run_id = f"workflow_run_{status}{workflow}{number:0>10}".ljust(34, "0")
    created = format_instant(box.now() - timedelta(minutes=minutes_ago + 1))
    run |= {"id": run_id, "status": status, "initialRunAt": created, "startTime": created, "metadata": {}}
    run |= {"endTime": format_instant(box.now() - timedelta(minutes=minutes_ago)), "reviewedByUser": None}
    run["workflow"] |= {"id": f"workflow_{workflow}", "name": workflow}
    if status in ("PROCESSING", "CANCELLING"):
        run["endTime"] = None
        run["stepRuns"][-1] |= {"status": "PROCESSING", "result": None}
    if status == "PENDING":
        run |= {"startTime": None, "endTime": None, "stepRuns": []}
    box.load(run)
    record = box.sandbox.record(run_id)
    record.updated_at = box.now() - timedelta(minutes=minutes_ago)
    record.created_at = box.now() - timedelta(minutes=minutes_ago + 1)
    return run_id


def steady(box: Box, *workflows: str) -> None:
    for workflow in workflows:
        for number in range(6):
            load(box, number, workflow=workflow, status="PROCESSED", minutes_ago=30 + number)


async def ask(box: Box, **arguments: Any) -> tuple[dict[str, Any], str]:
    async with serving(box, history=arguments.pop("history", "memory"), mode=arguments.pop("mode", "auto")) as client:
        result = await client.call_tool("list_runs", {"stuck": True, **arguments})
    return facts_of(result), text_of(result)


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("history", ["memory", "off"])
async def test_one_workflow_that_stalls_is_probably_ours(box: Box, history: str, mode: Mode) -> None:
    steady(box, "A", "B")
    hanging = [load(box, number, workflow="A", status="PROCESSING", minutes_ago=20 + number) for number in range(3)]
    load(box, 3, workflow="A", status="PROCESSING", minutes_ago=0.5)
    load(box, 0, workflow="B", status="PROCESSING", minutes_ago=0.5)
    cancelling = load(box, 0, workflow="B", status="CANCELLING", minutes_ago=6)
    facts, text = await ask(box, history=history, mode=mode)
    assert [run["run_id"] for run in facts["runs"]] == [*reversed(hanging), cancelling]
    step = example("workflow_run.allsteps")["stepRuns"][-1]["step"]["name"]
    assert "Probably ours" in facts["note"]
    assert f"«A» 3 of 4 stuck, last good end {format_instant(box.now() - timedelta(minutes=30))}" in text
    assert f"3 of 3 hang in step «{step}»; 1 other workflow with running runs not." in text
    assert f"«A»: 3 PROCESSING in «{step}», not changed for 20m to 22m; 95% of such runs are done within 1m" in text
    assert "a cancel takes less than 5m" in text


async def test_several_workflows_that_stall_at_once_are_probably_extend_s_side(box: Box) -> None:
    steady(box, "A", "B", "C")
    for workflow in "AB":
        load(box, 0, workflow=workflow, status="PROCESSING", minutes_ago=20)
    load(box, 0, workflow="C", status="PROCESSING", minutes_ago=0.1)
    _, text = await ask(box)
    assert "Probably Extend's side: 2 of 3 workflows with running runs stall at once: «B» 1 of 1 stuck" in text


async def test_a_queue_is_called_one(box: Box) -> None:
    steady(box, "A")
    waiting = [load(box, number, workflow="A", status="PENDING", minutes_ago=3) for number in range(2)]
    load(box, 0, workflow="A", status="PROCESSING", minutes_ago=0.5)
    facts, text = await ask(box, status="pending")
    assert {run["run_id"] for run in facts["runs"]} == set(waiting)
    assert "Queue: 2 PENDING runs longer than usual" in text
    facts, text = await ask(box, page_size=1)
    assert len(facts["runs"]) == 1
    assert "… 1 more; a larger page_size shows them" in text


async def test_what_cannot_be_judged_is_said(box: Box) -> None:
    load(box, 0, workflow="A", status="PROCESSING", minutes_ago=500)
    facts, text = await ask(box)
    assert facts["runs"] == []
    assert "1 run could not be judged: too few runs of the workflow have ended." in text
    async with serving(box) as client:
        for wrong in ({"status": "FAILED"}, {"failing_step": "parse"}):
            assert (await client.call_tool("list_runs", {"stuck": True, **wrong})).is_error


@pytest.mark.parametrize("history", ["memory", "off"])
async def test_a_summary_of_kept_runs_counts_those_that_hang_without_a_request(box: Box, history: str) -> None:
    steady(box, "A", "B")
    for number in range(2):
        load(box, number, workflow="A", status="PROCESSING", minutes_ago=20)
    load(box, 0, workflow="B", status="CANCELLING", minutes_ago=20)
    load(box, 1, workflow="B", status="PROCESSING", minutes_ago=0.5)
    async with serving(box, history=history) as client:
        await client.call_tool("summarize_runs", {})
        box.forget()
        result = await client.call_tool("summarize_runs", {})
        nothing = facts_of(await client.call_tool("summarize_runs", {"status": "PROCESSED"}))
    if history == "off":
        assert "stuck" not in facts_of(result)
        return
    assert len(box.requests()) == 2
    assert (facts_of(result)["stuck"], nothing["stuck"]) == (3, 0)
    assert "Stuck: 2 PROCESSING of «A», 1 CANCELLING of «B»; list_runs(stuck=true) says why." in text_of(result)
