"""Observed requests: each attempt is reported by endpoint, without ids and secrets."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.errors import AnswerTooLargeError, ExtendError
from extend_mcp.api.models import ChildRuns
from extend_mcp.api.transport import ENDPOINT, ExtendTransport
from extend_mcp.telemetry.metrics import Metrics
from tests.api.server import Answer, answering
from tests.harness import KEY, Box, example_run

RUN = "workflow_run_canary0000000001"

ENDPOINTS = {
    "GET /workflow_runs",
    "POST /workflow_runs",
    "POST /workflow_runs/batch",
    "GET /workflow_runs/{id}",
    "POST /workflow_runs/{id}",
    "DELETE /workflow_runs/{id}",
    "POST /workflow_runs/{id}/cancel",
    "GET /extract_runs",
    "GET /workflows",
    "POST /workflows",
    "GET /workflows/{id}",
    "POST /workflows/{id}",
    "GET /workflows/{id}/versions",
    "POST /workflows/{id}/versions",
    "GET /workflows/{id}/versions/{version_id}",
    "GET /files",
    "POST /files/upload",
    "GET /files/{id}",
    "DELETE /files/{id}",
    "GET /webhook_endpoints",
    "POST /webhook_endpoints",
    "GET /webhook_endpoints/{id}",
    "POST /webhook_endpoints/{id}",
    "DELETE /webhook_endpoints/{id}",
    "GET /webhook_subscriptions",
    "POST /webhook_subscriptions",
    "GET /webhook_subscriptions/{id}",
    "POST /webhook_subscriptions/{id}",
    "DELETE /webhook_subscriptions/{id}",
}
"""Endpoints that Extend's reference documents and this client calls."""


@dataclass
class RecordingMetrics(Metrics):
    """Metrics that record each report."""

    requests: list[tuple[str, str, str, float]] = field(default_factory=list)
    _status: str = ""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        if name == "api_requests_total":
            self._status = labels["status"]

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        assert name == "api_request_seconds"
        self.requests.append((labels["method"], labels["endpoint"], self._status, seconds))

    @property
    def outcomes(self) -> list[str]:
        return [status for _, _, status, _ in self.requests]


@dataclass
class Watched:
    """Metrics, spans and a client whose attempts they see."""

    metrics: RecordingMetrics
    exporter: InMemorySpanExporter
    provider: TracerProvider

    def transport(self, inner: httpx.AsyncBaseTransport | None = None, **options: Any) -> ExtendTransport:
        given = {"max_attempts": 1, "max_bytes": 100_000, "tracer": self.provider.get_tracer("tests"), **options}
        return ExtendTransport(inner or httpx.AsyncHTTPTransport(), metrics=self.metrics, **given)

    @asynccontextmanager
    async def client(self, base_url: str, **options: Any) -> AsyncIterator[ExtendClient]:
        async def no_sleep(_: float) -> None:
            """Return at once."""

        config = ClientConfig(api_key=SecretStr(KEY), base_url=base_url, workspace_id="ws_canary")
        transport = self.transport(**{"max_attempts": 4, "sleep": no_sleep, **options})
        async with transport.inner:
            yield ExtendClient(config, transport)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()


@pytest.fixture
def watched() -> Watched:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Watched(RecordingMetrics(), exporter, provider)


async def call_everything(client: ExtendClient) -> None:
    """Call each operation with ids and bodies that mean nothing."""
    body = SimpleNamespace(to_json=lambda: b"{}")
    for name, operation in inspect.getmembers(ExtendClient, inspect.isfunction):
        if name.startswith("_") or name in {"aclose", "call", "send", "list_of", "sleep"}:
            continue
        given: dict[str, Any] = {}
        for parameter in list(inspect.signature(operation).parameters.values())[1:]:
            if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD:
                plain: dict[Any, object] = {str: "canary/../x?y", bytes: b"canary", ChildRuns: "extract_runs"}
                given[parameter.name] = plain.get(parameter.annotation, body)
        # The empty answer is the right one to none of them.
        with pytest.raises(ExtendError):
            await getattr(client, name)(**given)


