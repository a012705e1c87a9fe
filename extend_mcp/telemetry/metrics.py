"""The interface of metrics, and an implementation that keeps none.

Every label comes from a known set: callers pass names of our own, never text that a client or Extend chose,
because each new value of a label is kept for as long as the process lives.
"""

from __future__ import annotations


class Metrics:
    """Receives every measurement and drops it. `PrometheusMetrics` keeps it."""

    def call_began(self) -> None:
        """Count a tool call in progress; `call_ended` follows, whatever happens."""

    def call_ended(self) -> None:
        """End a tool call in progress."""

    def tool_call(self, *, tool: str, outcome: str, seconds: float, characters: int) -> None:
        """Count a tool call that was answered.

        Args:
            tool: the name of a tool that exists; a call of an unknown one goes under ``unknown``.
            outcome: the result's own outcome such as ``cancelled``, ``done`` where it has none, ``asked`` while a
                person is being asked, ``denied`` where the caller may not use the tool,
                ``wrong_arguments``, ``interrupted``, or the class name of an error.
            seconds: how long it took.
            characters: length of the answer's text, which is what a model reads.
        """

    def guard_refused(self, *, tool: str, verdict: str) -> None:
        """Count an action that was refused for the state of its object; nothing was sent.

        Args:
            tool: the tool's name.
            verdict: the guard's verdict, one of its literals.
        """

    def api_request(self, *, method: str, endpoint: str, status: str, seconds: float) -> None:
        """Count one attempt of a request to Extend.

        Args:
            method: the HTTP method.
            endpoint: the template of the path, such as ``/workflow_runs/{id}``.
            status: the HTTP status such as ``200``, or the class name of the error that came instead of an answer.
            seconds: from sending the request to the end of the answer's body.
        """

    def api_retry(self, *, method: str, endpoint: str, reason: str) -> None:
        """Count a request to Extend that will be sent again.

        Args:
            method: the HTTP method.
            endpoint: as for `api_request`.
            reason: the status or the error's class name, as for `api_request`.
        """

    def rate_waited(self, *, category: str, seconds: float) -> None:
        """Add to the time that requests waited for the account's rate limit.

        Args:
            category: ``GET``, ``WRITE`` or ``RUN``.
            seconds: for how long.
        """

    def event(self, *, outcome: str) -> None:
        """Count a webhook delivery.

        Args:
            outcome: ``accepted``, or why it was not.
        """

    def refused(self, *, reason: str) -> None:
        """Count a request that was refused before MCP saw it.

        Args:
            reason: ``host``, ``origin``, ``body``, ``credential`` and the like.
        """

    def redis_reachable(self, *, reachable: bool) -> None:
        """Note whether the replicas' Redis answers."""

    def tokens_file_rejected(self, *, rejected: bool) -> None:
        """Note whether the present tokens file cannot be used, so that the tokens read before still count."""
