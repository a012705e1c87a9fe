"""The interface of metrics, which keeps none; `extend_mcp.telemetry.prometheus` keeps them, and lists their names.

Every label comes from a known set: callers pass names of our own, never text that a client or Extend chose,
because each new value of a label is kept for as long as the process lives.
"""

from __future__ import annotations


class Metrics:
    """Receives every measurement and drops it."""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter or a gauge."""

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Put a duration into a histogram."""

    def set(self, name: str, value: float) -> None:
        """Set a gauge, which is made when it is first set: a server without Redis must not say that it is away."""
