"""Ask a person above a number of files, and keep a caller within the credits of a day."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from tests.harness import ERAS, Box, Mode, Person, facts_of, serving, text_of

WORKFLOW = "Invoice Processing"


def batch(count: int) -> dict[str, Any]:
    """The arguments of a batch of so many files, one of them from a host."""
    inputs = [{"file": "https://files.example/a.pdf"}, *({"text": f"total: {number}"} for number in range(count - 1))]
    return {"workflow": WORKFLOW, "inputs": inputs}


def starts(box: Box) -> int:
    """The number of requests that start something."""
    return len(box.requests("POST"))


def usual(box: Box) -> float:
    """The median credits a file of the workflow's processed runs, by the sandbox's own state."""
    runs = [box.sandbox.record(run["id"]).run for run in box.state()["runs"] if run["status"] == "PROCESSED"]
    return statistics.median_low(run["usage"]["credits"] for run in runs if run["workflow"]["name"] == WORKFLOW)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_person_agrees_to_a_large_batch(box: Box, mode: Mode) -> None:
    person = Person()
    async with serving(box, mode=mode, person=person) as client:
        assert facts_of(await client.call_tool("run_workflow_batch", batch(20)))["outcome"] == "started"
        assert person.asked == []
        assert facts_of(await client.call_tool("run_workflow_batch", batch(21)))["outcome"] == "started"
        await client.call_tool("run_workflow", {"workflow": WORKFLOW, "text": "total: 1"})
    [question] = person.asked
    cost = usual(box)
    assert "Start 21 workflow runs, one for each file?" in question
    assert f"«Invoice Processing» ({box.workflow()})" in question
    assert "1 from «https://files.example», 20 given as text" in question
    assert (
        f"usually {cost:g} credits a file (median of the newest 11 processed runs), so about {21 * cost:g}" in question
    )
    assert starts(box) == 3


async def test_a_no_and_other_files_start_nothing(box: Box) -> None:
    async with serving(box, person=Person("decline")) as client:
        assert facts_of(await client.call_tool("run_workflow_batch", batch(30)))["outcome"] == "declined"
    assert starts(box) == 0
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("run_workflow_batch", batch(30)))
        token = {"confirmation_token": plan["confirmation_token"]}
        assert plan["outcome"] == "confirmation_required"
        other = facts_of(await client.call_tool("run_workflow_batch", {**batch(31), **token}))
        assert other["outcome"] in ("changed", "confirmation_required")
        assert starts(box) == 0
        assert facts_of(await client.call_tool("run_workflow_batch", {**batch(30), **token}))["outcome"] == "started"
        again = facts_of(await client.call_tool("run_workflow_batch", {**batch(30), **token}))
    assert again["outcome"] == "refused"
    assert starts(box) == 1


async def test_a_day_s_credits_are_not_passed(box: Box) -> None:
    one = {"workflow": WORKFLOW, "text": "total: 1"}
    async with serving(box, credits_per_day=2.5 * usual(box)) as client:
        box.fault(method="POST", path="/workflow_runs", status=400)
        assert (await client.call_tool("run_workflow", one)).is_error
        for _ in range(2):
            assert facts_of(await client.call_tool("run_workflow", one))["outcome"] == "started"
        sent = starts(box)
        lists = [each["query"] for each in box.requests("GET") if each["query"].get("status") == "PROCESSED"]
        assert {each["workflowId"] for each in lists} == {box.workflow()}
        refused = await client.call_tool("run_workflow", one)
        assert refused.is_error
        assert "EXTEND_MCP_CREDITS_PER_DAY" in text_of(refused)
        assert f"With {2 * usual(box):g} started today" in text_of(refused)
        assert (await client.call_tool("run_workflow_batch", batch(2))).is_error
        assert starts(box) == sent
        box.advance(86_400)
        assert facts_of(await client.call_tool("run_workflow", one))["outcome"] == "started"


async def test_a_rerun_stops_at_the_day_s_credits(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend_mcp.actions.bulk.AT_ONCE", 1)
    runs = {run["file"]: run["id"] for run in box.state()["runs"]}
    ids = [runs[f"acme-tooling-{number}.pdf"] for number in (5562, 5563)]
    for run_id in ids:
        file = box.api("POST", "/files/upload", files={"file": ("a.txt", b"total: 1")})["id"]
        box.sandbox.record(run_id).run["files"][0]["id"] = file
    async with serving(box, confirmation="trusted", credits_per_day=1.5 * usual(box)) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids}))
    assert facts["counts"] == {"started": 1, "refused": 1}
    # Read once for the plan, and once for all starts.
    lists = [each["query"] for each in box.requests("GET") if each["query"].get("status") == "PROCESSED"]
    assert [each["workflowId"] for each in lists] == [box.workflow()] * 2
    refused = next(each for each in facts["results"] if each["outcome"] == "refused")
    assert "EXTEND_MCP_CREDITS_PER_DAY" in refused["note"]
