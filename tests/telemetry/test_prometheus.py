"""Metrics as Prometheus reads them: what was counted comes back from the text, and nothing that was not meant to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client import parser
from pydantic import SecretStr

from extend_mcp import __version__
from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.errors import ExtendError
from extend_mcp.api.transport import ExtendTransport
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.telemetry.prometheus import PrometheusMetrics
from tests.harness import KEY, Box, example_run

RUN = "workflow_run_canary0000000001"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(metrics: PrometheusMetrics) -> Samples:
    """Return what a scrape finds, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(metrics.render()[0].decode())
        for sample in family.samples
    }


def labels(**given: str) -> frozenset[tuple[str, str]]:
    return frozenset(given.items())


def tell(metrics: Metrics) -> None:
    """One of everything."""
    metrics.count("calls_in_flight", 2)
    metrics.count("calls_in_flight", -1)
    for seconds, characters in ((0.3, 120), (70.0, 80)):
        metrics.count("tool_calls_total", tool="list_runs", outcome="ok")
        metrics.observe("tool_call_seconds", seconds, tool="list_runs")
        metrics.count("answer_characters_total", characters, tool="list_runs")
    metrics.count("guard_refusals_total", tool="cancel_workflow_run", verdict="finished")
    endpoint = {"method": "GET", "endpoint": "/workflow_runs/{id}"}
    for status, seconds in (("200", 0.2), ("ReadTimeout", 30.0)):
        metrics.count("api_requests_total", **endpoint, status=status)
        metrics.observe("api_request_seconds", seconds, **endpoint)
    metrics.count("api_retries_total", **endpoint, reason="ReadTimeout")
    for seconds in (0.5, 1.0):
        metrics.count("rate_wait_seconds_total", seconds, category="GET")
    metrics.count("webhook_events_total", outcome="accepted")
    metrics.count("refused_requests_total", reason="origin")


def test_what_is_told_is_what_is_read() -> None:
    metrics = PrometheusMetrics()
    tell(metrics)
    read = samples(metrics)
    endpoint = {"method": "GET", "endpoint": "/workflow_runs/{id}"}
    expected = {
        ("extend_mcp_calls_in_flight", labels()): 1,
        ("extend_mcp_tool_calls_total", labels(tool="list_runs", outcome="ok")): 2,
        ("extend_mcp_tool_call_seconds_count", labels(tool="list_runs")): 2,
        ("extend_mcp_tool_call_seconds_sum", labels(tool="list_runs")): 70.3,
        ("extend_mcp_tool_call_seconds_bucket", labels(tool="list_runs", le="0.25")): 0,
        ("extend_mcp_tool_call_seconds_bucket", labels(tool="list_runs", le="0.5")): 1,
        ("extend_mcp_tool_call_seconds_bucket", labels(tool="list_runs", le="120.0")): 2,
        ("extend_mcp_answer_characters_total", labels(tool="list_runs")): 200,
        ("extend_mcp_guard_refusals_total", labels(tool="cancel_workflow_run", verdict="finished")): 1,
        ("extend_mcp_api_requests_total", labels(**endpoint, status="200")): 1,
        ("extend_mcp_api_requests_total", labels(**endpoint, status="ReadTimeout")): 1,
        ("extend_mcp_api_request_seconds_count", labels(**endpoint)): 2,
        ("extend_mcp_api_request_seconds_sum", labels(**endpoint)): 30.2,
        ("extend_mcp_api_retries_total", labels(**endpoint, reason="ReadTimeout")): 1,
        ("extend_mcp_rate_wait_seconds_total", labels(category="GET")): 1.5,
        ("extend_mcp_webhook_events_total", labels(outcome="accepted")): 1,
        ("extend_mcp_refused_requests_total", labels(reason="origin")): 1,
        ("extend_mcp_build_info", labels(version=__version__)): 1,
    }
    assert {each: read.get(each) for each in expected} == expected


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="read from /proc")
def test_the_process_is_measured_too() -> None:
    read = samples(PrometheusMetrics())
    assert read["process_resident_memory_bytes", labels()] > 1e6
    assert read["process_open_fds", labels()] > 0


def test_meters_know_nothing_of_each_other() -> None:
    one, other = PrometheusMetrics(), PrometheusMetrics()
    one.count("refused_requests_total", reason="host")
    counted = ("extend_mcp_refused_requests_total", labels(reason="host"))
    assert counted in samples(one)
    assert counted not in samples(other)


def test_the_form_is_prometheus_s_text() -> None:
    assert PrometheusMetrics().render()[1] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_that_keep_nothing_takes_the_same_calls() -> None:
    tell(Metrics())
    Metrics().set("redis_reachable", 0)


async def test_metrics_of_real_calls_hold_no_key_id_or_name(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSED"))
    metrics = PrometheusMetrics()
    box.fault(path=f"/workflow_runs/{RUN}", status=503)
    box.fault(path="/workflow_runs", drop=True)

    async def no_sleep(_: float) -> None:
        """Return at once."""

    config = ClientConfig(api_key=SecretStr(KEY), base_url=box.base_url, workspace_id="ws_canary")
    async with httpx.AsyncHTTPTransport() as network:
        client = ExtendClient(config, ExtendTransport(network, metrics=metrics, sleep=no_sleep))
        await client.get_workflow_run(RUN)
        await client.list_workflow_runs(file_name_contains="canary-name", workflow_id="workflow_canary")
        with pytest.raises(ExtendError):
            await client.get_file("file_canary")
    read = samples(metrics)
    one, every = labels(method="GET", endpoint="/workflow_runs/{id}"), labels(method="GET", endpoint="/workflow_runs")
    assert read["extend_mcp_api_requests_total", one | {("status", "503")}] == 1
    assert read["extend_mcp_api_requests_total", one | {("status", "200")}] == 1
    assert read["extend_mcp_api_requests_total", every | {("status", "RemoteProtocolError")}] == 1
    assert read["extend_mcp_api_request_seconds_count", every] == 2
    assert b"canary" not in metrics.render()[0]


def test_start_up_does_not_pay_for_any_of_it() -> None:
    script = """
import sys
import extend_mcp.api.transport, extend_mcp.telemetry.metrics, extend_mcp.telemetry.redaction, extend_mcp.cli
from extend_mcp.telemetry import logs
logs.configure_logging("WARNING", "text", logs.Redactor(["sk_canary_key"]))
extend_mcp.cli.configure_tracing("1")
heavy = ("prometheus_client", "opentelemetry.sdk", "opentelemetry.exporter")
print([name for name in sys.modules if name.startswith(heavy)])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "[]"
