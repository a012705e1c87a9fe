"""Connections that send nothing, or only a part of a request: they end, and cost nobody else an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import SocketStream

from tests.harness import Box
from tests.http.calls import CALL, HEADERS
from tests.http.kit import Running, serving_http

HALF_A_REQUEST = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Unfinished: "


@asynccontextmanager
async def connections(running: Running, count: int, sent: bytes = b"") -> AsyncIterator[list[SocketStream]]:
    """Many connections that have sent ``sent``, and send nothing more."""
    host, port = running.url.removeprefix("http://").split(":")
    async with AsyncExitStack() as exits:
        streams = []
        for _ in range(count):
            stream = await exits.enter_async_context(await anyio.connect_tcp(host, int(port)))
            if sent:
                await stream.send(sent)
            streams.append(stream)
        yield streams


async def ended(stream: SocketStream) -> None:
    """Wait until the server has closed a connection."""
    try:
        while True:
            await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return


@pytest.mark.parametrize("sent", [b"", HALF_A_REQUEST], ids=["idle", "unfinished headers"])
async def test_probes_and_calls_answer_within_a_second_whatever_waits(box: Box, sent: bytes) -> None:
    async with (
        serving_http(box.base_url, limits={"requests": 5, "connections": 100}) as running,
        connections(running, 110, sent) as held,
    ):
        for path in ("/healthz", "/readyz"):
            with anyio.fail_after(1):
                assert (await running.get(path)).status_code == 200
        with anyio.fail_after(1):
            assert (await running.post(CALL, HEADERS)).status_code == 200
        # The oldest made room, long before their time for headers was over.
        with anyio.fail_after(5):
            await ended(held[0])


@pytest.mark.parametrize("sent", [b"", HALF_A_REQUEST], ids=["idle", "unfinished headers"])
async def test_a_connection_that_sends_no_whole_request_is_closed(box: Box, sent: bytes) -> None:
    async with (
        serving_http(box.base_url, limits={"header_seconds": 0.1}) as running,
        connections(running, 1, sent) as [stream],
    ):
        with anyio.fail_after(5):
            await ended(stream)


async def test_a_byte_now_and_then_gains_no_time(box: Box) -> None:
    async with (
        serving_http(box.base_url, limits={"header_seconds": 0.3}) as running,
        connections(running, 1, HALF_A_REQUEST) as [stream],
    ):
        with anyio.fail_after(5), suppress(anyio.BrokenResourceError):
            while True:
                await stream.send(b"x")
                await anyio.sleep(0.02)


async def test_a_second_request_on_a_connection_must_arrive_whole_too(box: Box) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with (
        serving_http(box.base_url, limits={"header_seconds": 0.1}) as running,
        connections(running, 1, whole) as [stream],
    ):
        with anyio.fail_after(5):
            assert b"200 OK" in await stream.receive()
            await stream.send(whole)
            assert b"200 OK" in await stream.receive()
            await stream.send(HALF_A_REQUEST)
            await ended(stream)


async def test_a_call_in_progress_outlives_the_time_for_headers_and_the_limit_of_connections(box: Box) -> None:
    box.fault(method="GET", path="/workflow_runs", delaySeconds=0.5)
    statuses = []
    async with serving_http(box.base_url, limits={"header_seconds": 0.1, "connections": 3}) as running:

        async def call() -> None:
            statuses.append((await running.post(CALL, HEADERS)).status_code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            while not running.app.lifecycle.calls:
                await anyio.sleep(0.01)
            async with connections(running, 10):
                pass
    assert statuses == [200]
