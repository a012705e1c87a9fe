"""The layers between a call and the network, one by one: what each does at its bounds, and how they fit together."""

from __future__ import annotations

import asyncio
import gzip
import logging
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest

from extend_mcp.api.errors import AnswerTooLargeError, ResponseLostError
from extend_mcp.api.rate_limit import LocalWindow, RateLimiter
from extend_mcp.api.transport import ENDPOINT, RETRY_AFTER_CEILING, ConnectionsTransport, ExtendTransport
from extend_mcp.telemetry.metrics import Metrics
from tests.api.server import Answer, answering

URL = "http://x/workflow_runs/workflow_run_xKm9pNv3qWsY_jL2tR5Dh?q=1"


@dataclass
class Body(httpx.AsyncByteStream):
    """A body that comes in these pieces, breaks off where it should, and remembers being closed."""

    pieces: Iterable[bytes]
    breaks: bool = False
    given: int = 0
    closed: bool = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.given += 1
            yield piece
        if self.breaks:
            raise httpx.ReadError("reset")

    async def aclose(self) -> None:
        self.closed = True


class Network(httpx.AsyncBaseTransport):
    """Gives these outcomes in turn, the last one for ever, and remembers what was sent and being closed."""

    def __init__(self, *outcomes: httpx.Response | Exception) -> None:
        self._outcomes = list(outcomes)
        self.sent: list[httpx.Request] = []
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class RecordingMetrics(Metrics):
    """Metrics that remember everything."""

    requests: list[tuple[str, str, str]] = field(default_factory=list)
    retries: list[tuple[str, str, str]] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        if name == "rate_wait_seconds_total":
            self.waits.append(labels["category"])
        else:
            found = {"api_requests_total": self.requests, "api_retries_total": self.retries}[name]
            found.append((labels["method"], labels["endpoint"], labels.get("status") or labels["reason"]))


@dataclass
class Waits:
    """Sleeps in no time, and draws the highest number of each range."""

    slept: list[float] = field(default_factory=list)
    ranges: list[tuple[float, float]] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def uniform(self, low: float, high: float) -> float:
        self.ranges.append((low, high))
        return high


def get(method: str = "GET") -> httpx.Request:
    return httpx.Request(method, URL, extensions={ENDPOINT: "/workflow_runs/{id}"})


def answer(status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, content=b"{}")


def coded(body: Body, encoding: str | None = None, status: int = 200) -> httpx.Response:
    headers = {"content-type": "application/json", "transfer-encoding": "chunked", "content-length": "3"}
    return httpx.Response(
        status, headers={**headers, **({"content-encoding": encoding} if encoding else {})}, stream=body
    )


