"""Trace each attempt of a request to Extend: count it, and open an OpenTelemetry span around it.

Neither contains anything that a caller or Extend chose, except Extend's request id on the span.
"""

import re
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

import httpx
from opentelemetry import trace

from extend_mcp.telemetry.metrics import Metrics

ENDPOINT: Final = "extend_mcp.endpoint"
"""Extension of an httpx request: the template of its path, such as ``/workflow_runs/{id}``."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def endpoint_of(request: httpx.Request) -> str:
    """Return the template of a request's path; "other" for a request that `BaseClient` did not make."""
    return str(request.extensions.get(ENDPOINT, "other"))


def request_id_of(response: httpx.Response, key: str) -> str:
    """Return Extend's id of a request; empty without a valid one. A server may echo anything there, even the key."""
    request_id: str = response.headers.get("x-extend-request-id", "")
    return request_id if _REQUEST_ID.fullmatch(request_id) and not (key and key in request_id) else ""


@dataclass(eq=False)
class WrappingTransport(httpx.AsyncBaseTransport):
    """A transport that does one job around an inner one, and closes it."""

    inner: httpx.AsyncBaseTransport

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass(eq=False)
class TracingTransport(WrappingTransport):
    """Reports how each attempt ended, and opens an OpenTelemetry span around it.

    An attempt ends with the body of its response, so this transport belongs directly around the one that reads it. The
    span has method, endpoint, host, status and Extend's request id. It has no full URL, header or body, and no text of
    an exception, which may quote them. The process's tracer does nothing unless tracing is configured.
    """

    metrics: Metrics
    _: KW_ONLY
    tracer: trace.Tracer = field(default_factory=lambda: trace.get_tracer("extend-mcp"))
    monotonic: Callable[[], float] = time.monotonic

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        method, endpoint, began, status = request.method, endpoint_of(request), self.monotonic(), ""
        attributes = {"http.request.method": method, "url.template": endpoint, "server.address": request.url.host}
        with self.tracer.start_as_current_span(
            f"{method} {endpoint}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await self.inner.handle_async_request(request)
                status = str(response.status_code)
                span.set_attribute("http.response.status_code", response.status_code)
                key = request.headers.get("authorization", "").rpartition(" ")[2]
                if request_id := request_id_of(response, key):
                    span.set_attribute("extend.request_id", request_id)
            # A cancelled attempt has ended as well.
            except BaseException as error:
                status = type(error).__name__
                raise
            finally:
                if not status.startswith(("1", "2", "3")):
                    span.set_attribute("error.type", status)
                    span.set_status(trace.StatusCode.ERROR)
                seconds = self.monotonic() - began
                self.metrics.api_request(method=method, endpoint=endpoint, status=status, seconds=seconds)
        return response
