"""Requests that keep to the limit: each attempt counts, a refusal holds its category, what was not sent is known."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
import httpx
import pytest
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.errors import ConnectFailedError
from extend_mcp.api.observe import Observer
from extend_mcp.api.pace import Budget, Category, LocalPermits, PaceTransport, Permits
from extend_mcp.api.transport import DeadlineExceededError, NoTurnError, build_transport
from tests.api.pacing import Clock, answer_with


class Told(Observer):
    """An observer that remembers the waits."""

    def __init__(self) -> None:
        self.waits: list[tuple[str, float]] = []

    def api_request(self, *, method: str, endpoint: str, status: str, seconds: float) -> None:
        pass

    def api_retry(self, *, method: str, endpoint: str, reason: str) -> None:
        pass

    def rate_waited(self, *, category: str, seconds: float) -> None:
        self.waits.append((category, seconds))


async def test_categories_do_not_wait_for_each_other_and_waits_are_told() -> None:
    clock = Clock()
    told = Told()
    transport = PaceTransport(answer_with(200), clock.budget(2), observer=told)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for _ in range(2):
            await client.get("/workflow_runs")
            await client.post("/workflow_runs")
            await client.delete("/workflow_runs/1")
        assert clock.seconds == 0
        assert told.waits == []
        await client.get("/workflow_runs")
        assert clock.seconds >= 1
    assert told.waits == [("GET", clock.seconds)]


async def test_what_the_queue_itself_takes_is_not_a_wait() -> None:
    ticks = itertools.count(0, 0.0001)
    budget = Budget(LocalPermits(5), sleep=hang, monotonic=lambda: next(ticks))
    assert await budget.turn("GET", "a") == 0


async def test_each_attempt_of_a_retry_counts() -> None:
    clock = Clock()
    transport = build_transport(
        answer_with(503, 503, 200), total_timeout=60, max_attempts=4, budget=clock.budget(1), sleep=clock.sleep
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/workflow_runs")).status_code == 200
    assert clock.seconds >= 2


@pytest.mark.parametrize(("headers", "seconds"), [({"retry-after": "7"}, 7), ({}, 1), ({"retry-after": "soon"}, 1)])
async def test_a_429_holds_everybody_back_in_its_category(headers: dict[str, str], seconds: float) -> None:
    clock = Clock()
    budget = clock.budget(10)
    alice = PaceTransport(answer_with(429, 200, **headers), budget, caller="alice")
    bob = PaceTransport(answer_with(200), budget, caller="bob")
    async with (
        httpx.AsyncClient(transport=alice, base_url="http://x") as hers,
        httpx.AsyncClient(transport=bob, base_url="http://x") as his,
    ):
        assert (await hers.post("/workflow_runs")).status_code == 429
        await his.get("/workflow_runs")
        assert clock.seconds == 0
        await his.post("/workflow_runs")
        assert clock.seconds == pytest.approx(seconds, abs=0.01)
        for _ in range(5):
            await hers.post("/workflow_runs")
    assert clock.seconds >= seconds + 1, "five a second from now on"


@dataclass
class Stream(httpx.AsyncByteStream):
    """A body that remembers being closed."""

    closed: list[bool] = field(default_factory=list)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{}"

    async def aclose(self) -> None:
        self.closed.append(True)


async def test_an_answer_is_closed_when_the_call_ends_while_its_429_is_being_passed_on() -> None:
    class Slow(LocalPermits):
        async def refused(self, category: Category, retry_after: float | None) -> None:
            scope.cancel()
            await anyio.sleep_forever()

    stream = Stream()
    transport = PaceTransport(httpx.MockTransport(lambda request: httpx.Response(429, stream=stream)), Budget(Slow(1)))
    with anyio.CancelScope() as scope:
        await transport.handle_async_request(httpx.Request("GET", "http://x"))
    assert scope.cancelled_caught
    assert stream.closed


async def hang(seconds: float) -> None:
    await anyio.sleep_forever()


async def paused(kind: Category) -> Permits:
    """Permits that let nothing of this category go for a minute."""
    permits = LocalPermits(10)
    await permits.refused(kind, 60.0)
    return permits


async def test_a_call_that_ends_before_its_turn_is_known_not_to_have_been_sent() -> None:
    def send(request: httpx.Request) -> httpx.Response:
        raise AssertionError

    budget = Budget(await paused("RUN"), sleep=hang)
    transport = build_transport(httpx.MockTransport(send), total_timeout=0.01, max_attempts=1, budget=budget)
    with pytest.raises(NoTurnError):
        await transport.handle_async_request(httpx.Request("POST", "http://x/workflow_runs"))

    config = ClientConfig(SecretStr("sk_1"), "http://x", total_timeout=0.01)
    async with ExtendClient(config, transport=httpx.MockTransport(send), budget=budget) as client:
        with pytest.raises(ConnectFailedError) as failed:
            await client.call("POST", "/workflow_runs", content=b"{}")
    assert failed.value.effect == "none"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_call_that_was_sent_is_not_taken_for_one_that_was_not(method: str) -> None:
    """Neither while its answer is awaited, nor while a later attempt waits for its turn."""

    async def send(request: httpx.Request) -> httpx.Response:
        if method == "POST":
            await anyio.sleep_forever()
        return httpx.Response(429, headers={"retry-after": "0.005"}, json={})

    async def skip(seconds: float) -> None:
        await anyio.lowlevel.checkpoint()

    budget = Budget(LocalPermits(1, monotonic=Clock().monotonic), sleep=hang)
    transport = build_transport(
        httpx.MockTransport(send), total_timeout=0.02, max_attempts=4, budget=budget, sleep=skip
    )
    with pytest.raises(DeadlineExceededError):
        await transport.handle_async_request(httpx.Request(method, "http://x/workflow_runs"))