def halves(data: bytes) -> list[bytes]:
    return [data[: len(data) // 2], data[len(data) // 2 :]]


# The body


@pytest.mark.parametrize("encoding", [None, "identity", "gzip", " GZIP "])
async def test_a_body_is_put_together_from_its_pieces(encoding: str | None) -> None:
    text = b'{"id": "workflow_run_1"}' * 50
    packed = gzip.compress(text) if encoding and "zip" in encoding.lower() else text
    body = Body(halves(packed))
    got = await ExtendTransport(Network(coded(body, encoding))).handle_async_request(get())
    assert (got.status_code, got.content) == (200, text)
    assert body.closed


async def test_headers_that_describe_the_packed_body_go_and_all_others_stay() -> None:
    sent = coded(Body([gzip.compress(b"{}")]), "gzip")
    sent.extensions["network_stream"] = "as it was"
    got = await ExtendTransport(Network(sent)).handle_async_request(get())
    assert got.headers["content-type"] == "application/json"
    assert "content-encoding" not in got.headers
    assert "transfer-encoding" not in got.headers
    assert got.headers.get("content-length") in (None, "2")
    assert got.extensions["network_stream"] == "as it was"


@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_a_body_may_be_as_large_as_allowed_and_not_a_byte_larger(encoding: str | None) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if encoding else bytes
    just = Network(coded(Body(halves(pack(b"x" * 100))), encoding))
    got = await ExtendTransport(just, max_bytes=100).handle_async_request(get())
    assert got.content == b"x" * 100
    body = Body(halves(pack(b"x" * 101)))
    with pytest.raises(AnswerTooLargeError, match="too large"):
        await ExtendTransport(Network(coded(body, encoding)), max_bytes=100).handle_async_request(get())
    assert body.closed


async def test_a_body_without_end_is_left_where_it_is_too_large() -> None:
    body = Body(b"x" * 30 for _ in range(1_000_000))
    with pytest.raises(AnswerTooLargeError):
        await ExtendTransport(Network(coded(body)), max_bytes=100).handle_async_request(get())
    assert body.given == 4


async def test_a_bomb_is_not_unpacked_further_than_is_allowed() -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(AnswerTooLargeError):
            await ExtendTransport(Network(coded(Body([bomb]), "gzip")), max_bytes=1_000_000).handle_async_request(get())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize(
    ("pieces", "encoding", "metrics"),
    [
        ([b"this is no gzip"], "gzip", "not valid gzip"),
        ([zlib.compress(b"{}")], "gzip", "not valid gzip"),
        ([gzip.compress(b"{}" * 500)[:-12]], "gzip", "ends early"),
        ([], "gzip", "ends early"),
        ([zlib.compress(b"{}")], "deflate", "not asked for"),
        ([b"{}"], "br", "not asked for"),
    ],
)
async def test_what_cannot_be_unpacked_is_an_error_of_a_good_answer_only(
    pieces: list[bytes], encoding: str, metrics: str
) -> None:
    body = Body(pieces)
    with pytest.raises(httpx.DecodingError, match=metrics):
        await ExtendTransport(Network(coded(body, encoding))).handle_async_request(get())
    assert body.closed
    # Of a refusal the status says enough.
    refused = await ExtendTransport(Network(coded(Body(pieces), encoding, 501))).handle_async_request(get())
    assert refused.status_code == 501
    assert b"no gzip" not in refused.content


async def test_what_was_read_of_a_refusal_before_it_broke_off_is_kept() -> None:
    body = Body([b'{"code"', b": 1"], breaks=True)
    got = await ExtendTransport(Network(coded(body, None, 501))).handle_async_request(get())
    assert (got.status_code, got.content) == (501, b'{"code": 1')
    assert body.closed
    broken = Body([b'{"id"'], breaks=True)
    with pytest.raises(httpx.ReadError):
        await ExtendTransport(Network(coded(broken)), max_attempts=1).handle_async_request(get())
    assert broken.closed


# Sending again


def retrying(network: Network, waits: Waits, **options: Any) -> ExtendTransport:
    return ExtendTransport(network, sleep=waits.sleep, uniform=waits.uniform, **options)


async def test_by_default_there_are_four_attempts_and_waits_double_from_half_a_second() -> None:
    network, waits = Network(answer(503)), Waits()
    assert (await retrying(network, waits).handle_async_request(get())).status_code == 503
    assert len(network.sent) == 4
    assert waits.slept == [0.5, 1, 2]
    assert {low for low, _ in waits.ranges} == {0}


async def test_waits_double_up_to_the_cap() -> None:
    waits = Waits()
    await retrying(Network(answer(503)), waits, max_attempts=8).handle_async_request(get())
    assert waits.slept == [0.5, 1, 2, 4, 8, 8, 8]


async def test_one_attempt_means_no_second_one() -> None:
    network, waits = Network(answer(503), answer()), Waits()
    assert (await retrying(network, waits, max_attempts=1).handle_async_request(get())).status_code == 503
    assert (len(network.sent), waits.slept) == (1, [])


@pytest.mark.parametrize(("asked", "slept"), [("30", [30]), ("30.5", []), ("0", [0])])
async def test_retry_after_is_waited_for_up_to_the_ceiling(asked: str, slept: list[float]) -> None:
    assert RETRY_AFTER_CEILING == 30
    waits = Waits()
    network = Network(answer(429, **{"Retry-After": asked}), answer())
    got = await retrying(network, waits).handle_async_request(get())
    assert waits.slept == slept
    assert waits.ranges == []
    assert got.status_code == (200 if slept else 429)


@pytest.mark.parametrize("status", [400, 401, 404, 422, 501])
async def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    network, waits = Network(answer(status), answer()), Waits()
    assert (await retrying(network, waits).handle_async_request(get())).status_code == status
    assert len(network.sent) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
@pytest.mark.parametrize("outcome", [answer(503), httpx.ConnectError("refused")], ids=["answer", "error"])
async def test_nothing_but_a_get_is_sent_twice(method: str, outcome: httpx.Response | Exception) -> None:
    network, waits = Network(outcome, answer()), Waits()
    sending = retrying(network, waits).handle_async_request(get(method))
    if isinstance(outcome, Exception):
        with pytest.raises(httpx.ConnectError):
            await sending
    else:
        assert (await sending).status_code == 503
    assert [request.method for request in network.sent] == [method]
    assert waits.slept == []


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.ReadError("reset"), True),
        (httpx.ReadTimeout("late"), True),
        (httpx.RemoteProtocolError("cut"), True),
        (httpx.ProxyError("no"), True),
        (AnswerTooLargeError("large"), False),
        (httpx.UnsupportedProtocol("ftp"), False),
        (RuntimeError("our own fault"), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_only_a_broken_connection_is_tried_again(error: Exception, again: bool) -> None:
    network, waits = Network(error, answer()), Waits()
    if again:
        assert (await retrying(network, waits).handle_async_request(get())).status_code == 200
        assert waits.slept == [0.5]
    else:
        with pytest.raises(type(error)):
            await retrying(network, waits).handle_async_request(get())
        assert len(network.sent) == 1


async def test_the_last_error_is_raised_as_it_is() -> None:
    last = httpx.ReadError("the last")
    network = Network(httpx.ConnectError("first"), last)
    with pytest.raises(httpx.ReadError) as raised:
        await retrying(network, Waits(), max_attempts=2).handle_async_request(get())
    assert raised.value is last


async def test_a_wait_that_would_outlast_the_call_is_not_begun() -> None:
    network, waits = Network(answer(429, **{"Retry-After": "20"}), answer()), Waits()
    with anyio.fail_after(10):
        got = await retrying(network, waits).handle_async_request(get())
    assert (got.status_code, waits.slept) == (429, [])
    with anyio.fail_after(60):
        assert (await retrying(network, waits).handle_async_request(get())).status_code == 200


async def test_who_watches_is_told_of_every_repetition_and_so_is_the_log(caplog: pytest.LogCaptureFixture) -> None:
    metrics, waits = RecordingMetrics(), Waits()
    network = Network(answer(503), httpx.ReadError("reset"), answer())
    with caplog.at_level(logging.INFO, logger="extend_mcp.api.transport"):
        await retrying(network, waits, metrics=metrics).handle_async_request(get())
    endpoint = "/workflow_runs/{id}"
    assert metrics.retries == [("GET", endpoint, "503"), ("GET", endpoint, "ReadError")]
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "GET attempt 1 met 503; next in 0.5 s"
    assert second == "GET attempt 2 met ReadError; next in 1.0 s"


async def test_a_path_that_has_no_template_is_told_to_nobody() -> None:
    metrics = RecordingMetrics()
    request = httpx.Request("GET", "http://x/workflow_runs?fileNameContains=secret?plan")
    await retrying(Network(answer(503), answer()), Waits(), metrics=metrics).handle_async_request(request)
    assert metrics.retries == [("GET", "other", "503")]


# The end of a call


async def test_a_call_that_takes_too_long_ends_and_says_what_may_have_happened() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    for method, effect in (("GET", "none"), ("POST", "unknown")):
        with pytest.raises(ResponseLostError, match="within the total time") as ended:
            await ExtendTransport(httpx.MockTransport(hang), total_timeout=0.01).handle_async_request(get(method))
        assert ended.value.effect == effect


# Connections


async def test_connections_are_used_again_and_idle_ones_closed() -> None:
    made: list[Network] = []

    def connect() -> Network:
        made.append(Network(coded(Body([b"{}"])), coded(Body([b"{}"])), httpx.ReadError("reset"), coded(Body([]))))
        return made[-1]

    transport = ConnectionsTransport(connect, most=3, idle_seconds=0.0)
    one, two, three = [await transport.handle_async_request(get()) for _ in range(3)]
    assert [len(each.sent) for each in made] == [1, 1, 1]
    with pytest.raises(httpx.PoolTimeout):
        await transport.handle_async_request(get())
    await three.aclose()
    await one.aclose()
    await one.aclose()
    # The last one released is used; the other is idle too long.
    await (await transport.handle_async_request(get())).aclose()
    assert [len(each.sent) for each in made] == [2, 1, 1]
    assert [each.closed for each in made] == [False, False, True]
    with pytest.raises(httpx.ReadError):
        await transport.handle_async_request(get())
    await (await transport.handle_async_request(get())).aclose()
    assert [len(each.sent) for each in made] == [4, 1, 1]
    await transport.aclose()
    assert [each.closed for each in made] == [True, True, True]
    await two.aclose()


# All of it together


async def test_every_attempt_every_repetition_and_every_wait_is_reported() -> None:
    metrics, waits = RecordingMetrics(), Waits()
    clock = iter(range(0, 1_000_000, 1))
    limiter = RateLimiter(
        LocalWindow(1, monotonic=lambda: next(clock) / 4), sleep=waits.sleep, monotonic=lambda: next(clock)
    )
    transport = ExtendTransport(
        Network(answer(503), httpx.ReadError("reset"), answer()),
        total_timeout=60,
        max_attempts=3,
        limiter=limiter,
        metrics=metrics,
        sleep=waits.sleep,
    )
    assert (await transport.handle_async_request(get())).status_code == 200
    endpoint = "/workflow_runs/{id}"
    assert metrics.requests == [("GET", endpoint, "503"), ("GET", endpoint, "ReadError"), ("GET", endpoint, "200")]
    assert metrics.retries == [("GET", endpoint, "503"), ("GET", endpoint, "ReadError")]
    assert metrics.waits
    assert set(metrics.waits) == {"GET"}


async def test_the_stack_repeats_as_often_as_told_and_a_truncated_body_counts() -> None:
    cut = Answer(cut=10)
    for attempts in (2, 3):
        waits = Waits()
        async with answering(cut, cut, Answer()) as server, httpx.AsyncHTTPTransport() as network:
            transport = ExtendTransport(network, total_timeout=10, max_attempts=attempts, sleep=waits.sleep)
            request = httpx.Request("GET", f"{server.url}/workflow_runs/workflow_run_1")
            if attempts == 2:
                with pytest.raises(httpx.RemoteProtocolError):
                    await transport.handle_async_request(request)
            else:
                assert (await transport.handle_async_request(request)).status_code == 200
            assert len(server.seen) == attempts
        assert len(waits.slept) == attempts - 1


async def test_the_stack_ends_a_call_that_hangs() -> None:
    async with answering(Answer(wait=asyncio.Event())) as server, httpx.AsyncHTTPTransport() as network:
        transport = ExtendTransport(network, total_timeout=0.05, max_attempts=4)
        with anyio.fail_after(20), pytest.raises(ResponseLostError):
            await transport.handle_async_request(httpx.Request("GET", server.url))
