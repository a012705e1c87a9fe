"""summarize_runs: the same figures as an independent count, within its bounds, and honest about what is missing."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from extend_mcp.api.models import ChildRun, FileSummary, WorkflowRunSummary
from extend_mcp.runs.failures import failed_children
from extend_mcp.runs.groups import Course
from extend_mcp.runs.statistics import Statistics, Tally, run_facts
from extend_mcp.sandbox.engine import wire
from extend_mcp.views.document import Extent
from extend_mcp.views.summary import summary_view
from tests.harness import ERAS, Box, Mode, example_run, facts_of, serving, text_of


def when(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["createdAt"].replace("Z", "+00:00"))


@pytest.mark.parametrize("mode", [ERAS[0], *(pytest.param(era, marks=pytest.mark.thorough) for era in ERAS[1:])])
async def test_ten_thousand_runs_are_counted_at_the_documented_rate(large: Box, mode: Mode) -> None:
    reports: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, message))

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
    assert len(reports) >= 90
    assert [progress for progress, _ in reports] == sorted(progress for progress, _ in reports)
    assert reports[-1][1] == "10,000 runs read"
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
    rates = [sum(run["status"] == "FAILED" for run in each) / len(each) for each in (inside, before)]
    assert facts["failure_rate"] == round(rates[0], 4)
    assert facts["before"]["change"] == round(rates[0] - rates[1], 4)
    # Six days are read, and no more.
    assert len(large.requests()) <= 6 * 10_000 / 30 / 100 + 2


@pytest.mark.parametrize("group_by", ["failure_reason", "failing_step"])
@pytest.mark.parametrize("are_listed", [True, False])
async def test_only_failed_runs_are_looked_into(large: Box, group_by: str, are_listed: bool) -> None:
    if not are_listed:
        large.fault(path="/parse_runs", status=403, times=9)
    async with serving(large, detail_runs=1000) as client:
        facts = facts_of(await client.call_tool("summarize_runs", {"group_by": group_by, "created_since": "3d"}))
    assert facts["complete"] is True
    failed = [run for run in large.state()["runs"] if run["status"] == "FAILED"]
    recent = [run for run in failed if large.now() - when(run) <= timedelta(days=3)]
    before = [run for run in failed if timedelta(days=3) < large.now() - when(run) <= timedelta(days=6)]
    assert min(len(recent), len(before)) > 20
    assert sum(group["runs"] for group in facts["groups"]) == len(recent)
    assert sum(group["before_runs"] for group in facts["groups"]) == len(before)
    reads = [each["path"] for each in large.requests() if each["path"].startswith("/workflow_runs/")]
    assert sorted(reads) == sorted(f"/workflow_runs/{run['id']}" for run in recent + before if not are_listed)
    if group_by == "failure_reason":
        known = Counter(
            large.sandbox.record(run["id"]).run["stepRuns"][0]["result"]["parseRun"]["failureReason"] for run in recent
        )
        assert {group["group"]: group["runs"] for group in facts["groups"]} == known


def failed_in_parse(number: int, workflow: str, reason: str | None) -> dict[str, Any]:
    """A run that failed in the minute and on the file of a number; its parse run failed too, if it has a reason."""
    began = f"2026-02-10T08:{number:02}:"
    run = example_run(f"workflow_run_alike{number:02}{workflow}", "FAILED")
    child = {"object": "parse_run", "id": f"pr_{number}{workflow}", "status": "FAILED", "failureReason": reason}
    child["file"] = {"object": "file", "id": f"file_{number}"}
    step = {"object": "step", "id": "step_1", "name": "Parse", "type": "PARSE"}
    result = {"parseRun": child} if reason else None
    return {
        **run,
        "initialRunAt": f"{began}00Z",
        "startTime": f"{began}01Z",
        "endTime": f"{began}09Z",
        "workflow": {**run["workflow"], "id": f"workflow_{workflow * 21}", "name": workflow},
        "files": [{"object": "file", "id": f"file_{number}", "name": "a.pdf"}],
        "failureReason": "INTERNAL_ERROR",
        "stepRuns": [{**run["stepRuns"][0], "step": step, "status": "FAILED", "result": result}],
    }


def test_a_child_run_explains_no_run_older_than_the_failed_runs_that_were_listed() -> None:
    noon = datetime(2026, 2, 10, 12, tzinfo=timezone.utc)
    file = FileSummary(id="a")
    known = {"status": "FAILED", "created_at": noon, "start_time": noon, "end_time": noon, "files": [file]}
    run = run_facts(WorkflowRunSummary(id="run", **known))
    child = ChildRun(id="child", failure_reason="OCR_ERROR", file=file, created_at=noon)
    assert failed_children([run], [child]) == failed_children([run], [child], since=noon) == {"run": child}
    assert failed_children([run], [child], since=noon + timedelta(seconds=1)) == {}


@pytest.mark.parametrize("history", ["memory", "off"])
async def test_a_child_run_of_another_workflows_run_explains_nothing(box: Box, history: str) -> None:
    for number in range(14):
        box.load(failed_in_parse(number, "a", "OCR_ERROR"))
    # Both have the file, and both were under way when the parse run failed.
    alone = box.load(failed_in_parse(30, "a", None))
    box.load(failed_in_parse(30, "b", "CORRUPT_FILE"))
    arguments = {"workflow": f"workflow_{'a' * 21}", "created_since": "365d", "group_by": "failure_reason"}
    async with serving(box, history=history) as client:
        facts = facts_of(await client.call_tool("summarize_runs", arguments))
    assert {group["group"]: group["runs"] for group in facts["groups"]} == {"OCR_ERROR": 14, "INTERNAL_ERROR": 1}
    reads = [each["path"] for each in box.requests() if each["path"].startswith("/workflow_runs/")]
    assert reads == [f"/workflow_runs/{alone}"]


async def test_a_metadata_key_groups_all_runs(large: Box) -> None:
    arguments = {"group_by": "metadata", "metadata_key": "customer", "created_since": "6h"}
    async with serving(large, detail_runs=1000) as client:
        facts = facts_of(await client.call_tool("summarize_runs", arguments))
    recent = [run for run in large.state()["runs"] if large.now() - when(run) <= timedelta(hours=6)]
    assert len(recent) > 50
    known = Counter(large.sandbox.record(run["id"]).run["metadata"]["customer"] for run in recent)
    assert {group["group"]: group["runs"] for group in facts["groups"]} == known
    assert facts["grouped_by"] == "customer"


async def test_what_a_bound_leaves_out_is_said(large: Box) -> None:
    large.fault(path="/parse_runs", status=403, times=9)
    async with serving(large, summary_runs=500, detail_runs=5, history="off") as client:
        result = await client.call_tool("summarize_runs", {"group_by": "failing_step"})
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
    assert 45 <= len(large.requests()) <= 52
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


@pytest.mark.parametrize("history", ["memory", "off"])
async def test_a_run_that_vanishes_meanwhile_is_not_counted_or_said_to_be_unread(box: Box, history: str) -> None:
    failed = [run["id"] for run in box.state()["runs"] if run["status"] == "FAILED"]
    box.fault(method="GET", path=f"/workflow_runs/{failed[0]}", status=404)
    async with serving(box, history=history) as client:
        facts = facts_of(await client.call_tool("summarize_runs", {"group_by": "failing_step"}))
    assert sum(group["runs"] for group in facts["groups"]) == len(failed) - 1
    # What was listed before stays counted where nothing is kept.
    assert (facts["statuses"]["FAILED"], facts["complete"]) == (
        len(failed) - (history == "memory"),
        history == "memory",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"group_by": "metadata"},
        {"metadata_key": "x"},
        {"group_by": "colour"},
        {"group_by": "day,hour,status"},
        {"group_by": "day,day"},
        {"created_since": "soon"},
        {"created_since": "1d", "created_before": "2d"},
    ],
)
async def test_what_makes_no_sense_is_refused_before_reading(box: Box, arguments: dict[str, Any]) -> None:
    async with serving(box) as client:
        result = await client.call_tool("summarize_runs", arguments)
    assert result.is_error
    assert box.requests() == []


async def test_an_empty_window_costs_nothing_and_history_that_begins_later_is_not_compared(box: Box) -> None:
    async with serving(box) as client:
        result = await client.call_tool("summarize_runs", {"file_name_contains": "no such file"})
        assert (facts_of(result)["runs"], facts_of(result)["groups"]) == (0, [])
        assert "0 credits." in text_of(result)
        for history in ({}, {"file_name_contains": "."}):
            whole = await client.call_tool("summarize_runs", {"created_since": "30d", **history})
            first = min(when(run) for run in box.state()["runs"])
            assert datetime.fromisoformat(facts_of(whole)["before"]["history_begins"].replace("Z", "+00:00")) == first
            assert "too few to compare: history begins" in text_of(whole)
            assert "change" not in facts_of(whole)["before"]
            assert all("before_runs" not in group for group in facts_of(whole)["groups"])


@pytest.mark.parametrize("history", ["memory", "off"])
async def test_days_are_those_of_the_zone_and_each_has_its_own_before(large: Box, history: str) -> None:
    zone = ZoneInfo("America/New_York")
    arguments = {"group_by": "workflow,day", "created_since": "7d", "time_zone": "America/New_York", "sort": "change"}
    async with serving(large, history=history) as client:
        facts = facts_of(await client.call_tool("summarize_runs", arguments))
    edge, week = large.now() - timedelta(days=7), timedelta(days=7)

    def by_day(runs: list[dict[str, Any]], shift: timedelta) -> Counter[tuple[str, str]]:
        return Counter((run["workflowId"], f"{(when(run) + shift).astimezone(zone):%Y-%m-%d}") for run in runs)

    runs = [run for run in large.state()["runs"] if when(run) >= edge]
    before = [run for run in large.state()["runs"] if edge - week <= when(run) < edge]
    failed = [[run for run in each if run["status"] == "FAILED"] for each in (runs, before)]
    known, then = by_day(runs, timedelta()), by_day(before, week)
    groups = {(group["id"], group["second_group"]): group for group in facts["groups"]}
    assert {key: group["runs"] for key, group in groups.items()} == known
    assert {key: group["before_runs"] for key, group in groups.items()} == {key: then[key] for key in known}
    rates = [by_day(failed[0], timedelta()), by_day(failed[1], week)]
    for key, group in groups.items():
        assert group["failure_rate"] == round(rates[0][key] / known[key], 4)
        if min(known[key], then[key]) >= 5:
            assert group["change"] == round(rates[0][key] / known[key] - rates[1][key] / then[key], 4)
    changes = [group.get("change", -9) for group in facts["groups"]]
    assert changes == sorted(changes, reverse=True)
    assert facts["time_zone"] == "America/New_York"


async def test_of_reasons_the_share_is_one_of_failures(box: Box) -> None:
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("summarize_runs", {"group_by": "failure_reason"}))
    assert facts["failed"] == facts["statuses"]["FAILED"] == sum(group["failed"] for group in facts["groups"])
    for group in facts["groups"]:
        assert group["share_of_failures"] == round(group["failed"] / facts["failed"], 4)
        assert "failure_rate" not in group


async def test_the_largest_bar_is_named_and_ties_are_told() -> None:
    course = Course("day", ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"], [3, 0, 3, 1], [0, 0, 0, 0])
    view = summary_view(
        Statistics(total=Tally(Counter(PROCESSED=7))),
        Extent(datetime.now(timezone.utc), 2000),
        by=["workflow"],
        before=None,
        earlier=None,
        course=course,
        zone="UTC",
        sort=None,
        is_window=False,
    )
    assert "Runs by day (UTC) from 2026-02-01: █·█▃ most 3: 2026-02-01, 2026-02-03" in view.text


@pytest.mark.parametrize("name", ["Berlin", "PST", "../x"])
async def test_an_unknown_time_zone_is_refused_with_an_example(box: Box, name: str) -> None:
    async with serving(box) as client:
        result = await client.call_tool("summarize_runs", {"group_by": "day", "time_zone": name})
    assert result.is_error
    assert f"«{name}» is not a name of the IANA database, such as Europe/Berlin." in text_of(result)
    assert box.requests() == []
