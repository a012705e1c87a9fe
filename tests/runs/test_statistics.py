"""Compare figures of many runs with a plain count of the same."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.groups import Calendar, Grouping
from extend_mcp.runs.statistics import RunFacts, Statistics, quantile, run_facts

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
    listed = [
        run_facts(WorkflowRunSummary.model_validate(wire_run(number, values)))._replace(batch_id=values["group"])
        for number, values in enumerate(runs)
    ]
    listed.sort(key=lambda run: run.created or START, reverse=True)
    counted = figures(listed, "batch")
    waiting = counted.oldest
    assert counted.course.total() == len(runs)
    assert sum(count for (_, status), count in counted.course.items() if status == "FAILED") == counted.total.failed
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


def figures(runs: list[RunFacts], *by: str, metadata: dict[str, str | None] | None = None) -> Statistics:
    return Grouping(by, Calendar(timezone.utc)).count_listed(runs, metadata or {})


def test_runs_are_counted_by_each_fact_that_is_asked_for() -> None:
    runs = [
        summary(1, "FAILED", 46, batchId="b1", workflow={"id": "w1"}),
        summary(2, "FAILED", 61, batchId="b1", workflow={"id": "w1"}),
        summary(3, "FAILED", 61, workflow={"id": "w1"}),
    ]
    expected = {
        "workflow": {"w1": 3},
        "batch": {"b1": 2, "no batch": 1},
        "status": {"FAILED": 3},
        "hour": {"2026-11-24T00:00Z": 1, "2026-11-24T01:00Z": 2},
        "day": {"2026-11-24": 3},
        "metadata": {"blue": 1, "(not set)": 1},
    }
    for name, counts in expected.items():
        found = figures(runs, name, metadata={"workflow_run_1": "blue", "workflow_run_2": None})
        assert {group.key: tally.runs for (group,), tally in found.groups.items()} == counts
        assert (found.total.runs, found.unread) == (3, 3 - sum(counts.values()))


def test_runs_of_no_group_or_an_unread_one_count_in_the_total_alone() -> None:
    runs = [summary(number, status, 0) for number, status in enumerate(["FAILED", "FAILED", "FAILED", "PROCESSED"])]
    runs[0] = runs[0]._replace(reason="OCR_ERROR")
    found = figures(runs, "failure_reason", "metadata", metadata={runs[0].id: "blue", runs[1].id: "blue"})
    assert (found.total.runs, found.total.failed, found.unread) == (4, 3, 3)
    assert [([each.name for each in groups], tally.runs) for groups, tally in found.groups.items()] == [
        (["OCR_ERROR", "blue"], 1)
    ]
    read = figures(runs, "failure_reason")
    assert (read.total.runs, read.unread, [tally.runs for tally in read.groups.values()]) == (4, 2, [1])


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile([], 0.5) is None


def summary(number: int, status: str, minute: int, **fields: Any) -> RunFacts:
    created = (START + timedelta(minutes=minute)).isoformat()
    document = {"id": f"workflow_run_{number}", "status": status, "createdAt": created, **fields}
    return run_facts(WorkflowRunSummary.model_validate(document))


def test_total_credits_count_where_they_are_told_and_the_others_where_not() -> None:
    usages = [{"credits": 1, "totalCredits": 10}, {"credits": 100}, {"credits": 1000, "totalCredits": 0}]
    runs = [summary(number, "PROCESSED", 0, usage=usage) for number, usage in enumerate(usages)]
    assert figures(runs).total.credits == 110


def test_each_quarter_of_an_hour_has_its_runs_and_failures() -> None:
    timeless = run_facts(WorkflowRunSummary.model_validate({"id": "workflow_run_3", "status": "FAILED"}))
    runs = [summary(1, "FAILED", 1), summary(2, "PROCESSED", 14), summary(4, "PROCESSED", 15), timeless]
    first = int(START.timestamp()) // 900
    assert figures(runs).course == {
        (first, "FAILED"): 1,
        (first, "PROCESSED"): 1,
        (first + 1, "PROCESSED"): 1,
        (None, "FAILED"): 1,
    }


def test_the_oldest_that_waits_is_named_and_of_equals_the_first_that_came() -> None:
    runs = [summary(number, "NEEDS_REVIEW", minute) for number, minute in ((1, 9), (4, 7), (3, 4), (2, 4))]
    found = figures([*runs, summary(5, "PROCESSED", 0)]).oldest
    assert {status: each.run_id for status, each in found.items()} == {"NEEDS_REVIEW": "workflow_run_2"}
