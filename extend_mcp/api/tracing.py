"""Trace each attempt of a request to Extend: report it to an observer, and open an OpenTelemetry span around it.

Neither contains anything that a caller or Extend chose, except Extend's request id on the span.
"""

import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import httpx
from opentelemetry import trace

OTHER: Final = "other"
"""The endpoint of a path that is not part of the API."""

_NAMES: Final = {
    "workflow_runs": frozenset({"batch"}),
    "workflows": frozenset[str](),
    "files": frozenset({"upload"}),
    "webhook_endpoints": frozenset[str](),
    "webhook_subscriptions": frozenset[str](),
    "parse_runs": frozenset[str](),
    "extract_runs": frozenset[str](),
    "classify_runs": frozenset[str](),
    "split_runs": frozenset[str](),
}
"""The collections, and the names that take the place of an id."""

_BELOW: Final = {
    ("workflow_runs", "cancel"): "/workflow_runs/{id}/cancel",
    ("workflows", "versions"): "/workflows/{id}/versions",
}

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Observer(Protocol):
    """Receives what happens to requests."""

    def api_request(self, *, method: str, endpoint: str, status: str, seconds: float) -> None:
        """Record the end of one attempt.

        Args:
            method: the HTTP method.
            endpoint: a template of `endpoint_of`.
            status: the HTTP status such as ``200``, or the class name of the error if there was no response.
            seconds: from sending the request to the end of the response's body.
        """

    def api_retry(self, *, method: str, endpoint: str, reason: str) -> None:
        """Record that a request will be sent again; ``reason`` is as ``status`` above."""

    def rate_waited(self, *, category: str, seconds: float) -> None:
        """Record that a request waited so many seconds for the rate limit."""


def endpoint_of(path: str) -> str:
    """Return the endpoint of a path, with ``{id}`` in place of ids; `OTHER` for a path that this client never calls.

    Args:
        path: the percent-encoded path of a request's URL, with the prefix of the base URL.
    """
    parts = path.split("/")
    # From the right: the prefix of a base URL may contain one of these names, and no id of Extend is one.
    for at in range(len(parts) - 1, -1, -1):
        if parts[at] in _NAMES:
            endpoint = _template(parts[at], parts[at + 1 :])
            if endpoint:
                return endpoint
    return OTHER


def _template(collection: str, rest: list[str]) -> str | None:
    match rest:
        case []:
            return f"/{collection}"
        case [name] if name in _NAMES[collection]:
            return f"/{collection}/{name}"
        case [name] if name:
            return f"/{collection}/{{id}}"
        case [name, below] if name:
            return _BELOW.get((collection, below))
        case [name, "versions", version] if name and version and collection == "workflows":
            return "/workflows/{id}/versions/{version_id}"
    return None


class TracingTransport(httpx.AsyncBaseTransport):
    """Reports how each attempt ended, and opens an OpenTelemetry span around it.

    An attempt ends with the body of its response, so this transport belongs directly around the network, below those
    that wait or retry. The span has method, endpoint, host, status and Extend's request id. It has no full URL, header
    or body, and no text of an exception, which may quote them.

    Args:
        inner: The transport that does the work.
        observer: Receives each attempt.
        tracer: Makes the spans; by default that of the process, which does nothing unless tracing is configured.
        monotonic: Returns the time in seconds.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        observer: Observer,
        *,
        tracer: trace.Tracer | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._observer = observer
        self._tracer = tracer or trace.get_tracer("extend-mcp")
        self._monotonic = monotonic

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; the body of the response is still to be read."""
        attempt = _Attempt(request, self._observer, self._tracer, self._monotonic)
        try:
            with trace.use_span(attempt.span, record_exception=False, set_status_on_exception=False):
                response = await self._inner.handle_async_request(request)
        # A cancelled attempt has ended as well.
        except BaseException as error:
            attempt.fail(error)
            raise
        attempt.respond(response)
        if response.is_closed:
            # The body is in memory: nobody will read or close the stream.
            attempt.end()
            return response
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _TracedStream(response.stream, attempt)
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()


class _Attempt:
    """One request that was sent. It ends once, with an error or with its body."""

    def __init__(
        self, request: httpx.Request, observer: Observer, tracer: trace.Tracer, monotonic: Callable[[], float]
    ) -> None:
        # Not url.path: it decodes an id that contains a slash, which then looks like two segments.
        path = request.url.raw_path.partition(b"?")[0].decode("ascii", "replace")
        self._method = request.method
        self._endpoint = endpoint_of(path)
        self._credential = request.headers.get("authorization", "").rpartition(" ")[2]
        self._observer = observer
        self._monotonic = monotonic
        self._began = monotonic()
        self._status = ""
        self._over = False
        self.span = tracer.start_span(
            f"{self._method} {self._endpoint}",
            kind=trace.SpanKind.CLIENT,
            attributes={
                "http.request.method": self._method,
                "url.template": self._endpoint,
                "server.address": request.url.host,
            },
        )

    def respond(self, response: httpx.Response) -> None:
        """Note the status and request id of the response."""
        self._status = str(response.status_code)
        self.span.set_attribute("http.response.status_code", response.status_code)
        given = response.headers.get("x-extend-request-id", "")
        # A server may echo anything here, even the key.
        if REQUEST_ID.fullmatch(given) and not (self._credential and self._credential in given):
            self.span.set_attribute("extend.request_id", given)
        if response.status_code >= 400:
            self._set_error(self._status)

    def fail(self, error: BaseException) -> None:
        """End the attempt with an error."""
        if not self._over:
            self._status = type(error).__name__
            self._set_error(self._status)
            self.end()

    def end(self) -> None:
        """End the attempt with the status of the response, unless it has ended before."""
        if self._over:
            return
        self._over = True
        self.span.end()
        seconds = self._monotonic() - self._began
        self._observer.api_request(method=self._method, endpoint=self._endpoint, status=self._status, seconds=seconds)

    def _set_error(self, kind: str) -> None:
        self.span.set_attribute("error.type", kind)
        self.span.set_status(trace.StatusCode.ERROR)


class _TracedStream(httpx.AsyncByteStream):
    """Passes a body on, and ends the attempt with it."""

    def __init__(self, inner: httpx.AsyncByteStream, attempt: _Attempt) -> None:
        self._inner = inner
        self._attempt = attempt

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except GeneratorExit:
            # The reader stopped early; closing ends the attempt.
            raise
        except BaseException as error:
            self._attempt.fail(error)
            raise
        self._attempt.end()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            self._attempt.end()
