"""Requests counted in this process: never more than the limit in any second, and none in a pause."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.rate_limit import Category, LocalWindow, category_of

WAIT = 0.001
"""Seconds, to be past a moment in spite of rounding."""


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1e6

    def __call__(self) -> float:
        return self.seconds


async def taken(window: LocalWindow, kind: Category = "GET") -> int:
    """Count how many requests may be sent at this moment."""
    count = 0
    while await window.take(kind) == 0:
        count += 1
    return count


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 1.2)),
        st.tuples(st.just("take"), st.integers(1, 15)),
        st.tuples(st.just("pause"), st.floats(0, 3)),
    ),
    max_size=60,
)


@given(st.integers(1, 12), EVENTS)
async def test_no_second_sees_more_than_the_limit_and_no_pause_sees_any(
    limit: int, events: list[tuple[str, float]]
) -> None:
    clock = Clock()
    window = LocalWindow(limit, monotonic=clock)
    sent: list[float] = []
    silent_until = 0.0
    for event, value in events:
        if event == "pause":
            await window.pause("GET", value)
            silent_until = max(silent_until, clock.seconds + value)
            continue
        if event == "pass":
            clock.seconds += value
            continue
        for _ in range(int(value)):
            wait = await window.take("GET")
            if wait == 0:
                sent.append(clock.seconds)
                assert clock.seconds >= silent_until
            else:
                assert 0 < wait <= max(1.0, silent_until - clock.seconds + WAIT)
    for index, moment in enumerate(sent):
        # Sums of floats are a hair off.
        assert sum(1 for other in sent[index:] if other < moment + 1 - 1e-9) <= limit
    # Waiting as long as asked is enough.
    asked = 0
    while wait := await window.take("GET"):
        clock.seconds += wait
        asked += 1
    assert asked <= 4, "a pause, a full second, and rounding once each"


@pytest.mark.parametrize("limit", [1, 7])
async def test_the_limit_is_used_to_the_full(limit: int) -> None:
    clock = Clock()
    window = LocalWindow(limit, monotonic=clock)
    for _ in range(5):
        assert await taken(window) == limit
        clock.seconds += await window.take("GET")


async def test_a_pause_holds_its_category_back_and_no_other() -> None:
    clock = Clock()
    window = LocalWindow(10, monotonic=clock)
    await window.pause("WRITE", 2.5)
    assert await window.take("GET") == 0
    assert await window.take("WRITE") == pytest.approx(2.5)
    clock.seconds += 2.5 - WAIT
    assert await window.take("WRITE") > 0
    clock.seconds += 2 * WAIT
    assert await taken(window, "WRITE") == 10


async def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = Clock()
    window = LocalWindow(10, monotonic=clock)
    await window.pause("GET", 20.0)
    await window.pause("GET", 1.0)
    assert await window.take("GET") == pytest.approx(20)


async def test_a_wait_is_never_too_short_to_move_a_clock() -> None:
    clock = Clock()
    window = LocalWindow(1, monotonic=clock)
    end = clock.seconds + 1
    await window.pause("GET", 1.0)
    assert await window.take("RUN") == 0
    clock.seconds = math.nextafter(end, 0)
    assert await window.take("GET") == WAIT
    assert await window.take("RUN") == WAIT


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/workflow_runs", "GET"),
        ("POST", "/workflow_runs", "RUN"),
        ("POST", "/v1/workflow_runs/batch", "RUN"),
        ("POST", "/workflow_runs/workflow_run_1", "WRITE"),
        ("POST", "/workflow_runs/workflow_run_1/cancel", "WRITE"),
        ("DELETE", "/workflow_runs/workflow_run_1", "WRITE"),
        ("POST", "/files/upload", "WRITE"),
    ],
)
def test_the_category_of_a_request(method: str, path: str, expected: str) -> None:
    assert category_of(method, path) == expected
