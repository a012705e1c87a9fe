"""One call, seen from everywhere: log lines, spans and audit line carry one id, and its requests are below."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.line import INITIALIZE, notice, request, started
from tests.harness import KEY, Box, example_run

RUN = "workflow_run_observed0000000001"
SCENARIO = "empty"


@contextmanager
def collecting() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP collector over HTTP: its address, and the spans that it was sent."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    spans: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            for resource in service.ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{collector.server_port}", spans
        finally:
            collector.shutdown()
            thread.join()


def attributes(span: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


async def test_logs_spans_and_audit_name_a_call_by_the_same_id(box: Box, tmp_path: Path) -> None:
    box.load(example_run(RUN, "PROCESSED"))
    audit = tmp_path / "audit.jsonl"
    with collecting() as (collector, spans):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("EXTEND_", "OTEL_"))},
            "EXTEND_BASE_URL": box.base_url,
            "EXTEND_MCP_AUTH": "passthrough",
            "EXTEND_MCP_AUDIT": str(audit),
            "EXTEND_MCP_LOG": "json:INFO",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        }
        command = [sys.executable, "-m", "extend_mcp", "serve", "--transport", "http", "--port", "0"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            found = next(filter(None, (re.search(r"http://\S+/mcp", line) for line in process.stderr)))
            headers = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "the-one-id"}
            # A retry is logged, so that there is a line that belongs to the call.
            box.fault(method="GET", path=f"/workflow_runs/{RUN}", status=503)
            async with (
                httpx2.AsyncClient(headers=headers, trust_env=False, verify=False) as web,
                Client(streamable_http_client(found[0], http_client=web)) as client,
            ):
                await client.call_tool("cancel_workflow_run", {"run_id": RUN})
            process.terminate()
            lines = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert process.returncode == 0
    line = json.loads(audit.read_text())
    assert (line["call_id"], line["outcome"]) == ("the-one-id", "already_finished")
    retried = [entry for entry in lines if "503" in entry["message"]]
    assert [entry["request_id"] for entry in retried] == ["the-one-id"]

    call = next(span for span in spans if span.name == "tools/call cancel_workflow_run")
    assert attributes(call)["extend_mcp.request_id"] == "the-one-id"
    below = [span for span in spans if span.name == "GET /workflow_runs/{id}"]
    assert {span.trace_id for span in below} == {call.trace_id}
    assert len(below) == 2, "each attempt has a span"
    assert attributes(below[-1])["extend.request_id"].startswith("req_")
    everything = str(spans) + json.dumps(lines) + audit.read_text()
    assert KEY not in everything


@pytest.mark.parametrize("collector", ["refuses", "is silent"])
def test_a_collector_that_cannot_be_reached_does_not_hold_the_process(box: Box, collector: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if collector == "is silent":
            listener.listen()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with started(box, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as line:
            line.send(request("initialize", INITIALIZE, 0), notice("notifications/initialized"))
            assert "result" in line.receive()
            line.is_well()
            begun = time.monotonic()
            assert line.close() == 0
            assert time.monotonic() - begun < 4
