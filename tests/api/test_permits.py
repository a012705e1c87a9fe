"""What may go in this process: never more than the limit in any second, none in a pause, and what refusals teach."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.permits import LONGEST_PAUSE, PAUSE, REGROW, Category, LocalPermits, category

WAIT = 0.001
"""Seconds, to be past a moment in spite of rounding."""


class Clock:
    """Time that passes by hand."""

    def __init__(self) -> None:
        self.seconds = 1e6

    def __call__(self) -> float:
        return self.seconds


async def taken(permits: LocalPermits, kind: Category = "GET") -> int:
    """How many may go at this moment."""
    count = 0
    while await permits.take(kind) == 0:
        count += 1
    return count


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 1.2)),
        st.tuples(st.just("take"), st.integers(1, 15)),
        st.tuples(st.just("refused"), st.none() | st.floats(0, 3)),
    ),
    max_size=60,
)


@given(st.integers(1, 12), EVENTS)
async def test_no_second_sees_more_than_the_limit_and_no_pause_sees_any(
    limit: int, events: list[tuple[str, float | int | None]]
) -> None:
    clock = Clock()
    permits = LocalPermits(limit, monotonic=clock, regrow=0.5)
    sent: list[float] = []
    silent_until = 0.0
    for event, value in events:
        if event == "refused":
            await permits.refused("GET", value)
            silent_until = max(silent_until, clock.seconds + (PAUSE if value is None else value))
            continue
        if event == "pass":
            clock.seconds += value or 0.0
            continue
        for _ in range(int(value or 0)):
            wait = await permits.take("GET")
            if wait == 0:
                sent.append(clock.seconds)
                assert clock.seconds >= silent_until
            else:
                assert 0 < wait <= max(1.0, silent_until - clock.seconds + WAIT)
    for index, moment in enumerate(sent):
        # Sums of floats are a hair off.
        assert sum(1 for other in sent[index:] if other < moment + 1 - 1e-9) <= limit
    # However it got here: whoever waits as long as they are told goes, and is not told twice to wait for the same.
    asked = 0
    while wait := await permits.take("GET"):
        clock.seconds += wait
        asked += 1
    assert asked <= 4, "a pause, a full second, and rounding once each"


@pytest.mark.parametrize("limit", [1, 7])
async def test_the_limit_is_used_to_the_full(limit: int) -> None:
    clock = Clock()
    permits = LocalPermits(limit, monotonic=clock)
    for _ in range(5):
        assert await taken(permits) == limit
        clock.seconds += await permits.take("GET")


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [(None, PAUSE), (2.5, 2.5), (0.0, 0.0), (3600.0, LONGEST_PAUSE), (LONGEST_PAUSE, 60.0)]
)
async def test_a_refusal_holds_its_category_back_for_as_long_as_it_says(
    retry_after: float | None, seconds: float
) -> None:
    clock = Clock()
    permits = LocalPermits(10, monotonic=clock)
    await permits.refused("WRITE", retry_after)
    assert await permits.take("GET") == 0
    if seconds:
        assert await permits.take("WRITE") == pytest.approx(seconds)
        clock.seconds += seconds - WAIT
        assert await permits.take("WRITE") > 0
        clock.seconds += 2 * WAIT
    assert await permits.take("WRITE") == 0


async def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = Clock()
    permits = LocalPermits(10, monotonic=clock)
    await permits.refused("GET", 20.0)
    await permits.refused("GET", 1.0)
    assert await permits.take("GET") == pytest.approx(20)


async def test_a_wait_is_never_too_short_to_move_a_clock() -> None:
    clock = Clock()
    permits = LocalPermits(1, monotonic=clock)
    end = clock.seconds + 1
    await permits.refused("GET", 1.0)
    assert await permits.take("RUN") == 0
    clock.seconds = math.nextafter(end, 0)
    assert await permits.take("GET") == WAIT
    assert await permits.take("RUN") == WAIT


async def test_each_refusal_halves_down_to_one() -> None:
    clock = Clock()
    permits = LocalPermits(10, monotonic=clock)
    for expected in (5, 2, 1, 1):
        await permits.refused("RUN", 1.0)
        clock.seconds += 1 + WAIT
        assert await taken(permits, "RUN") == expected
        clock.seconds += 1
    assert await taken(permits, "GET") == 10


@pytest.mark.parametrize(("retry_after", "apart"), [(0.0, 0.1), (2.0, 0.4)], ids=["in a second", "in a pause"])
async def test_refusals_of_requests_sent_together_halve_once(retry_after: float, apart: float) -> None:
    clock = Clock()
    permits = LocalPermits(10, monotonic=clock)
    for _ in range(8):
        await permits.refused("GET", retry_after)
        clock.seconds += apart
    clock.seconds += retry_after
    assert await taken(permits) == 5


async def test_refusals_that_name_no_pause_still_halve_once_a_second() -> None:
    clock = Clock()
    permits = LocalPermits(16, monotonic=clock)
    for _ in range(9):
        await permits.refused("GET", 0.0)
        clock.seconds += 0.25
    assert await taken(permits) == 2


async def test_the_limit_grows_back_by_one_for_each_quiet_time_and_no_further() -> None:
    clock = Clock()
    permits = LocalPermits(8, monotonic=clock)
    await permits.refused("GET", 2.0)
    clock.seconds += 2 + WAIT
    for expected in (4, 5, 6, 7, 8, 8):
        assert await taken(permits) == expected
        clock.seconds += REGROW
    clock.seconds += 1e7
    assert await taken(permits) == 8


async def test_a_refusal_halves_what_has_grown_back() -> None:
    clock = Clock()
    permits = LocalPermits(12, monotonic=clock, regrow=10)
    await permits.refused("GET", 0.0)
    clock.seconds += 20 + WAIT
    await permits.refused("GET", 0.0)
    assert await taken(permits) == 4


async def test_after_a_halving_the_wait_is_until_few_enough_are_in_the_window() -> None:
    clock = Clock()
    permits = LocalPermits(4, monotonic=clock)
    for _ in range(4):
        assert await permits.take("GET") == 0
        clock.seconds += 0.1
    await permits.refused("GET", 0.0)
    # Of those at 0.0, 0.1, 0.2 and 0.3 three must be past before a second one counts.
    assert await permits.take("GET") == pytest.approx(1.2 - 0.4)


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
def test_what_counts_as_what(method: str, path: str, expected: str) -> None:
    assert category(method, path) == expected
