"""OpenTelemetry: where spans go, and what is added to the one at hand.

The SDK of MCP opens a span for each message, and `extend_mcp.api.observe` one for each request to Extend; without an
exporter both cost next to nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.util.types import AttributeValue

logger = logging.getLogger(__name__)

_WANTED: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")

_LAST_SECONDS: Final = 2.0


def configure_tracing(
    service_version: str, *, redact: Callable[[str], str] = str, environ: Mapping[str, str] = os.environ
) -> Callable[[], None]:
    """Send spans by OTLP over HTTP, if the environment asks for it; OpenTelemetry's own variables say where and how.

    Does nothing unless ``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` or
    ``OTEL_TRACES_EXPORTER`` is set, where ``OTEL_SDK_DISABLED`` is true, or where someone has set a tracer provider.

    Args:
        service_version: told with each span; the service is ``extend-mcp`` unless ``OTEL_SERVICE_NAME`` says otherwise.
        redact: takes secrets out of every text of a span before it leaves: MCP's SDK puts the texts of unforeseen
            exceptions there.
        environ: given by tests.

    Returns:
        Sends what is left and ends tracing.
    """
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or exporters == "none" or not any(environ.get(name) for name in _WANTED):
        return _nothing
    if exporters != "otlp":
        logger.warning("no spans are sent: OTEL_TRACES_EXPORTER can be otlp or none here")
        return _nothing
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # type: ignore[import-not-found,unused-ignore]
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("no spans are sent: install extend-mcp[otel] for what the OTEL_ variables ask for")
        return _nothing
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return _nothing
    # Left to itself the provider would end with the process a second time, and wait without a bound.
    provider = TracerProvider(resource=_resource(service_version, environ), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(redacting(OTLPSpanExporter(), redact)))
    trace.set_tracer_provider(provider)
    return lambda: _end(provider.shutdown)


def _end(shutdown: Callable[[], None]) -> None:
    """Send the last spans, for two seconds at most: a collector that cannot be reached must not hold the process."""
    ending = threading.Thread(target=shutdown, daemon=True)
    ending.start()
    ending.join(_LAST_SECONDS)


def annotate_span(**attributes: AttributeValue | None) -> None:
    """Set attributes on the current span, if somebody records it; None is left out."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})


def redacting(exporter: SpanExporter, redact: Callable[[str], str]) -> SpanExporter:
    """An exporter that takes secrets out of names, attributes, events and statuses, and hands the rest to another.

    Args:
        exporter: sends the spans.
        redact: takes the secrets out of a text.
    """
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Redacting(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return exporter.export([_redacted(span, redact) for span in spans])

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Redacting()


def _redacted(span: ReadableSpan, redact: Callable[[str], str]) -> ReadableSpan:
    from opentelemetry.sdk.trace import Event, ReadableSpan

    def clean(attributes: Mapping[str, AttributeValue] | None) -> dict[str, AttributeValue]:
        return {name: _redacted_value(value, redact) for name, value in (attributes or {}).items()}

    return ReadableSpan(
        redact(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=clean(span.attributes),
        events=[Event(redact(event.name), clean(event.attributes), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=trace.Status(span.status.status_code, redact(span.status.description or "") or None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _redacted_value(value: AttributeValue, redact: Callable[[str], str]) -> AttributeValue:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Sequence):
        return tuple(redact(each) if isinstance(each, str) else each for each in value)
    return value


def _resource(service_version: str, environ: Mapping[str, str]) -> Resource:
    from opentelemetry.sdk.resources import Resource

    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    # What is given here wins over the environment, so the name is only given where that has none.
    return Resource.create({"service.version": service_version, **({} if named else {"service.name": "extend-mcp"})})


def _nothing() -> None:
    """There is nothing to end."""
