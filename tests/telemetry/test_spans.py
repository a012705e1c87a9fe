"""Tracing: off unless asked for, sent to a collector if so, and no secret in what is sent."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from extend_mcp.cli import configure_tracing
from extend_mcp.telemetry.otlp import redacted
from extend_mcp.telemetry.redaction import Redactor
from extend_mcp.telemetry.spans import annotate_span

SECRET = "canary-secret"
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


@contextmanager
def recording() -> Iterator[tuple[trace.Tracer, InMemorySpanExporter]]:
    """Return a new tracer, and what it exports."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("tests"), exporter
    provider.shutdown()


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "True"},
    ],
)
def test_nothing_happens_unless_it_is_asked_for(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    before = trace.get_tracer_provider()
    configure_tracing("1.0", environ=environ)()
    assert trace.get_tracer_provider() is before
    assert not caplog.records


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
@pytest.mark.parametrize(
    "missing", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
)
def test_a_missing_library_is_told(
    name: str, missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "extend_mcp.telemetry.otlp")
    configure_tracing("1.0", environ={name: f"http://{SECRET}@127.0.0.1:1"})()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "extend-mcp[otel]" in record.getMessage()
    assert SECRET not in record.getMessage()


def test_an_exporter_that_would_write_to_stdout_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    configure_tracing("1.0", environ={"OTEL_TRACES_EXPORTER": "console"})()
    assert ["OTEL_TRACES_EXPORTER" in record.getMessage() for record in caplog.records] == [True]


def test_the_span_at_hand_is_annotated() -> None:
    with recording() as (tracer, exporter):
        with tracer.start_as_current_span("call"):
            annotate_span(request_id="req-1", count=2, absent=None)
            annotate_span(**{"extend_mcp.name": "dotted"})
        assert dict(only(exporter).attributes or {}) == {
            "request_id": "req-1",
            "count": 2,
            "extend_mcp.name": "dotted",
        }


def test_without_a_span_nothing_is_annotated() -> None:
    annotate_span(request_id="req-1")
    assert not trace.get_current_span().is_recording()


def fail() -> None:
    raise ValueError(SECRET)


def test_no_secret_leaves_in_a_span() -> None:
    with recording() as (tracer, exporter):
        with contextlib.suppress(ValueError), tracer.start_as_current_span(f"tools/call {SECRET}"):
            annotate_span(given=SECRET, several=["a", SECRET], numbers=[1, 2], number=1.5, header=f"Bearer {SECRET}")
            # As the SDK of MCP does with what nobody foresaw: the text becomes an event and the status.
            fail()
        span = redacted(only(exporter), Redactor([SECRET]))
    assert "canary" not in span.to_json()
    assert span.name == "tools/call [redacted]"
    assert dict(span.attributes or {}) == {
        "given": "[redacted]",
        "several": ("a", "[redacted]"),
        "numbers": (1, 2),
        "number": 1.5,
        "header": "Bearer [redacted]",
    }
    (event,) = span.events
    assert (event.attributes or {})["exception.message"] == "[redacted]"
    assert span.status.description == "ValueError: [redacted]"


def test_what_is_no_secret_stays_as_it_is() -> None:
    with recording() as (tracer, exporter):
        with tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER) as outer:
            linked = trace.Link(outer.get_span_context(), {"a": 1})
            with tracer.start_as_current_span("inner", kind=trace.SpanKind.CLIENT, links=[linked]) as inner:
                inner.add_event("seen", {"b": 2}, timestamp=7)
                inner.set_status(trace.StatusCode.OK)
        span = redacted(exporter.get_finished_spans()[0], Redactor())
    assert isinstance(inner, ReadableSpan)
    assert span.to_json() == inner.to_json()
    assert span.instrumentation_scope == inner.instrumentation_scope
    assert span.kind is trace.SpanKind.CLIENT


SENDING = """
import logging
logging.basicConfig(level="WARNING")
from extend_mcp.telemetry.redaction import Redactor
from extend_mcp.cli import configure_tracing
shut_down = configure_tracing("1.2.3", redact=Redactor(["canary-secret"]))

import anyio, httpx
from extend_mcp.api.transport import ENDPOINT, ExtendTransport

async def main():
    inner = httpx.MockTransport(lambda _: httpx.Response(200, json={}))
    async with httpx.AsyncClient(transport=ExtendTransport(inner)) as http:
        await http.get("https://canary-secret.test/files/file_1", extensions={ENDPOINT: "/files/{id}"})

anyio.run(main)
second = configure_tracing("4.5.6")
second()
shut_down()
"""


@pytest.mark.parametrize(("given", "named"), [({}, "extend-mcp"), ({"OTEL_SERVICE_NAME": "chat-ops"}, "chat-ops")])
def test_spans_reach_a_collector(given: dict[str, str], named: str) -> None:
    pytest.importorskip(EXPORTER)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # type: ignore[import-not-found,unused-ignore]

    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        done = subprocess.run(
            [sys.executable, "-c", SENDING],
            env={**clean, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "PYTHONPATH": os.pathsep.join(sys.path), **given},
            capture_output=True,
            text=True,
            check=False,
        )
        collector.shutdown()
        thread.join()
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    ((path, body),) = received
    assert path == "/v1/traces"
    assert b"canary" not in body
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    about = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert (about["service.name"], about["service.version"]) == (named, "1.2.3")
    (scope,) = resource.scope_spans
    assert scope.scope.name == "extend-mcp"
    assert [span.name for span in scope.spans] == ["GET /files/{id}"]
