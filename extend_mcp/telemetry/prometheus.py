"""Metrics for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from extend_mcp import __version__
from extend_mcp.telemetry.metrics import Metrics

TOOL_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""From an answer out of one read to a wait for a run to end."""

API_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Up to the longest time that one call may take."""

_OPENMETRICS: Final = "application/openmetrics-text"


class PrometheusMetrics(Metrics):
    """Keeps every measurement in its own registry, with CPU, memory and open files of the process (on Linux).

    Args:
        version: shown by ``extend_mcp_build_info``.
    """

    def __init__(self, version: str = __version__) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._conditions: dict[str, Gauge] = {}
        self._in_flight = Gauge("extend_mcp_calls_in_flight", "Tool calls under way.", registry=registry)
        self._tool_calls = Counter(
            "extend_mcp_tool_calls_total", "Tool calls answered.", ("tool", "outcome"), registry=registry
        )
        self._tool_seconds = Histogram(
            "extend_mcp_tool_call_seconds",
            "How long tool calls took.",
            ("tool",),
            buckets=TOOL_SECONDS,
            registry=registry,
        )
        self._characters = Counter(
            "extend_mcp_answer_characters_total", "Characters of answers to models.", ("tool",), registry=registry
        )
        self._guard_refusals = Counter(
            "extend_mcp_guard_refusals_total",
            "Actions refused for the state of their object.",
            ("tool", "verdict"),
            registry=registry,
        )
        self._api_requests = Counter(
            "extend_mcp_api_requests_total",
            "Attempts of requests to Extend.",
            ("method", "endpoint", "status"),
            registry=registry,
        )
        self._api_seconds = Histogram(
            "extend_mcp_api_request_seconds",
            "How long attempts of requests to Extend took.",
            ("method", "endpoint"),
            buckets=API_SECONDS,
            registry=registry,
        )
        self._api_retries = Counter(
            "extend_mcp_api_retries_total",
            "Requests to Extend that were sent again.",
            ("method", "endpoint", "reason"),
            registry=registry,
        )
        self._rate_wait = Counter(
            "extend_mcp_rate_wait_seconds_total",
            "Seconds that requests were held back for the rate limit.",
            ("category",),
            registry=registry,
        )
        self._events = Counter(
            "extend_mcp_webhook_events_total", "Webhook deliveries received.", ("outcome",), registry=registry
        )
        self._refused = Counter(
            "extend_mcp_refused_requests_total",
            "HTTP requests refused before MCP saw them.",
            ("reason",),
            registry=registry,
        )
        build = Gauge("extend_mcp_build_info", "Always 1; see the label.", ("version",), registry=registry)
        build.labels(version).set(1)

    def render(self, accept: str | None) -> tuple[bytes, str]:
        """Write all metrics down.

        Args:
            accept: the ``Accept`` header of who asks: OpenMetrics if it names that, else Prometheus's text format.

        Returns:
            The body, and its content type.
        """
        offered = {each.partition(";")[0].strip().lower() for each in (accept or "").split(",")}
        # Given only the type: the library fails at a version that is no number, and repeats it in its response.
        encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in offered else "")
        return encode(self._registry), content_type

    def call_began(self) -> None:
        """Count a call in progress."""
        self._in_flight.inc()

    def call_ended(self) -> None:
        """Stop counting it."""
        self._in_flight.dec()

    def tool_call(self, *, tool: str, outcome: str, seconds: float, characters: int) -> None:
        """Count an answered call, its time, and what its answer costs to read."""
        self._tool_calls.labels(tool, outcome).inc()
        self._tool_seconds.labels(tool).observe(seconds)
        self._characters.labels(tool).inc(characters)

    def guard_refused(self, *, tool: str, verdict: str) -> None:
        """Count a refused action."""
        self._guard_refusals.labels(tool, verdict).inc()

    def api_request(self, *, method: str, endpoint: str, status: str, seconds: float) -> None:
        """Count an attempt and its time."""
        self._api_requests.labels(method, endpoint, status).inc()
        self._api_seconds.labels(method, endpoint).observe(seconds)

    def api_retry(self, *, method: str, endpoint: str, reason: str) -> None:
        """Count a request that is sent again."""
        self._api_retries.labels(method, endpoint, reason).inc()

    def rate_waited(self, *, category: str, seconds: float) -> None:
        """Add to the time that requests waited."""
        self._rate_wait.labels(category).inc(seconds)

    def event(self, *, outcome: str) -> None:
        """Count a webhook delivery."""
        self._events.labels(outcome).inc()

    def refused(self, *, reason: str) -> None:
        """Count a refused request."""
        self._refused.labels(reason).inc()

    def redis_reachable(self, *, reachable: bool) -> None:
        """Set the gauge."""
        self._set("extend_mcp_redis_reachable", "1 while Redis answers, else 0.", reachable)

    def tokens_file_rejected(self, *, rejected: bool) -> None:
        """Set the gauge."""
        self._set("extend_mcp_tokens_file_rejected", "1 while the tokens file cannot be used, else 0.", rejected)

    def _set(self, name: str, about: str, holds: bool) -> None:
        # Made when it is first set: a server without Redis must not say that it is out of reach.
        if name not in self._conditions:
            self._conditions[name] = Gauge(name, about, registry=self._registry)
        self._conditions[name].set(holds)
