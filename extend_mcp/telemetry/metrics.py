"""What is counted, and the metrics that counts nothing.

Every label comes from a set that is known beforehand: whoever calls passes names of its own, never text that a
client or Extend chose, because each new value of a label is kept for as long as the process lives.
"""

from __future__ import annotations


class Metrics:
    """Told of everything that is measured; this one forgets it. `PrometheusMetrics` keeps it."""

    def call_began(self) -> None:
        """A tool call has begun; `call_ended` follows, whatever happens."""

    def call_ended(self) -> None:
        """A tool call has ended."""

    def tool_call(self, *, tool: str, outcome: str, seconds: float, characters: int) -> None:
        """A tool call was answered.

        Args:
            tool: the name of a tool that exists; a call of an unknown one goes under ``unknown``.
            outcome: the answer's own outcome such as ``cancelled``, ``done`` where it has none, ``asked`` while a
                person is being asked, ``wrong_arguments``, ``interrupted``, or the class name of an error.
            seconds: how long it took.
            characters: length of the answer's text, which is what a model reads.
        """

    def guard_refused(self, *, tool: str, verdict: str) -> None:
        """An action was refused for the state of its object, and nothing was sent.

        Args:
            tool: the tool's name.
            verdict: the guard's verdict, one of its literals.
        """

    def api_request(self, *, method: str, endpoint: str, status: str, seconds: float) -> None:
        """One attempt of a request to Extend has ended.

        Args:
            method: the HTTP method.
            endpoint: a template of `extend_mcp.api.observe.endpoint_of`.
            status: the HTTP status such as ``200``, or the class name of the error that came instead of an answer.
            seconds: from sending the request to the end of the answer's body.
        """

    def api_retry(self, *, method: str, endpoint: str, reason: str) -> None:
        """A request to Extend will be sent again.

        Args:
            method: the HTTP method.
            endpoint: as for `api_request`.
            reason: the status or the error's class name, as for `api_request`.
        """

    def rate_waited(self, *, category: str, seconds: float) -> None:
        """A request was held back to keep to the account's rate limit.

        Args:
            category: ``GET``, ``WRITE`` or ``RUN``.
            seconds: for how long.
        """

    def event(self, *, outcome: str) -> None:
        """The webhook receiver was sent something.

        Args:
            outcome: ``accepted``, or why it was not.
        """

    def refused(self, *, reason: str) -> None:
        """A request was refused at the door, before MCP saw it.

        Args:
            reason: ``host``, ``origin``, ``body``, ``credential`` and the like.
        """
