from __future__ import annotations

from typing import Any

import pytest

from extend_mcp.api.models import WorkflowRun
from extend_mcp.runs.failures import Failure, failures_of, retry_advice


def run_of(**fields: Any) -> WorkflowRun:
    return WorkflowRun.model_validate({"id": "workflow_run_1", "status": "PROCESSING", **fields})


def test_the_step_s_own_cause_comes_before_the_run_s() -> None:
    run = run_of(
        status="FAILED",
        failureReason="DOCUMENT_PROCESSOR_ERROR",
        failureMessage="step failed",
        stepRuns=[
            {"stepType": "PARSE", "status": "PROCESSED", "step": {"name": "parse"}, "result": {"parseRun": {}}},
            {
                "stepType": "PARSE",
                "status": "FAILED",
                "step": {"name": "second"},
                "result": {
                    "parseRun": {"status": "FAILED", "failureReason": "CORRUPT_FILE", "failureMessage": "bad xref"}
                },
            },
        ],
    )
    assert failures_of(run) == [
        Failure("second", "CORRUPT_FILE", "bad xref"),
        Failure("", "DOCUMENT_PROCESSOR_ERROR", "step failed"),
    ]


def test_a_step_that_does_not_say_why_is_explained_by_its_run() -> None:
    failed = {"stepType": "ROUTER", "status": "FAILED", "step": {"name": "route"}, "result": None}
    run = run_of(status="FAILED", failureReason="INTERNAL_ERROR", failureMessage="try later", stepRuns=[failed])
    assert failures_of(run) == [Failure("route", "INTERNAL_ERROR", "try later")]


def test_a_healthy_run_has_no_failure_and_a_failed_one_always_has() -> None:
    assert failures_of(run_of()) == []
    assert failures_of(run_of(status="FAILED")) == [Failure("", "", "")]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("INTERNAL_ERROR", "may help"),
        ("DOCUMENT_PROCESSOR_ERROR", "may help"),
        ("OCR_ERROR", "may help"),
        ("ABORTED", "a user stopped it"),
        ("INVALID_WORKFLOW", "will not help"),
        ("FAILED_TO_PROCESS_FILE", "will not help"),
        ("CORRUPT_FILE", "will not help, judging by the reason (not documented)"),
        ("OUT_OF_CREDITS", "will not help, judging by the reason (not documented)"),
        ("CHUNKING_ERROR", "not documented"),
        ("PARSING_ERROR", "not documented (the extraction's output could not be parsed)"),
        ("PRE_PROCESSING_FAILURE", "not documented"),
        ("POST_PROCESSING_FAILURE", "not documented"),
        ("SCHEMA_GENERATION_FAILED", "not documented (no schema could be inferred from the file)"),
        ("FAILED_TO_CONVERT_TO_PDF", "not documented (the file could not be converted to PDF)"),
        ("FAILED_TO_CONVERT_TO_JPEG", "not documented"),
        ("FAILED_TO_GENERATE_TARGET_FORMAT", "not documented"),
        ("A_REASON_OF_TOMORROW", "not documented"),
    ],
)
def test_retry_advice_follows_the_reference(reason: str, advice: str) -> None:
    assert advice in retry_advice(reason)


@pytest.mark.parametrize("kind", ["parseRun", "extractRun", "classifyRun", "splitRun"])
def test_a_failure_is_found_in_a_child_run_of_every_kind(kind: str) -> None:
    """A step may continue when its child failed: the step's own status does not show it."""
    child = {"status": "FAILED", "failureReason": "OCR_ERROR", "failureMessage": "no text"}
    step = {"stepType": "X", "status": "PROCESSED", "step": {"name": "read"}, "result": {kind: child}}
    assert failures_of(run_of(stepRuns=[step])) == [Failure("read", "OCR_ERROR", "no text")]


@pytest.mark.parametrize("known", [{"failureReason": "ABORTED"}, {"failureMessage": "stopped"}])
def test_either_a_reason_or_a_message_is_enough(known: dict[str, str]) -> None:
    expected = Failure("", known.get("failureReason", ""), known.get("failureMessage", ""))
    assert failures_of(run_of(**known)) == [expected]
