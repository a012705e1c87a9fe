"""Send a request to Extend over the network, with a deadline, retries, a rate limit, a trace and a size limit."""

import logging
import os
import random
import re
import ssl
import time
import urllib.request
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import cache, partial
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx
from opentelemetry import trace

from extend_mcp.api.errors import (
    RETRYABLE_STATUSES,
    AnswerTooLargeError,
    ConnectFailedError,
    ResponseLostError,
    write_effect,
)
from extend_mcp.api.rate_limit import RateLimiter, category_of
from extend_mcp.api.wire import parse_retry_after
from extend_mcp.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Largest body read, counted after decompression."""

RETRY_AFTER_CEILING: Final = 30.0
"""Seconds, the longest Retry-After that is waited for."""

ENDPOINT: Final = "extend_mcp.endpoint"
"""Extension of an httpx request: the template of its path, such as ``/workflow_runs/{id}``."""

_SENT: Final = "extend_mcp.sent"
"""Extension of an httpx request: set once the rate limit has allowed its first attempt."""

_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 8.0

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_OF_SENT_BODY: Final = (b"content-encoding", b"content-length", b"transfer-encoding")

_BROKEN_CONNECTION: Final = (
    httpx.NetworkError,
    httpx.ProxyError,
    httpx.RemoteProtocolError,
    httpx.TimeoutException,
)


@dataclass(eq=False)
class ExtendTransport(httpx.AsyncBaseTransport):
    """Sends a request over an inner transport, and returns the response with its body in memory.

    A GET is sent again after a transient failure: a status in `RETRYABLE_STATUSES` or a broken connection. No other
    request is sent twice: creates are not idempotent and Extend has no idempotency key, so only a caller that can check
    whether a write took effect may repeat it.

    Attributes:
        total_timeout: Seconds after which the call ends, retries and waits included.
        max_attempts: Most times that a GET is sent, 1 or more.
        limiter: Delays each attempt until the rate limit allows it, and everything in its category after a 429.
        caller: Names the caller to the limiter.
    """

    inner: httpx.AsyncBaseTransport
    _: KW_ONLY
    total_timeout: float = 60.0
    max_attempts: int = 4
    max_bytes: int = MAX_BODY_BYTES
    limiter: RateLimiter | None = None
    caller: str = ""
    metrics: Metrics = field(default_factory=Metrics)
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    monotonic: Callable[[], float] = time.monotonic
    tracer: trace.Tracer = field(default_factory=lambda: trace.get_tracer("extend-mcp"))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with anyio.move_on_after(self.total_timeout):
            return await self._with_retries(request)
        if _SENT not in request.extensions:
            raise ConnectFailedError(
                "The call waited for the rate limit until its time was over; nothing was sent.", retryable=True
            )
        raise ResponseLostError(
            "Extend did not answer within the total time allowed.", retryable=True, effect=write_effect(request.method)
        )

    async def _with_retries(self, request: httpx.Request) -> httpx.Response:
        """Wait before attempt n+1 for a random time up to ``2**(n-1) / 2`` seconds, or as long as Retry-After says.

        The last response is returned at once if Retry-After is too long, or the wait would outlast the call.
        """
        attempts = self.max_attempts if request.method == "GET" else 1
        for attempt in range(1, attempts + 1):
            failure, retry_after = None, None
            try:
                response = await self._attempt(request)
                if response.status_code not in RETRYABLE_STATUSES:
                    return response
                reason, retry_after = str(response.status_code), parse_retry_after(response.headers.get("retry-after"))
            except _BROKEN_CONNECTION as error:
                failure, reason = error, type(error).__name__
            wait = retry_after
            if wait is None:
                wait = self.uniform(0.0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)))
            # A response says more than the timeout that a longer wait would end in.
            time_left = anyio.current_effective_deadline() - anyio.current_time()
            if attempt == attempts or (retry_after or 0.0) > RETRY_AFTER_CEILING or wait >= time_left:
                break
            logger.info("GET attempt %d met %s; next in %.1f s", attempt, reason, wait)
            self.metrics.count("api_retries_total", method="GET", endpoint=_endpoint_of(request), reason=reason)
            await self.sleep(wait)
        if failure is not None:
            raise failure
        return response

    async def _attempt(self, request: httpx.Request) -> httpx.Response:
        """Send a request once the rate limit allows it, and pause its category after a 429."""
        category = category_of(request.method, request.url.path)
        if self.limiter and (seconds := await self.limiter.acquire(category, self.caller)):
            self.metrics.count("rate_wait_seconds_total", seconds, category=category)
        request.extensions[_SENT] = True
        response = await self._traced(request)
        if self.limiter and response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            await self.limiter.pause(category, parse_retry_after(response.headers.get("retry-after")))
        return response

    async def _traced(self, request: httpx.Request) -> httpx.Response:
        """Send a request, read its response, and report how it ended, also in an OpenTelemetry span.

        The span has no full URL, header or body, and no text of an exception, which may quote them.
        """
        method, endpoint, began, status = request.method, _endpoint_of(request), self.monotonic(), ""
        with self.tracer.start_as_current_span(
            f"{method} {endpoint}",
            kind=trace.SpanKind.CLIENT,
            attributes={"http.request.method": method, "url.template": endpoint, "server.address": request.url.host},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await self._buffered(request)
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
                self.metrics.count("api_requests_total", method=method, endpoint=endpoint, status=status)
                seconds = self.monotonic() - began
                self.metrics.observe("api_request_seconds", seconds, method=method, endpoint=endpoint)
        return response

    async def _buffered(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and read and decompress the whole body of its response.

        The body of a 2xx response is complete, or an error is raised. Any other response is judged by its status, so a
        part of its body that cannot be read is left out.
        """
        response = await self.inner.handle_async_request(request)
        body = bytearray()
        try:
            await self._read(response, body)
        except (httpx.DecodingError, httpx.TransportError):
            if response.is_success:
                raise
        finally:
            await response.aclose()
        if len(body) > self.max_bytes and response.is_success:
            raise AnswerTooLargeError("The answer is too large.", effect=write_effect(request.method))
        # The body below is decoded already; with these headers httpx would decode and count it again.
        headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _OF_SENT_BODY]
        return httpx.Response(
            response.status_code, headers=headers, content=bytes(body), extensions=response.extensions
        )

    async def _read(self, response: httpx.Response, body: bytearray) -> None:
        """Add the body, up to one byte more than is allowed: what unpacks to gigabytes is stopped at once."""
        assert isinstance(response.stream, httpx.AsyncByteStream)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip"}:
            raise httpx.DecodingError("the body has a content encoding that was not asked for")
        unpack = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        async for chunk in response.stream:
            room = self.max_bytes - len(body) + 1
            try:
                body += unpack.decompress(chunk, room) if unpack else chunk[:room]
            except zlib.error:
                raise httpx.DecodingError("the body is not valid gzip") from None
            if len(body) > self.max_bytes:
                return
        if unpack and not unpack.eof:
            raise httpx.DecodingError("the gzip body ends early")


