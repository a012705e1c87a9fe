"""Send spans by OTLP over HTTP, without secrets. OpenTelemetry's own variables say where and how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.util.types import AttributeValue

_LAST_SECONDS: Final = 2.0


def send_spans(service_version: str, redact: Callable[[str], str]) -> Callable[[], None]:
    """Send spans, unless the program has set a tracer provider already; return what sends the rest and ends tracing.

    The service is ``extend-mcp`` unless ``OTEL_SERVICE_NAME`` says otherwise. ``redact`` removes secrets from the texts
    of a span before it leaves: the MCP SDK puts the texts of unforeseen exceptions there.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return lambda: None
    resource = Resource.create({"service.version": service_version})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "extend-mcp"}))
    # By default the provider ends with the process a second time, and waits without a bound.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_RedactingExporter(redact)))
    trace.set_tracer_provider(provider)

    def end() -> None:
        # Two seconds at most for the last spans: an unreachable collector must not hold the process.
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(_LAST_SECONDS)

    return end


class _RedactingExporter(OTLPSpanExporter):
    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return super().export([redacted(span, self._redact) for span in spans])


def redacted(span: ReadableSpan, redact: Callable[[str], str]) -> ReadableSpan:
    """Remove secrets from a span's name, attributes, events and status."""

    def clean_value(value: AttributeValue) -> AttributeValue:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, Sequence):
            return tuple(redact(each) if isinstance(each, str) else each for each in value)
        return value

    def clean(attributes: Mapping[str, AttributeValue] | None) -> dict[str, AttributeValue]:
        return {name: clean_value(value) for name, value in (attributes or {}).items()}

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
