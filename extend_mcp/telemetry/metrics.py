"""The interface of metrics, which keeps none; `extend_mcp.telemetry.prometheus` does.

Every label comes from a known set: callers pass names of our own, never text that a client or Extend chose,
because each new value of a label is kept for as long as the process lives.
"""

from __future__ import annotations


class Metrics:
    """Receives every measurement and drops it. `PrometheusMetrics` keeps it, under the names used here."""

    def call_began(self) -> None:
        """Count a tool call in progress; `call_ended` follows, whatever happens."""
        self._add("calls_in_flight", 1)

    def call_ended(self) -> None:
        """End a tool call in progress."""
        self._add("calls_in_flight", -1)

    def tool_call(self, *, tool: str, outcome: str, seconds: float, characters: int) -> None:
        """Count a tool call that was answered, and the length of its text, which is what a model reads.

        A call of a tool that does not exist goes under ``unknown``. The outcome is the result's own such as
        ``cancelled``, ``done`` where it has none, ``asked`` while a person is being asked, ``denied`` where the caller
        may not use the tool, ``wrong_arguments``, ``interrupted``, or the class name of an error.
        """
        self._add("tool_calls_total", 1, tool, outcome)
        self._observe("tool_call_seconds", seconds, tool)
        self._add("answer_characters_total", characters, tool)

    def guard_refused(self, *, tool: str, verdict: str) -> None:
        """Count an action that was refused for the state of its object, by the guard's verdict; nothing was sent."""
        self._add("guard_refusals_total", 1, tool, verdict)

    def api_request(self, *, method: str, endpoint: str, status: str, seconds: float) -> None:
        """Count one attempt of a request to Extend, from sending it to the end of the response's body.

        The endpoint is the template of the path, such as ``/workflow_runs/{id}``; the status the HTTP status, or the
        class name of the error if there was no response.
        """
        self._add("api_requests_total", 1, method, endpoint, status)
        self._observe("api_request_seconds", seconds, method, endpoint)

    def api_retry(self, *, method: str, endpoint: str, reason: str) -> None:
        """Count a request to Extend that will be sent again; ``reason`` is as the status of an attempt."""
        self._add("api_retries_total", 1, method, endpoint, reason)

    def rate_waited(self, *, category: str, seconds: float) -> None:
        """Add to the time that requests waited for the account's rate limit."""
        self._add("rate_wait_seconds_total", seconds, category)

    def event(self, *, outcome: str) -> None:
        """Count a webhook delivery: ``accepted``, or why it was not."""
        self._add("webhook_events_total", 1, outcome)

    def refused(self, *, reason: str) -> None:
        """Count a request that was refused before MCP saw it, for its ``host``, ``credential`` and the like."""
        self._add("refused_requests_total", 1, reason)

    def redis_reachable(self, *, reachable: bool) -> None:
        """Note whether the replicas' Redis answers."""
        self._note("redis_reachable", "1 while Redis answers, else 0.", reachable)

    def tokens_file_rejected(self, *, rejected: bool) -> None:
        """Note whether the present tokens file cannot be used, so that the tokens read before still count."""
        self._note("tokens_file_rejected", "1 while the tokens file cannot be used, else 0.", rejected)

    def _add(self, name: str, amount: float, *labels: str) -> None:
        """Add to a counter or gauge."""

    def _observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""

    def _note(self, name: str, about: str, value: float) -> None:
        """Set a gauge, which is made when it is first set: a server without Redis must not say that it is away."""
