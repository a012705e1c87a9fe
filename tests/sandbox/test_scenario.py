"""The default scenario: as full as it promises, and the same for the same seed and start."""

from __future__ import annotations

import json

import pytest

from extend_mcp.sandbox import Sandbox, SandboxSettings
from tests.sandbox.kit import make_sandbox, still_clock

STATUSES = {"PENDING", "PROCESSING", "NEEDS_REVIEW", "REJECTED", "PROCESSED", "FAILED", "CANCELLED", "CANCELLING"}


def everything(sandbox: Sandbox) -> str:
    return json.dumps([record.run for record in sandbox.store], sort_keys=True)


def test_it_holds_what_an_operator_would_look_for() -> None:
    sandbox = make_sandbox()
    state = sandbox.state()
    runs = [record.run for record in sandbox.store]
    assert len(runs) >= 40
    assert len(state["workflows"]) == 4
    assert len(state["batches"]) == 2
    assert set(state["counts"]) == STATUSES
    assert len({step["stepType"] for run in runs for step in run["stepRuns"]}) == 10
    assert len({run["failureReason"] for run in runs if run["status"] == "FAILED"}) >= 3
    children = [child for run in runs for step in run["stepRuns"] for child in (step["result"] or {}).values()]
    reasons = {child["failureReason"] for child in children if isinstance(child, dict) and child.get("failureReason")}
    assert len(reasons) >= 3


def test_two_runs_go_on_for_ten_minutes_and_one_stays_cancelling() -> None:
    sandbox = make_sandbox()
    sandbox.advance(600)
    counts = sandbox.state()["counts"]
    assert counts["PROCESSING"] >= 2
    assert counts["CANCELLING"] == 1


def test_left_alone_everything_comes_to_an_end_or_waits_for_a_person() -> None:
    sandbox = make_sandbox()
    sandbox.advance(24 * 3600)
    assert not set(sandbox.state()["counts"]) & {"PENDING", "PROCESSING", "CANCELLING"}


def test_the_same_seed_and_start_give_the_same_account_and_another_seed_another() -> None:
    assert everything(make_sandbox()) == everything(make_sandbox())
    assert everything(make_sandbox(seed=2)) != everything(make_sandbox())


def test_one_document_tries_to_give_orders() -> None:
    [hostile] = [record.run for record in make_sandbox().store if "remittance" in str(record.run["files"])]
    text = json.dumps(hostile, ensure_ascii=False).lower()
    assert "ignore previous instructions" in text
    assert "cancel_workflow_run" in text
    assert "\\u001b" in text
    assert "\u200b" in text


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Sandbox(SandboxSettings(scenario="nothing"), still_clock())
