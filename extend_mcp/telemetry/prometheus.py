"""Metrics for Prometheus.

The outcome of a tool call is the result's own such as ``cancelled``, ``done`` where it has none, ``asked`` while a
person is being asked, ``denied`` where the caller may not use the tool, ``wrong_arguments``, ``interrupted``, or the
class name of an error. A call of a tool that does not exist is counted under ``unknown``. An endpoint is the template
of a path. The status of an attempt is the HTTP status, or the class name of the error if there was no response.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from typing_extensions import override

from extend_mcp import __version__
from extend_mcp.telemetry.metrics import Metrics

# From an answer out of one read to a wait for a run to end.
_CALL_TIMES: Final = partial(Histogram, buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0))
# Up to the longest time that one call may take.
_REQUEST_TIMES: Final = partial(Histogram, buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0))

_METRICS: Final[dict[str, tuple[Any, str, tuple[str, ...]]]] = {
    "calls_in_flight": (Gauge, "Tool calls under way.", ()),
    "tool_calls_total": (Counter, "Tool calls answered.", ("tool", "outcome")),
    "tool_call_seconds": (_CALL_TIMES, "How long tool calls took.", ("tool",)),
    "answer_characters_total": (Counter, "Characters of answers to models.", ("tool",)),
    "guard_refusals_total": (Counter, "Actions refused for the state of their object.", ("tool", "verdict")),
    "api_requests_total": (Counter, "Attempts of requests to Extend.", ("method", "endpoint", "status")),
    "api_request_seconds": (_REQUEST_TIMES, "How long attempts of requests to Extend took.", ("method", "endpoint")),
    "api_retries_total": (Counter, "Requests to Extend that were sent again.", ("method", "endpoint", "reason")),
    "rate_wait_seconds_total": (Counter, "Seconds that requests were held back for the rate limit.", ("category",)),
    "webhook_events_total": (Counter, "Webhook deliveries received.", ("outcome",)),
    "refused_requests_total": (Counter, "HTTP requests refused before MCP saw them.", ("reason",)),
}
_SET_LATER: Final = {
    "redis_reachable": "1 while Redis answers, else 0.",
    "tokens_file_rejected": "1 while the tokens file cannot be used, else 0.",
}


class PrometheusMetrics(Metrics):
    """Keeps every measurement in its own registry, with CPU, memory and open files of the process (on Linux)."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("extend_mcp_build_info", "Always 1; see the label.", ("version",), registry=registry)
        build.labels(__version__).set(1)
        self._metrics: dict[str, Any] = {
            name: kind(f"extend_mcp_{name}", about, labels, registry=registry)
            for name, (kind, about, labels) in _METRICS.items()
        }

    def render(self) -> tuple[bytes, str]:
        """Return all metrics in Prometheus's text form, and its content type."""
        encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    @override
    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        metric = self._metrics[name]
        (metric.labels(**labels) if labels else metric).inc(amount)

    @override
    def observe(self, name: str, seconds: float, **labels: str) -> None:
        self._metrics[name].labels(**labels).observe(seconds)

    @override
    def set(self, name: str, value: float) -> None:
        if name not in self._metrics:
            self._metrics[name] = Gauge(f"extend_mcp_{name}", _SET_LATER[name], registry=self._registry)
        self._metrics[name].set(value)
