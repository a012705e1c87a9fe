"""summarize_runs: the same figures as an independent count, within its bounds, and honest about what is missing."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from extend_mcp.sandbox.engine import wire
from tests.harness import ERAS, Box, Mode, facts_of, serving, text_of


def when(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["createdAt"].replace("Z", "+00:00"))


@pytest.mark.parametrize("mode", [ERAS[0], *(pytest.param(era, marks=pytest.mark.thorough) for era in ERAS[1:])])
async def test_ten_thousand_runs_are_counted_at_the_documented_rate(large: Box, mode: Mode) -> None:
    told: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with serving(large, mode=mode, requests_per_second=10, history="off") as client:
        result = await client.call_tool("summarize_runs", {}, progress_callback=on_progress)
    facts, state = facts_of(result), large.state()
    runs = state["runs"]
    assert facts["runs"] == len(runs) == 10_000
    assert facts["complete"] is True
    assert facts["statuses"] == Counter(run["status"] for run in runs)
    by_workflow = Counter(run["workflowId"] for run in runs)
    assert {group["id"]: group["runs"] for group in facts["groups"]} == by_workflow
    failed = Counter(run["workflowId"] for run in runs if run["status"] == "FAILED")
    assert {group["id"]: group["failed"] for group in facts["groups"]} == failed
    waiting = min((run for run in runs if run["status"] == "NEEDS_REVIEW"), key=when)
    assert [each["run_id"] for each in facts["oldest_waiting"]] == [waiting["id"]]
    # Credits and times are counted from the runs themselves: the state does not tell them.
    whole = [large.sandbox.record(run["id"]).brief for run in runs]
    assert facts["credits"] == sum((run["usage"] or {}).get("credits", 0) for run in whole)
    took = sorted(
        (wire.read_timestamp(run["endTime"]) - wire.read_timestamp(run["startTime"])).total_seconds()  # type: ignore[operator]
        for run in whole
        if run.get("endTime")
    )
    assert facts["duration_p50"] == round(took[(len(took) + 1) // 2 - 1], 1)
    # Progress came as pages were read, and no second saw more than ten requests.
    assert len(told) >= 90
    assert [progress for progress, _ in told] == sorted(progress for progress, _ in told)
    assert told[-1][1] == "10,000 runs read"
    moments = [datetime.fromisoformat(each["at"].replace("Z", "+00:00")) for each in large.requests()]
    assert len(moments) == 100
    for index, moment in enumerate(moments):
        assert sum(1 for other in moments[index:] if other - moment < timedelta(seconds=0.99)) <= 10
    assert len(text_of(result)) < 3000


async def test_a_window_is_compared_with_the_one_before(large: Box) -> None:
    now = large.now()
    async with serving(large) as client:
        facts = facts_of(await client.call_tool("summarize_runs", {"created_since": "3d", "group_by": "status"}))
    runs = large.state()["runs"]
    inside = [run for run in runs if now - when(run) <= timedelta(days=3)]
    before = [run for run in runs if timedelta(days=3) < now - when(run) <= timedelta(days=6)]
    assert facts["runs"] == len(inside)
    assert {group["group"]: group["runs"] for group in facts["groups"]} == Counter(run["status"] for run in inside)
    assert facts["before"]["runs"] == len(before)
    assert facts["before"]["failed"] == sum(run["status"] == "FAILED" for run in before)
    assert facts["before"]["complete"] is True
    # Six days are read, and no more.
    assert len(large.requests()) <= 6 * 10_000 / 30 / 100 + 2


@pytest.mark.parametrize("group_by", ["failure_reason", "failing_step"])
async def test_only_failed_runs_are_looked_into(large: Box, group_by: str) -> None:
    async with serving(large, detail_runs=1000) as client:
        facts = facts_of(await client.call_tool("summarize_runs", {"group_by": group_by, "created_since": "10d"}))
    assert facts["complete"] is True
    failed = [run for run in large.state()["runs"] if run["status"] == "FAILED"]
    recent = [run for run in failed if large.now() - when(run) <= timedelta(days=10)]
    assert sum(group["runs"] for group in facts["groups"]) == len(recent)
    reads = [each["path"] for each in large.requests() if each["path"] != "/workflow_runs"]
    assert sorted(reads) == sorted(f"/workflow_runs/{run['id']}" for run in recent)
    if group_by == "failure_reason":
        known = Counter(
            large.sandbox.record(run["id"]).run["stepRuns"][0]["result"]["parseRun"]["failureReason"] for run in recent
        )
        assert {group["group"]: group["runs"] for group in facts["groups"]} == known


async def test_a_metadata_key_groups_all_runs(large: Box) -> None:
    arguments = {"group_by": "metadata", "metadata_key": "customer", "created_since": "1d"}
    async with serving(large, detail_runs=1000) as client:
        facts = facts_of(await client.call_tool("summarize_runs", arguments))
    recent = [run for run in large.state()["runs"] if large.now() - when(run) <= timedelta(days=1)]
    known = Counter(large.sandbox.record(run["id"]).run["metadata"]["customer"] for run in recent)
    assert {group["group"]: group["runs"] for group in facts["groups"]} == known
    assert facts["grouped_by"] == "customer"


async def test_what_a_bound_leaves_out_is_said(large: Box) -> None:
    async with serving(large, summary_runs=500, detail_runs=5, history="off") as client:
        result = await client.call_tool("summarize_runs", {"group_by": "failure_reason"})
    facts = facts_of(result)
    assert facts["runs"] == 500
    assert facts["complete"] is False
    assert "newest 500 runs" in facts["missing"][0]
    assert "newest 5 of" in facts["missing"][1]
    assert text_of(result).count("INCOMPLETE: ") == 2
    assert sum(group["runs"] for group in facts["groups"]) == 5


async def test_a_deadline_ends_the_reading_and_not_the_answer(large: Box) -> None:
    async with serving(large, requests_per_second=1, history="off") as client:
        facts = facts_of(await client.call_tool("summarize_runs", {}))
    assert facts["complete"] is False
    assert "time was up" in facts["missing"][0]
    assert 40 <= len(large.requests()) <= 47
    assert facts["runs"] == 100 * len(large.requests())


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True}, {"truncate": 10}])
async def test_a_page_that_cannot_be_read_makes_it_incomplete(large: Box, fault: dict[str, Any]) -> None:
    async with serving(large, history="off") as client:
        first = facts_of(await client.call_tool("list_runs", {"page_size": 100}))
        assert first
        reads = 0

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            nonlocal reads
            reads += 1
            if reads == 3:
                large.fault(method="GET", path="/workflow_runs", times=50, **fault)

        facts = facts_of(await client.call_tool("summarize_runs", {}, progress_callback=on_progress))
    assert facts["complete"] is False
    assert "reading stopped after" in facts["missing"][0]
    assert 300 <= facts["runs"] <= 600


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_surfaces(box: Box, status: int) -> None:
    box.fault(method="GET", path="/workflow_runs", times=50, status=status)
    async with serving(box) as client:
        result = await client.call_tool("summarize_runs", {})
    assert result.is_error


async def test_a_run_that_vanishes_meanwhile_is_counted_as_not_read(box: Box) -> None:
    failed = next(run["id"] for run in box.state()["runs"] if run["status"] == "FAILED")
    box.fault(method="GET", path=f"/workflow_runs/{failed}", status=404)
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("summarize_runs", {"group_by": "failing_step"}))
    assert facts["complete"] is False
    total = facts["statuses"]["FAILED"]
    assert sum(group["runs"] for group in facts["groups"]) == total - 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"group_by": "metadata"},
        {"metadata_key": "x"},
        {"group_by": "colour"},
        {"created_since": "soon"},
        {"created_since": "1d", "created_before": "2d"},
    ],
)
async def test_what_makes_no_sense_is_refused_before_reading(box: Box, arguments: dict[str, Any]) -> None:
    async with serving(box) as client:
        result = await client.call_tool("summarize_runs", arguments)
    assert result.is_error
    assert box.requests() == []


async def test_an_empty_account_is_no_error(box: Box) -> None:
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("summarize_runs", {"file_name_contains": "no such file"}))
    assert (facts["runs"], facts["groups"]) == (0, [])
