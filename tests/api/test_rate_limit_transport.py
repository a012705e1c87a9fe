"""Requests under the rate limit: each attempt counts, a 429 pauses its category, unsent requests are known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
import httpx
import pytest
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.errors import ConnectFailedError, ResponseLostError
from extend_mcp.api.rate_limit import Category, LocalWindow, RateLimiter
from extend_mcp.api.transport import ExtendTransport
from extend_mcp.telemetry.metrics import Metrics
from tests.api.simulated_time import Clock, answer_with


class RecordingMetrics(Metrics):
    """Metrics that remember the waits."""

    def __init__(self) -> None:
        self.waits: list[tuple[str, float]] = []

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        if name == "rate_wait_seconds_total":
            self.waits.append((labels["category"], amount))


async def test_categories_do_not_wait_for_each_other_and_waits_are_told() -> None:
    clock = Clock()
    metrics = RecordingMetrics()
    transport = ExtendTransport(answer_with(200), limiter=clock.limiter(2), metrics=metrics)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for _ in range(2):
            await client.get("/workflow_runs")
            await client.post("/workflow_runs")
            await client.delete("/workflow_runs/1")
        assert clock.seconds == 0
        assert metrics.waits == []
        await client.get("/workflow_runs")
        assert clock.seconds >= 1
    assert metrics.waits == [("GET", clock.seconds)]


async def test_each_attempt_of_a_retry_counts() -> None:
    clock = Clock()
    transport = ExtendTransport(
        answer_with(503, 503, 200), total_timeout=60, max_attempts=4, limiter=clock.limiter(1), sleep=clock.sleep
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/workflow_runs")).status_code == 200
    assert clock.seconds >= 2


@pytest.mark.parametrize(("headers", "seconds"), [({"retry-after": "7"}, 7), ({}, 1), ({"retry-after": "soon"}, 1)])
async def test_a_429_holds_everybody_back_in_its_category(headers: dict[str, str], seconds: float) -> None:
    clock = Clock()
    limiter = clock.limiter(10)
    alice = ExtendTransport(answer_with(429, 200, **headers), limiter=limiter)
    bob = ExtendTransport(answer_with(200), limiter=limiter)
    async with (
        httpx.AsyncClient(transport=alice, base_url="http://x") as hers,
        httpx.AsyncClient(transport=bob, base_url="http://x") as his,
    ):
        assert (await hers.post("/workflow_runs")).status_code == 429
        await his.get("/workflow_runs")
        assert clock.seconds == 0
        await his.post("/workflow_runs")
        assert clock.seconds == pytest.approx(seconds, abs=0.01)
        for _ in range(9):
            await hers.post("/workflow_runs")
        assert clock.seconds == pytest.approx(seconds, abs=0.01), "ten a second, as before"


@dataclass
class Stream(httpx.AsyncByteStream):
    """A body that remembers being closed."""

    closed: list[bool] = field(default_factory=list)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{}"

    async def aclose(self) -> None:
        self.closed.append(True)


async def test_an_answer_is_closed_when_the_call_ends_while_its_429_is_being_passed_on() -> None:
    class Slow(LocalWindow):
        async def pause(self, category: Category, seconds: float) -> None:
            scope.cancel()
            await anyio.sleep_forever()

    stream = Stream()
    inner = httpx.MockTransport(lambda request: httpx.Response(429, stream=stream))
    transport = ExtendTransport(inner, total_timeout=60, max_attempts=1, limiter=RateLimiter(Slow(1)))
    with anyio.CancelScope() as scope:
        await transport.handle_async_request(httpx.Request("GET", "http://x"))
    assert scope.cancelled_caught
    assert stream.closed


async def hang(seconds: float) -> None:
    await anyio.sleep_forever()


async def paused(category: Category) -> LocalWindow:
    """A window that allows nothing of this category for a minute."""
    window = LocalWindow(10)
    await window.pause(category, 60.0)
    return window


async def test_a_call_that_ends_before_the_limit_allows_it_is_known_not_to_have_been_sent() -> None:
    def send(request: httpx.Request) -> httpx.Response:
        raise AssertionError

    limiter = RateLimiter(await paused("RUN"), sleep=hang)
    transport = ExtendTransport(httpx.MockTransport(send), total_timeout=0.01, max_attempts=1, limiter=limiter)
    with pytest.raises(ConnectFailedError, match="nothing was sent"):
        await transport.handle_async_request(httpx.Request("POST", "http://x/workflow_runs"))

    client = ExtendClient(ClientConfig(SecretStr("sk_1"), "http://x"), transport)
    with pytest.raises(ConnectFailedError) as failed:
        await client.call("POST", "/workflow_runs", content=b"{}")
    assert failed.value.effect == "none"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_call_that_was_sent_is_not_taken_for_one_that_was_not(method: str) -> None:
    """Neither while its answer is awaited, nor while a later attempt waits for the limit."""

    async def send(request: httpx.Request) -> httpx.Response:
        if method == "POST":
            await anyio.sleep_forever()
        return httpx.Response(429, headers={"retry-after": "0.005"}, json={})

    async def skip(seconds: float) -> None:
        await anyio.lowlevel.checkpoint()

    limiter = RateLimiter(LocalWindow(1, monotonic=Clock().monotonic), sleep=hang)
    transport = ExtendTransport(
        httpx.MockTransport(send), total_timeout=0.02, max_attempts=4, limiter=limiter, sleep=skip
    )
    with pytest.raises(ResponseLostError):
        await transport.handle_async_request(httpx.Request(method, "http://x/workflow_runs"))