@pytest.mark.parametrize("prefix", ["", "/proxy/files/v1", "/workflows", "/workflow_runs/batch"])
async def test_every_operation_has_its_endpoint(watched: Watched, prefix: str) -> None:
    inner = httpx.MockTransport(lambda _: httpx.Response(200, json={}))
    async with watched.client(f"https://api.test{prefix}", inner=inner) as client:
        await call_everything(client)
    assert {f"{method} {endpoint}" for method, endpoint, _, _ in watched.metrics.requests} == ENDPOINTS
    assert {span.name for span in watched.spans} == ENDPOINTS


async def test_a_request_that_the_client_did_not_make_has_no_endpoint(watched: Watched) -> None:
    inner = httpx.MockTransport(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=watched.transport(inner)) as http:
        await http.get("https://api.test/files/canary")
    assert watched.metrics.requests[0][:3] == ("GET", "other", "200")


@given(st.text(min_size=1), st.sampled_from(["", "/api", "/v1/files", "/workflows/a%2Fb", "/batch"]))
@example("versions", "/files")
@example("workflow_runs/batch", "")
@example("cancel", "/workflow_runs")
async def test_no_id_shows_whatever_it_is(found: str, prefix: str) -> None:
    assume(found not in {".", ".."})
    found = found.encode("utf-8", "replace").decode()
    metrics, paths = RecordingMetrics(), list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path.removeprefix(httpx.URL(f"https://api.test{prefix}").path.rstrip("/")))
        return httpx.Response(200, json={"id": "x"})

    config = ClientConfig(api_key=SecretStr(KEY), base_url=f"https://api.test{prefix}")
    client = ExtendClient(config, ExtendTransport(httpx.MockTransport(answer), metrics=metrics))
    await client.get_workflow_version(found, found)
    await client.cancel_workflow_run(found)
    endpoints = ["/workflows/{id}/versions/{version_id}", "/workflow_runs/{id}/cancel"]
    assert [endpoint for _, endpoint, _, _ in metrics.requests] == endpoints
    assert paths == [each.replace("{id}", found).replace("{version_id}", found) for each in endpoints]


async def test_each_attempt_is_told_and_spanned(box: Box, watched: Watched) -> None:
    box.load(example_run(RUN, "PROCESSED"))
    box.fault(path=f"/workflow_runs/{RUN}", status=503)
    box.fault(path=f"/workflow_runs/{RUN}", drop=True)
    with watched.provider.get_tracer("tests").start_as_current_span("the call") as call:
        async with watched.client(box.base_url) as client:
            await client.get_workflow_run(RUN)
    assert watched.metrics.outcomes == ["503", "RemoteProtocolError", "200"]
    assert {(method, endpoint) for method, endpoint, _, _ in watched.metrics.requests} == {
        ("GET", "/workflow_runs/{id}")
    }
    *attempts, _ = watched.spans
    host = {
        "http.request.method": "GET",
        "url.template": "/workflow_runs/{id}",
        "server.address": "127.0.0.1",
    }
    failed, broken, done = [dict(span.attributes or {}) for span in attempts]
    assert done.pop("extend.request_id")
    failed.pop("extend.request_id", None)
    assert done == {**host, "http.response.status_code": 200}
    assert failed == {**host, "http.response.status_code": 503, "error.type": "503"}
    assert broken == {**host, "error.type": "RemoteProtocolError"}
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    for span in attempts:
        assert span.name == "GET /workflow_runs/{id}"
        assert span.kind is SpanKind.CLIENT
        assert span.parent == call.get_span_context()
        assert not span.events
        assert not span.status.description


async def test_no_key_id_name_or_query_is_in_a_span(box: Box, watched: Watched) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    async with watched.client(box.base_url) as client:
        await client.list_workflow_runs(file_name_contains="canary-name", next_page_token=None)
        await client.get_workflow_run(RUN)
        await client.cancel_workflow_run(RUN)
        with pytest.raises(ExtendError):
            await client.get_file("file_canary")
    assert len(watched.spans) == 4
    for span in watched.spans:
        assert "canary" not in span.to_json()


