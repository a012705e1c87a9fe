"""Metrics for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from extend_mcp import __version__
from extend_mcp.telemetry.metrics import Metrics

_COUNTERS: Final = {
    "tool_calls_total": ("Tool calls answered.", ("tool", "outcome")),
    "answer_characters_total": ("Characters of answers to models.", ("tool",)),
    "guard_refusals_total": ("Actions refused for the state of their object.", ("tool", "verdict")),
    "api_requests_total": ("Attempts of requests to Extend.", ("method", "endpoint", "status")),
    "api_retries_total": ("Requests to Extend that were sent again.", ("method", "endpoint", "reason")),
    "rate_wait_seconds_total": ("Seconds that requests were held back for the rate limit.", ("category",)),
    "webhook_events_total": ("Webhook deliveries received.", ("outcome",)),
    "refused_requests_total": ("HTTP requests refused before MCP saw them.", ("reason",)),
}
_HISTOGRAMS: Final = {
    # From an answer out of one read to a wait for a run to end.
    "tool_call_seconds": (
        "How long tool calls took.",
        ("tool",),
        (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
    ),
    # Up to the longest time that one call may take.
    "api_request_seconds": (
        "How long attempts of requests to Extend took.",
        ("method", "endpoint"),
        (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    ),
}
_OPENMETRICS: Final = "application/openmetrics-text"


class PrometheusMetrics(Metrics):
    """Keeps every measurement in its own registry, with CPU, memory and open files of the process (on Linux)."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("extend_mcp_build_info", "Always 1; see the label.", ("version",), registry=registry)
        build.labels(__version__).set(1)
        self._gauges: dict[str, Gauge] = {}
        self._note("calls_in_flight", "Tool calls under way.", 0)
        self._counters = {
            name: Counter(f"extend_mcp_{name}", about, labels, registry=registry)
            for name, (about, labels) in _COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(f"extend_mcp_{name}", about, labels, buckets=buckets, registry=registry)
            for name, (about, labels, buckets) in _HISTOGRAMS.items()
        }

    def render(self, accept: str | None) -> tuple[bytes, str]:
        """Return all metrics and their content type: OpenMetrics if ``accept`` names that, else Prometheus's text."""
        offered = {each.partition(";")[0].strip().lower() for each in (accept or "").split(",")}
        # Given only the type: the library fails at a version that is no number, and repeats it in its response.
        encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in offered else "")
        return encode(self._registry), content_type

    def _add(self, name: str, amount: float, *labels: str) -> None:
        if labels:
            self._counters[name].labels(*labels).inc(amount)
        else:
            self._gauges[name].inc(amount)

    def _observe(self, name: str, value: float, *labels: str) -> None:
        self._histograms[name].labels(*labels).observe(value)

    def _note(self, name: str, about: str, value: float) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"extend_mcp_{name}", about, registry=self._registry)
        self._gauges[name].set(value)
