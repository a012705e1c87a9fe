"""One filter of runs for all tools: the same arguments everywhere, and the same meaning here and in the API."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.runs.failures import Failure
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RESOLVED, SHOWING, RunFilter
from extend_mcp.tools.toolsets import RUNS

ARGUMENTS = set(RunFilter.model_fields) - {*RESOLVED, *SHOWING, *DETAILS, *OF_LISTS}
NOON = datetime(2026, 2, 10, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(("name", "others"), [("list_runs", DETAILS | OF_LISTS), ("summarize_runs", frozenset())])
def test_a_tool_that_filters_runs_has_every_filter(name: str, others: frozenset[str]) -> None:
    [tool] = [tool for tool in RUNS.tools if tool.name == name]
    properties = tool.parameters["properties"]
    wanted = ARGUMENTS | others - {"metadata"}
    assert set(properties) >= wanted
    assert not set(properties) & ({"filters", *RESOLVED, *DETAILS, *OF_LISTS} - wanted)
    assert not wanted & set(tool.parameters.get("required", ()))
    assert properties["batch"]["description"] == "Batch id"


def test_every_argument_is_applied_and_described() -> None:
    filters = RunFilter(
        status="FAILED",
        workflow_id="workflow_1",
        workflow_version="3",
        batch="batch_1",
        file_name_contains="a",
        since=NOON,
        before=NOON,
        failure_reason="OCR_ERROR",
        failing_step="Parse",
        metadata={"customer": "acme"},
        reviewer="ana",
        changed_since=NOON,
        changed_before=NOON,
    )
    assert filters.api_query() == {
        "status": "FAILED",
        "workflow_id": "workflow_1",
        "batch_id": "batch_1",
        "file_name_contains": "a",
        "sort_by": "updatedAt",
        "sort_dir": "desc",
    }
    assert filters.description() == (
        "FAILED, workflow workflow_1, version 3, batch batch_1, file name contains «a», "
        "created since 2026-02-10T12:00:00Z, created before 2026-02-10T12:00:00Z, "
        "updated since 2026-02-10T12:00:00Z, updated before 2026-02-10T12:00:00Z, reviewed by «ana», "
        "failed with OCR_ERROR, failed in step «Parse», metadata «customer» = «acme»"
    )


@pytest.mark.parametrize(
    ("filters", "hours"),
    [
        (RunFilter(), [11, 12, 13, None]),
        (RunFilter(since=NOON), [12, 13]),
        (RunFilter(before=NOON), [11]),
        (RunFilter(since=NOON, before=NOON.replace(hour=13)), [12]),
    ],
)
def test_a_run_matches_from_since_until_just_before_before(filters: RunFilter, hours: list[int | None]) -> None:
    runs = {
        hour: WorkflowRunSummary(created_at=NOON.replace(hour=hour) if hour else None) for hour in (11, 12, 13, None)
    }
    assert [hour for hour, run in runs.items() if filters.matches(run)] == hours


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        ({}, [True, True, True]),
        ({"failure_reason": "ocr_error"}, [True, False, False]),
        ({"failing_step": "PARSE"}, [True, False, False]),
        ({"failure_reason": "OCR_ERROR", "metadata": {"customer": "beta"}}, [False, False, False]),
        ({"metadata": {"number": "7"}}, [True, False, False]),
        ({"metadata": {"customer": "acme"}}, [True, True, False]),
    ],
)
def test_details_must_fit_all_at_once(filters: dict[str, Any], fits: list[bool]) -> None:
    runs = [
        (Failure("Parse", "OCR_ERROR", ""), {"customer": "acme", "number": 7}),
        (Failure("", "", ""), {"customer": "acme"}),
        (None, {}),
    ]
    assert [RunFilter(**filters).matches_details(*run) for run in runs] == fits


def test_what_the_api_does_not_filter_is_filtered_here() -> None:
    fields = {"createdAt": NOON, "updatedAt": NOON, "workflowVersion": {"version": "3"}, "reviewedByUser": "Ana"}
    run = WorkflowRunSummary.model_validate({**fields, "status": "FAILED"})
    several = RunFilter.model_validate({"status": ["failed", "rejected"]})
    assert several.statuses == ("FAILED", "REJECTED")
    assert several.api_query()["status"] is None
    assert several.matches(run)
    assert not RunFilter.model_validate({"status": "active"}).matches(run)
    assert RunFilter(reviewer="ana").matches(run)
    assert not RunFilter(reviewer="ben").matches(run)
    assert RunFilter(changed_since=NOON).matches(run)
    assert not RunFilter(changed_before=NOON).matches(run)
    assert RunFilter(workflow_version="3").matches(run)
    assert not RunFilter(workflow_version="2").matches(run)
