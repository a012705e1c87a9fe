"""Models that nothing the API answers can break, and that lose nothing of a step's result."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.models import BatchStarted, Page, StepRun, WorkflowRun, WorkflowRunSummary
from tests.harness import example


def documents(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=10,
    )


# Where a text belongs, 0.0 is "0.0" or "0", by the way it came.
WITHOUT_FRACTIONS = documents(st.none() | st.booleans() | st.integers() | st.text())
JSON = documents(st.none() | st.booleans() | st.integers() | st.floats() | st.text())
FIELDS = sorted({field.alias or name for name, field in WorkflowRun.model_fields.items()})


@pytest.mark.parametrize("name", ["workflow_run", "workflow_run.allsteps"])
def test_the_documented_examples_keep_every_step_result(name: str) -> None:
    document = example(name)
    run = WorkflowRun.model_validate(document)
    assert (run.id, run.status) == (document["id"], document["status"])
    assert [step.result for step in run.step_runs] == [step["result"] for step in document["stepRuns"]]
    assert [step.step_type for step in run.step_runs] == [step["stepType"] for step in document["stepRuns"]]
    assert run.metadata == document["metadata"]
    assert run.usage
    assert run.usage.total_credits == document["usage"]["totalCredits"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_value_in_any_field_makes_a_run(document: dict[str, Any]) -> None:
    run = WorkflowRun.model_validate(document)
    assert isinstance(run.id, str)
    assert isinstance(run.status, str)
    assert isinstance(run.step_runs, list)
    WorkflowRunSummary.model_validate(document)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path to everything in a document, whatever its depth, but for the insides of step results."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = [(key, item) for key, item in value.items() if key != "result"]
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [place for key, item in inner for place in ((*path, key), *places(item, (*path, key)))]


@given(st.sampled_from(places(example("workflow_run"))), JSON)
def test_one_wrong_value_at_any_depth_spoils_nothing_but_itself(place: tuple[str | int, ...], value: Any) -> None:
    document = example("workflow_run")
    *path, last = place
    spot: Any = document
    for key in path:
        spot = spot[key]
    spot[last] = value
    run = WorkflowRun.model_validate(document)
    if place != ("id",):
        assert run.id == document["id"]
    if place[0] != "stepRuns":
        assert [step.result for step in run.step_runs] == [step["result"] for step in document["stepRuns"]]
    if place[0] != "usage":
        assert run.usage
        assert run.usage.total_credits == document["usage"]["totalCredits"]


@given(st.lists(JSON), JSON)
def test_any_list_makes_a_page_of_its_objects(items: list[Any], token: Any) -> None:
    page = Page[WorkflowRunSummary].model_validate({"data": items, "nextPageToken": token})
    assert len(page.data) == sum(isinstance(item, dict) for item in items)
    assert page.next_page_token is None or page.next_page_token


@given(st.sampled_from(places(example("workflow_run"))), WITHOUT_FRACTIONS)
def test_a_page_is_the_same_read_from_its_bytes_and_from_objects(place: tuple[str | int, ...], value: Any) -> None:
    document = {"object": "list", "data": [example("workflow_run")]}
    *path, last = ("data", 0, *place)
    spot: Any = document
    for key in path:
        spot = spot[key]
    spot[last] = value
    body = json.dumps(document)
    assert Page[WorkflowRunSummary].model_validate_json(body) == Page[WorkflowRunSummary].model_validate(document)


def test_what_is_new_stays_as_it_is() -> None:
    run = WorkflowRun.model_validate(
        {
            "id": "workflow_run_1",
            "status": "PAUSED",
            "mood": {"since": "noon"},
            "stepRuns": [{"stepType": "TRANSLATE", "status": "DREAMING", "result": {"text": ["a", {"b": None}]}}],
        }
    )
    assert run.status == "PAUSED"
    assert run.model_extra == {"mood": {"since": "noon"}}
    [step] = run.step_runs
    assert (step.step_type, step.status, step.result) == ("TRANSLATE", "DREAMING", {"text": ["a", {"b": None}]})


def test_a_run_and_its_summary_give_the_same_facts() -> None:
    times = {"startTime": "2026-01-01T00:00:10Z", "endTime": "2026-01-01T00:00:40Z"}
    document = {**times, "initialRunAt": "2026-01-01T00:00:00Z", "usage": {"credits": 3, "totalCredits": 5}}
    for kind in (WorkflowRun, WorkflowRunSummary):
        run = kind.model_validate(document)
        assert run.created == datetime(2026, 1, 1, tzinfo=timezone.utc)
        assert (run.queue_seconds, run.duration_seconds, run.credits) == (10, 30, 5)
        older = kind.model_validate(
            {"usage": {"credits": 3}, "endTime": times["startTime"], "startTime": times["endTime"]}
        )
        assert (older.created, older.queue_seconds, older.duration_seconds, older.credits) == (None, None, 0, 3)
        new = kind.model_validate({"startTime": times["startTime"]})
        assert (new.duration_seconds, new.credits) == (None, None)
    created = {"initialRunAt": "2026-01-01T00:00:00Z", "createdAt": "2025-12-31T00:00:00Z"}
    assert WorkflowRunSummary.model_validate(created).created == datetime(2025, 12, 31, tzinfo=timezone.utc)


def test_a_step_failed_if_its_own_or_its_child_s_status_says_so() -> None:
    steps = [
        {"id": "a", "status": "PROCESSED", "result": {"parseRun": {"status": "PROCESSED"}}},
        {"id": "b", "status": "PROCESSED", "result": {"extractRun": {"status": "FAILED"}}},
        {"id": "c", "status": "FAILED"},
    ]
    run = WorkflowRun.model_validate({"stepRuns": steps})
    assert [step.failed for step in run.step_runs] == [False, True, True]
    assert run.step_runs[1].child_run == {"status": "FAILED"}


def test_a_step_s_type_is_taken_from_where_it_stands() -> None:
    assert StepRun.model_validate({"step": {"type": "PARSE"}}).step_type == "PARSE"


@pytest.mark.parametrize(
    ("wire", "moment"),
    [
        ("2025-04-28T17:01:39.285Z", datetime(2025, 4, 28, 17, 1, 39, 285_000, timezone.utc)),
        ("2025-04-28T19:01:39+02:00", datetime(2025, 4, 28, 17, 1, 39, tzinfo=timezone.utc)),
        ("2025-04-28T17:01:39", datetime(2025, 4, 28, 17, 1, 39, tzinfo=timezone.utc)),
        ("noon", None),
        ({}, None),
    ],
)
def test_times_are_utc_or_nothing(wire: Any, moment: datetime | None) -> None:
    assert WorkflowRun.model_validate({"startTime": wire}).start_time == moment


def test_the_id_of_another_object_is_no_batch_s() -> None:
    assert BatchStarted.model_validate({"id": "workflow_run_1"}).id == ""
    assert BatchStarted.model_validate({"batchId": "batch_1"}).id == "batch_1"
