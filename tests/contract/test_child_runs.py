"""The official SDK judges the runs inside workflow runs, which the sandbox serves read-only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.contract.judge import Judge, extend_ai, webhook_types

KINDS: dict[str, tuple[str, Any, Any]] = {
    "parse_runs": ("parseRun", webhook_types.ParseRunSummary, extend_ai.ParseRun),
    "extract_runs": ("extractRun", extend_ai.ExtractRunSummary, extend_ai.ExtractRun),
    "classify_runs": ("classifyRun", extend_ai.ClassifyRunSummary, extend_ai.ClassifyRun),
    "split_runs": ("splitRun", extend_ai.SplitRunSummary, extend_ai.SplitRun),
}


def children(judge: Judge, key: str) -> dict[str, list[dict[str, Any]]]:
    """The runs of one kind inside each workflow run, by the workflow run's id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in judge.sandbox.state()["runs"]:
        judge.sdk.workflow_runs.retrieve(line["id"])
        results = [step["result"] or {} for step in judge.raw["stepRuns"]]
        if inside := [result[key] for result in results if isinstance(result.get(key), dict)]:
            found[line["id"]] = inside
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_children_of_a_workflow_run_are_listed_and_read(judge: Judge, kind: str) -> None:
    key, summary_model, model = KINDS[kind]
    api = getattr(judge.sdk, kind)
    by_parent = children(judge, key)
    assert by_parent
    for parent, expected in list(by_parent.items())[:5]:
        listed = judge.every(
            summary_model,
            lambda parent=parent, **page: api.list(source="WORKFLOW_RUN", source_id=parent, **page),  # type: ignore[misc]
        )
        assert {each["id"] for each in listed} == {each["id"] for each in expected}
        assert not any({"output", "config"} & set(each) or "breakdown" in (each.get("usage") or {}) for each in listed)
        for each in expected:
            judge.strictly(model, lambda each=each: api.retrieve(each["id"]))  # type: ignore[misc]
            assert judge.raw == each
    every = judge.every(summary_model, api.list)
    assert {each["id"] for each in every} == {each["id"] for runs in by_parent.values() for each in runs}
    failed = judge.every(summary_model, lambda **page: api.list(status="FAILED", **page))
    assert {each["id"] for each in failed} == {each["id"] for each in every if each["status"] == "FAILED"}
    assert api.list(source="API").data == []
    assert api.list(source="WORKFLOW_RUN", source_id="workflow_run_nowhere").data == []
    part = every[0]["file"]["name"][:6].upper()
    named = judge.every(summary_model, lambda **page: api.list(file_name_contains=part, **page))
    assert {each["id"] for each in named} == {each["id"] for each in every if part in each["file"]["name"].upper()}


def test_extract_runs_are_filtered_by_extractor_and_sorted(judge: Judge) -> None:
    every = judge.every(extend_ai.ExtractRunSummary, judge.sdk.extract_runs.list)
    extractor = every[0]["extractor"]["id"]
    some = judge.every(
        extend_ai.ExtractRunSummary,
        lambda **page: judge.sdk.extract_runs.list(extractor_id=extractor, sort_by="createdAt", sort_dir="asc", **page),
    )
    assert 0 < len(some) < len(every)
    assert {each["extractor"]["id"] for each in some} == {extractor}
    times = [each["createdAt"] for each in some]
    assert times == sorted(times)


def test_the_output_of_a_parse_run_is_had_by_url(judge: Judge) -> None:
    listed = judge.sdk.parse_runs.list(
        status="PROCESSED", request_options={"additional_query_parameters": {"limit": 3}}
    )
    assert len(listed.data) == 3
    inside = judge.strictly(extend_ai.ParseRun, lambda: judge.sdk.parse_runs.retrieve(listed.data[0].id))
    assert inside.output_url is None
    whole = judge.raw
    outside = judge.sdk.parse_runs.retrieve(inside.id, response_type="url")
    extend_ai.ParseRun.model_validate(judge.raw)
    assert judge.raw == {key: value for key, value in whole.items() if key != "output"} | {
        "outputUrl": outside.output_url
    }
    assert httpx.get(str(outside.output_url), trust_env=False, verify=False).json() == whole["output"]
    judge.sandbox.advance(15 * 60 + 1)
    assert httpx.get(str(outside.output_url), trust_env=False, verify=False).status_code == 403


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda sdk: sdk.parse_runs.list(source="PLAYGROUND"), extend_ai.BadRequestError),
        (lambda sdk: sdk.extract_runs.list(source="EDIT_RUN"), extend_ai.BadRequestError),
        (lambda sdk: sdk.extract_runs.list(status="REJECTED"), extend_ai.BadRequestError),
        (
            lambda sdk: sdk.parse_runs.retrieve(sdk.parse_runs.list().data[0].id, response_type="xml"),
            extend_ai.BadRequestError,
        ),
        (lambda sdk: sdk.split_runs.retrieve("splr_nowhere"), extend_ai.NotFoundError),
    ],
)
def test_what_cannot_be_is_refused(judge: Judge, call: Callable[[Any], Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        call(judge.sdk)
