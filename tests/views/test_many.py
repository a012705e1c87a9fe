"""Views of many runs: whatever the API answers, they keep their budget, their lines and their own schema."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_mcp.actions.cancel_runs import set_lines
from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.failures import Failure, failures_of
from extend_mcp.runs.groups import GROUP_NAMES, Calendar, Grouping
from extend_mcp.runs.statistics import RunFacts, run_facts
from extend_mcp.views.actions import BulkResult, BulkView, result_lines
from extend_mcp.views.document import Extent
from extend_mcp.views.incidents import done_twice_view
from extend_mcp.views.insights import (
    comparison_view,
    failure_view,
)
from extend_mcp.views.reviews import failed_checks, review_queue_view, review_row
from extend_mcp.views.summary import Sort, summary_view, window_before
from extend_mcp.views.untrusted import Note
from tests.views.test_runs import NOW, mutated_runs

DOCUMENTS = st.lists(mutated_runs(), min_size=1, max_size=4)
SORTS: list[Sort | None] = [None, "count", "rate", "change"]
LIMITS = st.sampled_from([2000, 8000])


def fine(view: Any, limit: int) -> None:
    assert len(view.text) <= limit
    type(view).model_validate(view.fields())
    assert all(line.isprintable() for line in view.text.splitlines())


@settings(max_examples=80)
@given(DOCUMENTS, LIMITS, st.sampled_from(GROUP_NAMES), st.sampled_from(GROUP_NAMES), st.sampled_from(SORTS))
def test_a_summary(documents: list[dict[str, Any]], limit: int, one: str, other: str, sort: Any) -> None:
    by = list(dict.fromkeys([one, other]))
    calendar = Calendar(timezone(timedelta(hours=5, minutes=30)))
    runs = [run_facts(WorkflowRunSummary.model_validate(each))._replace(reason="X", step="") for each in documents * 10]
    counted = Grouping(by, calendar).count_listed(runs, dict.fromkeys((run.id for run in runs), "x"))
    for before in (
        None,
        *(window_before(counted.total, counted.total, NOW, NOW, complete=whole) for whole in (True, False)),
    ):
        view = summary_view(
            counted,
            Extent(NOW, limit, "FAILED", ["half of it"]),
            by=by,
            before=before,
            earlier=counted,
            course=calendar.course(counted.course),
            zone="Asia/Kolkata",
            sort=sort,
            is_window=True,
        )
        fine(view, limit)
        assert view.runs == len(documents) * 10
        assert len(view.groups) + view.groups_left_out == len(counted.groups)


def test_a_repeated_file_says_what_it_cost_how_late_it_came_and_between_which_batches() -> None:
    def repeat(name: str, *runs: dict[str, Any]) -> list[RunFacts]:
        facts = run_facts(WorkflowRunSummary.model_validate({}))._replace(created=NOW, files=f"f\t{name}")
        return [facts._replace(id=f"{name}{number}", **given) for number, given in enumerate(runs)]

    one, other = {"batch_id": "one", "credits": 9.0}, {"batch_id": "two", "credits": 2.5}
    late = {**other, "credits": None, "created": NOW + timedelta(minutes=2)}
    repeats = [
        *(repeat(name, one, other) for name in ("x", "y")),
        repeat("a", one, late, {"batch_id": "three", "credits": 1.0}),
        repeat("b", {"created": None}, other, other),
        repeat("c", {}, {**one, "created": None}),
    ]
    view = done_twice_view(repeats, Extent(NOW, 8000), intended=0, shown=9)
    assert [(each.file, each.seconds_apart, each.credits_again) for each in view.repeats] == [
        ("c", None, 9.0),
        ("b", None, 5.0),
        *[("x", 0.0, 2.5), ("y", 0.0, 2.5), ("a", 120.0, 1.0)],
    ]
    assert (view.files, view.runs_too_many, view.credits_again) == (5, 7, 20.0)
    assert "3 of them because batch one was run again as two." in view.text


@settings(max_examples=80)
@given(mutated_runs(), DOCUMENTS)
def test_a_failure_among_others(document: dict[str, Any], others: list[dict[str, Any]]) -> None:
    run = WorkflowRun.model_validate(document)
    summaries = [WorkflowRunSummary.model_validate(each) for each in others]
    known = [(run_facts(each), Failure("Parse", "OCR_ERROR", ""), None) for each in summaries * 5]
    cause = next(iter(failures_of(run)), Failure("", "", ""))
    view = failure_view(
        run,
        cause,
        known,
        Extent(NOW, 8000, "since yesterday"),
        failed=30,
        looked_into=21,
        good=summaries[0],
        later=summaries[-1],
    )
    fine(view, 8000)


@settings(max_examples=80)
@given(DOCUMENTS, LIMITS)
def test_a_review_queue(documents: list[dict[str, Any]], limit: int) -> None:
    runs = [WorkflowRun.model_validate(document) for document in documents]
    summaries = [WorkflowRunSummary.model_validate(document) for document in documents]
    known = {run.id: review_row(listed, run, NOW) for listed, run in zip(summaries, runs, strict=True)}
    summaries *= 8
    view = review_queue_view(summaries, known, Extent(NOW, limit), shown=20)
    fine(view, limit)
    assert view.total == len(summaries)
    grouped = review_queue_view(summaries, known, Extent(NOW, limit), shown=20, group_by="workflow")
    fine(grouped, limit)
    assert grouped.groups is not None
    assert sum(group.runs for group in grouped.groups) == len(summaries)


@pytest.mark.parametrize("target", ["Review", [], {"name": "Review"}, None])
def test_a_definition_of_any_form_leads_to_the_review_or_not(target: Any) -> None:
    definition: list[dict[str, Any]] = [
        {"name": "Review", "type": "HUMAN_REVIEW"},
        {"name": "extract", "next": [{"step": target}]},
    ]
    run = WorkflowRun.model_validate({"stepRuns": [{"step": {"name": "extract"}, "stepType": "EXTRACT"}]})
    assert [check.step for check in failed_checks(run, definition)] == (["extract"] if target == "Review" else [])


def test_a_failed_rule_shows_the_values_that_it_names_and_no_object() -> None:
    output = {"value": {"total": {"amount": 5}, "tax": 1}, "metadata": {"total": {"confidence": 0.5}}}
    rule = {"name": "sum", "valid": False, "failureReason": "RULE_FAILED"}
    steps = [
        {"step": {"name": "extract"}, "stepType": "EXTRACT", "result": {"extractRun": {"output": output}}},
        {"step": {"name": "check"}, "stepType": "RULE_VALIDATION", "result": {"rules": [rule]}},
    ]
    definition = [{"name": "check", "config": {"rules": [{"name": "sum", "formula": "extract.tax < extract.total"}]}}]
    [check] = failed_checks(WorkflowRun.model_validate({"stepRuns": steps}), definition)
    said = "«sum» did not pass in step «check»: «RULE_FAILED»; rule «extract.tax < extract.total»; tax «1»"
    assert check.line() == said


@settings(max_examples=80)
@given(mutated_runs(), mutated_runs(), LIMITS)
def test_a_comparison(one: dict[str, Any], other: dict[str, Any], limit: int) -> None:
    view = comparison_view(WorkflowRun.model_validate(one), WorkflowRun.model_validate(other), now=NOW, limit=limit)
    fine(view, limit)


@settings(max_examples=80)
@given(DOCUMENTS, LIMITS)
def test_a_plan_for_many(documents: list[dict[str, Any]], limit: int) -> None:
    runs = [WorkflowRun.model_validate(document) for document in documents]
    lines = set_lines(runs, {"already over": 3}, now=NOW)
    assert all(line.isprintable() for line in lines)
    assert len("\n".join(lines)) < 4000
    results = [
        BulkResult(run_id=run.id, outcome="cancelled", status=run.status, note=f"{Note(run.rejection_note)}")
        for run in runs
    ] * 60
    about: dict[str, Any] = {"message": "So.", "request_sent": False, "skipped": {}, "counts": {}}
    done = BulkView(outcome="done", results=results, **about)
    fine(done.rendered(limit, result_lines(results)), limit)
    plan = BulkView(outcome="confirmation_required", results=[], plan=lines, confirmation_token="t" * 400, **about)
    fine(plan.rendered(limit, lines), limit)
    assert "confirmation_token: ttt" in plan.text
