from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.models import ChildRun, FileSummary, WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.failures import (
    Failure,
    chains,
    created_first,
    failed_children,
    failures_of,
    fate,
    later_runs,
    retry_advice,
    same_files,
    unexplained_steps,
)
from extend_mcp.runs.statistics import RunFacts, run_facts


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


NOON = datetime(2026, 2, 10, 12, tzinfo=timezone.utc)


@dataclass
class Failed:
    """A failed run of one of two files, and the minutes and reasons of its child runs that failed."""

    file: str
    start: int
    minutes: int
    children: list[tuple[int, str]]

    def facts(self, number: int) -> RunFacts:
        start = NOON + timedelta(minutes=self.start)
        end = start + timedelta(minutes=self.minutes)
        files = [FileSummary(id=self.file)]
        return run_facts(
            WorkflowRunSummary(
                id=f"run_{number}", status="FAILED", created_at=start, start_time=start, end_time=end, files=files
            )
        )

    def child_runs(self, number: int) -> list[ChildRun]:
        return [
            ChildRun(
                id=f"child_{number}_{place}",
                failure_reason=reason,
                file=FileSummary(id=self.file if place % 2 else f"part of {self.file}", parent_file_id=self.file),
                created_at=NOON + timedelta(minutes=self.start + min(minute, self.minutes)),
            )
            for place, (minute, reason) in enumerate(self.children)
        ]


FAILED_RUNS = st.lists(
    st.builds(
        Failed,
        file=st.sampled_from("ab"),
        start=st.integers(0, 60),
        minutes=st.integers(0, 10),
        children=st.lists(st.tuples(st.integers(0, 10), st.sampled_from(["OCR_ERROR", "CORRUPT_FILE"])), max_size=2),
    ),
    max_size=8,
)


@given(FAILED_RUNS)
def test_a_run_gets_the_reason_of_its_own_child_run_or_none(failed: list[Failed]) -> None:
    runs = [each.facts(number) for number, each in enumerate(failed)]
    children = [child for number, each in enumerate(failed) for child in each.child_runs(number)]
    found = {run_id: child.failure_reason for run_id, child in failed_children(runs, children).items()}
    for number, each in enumerate(failed):
        # Rounding makes two runs meet that are a second apart or less.
        alone = all(
            other is each
            or other.file != each.file
            or other.start > each.start + each.minutes
            or each.start > other.start + other.minutes
            for other in failed
        )
        if f"run_{number}" in found:
            assert [found[f"run_{number}"]] == [reason for _, reason in each.children]
        else:
            assert not alone or len(each.children) != 1


@pytest.mark.parametrize(
    ("run_fields", "child_fields", "is_found"),
    [
        ({}, {}, True),
        # It waited for a minute, ran for another, and times may be rounded by a second.
        ({}, {"created_at": NOON + timedelta(seconds=59)}, True),
        ({}, {"created_at": NOON + timedelta(seconds=58.9)}, False),
        ({}, {"created_at": NOON + timedelta(seconds=121)}, True),
        ({}, {"created_at": NOON + timedelta(seconds=121.1)}, False),
        ({}, {"created_at": None}, False),
        ({}, {"failure_reason": None}, False),
        ({}, {"file": FileSummary(id="part", parent_file_id="a")}, True),
        ({"created_at": None}, {}, False),
        ({"start_time": None}, {}, False),
        ({"end_time": None}, {}, False),
        ({"files": []}, {}, False),
        ({"files": [FileSummary()]}, {"file": FileSummary()}, False),
    ],
)
def test_a_run_has_the_child_run_of_its_file_and_time(
    run_fields: dict[str, Any], child_fields: dict[str, Any], is_found: bool
) -> None:
    start = NOON + timedelta(minutes=1)
    child = ChildRun(id="child", failure_reason="OCR_ERROR", file=FileSummary(id="a"), created_at=start)
    summary = WorkflowRunSummary(
        id="run",
        status="FAILED",
        files=[FileSummary(id="a")],
        created_at=NOON,
        start_time=start,
        end_time=start + timedelta(minutes=1),
    )
    child = child.model_copy(update=child_fields)
    found = failed_children([run_facts(summary.model_copy(update=run_fields))], [child])
    assert found == ({"run": child} if is_found else {})


@pytest.mark.parametrize(
    ("step", "is_unexplained"),
    [
        ({"stepType": "PARSE", "status": "FAILED"}, True),
        ({"stepType": "PARSE", "status": "PROCESSED"}, False),
        ({"stepType": "ROUTER", "status": "FAILED"}, False),
        ({"stepType": "PARSE", "status": "FAILED", "result": {"parseRun": {"status": "FAILED"}}}, False),
    ],
)
def test_a_failed_step_is_unexplained_until_its_child_run_is_read(step: dict[str, Any], is_unexplained: bool) -> None:
    run = run_of(stepRuns=[step])
    assert unexplained_steps(run) == (run.step_runs if is_unexplained else [])


START = datetime(2026, 2, 10, tzinfo=timezone.utc)


def run(name: str, minute: int | None = 0, files: str = "f1", **known: Any) -> RunFacts:
    created = None if minute is None else START + timedelta(minutes=minute)
    listed = "\n".join(f"{each}\t{each}.pdf" for each in files.split())
    facts: dict[str, Any] = dict.fromkeys(RunFacts._fields[:12]) | {"id": name, "status": "FAILED", "workflow_id": "w"}
    return RunFacts(**{**facts, "created": created, "files": listed, **known})


def names(groups: list[list[RunFacts]]) -> list[list[str]]:
    return [[each.id for each in group] for group in groups]


def test_runs_of_the_same_files_and_workflow_are_grouped_oldest_first() -> None:
    runs = [run("c", 3), run("a", 1), run("x", 2, files="f2 f1"), run("y", 1, files="f1 f2"), run("none", files="")]
    runs += [run("other", 1, workflow_id="v"), run("b", 1), run("never", None)]
    assert names(same_files(runs)) == [["never", "a", "b", "c"], ["y", "x"], ["other"]]
    later = {name: [each.id for each in found] for name, found in later_runs(runs).items()}
    assert later == {"never": ["a", "b", "c"], "a": ["b", "c"], "b": ["c"], "y": ["x"]}
    assert created_first(run("never", None)) < created_first(run("a"))


def test_a_mark_joins_runs_of_other_files() -> None:
    runs = [
        run("a", 1),
        run("b", 2),
        run("again", 3, files="f9"),
        run("third", 4, files="f8"),
        run("alone", 5, files=""),
    ]
    marks = {"again": "a", "third": "again", "b": "a", "gone": "a", "alone": "gone"}
    assert names(chains(runs, marks)) == [["a", "b", "again", "third"], ["alone"]]
    assert names(chains(iter(runs[:3]), {})) == [["a", "b"], ["again"]]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], "never_rerun"),
        (["FAILED"], "failed_again"),
        (["FAILED", "CANCELLED"], "failed_again"),
        (["FAILED", "PROCESSING"], "running"),
        (["PENDING"], "running"),
        (["PROCESSING", "PROCESSED"], "resolved"),
        (["PROCESSED", "FAILED"], "resolved"),
    ],
)
def test_what_became_of_a_failure(statuses: list[str], expected: str) -> None:
    chain = [run("first", status="PROCESSED"), *(run(f"{place}", status=each) for place, each in enumerate(statuses))]
    assert fate(chain) == expected
