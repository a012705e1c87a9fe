"""OpenTelemetry spans: whether they are sent, and what is added to the current one. The id of the current request.

The MCP SDK opens a span for each message, and `extend_mcp.api.transport` one for each request to Extend. Without an
exporter both cost next to nothing. `extend_mcp.telemetry.otlp` sends them; it needs the SDK of OpenTelemetry, an extra.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

logger = logging.getLogger(__name__)

# The id of the current request, for log lines, spans and audit lines; None outside of one, as over stdio.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_WANTED: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")


def wants_spans(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether OpenTelemetry's own variables ask for spans to be sent."""
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or exporters == "none" or not any(environ.get(name) for name in _WANTED):
        return False
    if exporters != "otlp":
        logger.warning("no spans are sent: set OTEL_TRACES_EXPORTER to 'otlp' or 'none'")
        return False
    return True


def annotate_span(**attributes: AttributeValue | None) -> None:
    """Set attributes on the current span, if it is recorded; None is left out."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})
