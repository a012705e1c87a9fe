"""The view of a run: what it says, and that nothing the API sends can break it or its budget."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_mcp.api.models import StepRun, WorkflowRun, WorkflowRunSummary
from extend_mcp.views.runs import run_view, step_facts
from extend_mcp.views.steps import step_digest, step_view
from extend_mcp.views.tables import run_list_view
from tests.harness import example

NOW = datetime(2026, 2, 10, 10, 5, tzinfo=timezone.utc)
ALL_STEPS = example("workflow_run.allsteps")


def view_text(run: dict[str, Any], limit: int = 8000) -> str:
    return run_view(WorkflowRun.model_validate(run), now=NOW, detail="concise", page=1, limit=limit).text


def with_fields(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(ALL_STEPS), **fields}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"status": "NEEDS_REVIEW"},
            "a person's review in the dashboard (the API cannot approve), since 2026-02-10T10:02:00Z",
        ),
        (
            {"status": "NEEDS_REVIEW"},
            "Check: «lines ok» did not pass in step «rule_validation»: «RULE_FAILED (items 1)»",
        ),
        (
            {"status": "NEEDS_REVIEW"},
            "«bad formula» did not pass in step «rule_validation»: «PARSE_ERROR, unexpected token»",
        ),
        ({"status": "PENDING", "stepRuns": []}, "Waits for: a free place in Extend's queue"),
        ({"status": "CANCELLING"}, "Waits for: the cancel to take effect"),
        (
            {"status": "REJECTED", "rejectionNote": "total is wrong"},
            "Rejected: «total is wrong» (Extend gives no reviewer, no time)",
        ),
        (
            {"status": "REJECTED", "reviewedByUser": "ana", "reviewedAt": "2026-02-10T10:04:00Z"},
            "Rejected by «ana» at 2026-02-10T10:04:00Z (Extend gives no note)\nThe review began after 2026-02-10T10:02",
        ),
        ({"status": "PROCESSED", "reviewedByUser": "ana"}, "Reviewed by «ana» (Extend gives no time)"),
        ({"status": "CANCELLED"}, "Extend does not say who cancelled it"),
        (
            {"status": "FAILED", "failureReason": "INVALID_WORKFLOW", "failureMessage": "no steps"},
            "Failed: INVALID_WORKFLOW «no steps»; running it again unchanged will not help",
        ),
        ({"status": "FAILED"}, "Failed: no reason given; whether"),
        ({"status": "PROCESSING"}, "running 5m so far"),
        ({"status": "PROCESSED", "endTime": "2026-02-10T10:03:20Z"}, "took 3m 20s"),
        ({}, "Credits: 15"),
        ({}, "Created 2026-02-10T09:59:58Z (5m 2s ago)"),
        ({"batchId": "batch_7Ws31-F5"}, "Batch: batch_7Ws31-F5"),
    ],
)
def test_what_an_operator_asks_is_said(fields: dict[str, Any], said: str) -> None:
    assert said in view_text(with_fields(**fields))


def test_charges_take_a_line_each_and_own_files_are_named_once() -> None:
    charges = [{"product": "parsing", "unit": "page", "quantity": 3, "credits": 6}]
    entry = {"object": "parse_run", "id": "pr_1", "credits": 6, "charges": charges}
    run = WorkflowRun.model_validate(with_fields(usage={"credits": 6, "breakdown": [entry, {"object": "new_run"}]}))
    text = run_view(run, now=NOW, detail="full", page=1, limit=8000).text
    assert " parse_run pr_1: 6 credits; product: «parsing»; unit: «page»; quantity: 3; credits: 6\n" in text
    assert "\n new_run: ? credits\n" in text
    assert text.count("«Invoices.pdf»") == 1


def test_progress_counts_steps_done_of_known() -> None:
    run = with_fields(status="PROCESSING")
    run["stepRuns"][-1] |= {"status": "PROCESSING", "result": None}
    text = view_text(run)
    assert "Steps (9 of 10 known done):" in text
    assert "Waits for: step «external_data_validation» (PROCESSING)" in text


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        ("PARSE", "5 pages, 1 chunk"),
        ("CLASSIFY", "type «invoice», confidence 0.98"),
        ("SPLIT", "1 part: 1 «invoice»"),
        ("EXTRACT", "2 fields, lowest confidence 0.97 («total»)"),
        ("CONDITIONAL_EXTRACT", "by «Invoice Extractor», 2 fields, lowest confidence 0.97 («total»)"),
        ("MERGE_EXTRACT", "1 extractor merged, 2 fields, lowest confidence 0.97 («total»)"),
        ("RULE_VALIDATION", "1 of 3 rules passed; not: «lines ok» RULE_FAILED, «bad formula» PARSE_ERROR"),
        ("VALIDATION", "1 of 1 block passed"),
        ("ROUTER", "took branch «High value»"),
        ("EXTERNAL_DATA_VALIDATION", "HTTP 200, data: «ok»"),
    ],
)
def test_each_step_type_has_its_digest(kind: str, digest: str) -> None:
    [step] = [step for step in ALL_STEPS["stepRuns"] if step["stepType"] == kind]
    assert step_digest(StepRun.model_validate(step)) == digest


def test_an_unknown_step_type_shows_what_its_result_holds() -> None:
    step = StepRun.model_validate(
        {"stepType": "TRANSLATE", "status": "PROCESSED", "result": {"text": 1, "language": 2}}
    )
    assert step_digest(step) == "a step type new to this version; its result holds «text, language»"


def test_a_failed_step_says_why() -> None:
    step = copy.deepcopy(ALL_STEPS["stepRuns"][0]) | {"status": "FAILED"}
    step["result"]["parseRun"] |= {"status": "FAILED", "failureReason": "CORRUPT_FILE", "failureMessage": "bad xref"}
    assert step_digest(StepRun.model_validate(step)) == "CORRUPT_FILE «bad xref»"


def test_the_cause_decides_whether_a_retry_helps() -> None:
    run = with_fields(status="FAILED", failureReason="DOCUMENT_PROCESSOR_ERROR", failureMessage="a step failed")
    step = run["stepRuns"][0]
    step |= {"status": "FAILED"}
    step["result"]["parseRun"] |= {"status": "FAILED", "failureReason": "OUT_OF_CREDITS", "failureMessage": "empty"}
    text = view_text(run)
    assert "OUT_OF_CREDITS «empty»; running it again unchanged will not help" in text
    assert "may help" not in text


ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=400) | st.just("«»](![\x1b[31m" * 30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated_runs(draw: st.DrawFn) -> dict[str, Any]:
    """The all-steps example with some values anywhere in it replaced, removed or added."""
    run = copy.deepcopy(ALL_STEPS)
    for _ in range(draw(st.integers(1, 6))):
        place: Any = run
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, (dict, list)) and inner and draw(st.integers(0, 4)):
                place = inner
                continue
            if draw(st.booleans()) and isinstance(place, dict):
                del place[key]
            else:
                place[key] = draw(ODD)
            break
    return run


@settings(max_examples=150)
@given(mutated_runs(), st.sampled_from([2000, 8000]))
def test_no_answer_of_the_api_breaks_a_view_or_its_budget(document: dict[str, Any], limit: int) -> None:
    run = WorkflowRun.model_validate(document)
    for detail in ("concise", "full"):
        view = run_view(run, now=NOW, detail=detail, page=1, limit=limit)  # type: ignore[arg-type]
        assert len(view.text) <= limit
        type(view).model_validate(view.fields())
        for step in run.step_runs:
            assert len(step_view(run, step, detail=detail, page=1, limit=limit).text) <= limit  # type: ignore[arg-type]
    for number, step in enumerate(run.step_runs, 1):
        assert len(step_facts(number, step).line()) < 180
    summary = WorkflowRunSummary.model_validate(document)
    listed = run_list_view(
        [summary] * 20, token_after=lambda count: "t" * 300, filters="", note=None, now=NOW, limit=limit
    )
    assert len(listed.text) <= limit
    assert 1 <= listed.shown == len(listed.runs) <= 20


def test_a_page_of_twenty_runs_is_one_line_each() -> None:
    runs = [
        WorkflowRunSummary.model_validate(
            {**ALL_STEPS, "id": f"workflow_run_{n:022}", "createdAt": (NOW - timedelta(hours=n)).isoformat()}
        )
        for n in range(20)
    ]
    view = run_list_view(runs, token_after=lambda count: None, filters="FAILED", note=None, now=NOW, limit=8000)
    assert view.text.startswith("20 runs (FAILED); end of list")
    # The runs, three lines around them, and the two days they were made on.
    lines = view.text.splitlines()
    assert len(lines) == 20 + 3 + 2
    assert [line for line in lines if line.endswith(":") and len(line) == 11] == ["2026-02-10:", "2026-02-09:"]
    assert len(view.text) < 3200


def test_a_page_that_is_cut_says_so_and_leads_to_the_rest() -> None:
    runs = [WorkflowRunSummary.model_validate({**ALL_STEPS, "id": f"workflow_run_{n}"}) for n in range(40)]
    view = run_list_view(runs, token_after=lambda count: f"after{count}", filters="", note=None, now=NOW, limit=2000)
    assert 1 < view.shown < 40
    assert view.text.startswith(f"{view.shown} runs; there are more, cut to keep the answer short.")
    assert view.text.endswith(f'\nMore: list_runs(page_token="after{view.shown}").')
    assert view.next_page_token == f"after{view.shown}"
    assert not view.complete


def test_a_step_without_a_name_type_or_status_is_a_question() -> None:
    assert step_facts(3, StepRun.model_validate({})).line() == "3. «?» ? · ?"
