"""Clients and the rate limiter that they share."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.rate_limit import RateLimiter
from extend_mcp.api.transport import ExtendTransport
from tests.api.simulated_time import Clock, answer_with


def clients(clock: Clock, config: ClientConfig, *limiters: RateLimiter | None) -> list[ExtendClient]:
    return [
        ExtendClient(config, ExtendTransport(answer_with(200), limiter=limiter, caller=str(number), sleep=clock.sleep))
        for number, limiter in enumerate(limiters)
    ]


Limiters = Callable[[Clock], list[RateLimiter]]


@pytest.mark.parametrize(
    ("limiters", "seconds"),
    [
        (lambda clock: [clock.limiter(2), clock.limiter(2)], 0),
        (lambda clock: [clock.limiter(2)] * 2, 1),
    ],
    ids=["each its own", "one for both"],
)
async def test_clients_share_the_limiter_that_they_are_given(limiters: Limiters, seconds: float) -> None:
    clock = Clock()
    config = ClientConfig(SecretStr("sk_1"), "http://x")
    both = clients(clock, config, *limiters(clock))
    for client in both:
        for _ in range(2):
            await client.call("GET", "/workflow_runs")
    assert clock.seconds == pytest.approx(seconds, abs=0.01)


async def test_callers_who_share_a_limiter_alternate() -> None:
    clock = Clock()
    sent: list[str] = []

    def client(caller: str) -> ExtendClient:
        def send(request: httpx.Request) -> httpx.Response:
            sent.append(caller)
            return httpx.Response(200, json={})

        config = ClientConfig(SecretStr("sk_1"), "http://x")
        return ExtendClient(config, ExtendTransport(httpx.MockTransport(send), limiter=limiter, caller=caller))

    async def call(client: ExtendClient) -> None:
        await client.call("GET", "/workflow_runs")

    limiter = clock.limiter(1)
    busy, other = client("a"), client("b")
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call, busy)
        tasks.start_soon(call, other)
    assert sent.index("b") <= 2
    assert len(sent) == 21


async def test_a_client_without_a_limit_never_waits() -> None:
    clock = Clock()
    [client] = clients(clock, ClientConfig(SecretStr("sk_1"), "http://x"), None)
    for _ in range(50):
        await client.call("GET", "/workflow_runs")
    assert clock.seconds == 0