@pytest.mark.parametrize("echo", [KEY, f"req_{KEY}", "x" * 129, "a b", "canary\u00e9"])
async def test_a_request_id_that_is_none_is_left_out(watched: Watched, echo: str) -> None:
    answer = Answer(headers={"x-extend-request-id": echo})
    async with answering(answer) as server, watched.client(server.url) as client:
        await client.get_workflow_run("workflow_run_1")
    (span,) = watched.spans
    assert "extend.request_id" not in (span.attributes or {})
    assert KEY not in span.to_json()


async def test_extends_request_id_is_on_the_span(watched: Watched) -> None:
    answer = Answer(404, headers={"x-extend-request-id": "req_Xj8mK2pL9nR4vT7qY5wZ"})
    async with answering(answer) as server, watched.client(server.url) as client:
        with pytest.raises(ExtendError):
            await client.get_workflow_run("workflow_run_1")
    (span,) = watched.spans
    assert (span.attributes or {})["extend.request_id"] == "req_Xj8mK2pL9nR4vT7qY5wZ"


class Chunks(httpx.AsyncByteStream):
    """A body in pieces, each of which takes a second of a clock; it may break."""

    def __init__(self, pieces: int, error: Exception | None = None) -> None:
        self.seconds = 0.0
        self.closed = 0
        self._pieces = pieces
        self._error = error

    def monotonic(self) -> float:
        return self.seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._pieces):
            self.seconds += 1
            yield b"piece"
        if self._error:
            raise self._error

    async def aclose(self) -> None:
        self.closed += 1


def streaming(watched: Watched, body: Chunks) -> httpx.AsyncClient:
    inner = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    return httpx.AsyncClient(transport=watched.transport(inner, monotonic=body.monotonic))


URL = "https://api.test/files"
FILES = {ENDPOINT: "/files"}


async def test_an_attempt_lasts_until_its_body_ends(watched: Watched) -> None:
    body = Chunks(3)
    async with streaming(watched, body) as http:
        assert (await http.get(URL, extensions=FILES)).content == b"piece" * 3
    assert watched.metrics.requests == [("GET", "/files", "200", 3.0)]
    assert len(watched.spans) == 1
    assert body.closed


async def test_a_body_that_is_read_no_further_ends_with_its_error(watched: Watched) -> None:
    body = Chunks(100_000)
    async with streaming(watched, body) as http:
        with pytest.raises(AnswerTooLargeError):
            await http.get(URL, extensions=FILES)
    assert watched.metrics.requests == [("GET", "/files", "AnswerTooLargeError", 20_001.0)]
    assert len(watched.spans) == 1
    assert body.closed


async def test_a_body_that_breaks_is_an_error_though_its_head_was_fine(watched: Watched) -> None:
    body = Chunks(2, httpx.ReadError("canary text"))
    async with streaming(watched, body) as http:
        with pytest.raises(httpx.ReadError):
            await http.get(URL, extensions=FILES)
    assert watched.metrics.requests == [("GET", "/files", "ReadError", 2.0)]
    (span,) = watched.spans
    assert (span.attributes or {})["error.type"] == "ReadError"
    assert span.status.status_code is StatusCode.ERROR
    assert "canary" not in span.to_json()


async def test_a_truncated_answer_is_told_as_broken(watched: Watched) -> None:
    cut = Answer(cut=5)
    async with answering(cut, Answer()) as server, watched.client(server.url) as client:
        await client.get_workflow_run("workflow_run_1")
    assert watched.metrics.outcomes == ["RemoteProtocolError", "200"]


async def test_a_cancelled_attempt_is_told(watched: Watched) -> None:
    with anyio.CancelScope() as scope:

        async def hang(_: httpx.Request) -> httpx.Response:
            scope.cancel()
            await anyio.sleep_forever()
            raise AssertionError

        async with watched.client("https://api.test", inner=httpx.MockTransport(hang)) as client:
            await client.get_workflow_run("workflow_run_1")
    assert watched.metrics.outcomes == ["CancelledError"]
    assert len(watched.spans) == 1
