"""Compare figures of many runs with a plain count of the same."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.statistics import Group, RunFacts, Statistics, Tally, course, oldest, quantile, run_facts, tallies

START = datetime(2026, 11, 24, tzinfo=timezone.utc)


def wire_run(number: int, values: dict[str, Any]) -> dict[str, Any]:
    created = START + timedelta(minutes=values["minute"])
    started = created + timedelta(seconds=values["queued"])
    run = {"id": f"workflow_run_{number}", "status": values["status"], "createdAt": created.isoformat()}
    if values["started"]:
        run["startTime"] = started.isoformat()
        if values["ended"]:
            run["endTime"] = (started + timedelta(seconds=values["took"])).isoformat()
    if values["credits"] is not None:
        run["usage"] = {"credits": values["credits"], "totalCredits": values["credits"]}
    return run


RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["PENDING", "NEEDS_REVIEW", "FAILED", "PROCESSED", "TOMORROWS"]),
            "minute": st.integers(0, 10_000),
            "queued": st.integers(0, 500),
            "took": st.integers(0, 5000),
            "started": st.booleans(),
            "ended": st.booleans(),
            "credits": st.none() | st.integers(0, 1000),
            "group": st.sampled_from(["a", "b", "c"]),
        }
    ),
    max_size=40,
)


@given(RUNS)
def test_the_figures_are_those_of_a_plain_count(runs: list[dict[str, Any]]) -> None:
    counted = Statistics()
    listed = [
        run_facts(WorkflowRunSummary.model_validate(wire_run(number, values)))._replace(batch_id=values["group"])
        for number, values in enumerate(runs)
    ]
    for (group, _), tally in tallies(listed, ["batch", "quarter_hour"], {}).items():
        counted.add(tally, [Group(group, group)])
    waiting, quarters = oldest(listed), course(listed)
    assert sum(count for _, count, _ in quarters) == len(runs)
    assert sum(failed for _, _, failed in quarters) == counted.total.failed
    assert counted.total.runs == len(runs)
    assert counted.total.statuses == Counter(values["status"] for values in runs)
    assert counted.total.credits == sum(values["credits"] or 0 for values in runs)
    assert sorted(counted.total.durations) == sorted(v["took"] for v in runs if v["started"] and v["ended"])
    assert sorted(counted.total.queues) == sorted(v["queued"] for v in runs if v["started"])
    for (group,), tally in counted.groups.items():
        assert tally.runs == sum(values["group"] == group.key for values in runs)
    assert sum(tally.runs for tally in counted.groups.values()) == len(runs)
    for status in ("PENDING", "NEEDS_REVIEW"):
        minutes = [values["minute"] for values in runs if values["status"] == status]
        first = waiting.get(status)
        assert (first.created if first else None) == (START + timedelta(minutes=min(minutes)) if minutes else None)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_a_value_that_its_share_does_not_exceed(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert found is not None
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) <= share * len(values)
    assert quantile(values, 0.5) == statistics.median_low(values)


def test_every_fact_of_a_run_is_read() -> None:
    files = [
        {"id": "file\t1\t", "name": "a\n b.pdf", "type": "PDF", "metadata": {"pageCount": 2}},
        {"id": "file_2", "name": "c", "type": "IMG", "metadata": {"pageCount": 3}},
        {"id": "file_3", "metadata": {"pageCount": 0}},
    ]
    at = {
        name: START + timedelta(minutes=minute) for minute, name in enumerate(("created", "start", "end", "reviewed"))
    }
    wire = {
        "id": "workflow_run_1",
        "status": "REJECTED",
        "workflow": {"id": "workflow_1", "name": "Invoices"},
        "workflowVersion": {"version": "7"},
        "batchId": "batch_1",
        "files": files,
        "createdAt": at["created"].isoformat(),
        "startTime": at["start"].isoformat(),
        "endTime": (at["end"] + timedelta(seconds=5)).isoformat(),
        "updatedAt": at["reviewed"].isoformat(),
        "reviewedByUser": "ana@example.com",
        "reviewedAt": at["reviewed"].isoformat(),
        "rejectionNote": "blurred",
        "usage": {"credits": 1, "totalCredits": 10},
    }
    found = run_facts(WorkflowRunSummary.model_validate(wire))
    assert found == RunFacts(
        id="workflow_run_1",
        status="REJECTED",
        workflow_id="workflow_1",
        workflow_name="Invoices",
        version="7",
        file_type="PDF",
        batch_id="batch_1",
        created=at["created"],
        updated=at["reviewed"],
        duration_seconds=65.0,
        queue_seconds=60.0,
        credits=10.0,
        files="file 1\ta b.pdf\nfile_2\tc\nfile_3\t",
        pages=5,
        reviewer="ana@example.com",
        reviewed=at["reviewed"],
        note="blurred",
    )
    assert (found.file_ids, found.file_names) == ({"file 1", "file_2", "file_3"}, ["a b.pdf", "c", ""])
    bare = run_facts(WorkflowRunSummary.model_validate({"id": "workflow_run_2", "files": [{"id": "file_1"}]}))
    assert (bare.pages, bare.reviewer, bare.note, bare.files) == (None, "", "", "file_1\t")
    whole = run_facts(WorkflowRun.model_validate({**wire, "files": []}))
    assert (whole.updated, whole.file_type, whole.files, whole.pages) == (None, "", "", 0)


def test_runs_are_counted_by_each_fact_that_is_asked_for() -> None:
    runs = [
        summary(1, "FAILED", 16, batchId="b1", workflow={"id": "w1"}),
        summary(2, "FAILED", 31, batchId="b1", workflow={"id": "w1"}),
        summary(3, "FAILED", 31, workflow={"id": "w1"}),
    ]
    quarter = int(START.timestamp()) // 900
    expected = {
        "workflow": {"w1": 3},
        "batch": {"b1": 2, None: 1},
        "status": {"FAILED": 3},
        "quarter_hour": {quarter + 1: 1, quarter + 2: 2},
        "metadata": {"blue": 1, None: 2},
        "is_read": {True: 2, False: 1},
    }
    for name, counts in expected.items():
        found = tallies(runs, [name], {"workflow_run_1": "blue", "workflow_run_2": None})
        assert {key: tally.runs for (key,), tally in found.items()} == counts


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile([], 0.5) is None


def summary(number: int, status: str, minute: int, **fields: Any) -> RunFacts:
    created = (START + timedelta(minutes=minute)).isoformat()
    document = {"id": f"workflow_run_{number}", "status": status, "createdAt": created, **fields}
    return run_facts(WorkflowRunSummary.model_validate(document))


def test_total_credits_count_where_they_are_told_and_the_others_where_not() -> None:
    tally = Tally()
    tally.add(summary(1, "PROCESSED", 0, usage={"credits": 1, "totalCredits": 10}))
    tally.add(summary(2, "PROCESSED", 0, usage={"credits": 100}))
    tally.add(summary(3, "PROCESSED", 0, usage={"credits": 1000, "totalCredits": 0}))
    assert tally.credits == 110


def test_each_quarter_of_an_hour_has_its_runs_and_failures() -> None:
    timeless = run_facts(WorkflowRunSummary.model_validate({"id": "workflow_run_3", "status": "FAILED"}))
    runs = [summary(1, "FAILED", 1), summary(2, "PROCESSED", 14), summary(4, "PROCESSED", 15), timeless]
    first = int(START.timestamp()) // 900
    assert course(runs) == [(first, 2, 1), (first + 1, 1, 0)]


def test_the_oldest_that_waits_is_named_and_of_equals_the_first_that_came() -> None:
    runs = [summary(number, "NEEDS_REVIEW", minute) for number, minute in ((1, 9), (2, 4), (3, 4), (4, 7))]
    found = oldest([*runs, summary(5, "PROCESSED", 0)])
    assert {status: each.run_id for status, each in found.items()} == {"NEEDS_REVIEW": "workflow_run_2"}
