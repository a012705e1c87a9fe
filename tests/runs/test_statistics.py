"""Compare figures of many runs with a plain count of the same."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.runs.statistics import Statistics, buckets, quantile

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
    for number, values in enumerate(runs):
        counted.add(WorkflowRunSummary.model_validate(wire_run(number, values)), values["group"])
    assert counted.total.runs == len(runs)
    assert counted.total.statuses == Counter(values["status"] for values in runs)
    assert counted.total.credits == sum(values["credits"] or 0 for values in runs)
    assert sorted(counted.total.durations) == sorted(v["took"] for v in runs if v["started"] and v["ended"])
    assert sorted(counted.total.queues) == sorted(v["queued"] for v in runs if v["started"])
    for group, tally in counted.groups.items():
        assert tally.runs == sum(values["group"] == group for values in runs)
    assert sum(tally.runs for tally in counted.groups.values()) == len(runs)
    for status in ("PENDING", "NEEDS_REVIEW"):
        minutes = [values["minute"] for values in runs if values["status"] == status]
        oldest = counted.oldest.get(status)
        assert (oldest.created if oldest else None) == (START + timedelta(minutes=min(minutes)) if minutes else None)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_a_value_that_its_share_does_not_exceed(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert found is not None
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) <= share * len(values)
    assert quantile(values, 0.5) == statistics.median_low(values)


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile([], 0.5) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=60), st.integers(1, 30))
def test_every_moment_is_in_one_span(moments: list[tuple[float, bool]], count: int) -> None:
    runs, failed, first, width = buckets(moments, count)
    assert sum(runs) == len(moments)
    assert sum(failed) == sum(has_failed for _, has_failed in moments)
    assert all(part <= whole for part, whole in zip(failed, runs, strict=True))
    assert first == min(moment for moment, _ in moments)
    assert width >= 1


def summary(number: int, status: str, minute: int, **fields: Any) -> WorkflowRunSummary:
    created = (START + timedelta(minutes=minute)).isoformat()
    return WorkflowRunSummary.model_validate(
        {"id": f"workflow_run_{number}", "status": status, "createdAt": created, **fields}
    )


def test_total_credits_count_where_they_are_told_and_the_others_where_not() -> None:
    counted = Statistics()
    counted.add(summary(1, "PROCESSED", 0, usage={"credits": 1, "totalCredits": 10}), None)
    counted.add(summary(2, "PROCESSED", 0, usage={"credits": 100}), None)
    counted.add(summary(3, "PROCESSED", 0, usage={"credits": 1000, "totalCredits": 0}), None)
    assert counted.total.credits == 110


def test_each_moment_is_kept_with_whether_its_run_failed() -> None:
    counted = Statistics()
    counted.add(summary(1, "FAILED", 1), None)
    counted.add(summary(2, "PROCESSED", 2), None)
    counted.add(WorkflowRunSummary.model_validate({"id": "workflow_run_3", "status": "FAILED"}), None)
    assert counted.moments == [(START.timestamp() + 60, True), (START.timestamp() + 120, False)]


def test_the_oldest_that_waits_is_named_and_of_equals_the_first_that_came() -> None:
    counted = Statistics()
    for number, minute in ((1, 9), (2, 4), (3, 4), (4, 7)):
        counted.add(summary(number, "NEEDS_REVIEW", minute), None)
    counted.add(summary(5, "PROCESSED", 0), None)
    assert set(counted.oldest) == {"NEEDS_REVIEW"}
    assert counted.oldest["NEEDS_REVIEW"].run_id == "workflow_run_2"


def test_moments_fall_into_spans_of_equal_length() -> None:
    moments = [(100.0, False), (109.9, True), (110.0, False), (119.0, True), (125.0, True), (130.0, False)]
    assert buckets(moments, 3) == ([2, 2, 2], [1, 1, 1], 100.0, 10.0)
    # The last moment belongs to the last one, not to one behind it.
    assert buckets(moments, 1) == ([6], [3], 100.0, 30.0)
    # A span is a second at least: shorter ones would tell nothing.
    assert buckets([(100.0, True), (101.5, False)], 4) == ([1, 1, 0, 0], [1, 0, 0, 0], 100.0, 1.0)
