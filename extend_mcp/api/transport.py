"""Send a request over the network, with a deadline, retries, a size limit, a rate limit and traces.

Each class is an httpx transport that wraps another one and does one job. `build_transport` stacks them:

    DeadlineTransport    ends the whole call, retries and waits included
    RetryTransport       sends a GET again after a transient failure
    RateLimitTransport   delays each attempt until the rate limit allows it; pauses after a 429
    TracingTransport     counts each attempt, and opens a span around it
    BufferTransport      reads the body, so that the others see a truncated one
    inner                the network
"""

import logging
import os
import random
import ssl
import time
import urllib.request
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from functools import cache, partial
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx

from extend_mcp.api.errors import RETRYABLE_STATUSES, ConnectFailedError
from extend_mcp.api.rate_limit import NEVER_SENT, RateLimiter, RateLimitTransport
from extend_mcp.api.tracing import TracingTransport, WrappingTransport, endpoint_of
from extend_mcp.api.wire import parse_retry_after
from extend_mcp.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Largest body read, counted after decompression."""

_OF_SENT_BODY: Final = (b"content-encoding", b"content-length", b"transfer-encoding")

_BROKEN_CONNECTION: Final = (
    httpx.NetworkError,
    httpx.ProxyError,
    httpx.RemoteProtocolError,
    httpx.TimeoutException,
)


class DeadlineExceededError(httpx.TimeoutException):
    """The call did not finish within its total time."""


class NeverSentError(httpx.PoolTimeout):
    """The call waited for the rate limit until its total time was over: nothing was sent."""


class BodyTooLargeError(httpx.DecodingError):
    """The body of a 2xx response is larger than allowed."""


class RefusedAnswerError(Exception):
    """An answer of another server cannot be used. The text, for the log, names no URL: that may be a credential."""


@dataclass(eq=False)
class BufferTransport(WrappingTransport):
    """Reads and decompresses the whole body before it returns the response.

    The body of a 2xx response is complete, or an error is raised. Any other response is judged by its status, so a
    part of its body that cannot be read is left out. The size is counted after decompression and checked while
    reading, so that a small body that unpacks to gigabytes is stopped at once.
    """

    _: KW_ONLY
    max_bytes: int = MAX_BODY_BYTES

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return its response with the body in memory."""
        response = await self.inner.handle_async_request(request)
        body = bytearray()
        try:
            await self._read(response, body)
        except (httpx.DecodingError, httpx.TransportError):
            if response.is_success:
                raise
        finally:
            await response.aclose()
        # The body below is decoded already; with these headers httpx would decode and count it again.
        headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _OF_SENT_BODY]
        return httpx.Response(
            response.status_code, headers=headers, content=bytes(body), extensions=response.extensions
        )

    async def _read(self, response: httpx.Response, body: bytearray) -> None:
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
                raise BodyTooLargeError(f"the body is larger than {self.max_bytes} bytes")
        if unpack and not unpack.eof:
            raise httpx.DecodingError("the gzip body ends early")


