from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings
from extend_mcp.sandbox.engine.wire import RUN_STATUSES, child_runs, read_timestamp
from tests.sandbox.kit import START, get, ids_of, make_sandbox

STEP_TYPES = {
    "PARSE",
    "EXTRACT",
    "CLASSIFY",
    "SPLIT",
    "MERGE_EXTRACT",
    "CONDITIONAL_EXTRACT",
    "RULE_VALIDATION",
    "VALIDATION",
    "ROUTER",
    "EXTERNAL_DATA_VALIDATION",
}


def runs_of(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [record.run for record in sandbox.store]


def results(sandbox: Sandbox, step_type: str) -> list[dict[str, Any]]:
    steps = (step for run in runs_of(sandbox) for step in run["stepRuns"])
    return [step["result"] for step in steps if step["stepType"] == step_type and step["result"]]


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def test_the_data_depends_only_on_seed_and_start() -> None:
    first, same, other = make_sandbox(), make_sandbox(), make_sandbox(seed=2)
    assert runs_of(first) == runs_of(same)
    assert [record.summary() for record in first.store] == [record.summary() for record in same.store]
    assert not {run["id"] for run in runs_of(first)} & {run["id"] for run in runs_of(other)}


def test_an_unknown_scenario_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"unknown scenario 'nope'\. Use one of: default, empty, huge, incident, large"
    ):
        make_sandbox(scenario="nope")


def test_the_empty_scenario_has_workflows_only() -> None:
    sandbox = make_sandbox(scenario="empty")
    assert (len(sandbox.store.runs), len(sandbox.store.workflows)) == (0, 4)


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_at_any_hour_there_are_all_statuses_and_the_night_is_over(hour: int) -> None:
    start = START + hour * 3600
    sandbox = Sandbox(SandboxSettings(), SandboxClock(source=lambda: start))
    counts = sandbox.store.counts()
    assert set(counts) == set(RUN_STATUSES)
    assert (counts["PROCESSING"], counts["PENDING"], counts["CANCELLING"]) == (4, 2, 1)
    assert len(sandbox.store.runs) >= 40
    assert len(sandbox.store.batches()) == 2


def test_most_failures_happened_last_night(sandbox: Sandbox) -> None:
    failed = [run for run in runs_of(sandbox) if run["status"] == "FAILED"]
    at_night = [run for run in failed if run["endTime"] and "T02" <= run["endTime"][10:13] < "T05"]
    assert len(at_night) > len(failed) / 2
    assert len({run["failureReason"] for run in failed}) >= 4
    reasons = {
        child["failureReason"]
        for run in failed
        for step in run["stepRuns"]
        for child in child_runs(step["result"])
        if child["status"] == "FAILED"
    }
    assert {"PASSWORD_PROTECTED_FILE", "CORRUPT_FILE", "OUT_OF_CREDITS", "PARSING_ERROR"} <= reasons


def test_times_are_in_order_and_in_the_past(sandbox: Sandbox) -> None:
    for run in runs_of(sandbox):
        moments = [read_timestamp(run[field]) for field in ("initialRunAt", "startTime", "reviewedAt", "endTime")]
        known = [moment for moment in moments if moment]
        assert known == sorted(known), run["id"]
        assert known[-1] <= sandbox.started_at
        assert (run["endTime"] is not None) == (run["status"] in {"PROCESSED", "FAILED", "REJECTED", "CANCELLED"})


def test_usage_is_the_sum_of_the_child_runs(sandbox: Sandbox) -> None:
    charged = 0
    for run in runs_of(sandbox):
        children = [child for step in run["stepRuns"] for child in child_runs(step["result"]) if "usage" in child]
        costs = {child["id"]: child["usage"]["credits"] for child in children}
        usage = run["usage"] or {"credits": 0, "totalCredits": 0, "breakdown": []}
        assert {item["id"]: item["credits"] for item in usage["breakdown"]} == costs
        assert usage["credits"] == usage["totalCredits"] == sum(costs.values())
        charged += usage["credits"]
    assert charged > 1000


def test_all_ids_differ(sandbox: Sandbox) -> None:
    ids = [run["id"] for run in runs_of(sandbox)]
    ids += [step["id"] for run in runs_of(sandbox) for step in run["stepRuns"]]
    ids += [child["id"] for run in runs_of(sandbox) for step in run["stepRuns"] for child in child_runs(step["result"])]
    assert max(Counter(ids).values()) == 1


