"""Lets someone watch each attempt of a request to Extend: counted by endpoint, and a span around it.

Neither ids nor anything else that a caller or Extend chose is told, apart from Extend's id of the request on the span.
"""

import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import httpx
from opentelemetry import trace

OTHER: Final = "other"
"""Stands for a path that is none of the API's."""

_NAMES: Final = {
    "workflow_runs": frozenset({"batch"}),
    "workflows": frozenset[str](),
    "files": frozenset({"upload"}),
    "webhook_endpoints": frozenset[str](),
    "webhook_subscriptions": frozenset[str](),
}
"""The collections, and what stands in the place of an id and is none."""

_BELOW: Final = {
    ("workflow_runs", "cancel"): "/workflow_runs/{id}/cancel",
    ("workflows", "versions"): "/workflows/{id}/versions",
}

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Observer(Protocol):
    """Who is told of requests."""

    def api_request(self, *, method: str, endpoint: str, status: str, seconds: float) -> None:
        """One attempt has ended.

        Args:
            method: the HTTP method.
            endpoint: a template of `endpoint_of`.
            status: the HTTP status such as ``200``, or the class name of the error that came instead of an answer.
            seconds: from sending the request to the end of the answer's body.
        """

    def api_retry(self, *, method: str, endpoint: str, reason: str) -> None:
        """A request will be sent again; ``reason`` is as ``status`` above."""

    def rate_waited(self, *, category: str, seconds: float) -> None:
        """A request waited for its turn under the rate limit, so many seconds."""


def endpoint_of(path: str) -> str:
    """The endpoint that a path belongs to, with ``{id}`` in place of ids; `OTHER` if it is none that we call.

    Args:
        path: the path of a request's URL as it is sent (percent-encoded), after whatever the base URL puts before it.
    """
    parts = path.split("/")
    # From the right: the prefix of a base URL may well hold one of these names, and no id of Extend's is one.
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


class ObserveTransport(httpx.AsyncBaseTransport):
    """Tells an observer how each attempt ended, and opens an OpenTelemetry span around it.

    The attempt ends with the body of its answer, so this belongs right around the network, below the transports that
    wait or send again. The span holds method, endpoint, host, status and Extend's id of the request: no full URL, no
    header, no body, and no text of an exception, since that may quote them.

    Args:
        inner: The transport that does the work.
        observer: Is told.
        tracer: Makes the spans; by default that of the process, which does nothing unless tracing is configured.
        monotonic: Tells the time in seconds.
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
        """Send the request; the answer's body is still to be read."""
        attempt = _Attempt(request, self._observer, self._tracer, self._monotonic)
        try:
            with trace.use_span(attempt.span, record_exception=False, set_status_on_exception=False):
                response = await self._inner.handle_async_request(request)
        # A cancelled attempt has ended as well.
        except BaseException as error:
            attempt.failed(error)
            raise
        attempt.answered(response)
        if response.is_closed:
            # Its body is in memory: nobody will read the stream, or close it.
            attempt.ended()
            return response
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _ObservedStream(response.stream, attempt)
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()


class _Attempt:
    """One request on its way: ends once, by an error or with its body."""

    def __init__(
        self, request: httpx.Request, observer: Observer, tracer: trace.Tracer, monotonic: Callable[[], float]
    ) -> None:
        # Not url.path: there an id with a slash in it is decoded, and looks like two.
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

    def answered(self, response: httpx.Response) -> None:
        """Note the head of the answer."""
        self._status = str(response.status_code)
        self.span.set_attribute("http.response.status_code", response.status_code)
        given = response.headers.get("x-extend-request-id", "")
        # Whoever answers may echo anything there, the key included.
        if _REQUEST_ID.fullmatch(given) and not (self._credential and self._credential in given):
            self.span.set_attribute("extend.request_id", given)
        if response.status_code >= 400:
            self._mark(self._status)

    def failed(self, error: BaseException) -> None:
        """End it by an error."""
        if not self._over:
            self._status = type(error).__name__
            self._mark(self._status)
            self.ended()

    def ended(self) -> None:
        """End it as its head said, unless it has ended before."""
        if self._over:
            return
        self._over = True
        self.span.end()
        seconds = self._monotonic() - self._began
        self._observer.api_request(method=self._method, endpoint=self._endpoint, status=self._status, seconds=seconds)

    def _mark(self, kind: str) -> None:
        self.span.set_attribute("error.type", kind)
        self.span.set_status(trace.StatusCode.ERROR)


class _ObservedStream(httpx.AsyncByteStream):
    """Hands a body through, and ends the attempt with it."""

    def __init__(self, inner: httpx.AsyncByteStream, attempt: _Attempt) -> None:
        self._inner = inner
        self._attempt = attempt

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except GeneratorExit:
            # The reader had enough; closing ends the attempt.
            raise
        except BaseException as error:
            self._attempt.failed(error)
            raise
        self._attempt.ended()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            self._attempt.ended()