@dataclass(eq=False)
class RetryTransport(WrappingTransport):
    """Sends a GET again after a transient failure; never sends any other request twice.

    Transient failures are the statuses in `RETRYABLE_STATUSES` and broken connections. Creates are not idempotent and
    Extend has no idempotency key, so only a caller that can check whether a write took effect may repeat it.

    The wait before attempt n+1 is random between 0 and `base * 2**(n-1)`, at most `cap` ("full jitter"), or the
    value of Retry-After. If Retry-After is above `retry_after_ceiling`, or the wait would outlast the deadline of the
    call, the last response is returned at once.

    Attributes:
        max_attempts: Most times that a request is sent, 1 or more.
        base: Seconds, upper bound of the first wait.
        cap: Seconds, upper bound of all waits without Retry-After.
        retry_after_ceiling: Seconds, the longest Retry-After that is waited for.
        sleep: Waits so many seconds.
        uniform: Returns a random number between its two arguments.
        metrics: Counts every retry.
    """

    _: KW_ONLY
    max_attempts: int = 4
    base: float = 0.5
    cap: float = 8.0
    retry_after_ceiling: float = 30.0
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    metrics: Metrics | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            return await self.inner.handle_async_request(request)
        attempt = 1
        while True:
            failure, retry_after = None, None
            try:
                response = await self.inner.handle_async_request(request)
                if response.status_code not in RETRYABLE_STATUSES:
                    return response
                reason, retry_after = str(response.status_code), parse_retry_after(response.headers.get("retry-after"))
            except _BROKEN_CONNECTION as error:
                failure, reason = error, type(error).__name__
            wait = retry_after
            if wait is None:
                wait = self.uniform(0.0, min(self.cap, self.base * 2 ** (attempt - 1)))
            # A response says more than the timeout that a longer wait would end in.
            time_left = anyio.current_effective_deadline() - anyio.current_time()
            too_long = (retry_after or 0.0) > self.retry_after_ceiling or wait >= time_left
            if attempt >= self.max_attempts or too_long:
                if failure is not None:
                    raise failure
                return response
            logger.info("GET attempt %d met %s; next in %.1f s", attempt, reason, wait)
            if self.metrics is not None:
                self.metrics.api_retry(method=request.method, endpoint=endpoint_of(request), reason=reason)
            await self.sleep(wait)
            attempt += 1


@dataclass(eq=False)
class DeadlineTransport(WrappingTransport):
    """Ends a call that takes more than so many seconds in total."""

    _: KW_ONLY
    seconds: float

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with anyio.move_on_after(self.seconds):
            return await self.inner.handle_async_request(request)
        if request.extensions.get(NEVER_SENT):
            raise NeverSentError(f"held back by the rate limit for {self.seconds:g} seconds")
        raise DeadlineExceededError(f"no complete answer within {self.seconds:g} seconds")


def build_transport(
    inner: httpx.AsyncBaseTransport,
    *,
    total_timeout: float,
    max_attempts: int,
    limiter: RateLimiter | None = None,
    caller: str = "",
    metrics: Metrics | None = None,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> httpx.AsyncBaseTransport:
    """Wrap a network transport in the whole stack; arguments as for `BaseClient`."""
    inner = BufferTransport(inner)
    if metrics is not None:
        inner = TracingTransport(inner, metrics)
    if limiter is not None:
        inner = RateLimitTransport(inner, limiter, caller=caller, metrics=metrics)
    retrying = RetryTransport(inner, max_attempts=max_attempts, sleep=sleep, metrics=metrics)
    return DeadlineTransport(retrying, seconds=total_timeout)


class SharedTransport(WrappingTransport):
    """A transport that several clients use: closing one of them leaves it open."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        pass


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


class _LentStream(httpx.AsyncByteStream):
    """Passes a body on, and releases its connection when it is closed."""

    def __init__(self, inner: httpx.AsyncByteStream, release: Callable[[], None]) -> None:
        self._inner = inner
        self._release: Callable[[], None] | None = release

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inner.__aiter__()

    async def aclose(self) -> None:
        release, self._release = self._release, None
        try:
            await self._inner.aclose()
        finally:
            if release is not None:
                release()


def network_transport(base_url: str) -> ConnectionsTransport:
    """Open the network as httpx does by default; it reads no proxy settings when it is given a transport.

    Raises:
        ConnectFailedError: the proxy or certificate settings of the environment cannot be used.
    """
    try:
        return ConnectionsTransport(partial(httpx.AsyncHTTPTransport, verify=certificates(), proxy=proxy_for(base_url)))
    except (ImportError, OSError, ValueError, httpx.InvalidURL):
        pass
    # Raised out here, so that it is not chained to an exception that quotes a proxy's password.
    raise ConnectFailedError(
        "The proxy or certificate settings of this computer cannot be used; `extend-mcp doctor` names the variable."
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