def test_every_step_type_has_results_worth_reading(sandbox: Sandbox) -> None:
    assert {step["stepType"] for run in runs_of(sandbox) for step in run["stepRuns"]} == STEP_TYPES
    assert all(results(sandbox, step_type) for step_type in STEP_TYPES)
    rules = [rule for result in results(sandbox, "RULE_VALIDATION") for rule in result["rules"]]
    assert any(False in rule.get("validArray", []) for rule in rules)
    blocks = [block for result in results(sandbox, "VALIDATION") for block in result["blocks"]]
    assert {block["valid"] for block in blocks} == {True, False}
    assert all(block["reasoning"] for block in blocks)
    matched = [result["matchedBranch"] for result in results(sandbox, "ROUTER")]
    assert None in matched
    assert any(matched)
    outputs = [each["extractRun"]["output"] for each in results(sandbox, "EXTRACT") if "output" in each["extractRun"]]
    scores = [entry for output in outputs for entry in output["metadata"].values()]
    assert all(0 < entry["logprobsConfidence"] <= 1 and entry["citations"] for entry in scores)
    assert {2, 4, 5} == {entry["reviewAgentScore"] for entry in scores}
    assert any(entry["insights"] for entry in scores)


def test_splits_cover_their_packet_and_have_files(sandbox: Sandbox) -> None:
    for run in runs_of(sandbox):
        extracted = {step["files"][0]["id"] for step in run["stepRuns"] if step["stepType"] == "EXTRACT"}
        for step in run["stepRuns"]:
            if step["stepType"] != "SPLIT" or run["status"] != "PROCESSED":
                continue
            splits = step["result"]["splitRun"]["output"]["splits"]
            assert {part["fileId"] for part in splits} == extracted
            assert splits[0]["startPage"] == 1
            assert splits[-1]["endPage"] == run["files"][0]["metadata"]["pageCount"]
            for before, after in pairwise(splits):
                assert after["startPage"] == before["endPage"] + 1


def test_a_run_in_review_shows_the_check_that_sent_it_there(sandbox: Sandbox) -> None:
    waiting = [run for run in runs_of(sandbox) if run["status"] == "NEEDS_REVIEW"]
    for run in waiting:
        result = run["stepRuns"][-1]["result"]
        assert result.get("allPassed", result.get("valid")) is False
        assert (run["reviewed"], run["endTime"]) == (False, None)
    assert len(waiting) >= 3


def test_one_document_is_long(sandbox: Sandbox) -> None:
    chunks = [len(result["parseRun"].get("output", {"chunks": []})["chunks"]) for result in results(sandbox, "PARSE")]
    assert max(chunks) >= 60


def test_the_hostile_document_has_text_in_many_places(sandbox: Sandbox) -> None:
    (run,) = [run for run in runs_of(sandbox) if run["files"][0]["name"] == "urgent-remittance.pdf"]
    steps = {step["stepType"]: step["result"] for step in run["stepRuns"]}
    passage = steps["PARSE"]["parseRun"]["output"]["chunks"][0]["content"]
    for part in ("\x1b[", "</untrusted>", "Ignore previous instructions", "\u200b", "\u202e", "![receipt](https://"):
        assert part in passage
    assert "\u202e" in steps["EXTRACT"]["extractRun"]["output"]["value"]["vendor_name"]
    assert "\x1b]" in run["metadata"]["note"]
    assert "<system>" in run["files"][0]["metadata"]["parentSplit"]["identifier"]
    others = [each for each in runs_of(sandbox) if each is not run]
    assert not [text for text in texts(others) if "cancel_workflow_run" in text or "\x1b" in text]


async def test_live_runs_leave_time_to_act(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    processing, pending = ids_of(sandbox, "PROCESSING"), ids_of(sandbox, "PENDING")
    (cancelling,) = ids_of(sandbox, "CANCELLING")
    sandbox.advance(5 * 60)
    assert set(pending) <= set(ids_of(sandbox, "PENDING"))
    sandbox.advance(5 * 60)
    still = set(processing) & set(ids_of(sandbox, "PROCESSING"))
    assert len(still) >= 2
    assert set(pending) & set(ids_of(sandbox, "PROCESSING"))
    sandbox.advance(20 * 60)
    assert (await get(api, cancelling))["status"] == "CANCELLING"
    sandbox.advance(24 * 3600)
    assert not set(sandbox.store.counts()) & {"PENDING", "PROCESSING", "CANCELLING"}
    assert (await get(api, cancelling))["status"] == "CANCELLED"
