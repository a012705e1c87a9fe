"""The statuses of a run: what each allows, when to look again, and in which order they are reported."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.runs.lifecycle import (
    STATUSES,
    by_urgency,
    describe,
    is_finished,
    is_moving,
    next_pause,
)

DOCUMENTED = {"PENDING", "PROCESSING", "NEEDS_REVIEW", "REJECTED", "PROCESSED", "FAILED", "CANCELLED", "CANCELLING"}


def test_every_documented_status_is_known_and_no_other() -> None:
    assert set(STATUSES) == DOCUMENTED


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        ("PENDING", None),
        ("PROCESSING", None),
        ("NEEDS_REVIEW", "not_cancellable"),
        ("CANCELLING", "already_cancelling"),
        ("PROCESSED", "already_finished"),
        ("FAILED", "already_finished"),
        ("REJECTED", "already_finished"),
        ("CANCELLED", "already_finished"),
        ("PAUSED", "not_cancellable"),
        ("", "not_cancellable"),
    ],
)
def test_only_pending_and_processing_may_be_cancelled(status: str, refusal: str | None) -> None:
    verdict = describe(status)
    assert verdict.refusal == refusal
    assert verdict.may_cancel is (refusal is None)
    assert bool(verdict.reason) is bool(verdict.instead) is (refusal is not None)


@given(st.text())
def test_no_unknown_status_ever_allows_a_cancel(status: str) -> None:
    assert describe(status).may_cancel is (status in ("PENDING", "PROCESSING"))
    assert describe(status).meaning


def test_a_run_in_review_neither_moves_nor_is_over() -> None:
    assert {status for status in DOCUMENTED if is_moving(status)} == {"PENDING", "PROCESSING", "CANCELLING"}
    assert {status for status in DOCUMENTED if is_finished(status)} == {"PROCESSED", "FAILED", "REJECTED", "CANCELLED"}


@pytest.mark.parametrize(
    ("status", "why", "instead"),
    [
        ("CANCELLING", "under way", "get_workflow_run"),
        ("NEEDS_REVIEW", "a person's review", "dashboard"),
        ("PAUSED", "does not know its status", "dashboard"),
        ("PROCESSED", "finished successfully", "get_workflow_run"),
        ("FAILED", "finished with a failure", "run_workflow"),
        ("REJECTED", "reviewer rejected", "run_workflow"),
        ("CANCELLED", "cancelled", "run_workflow"),
    ],
)
def test_a_refusal_tells_why_and_what_can_be_done(status: str, why: str, instead: str) -> None:
    verdict = describe(status)
    assert why in verdict.reason
    assert instead in verdict.instead


@pytest.mark.parametrize("status", ["NEEDS_REVIEW", "PAUSED"])
def test_where_the_rule_is_the_reason_it_is_told_which_statuses_it_allows(status: str) -> None:
    assert "only" in describe(status).reason or "documents" in describe(status).reason
    assert "PENDING and PROCESSING" in describe(status).reason


def test_a_status_of_tomorrow_is_in_no_phase_that_we_know() -> None:
    assert describe("PAUSED").phase == "unknown"
    assert "does not know" in describe("PAUSED").meaning


def test_the_pace_is_a_second_then_slower_and_at_most_half_a_minute() -> None:
    pauses: list[float] = []
    while sum(pauses) < 3600:
        pauses.append(next_pause(pauses[-1] if pauses else 0, sum(pauses)))
    assert pauses[:30] == [1.0] * 30
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0
    assert all(later <= earlier * 1.15 + 1e-9 for earlier, later in pairwise(pauses))
    # An hour takes fewer looks than one every twenty seconds.
    assert len(list(accumulate(pauses))) < 180


def test_what_moves_by_itself_is_not_settled() -> None:
    moving = {"PENDING", "PROCESSING", "CANCELLING"}
    every = {*moving, "NEEDS_REVIEW", "REJECTED", "PROCESSED", "FAILED", "CANCELLED", "TOMORROWS"}
    assert {status for status in every if is_moving(status)} == moving


@given(st.lists(st.sampled_from(["PROCESSED", "FAILED", "PENDING", "NEEDS_REVIEW", "REJECTED", "CANCELLED", "NEW"])))
def test_failures_come_first_and_successes_last(statuses: list[str]) -> None:
    order = by_urgency(statuses)
    assert sorted(order) == sorted(set(statuses))
    if "FAILED" in order:
        assert order[0] == "FAILED"
    if "PROCESSED" in order:
        assert order[-1] == "PROCESSED"


def test_it_slows_down_from_half_a_minute_on() -> None:
    assert next_pause(1.0, 29.9) == 1.0
    assert next_pause(1.0, 30.0) == 1.15


def test_the_whole_order() -> None:
    """Unknown statuses come before those known to be harmless."""
    before = ["FAILED", "REJECTED", "NEEDS_REVIEW", "TOMORROWS"]
    order = [*before, "CANCELLED", "CANCELLING", "PENDING", "PROCESSING", "PROCESSED"]
    assert by_urgency(reversed(order)) == order
