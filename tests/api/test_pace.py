"""The rate limit: never more than so many a second, in order, categories apart, attempts counted."""

from __future__ import annotations

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.pace import Pace, PaceTransport, category
from extend_mcp.api.transport import build_transport


class Clock:
    """Time that passes only by sleeping, or by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.seconds += seconds


@given(st.integers(1, 12), st.lists(st.floats(0, 0.7), min_size=1, max_size=80))
async def test_no_second_sees_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    clock = Clock()
    pace = Pace(limit, sleep=clock.sleep, monotonic=clock.monotonic)
    sent: list[float] = []
    for gap in gaps:
        clock.seconds += gap
        await pace.turn()
        sent.append(clock.seconds)
    for index, moment in enumerate(sent):
        # Sums of floats are a hair off.
        assert sum(1 for other in sent[index:] if other < moment + 1 - 1e-9) <= limit
    if sum(gaps) == 0:
        assert clock.seconds <= len(gaps) / limit + 0.1, "and no slower than that"


async def test_many_at_once_go_in_the_order_they_came() -> None:
    clock = Clock()
    pace = Pace(3, sleep=clock.sleep, monotonic=clock.monotonic)
    order: list[int] = []

    async def go(number: int) -> None:
        await pace.turn()
        order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(go, number)
    assert order == list(range(20))
    assert 5.9 <= clock.seconds <= 6.1


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


async def test_categories_do_not_wait_for_each_other() -> None:
    clock = Clock()
    inner = httpx.MockTransport(lambda request: httpx.Response(200, json={}))
    transport = PaceTransport(inner, per_second=2, sleep=clock.sleep, monotonic=clock.monotonic)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for _ in range(2):
            await client.get("/workflow_runs")
            await client.post("/workflow_runs")
            await client.delete("/workflow_runs/1")
        assert clock.seconds == 0
        await client.get("/workflow_runs")
        assert clock.seconds >= 1


async def test_each_attempt_of_a_retry_counts() -> None:
    clock = Clock()
    answers = iter([503, 503, 200])
    inner = httpx.MockTransport(lambda request: httpx.Response(next(answers), json={}))
    transport = build_transport(
        inner, total_timeout=60, max_attempts=4, requests_per_second=1, sleep=clock.sleep, monotonic=clock.monotonic
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/workflow_runs")).status_code == 200
    assert clock.seconds >= 2
