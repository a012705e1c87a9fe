"""Send spans by OTLP over HTTP, without secrets. OpenTelemetry's own variables say where and how."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.util.types import AttributeValue

_LAST_SECONDS: Final = 2.0


def send_spans(
    service_version: str, *, redact: Callable[[str], str] = str, environ: Mapping[str, str] = os.environ
) -> Callable[[], None]:
    """Send spans, unless the program has set a tracer provider already; return what sends the rest and ends tracing.

    The service is ``extend-mcp`` unless ``OTEL_SERVICE_NAME`` says otherwise. ``redact`` removes secrets from the texts
    of a span before it leaves: the MCP SDK puts the texts of unforeseen exceptions there.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return lambda: None
    # By default the provider ends with the process a second time, and waits without a bound.
    provider = TracerProvider(resource=_resource(service_version, environ), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(RedactingExporter(OTLPSpanExporter(), redact)))
    trace.set_tracer_provider(provider)
    return lambda: _end(provider.shutdown)


def _end(shutdown: Callable[[], None]) -> None:
    """Send the last spans, for two seconds at most: an unreachable collector must not hold the process."""
    ending = threading.Thread(target=shutdown, daemon=True)
    ending.start()
    ending.join(_LAST_SECONDS)


@dataclass
class RedactingExporter(SpanExporter):
    """Removes secrets from names, attributes, events and statuses, and passes the spans on."""

    exporter: SpanExporter
    redact: Callable[[str], str]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans without secrets."""
        return self.exporter.export([_redacted(span, self.redact) for span in spans])

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self.exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self.exporter.force_flush(timeout_millis)


def _redacted(span: ReadableSpan, redact: Callable[[str], str]) -> ReadableSpan:
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
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    # What is given here wins over the environment, so the name is only given where that has none.
    return Resource.create({"service.version": service_version, **({} if named else {"service.name": "extend-mcp"})})