def _endpoint_of(request: httpx.Request) -> str:
    return str(request.extensions.get(ENDPOINT, "other"))


def request_id_of(response: httpx.Response, key: str) -> str:
    """Return Extend's id of a request; empty without a valid one. A server may echo anything there, even the key."""
    request_id: str = response.headers.get("x-extend-request-id", "")
    return request_id if _REQUEST_ID.fullmatch(request_id) and not (key and key in request_id) else ""


class ConnectionsTransport(httpx.AsyncBaseTransport):
    """Sends a request over the free connection that was used last, or over a new one.

    The pool of httpx looks at each of its connections before and after every request. With 16 of them that is a
    sixth of the time of a call.

    Args:
        connect: Makes a transport that is used for one request at a time, and keeps its connection.
        most: Most requests at once. With many callers the rate limit should hold requests back, not this.
        idle_seconds: Longest time that an unused connection is kept.
    """

    def __init__(
        self, connect: Callable[[], httpx.AsyncBaseTransport], *, most: int = 500, idle_seconds: float = 5.0
    ) -> None:
        self._connect = connect
        self._most = most
        self._idle_seconds = idle_seconds
        self._lent: set[httpx.AsyncBaseTransport] = set()
        # The first one is made now, to find settings that cannot work.
        self._free = deque([(time.monotonic(), connect())])

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; its connection is free again when the response is closed."""
        if len(self._lent) >= self._most:
            raise httpx.PoolTimeout("too many connections are in use", request=request)
        connection = self._free.pop()[1] if self._free else self._connect()
        self._lent.add(connection)
        try:
            while self._free and self._free[0][0] < time.monotonic() - self._idle_seconds:
                await self._free.popleft()[1].aclose()
            response = await connection.handle_async_request(request)
        except BaseException:
            self._release(connection)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _LentStream(response.stream, partial(self._release, connection))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        free = [connection for _, connection in self._free]
        self._free.clear()
        for connection in (*free, *self._lent):
            await connection.aclose()

    def _release(self, connection: httpx.AsyncBaseTransport) -> None:
        self._lent.discard(connection)
        self._free.append((time.monotonic(), connection))


@dataclass(eq=False)
class _LentStream(httpx.AsyncByteStream):
    """Passes a body on, and releases its connection when the response closes it, which it does once."""

    inner: httpx.AsyncByteStream
    release: Callable[[], None]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.inner.__aiter__()

    async def aclose(self) -> None:
        try:
            await self.inner.aclose()
        finally:
            self.release()


def network_transport(base_url: str) -> ConnectionsTransport:
    """Open the network as httpx does by default; it reads no proxy settings when it is given a transport.

    Raises:
        ConnectFailedError: the URL, or the proxy or certificate settings of the environment, cannot be used.
    """
    try:
        httpx.URL(base_url)
        return ConnectionsTransport(partial(httpx.AsyncHTTPTransport, verify=certificates(), proxy=proxy_for(base_url)))
    except (ImportError, OSError, ValueError, httpx.InvalidURL):
        pass
    # Raised out here, so that it is not chained to an exception that quotes a proxy's password.
    raise ConnectFailedError(
        "The base URL, or the proxy or certificate settings of this computer, cannot be used; "
        "`extend-mcp doctor` names the variable."
    )


def proxy_for(base_url: str) -> str | None:
    """Return the URL of the proxy that the environment names for an address; None for no proxy."""
    url = urlsplit(base_url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(url.hostname or ""):
        return None
    # The variables often name a proxy by host and port alone.
    return proxy if "://" in proxy else f"http://{proxy}"


def certificates() -> ssl.SSLContext:
    """Return the authorities that httpx trusts by default. They are read once: that takes longer than several calls.

    Raises:
        OSError: `SSL_CERT_FILE` or `SSL_CERT_DIR` names a file or folder that does not exist.
    """
    return _read_certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _read_certificates(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


class RefusedAnswerError(Exception):
    """An answer of another server cannot be used. The text, for the log, names no URL: that may be a credential."""


async def download(client: httpx.AsyncClient, url: str, *, max_bytes: int) -> bytes:
    """Get a body from another server than Extend, and close the client, which must follow no redirects.

    Raises:
        RefusedAnswerError: the answer is not 200, or too large.
        httpx.HTTPError: there is no answer.
    """
    async with client, client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
        if response.status_code != httpx.codes.OK:
            raise RefusedAnswerError(f"an answer is {response.status_code}")
        body = bytearray()
        # Raw, since unpacking could make much of little.
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > max_bytes:
                raise RefusedAnswerError(f"an answer is larger than {max_bytes} bytes")
    return bytes(body)
