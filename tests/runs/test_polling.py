"""Check how often a waiting call looks, and in which order statuses are reported."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.runs.polling import by_urgency, is_settled, next_pause


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
    assert {status for status in every if not is_settled(status)} == moving


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
