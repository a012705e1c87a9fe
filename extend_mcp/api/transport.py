"""What happens between one API call and the network, as a stack of httpx transports.

Each class wraps another transport and does one job. `build_transport` puts them in their order:

    DeadlineTransport   the whole call, retries and waits included, has an end
    RetryTransport      a GET that failed in passing is sent again
    BufferTransport     the body is read here, so that a truncated one is seen by the retries
    PaceTransport       each attempt waits for its turn under the rate limit; a 429 teaches it
    ObserveTransport    each attempt is counted, and has a span
    inner               the network
"""

import logging
import random
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio
import httpx
from tenacity import AsyncRetrying, RetryCallState

from extend_mcp.api.errors import RETRYABLE_STATUSES
from extend_mcp.api.observe import Observer, ObserveTransport, endpoint_of
from extend_mcp.api.pace import NEVER_SENT, Budget, PaceTransport
from extend_mcp.api.wire import parse_retry_after

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Largest body read, counted after decompression."""

_BROKEN_CONNECTION: Final = (
    httpx.NetworkError,
    httpx.ProxyError,
    httpx.RemoteProtocolError,
    httpx.TimeoutException,
)


class DeadlineExceededError(httpx.TimeoutException):
    """The call did not finish within its total time."""


class NoTurnError(httpx.PoolTimeout):
    """The call waited for its turn under the rate limit until its total time was over: nothing was sent."""


class BodyTooLargeError(httpx.DecodingError):
    """The body of a 2xx answer is larger than allowed."""


class BufferTransport(httpx.AsyncBaseTransport):
    """Reads and decompresses the whole body before it hands the answer up.

    An answer that is not 2xx is judged by its status, so what cannot be read of its body is left out. The body
    of a 2xx answer is whole or an error is raised.

    Args:
        inner: The transport that does the work.
        max_bytes: Largest body, after decompression; checked while reading, so that a small body that
            unpacks to gigabytes is stopped at once.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._inner = inner
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return its answer with the body in memory.

        Raises:
            httpx.DecodingError: The body of a 2xx answer cannot be decompressed (`BodyTooLargeError`: is too large).
            httpx.TransportError: The connection broke before the body of a 2xx answer was complete.
        """
        response = await self._inner.handle_async_request(request)
        body = bytearray()
        try:
            await self._read(response, body)
        except (httpx.DecodingError, httpx.TransportError):
            if response.is_success:
                raise
        finally:
            await response.aclose()
        headers = httpx.Headers(response.headers)
        # The body below is decoded already; with these headers httpx would decode and count it again.
        for name in ("content-encoding", "content-length", "transfer-encoding"):
            headers.pop(name, None)
        return httpx.Response(
            response.status_code, headers=headers, content=bytes(body), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()

    async def _read(self, response: httpx.Response, body: bytearray) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip"}:
            raise httpx.DecodingError("the body has a content encoding that was not asked for")
        unpack = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        async for chunk in response.stream:
            room = self._max_bytes - len(body) + 1
            try:
                body += unpack.decompress(chunk, room) if unpack else chunk[:room]
            except zlib.error:
                raise httpx.DecodingError("the body is not valid gzip") from None
            if len(body) > self._max_bytes:
                raise BodyTooLargeError(f"the body is larger than {self._max_bytes} bytes")
        if unpack and not unpack.eof:
            raise httpx.DecodingError("the gzip body ends early")


class RetryTransport(httpx.AsyncBaseTransport):
    """Sends a GET again that failed in passing; never sends any other request twice.

    Passing failures are the statuses in `RETRYABLE_STATUSES` and broken connections. Creates are not
    idempotent and there is no idempotency key (Extend API reference), so whether to repeat a write is for
    those to decide who can look whether it took effect.

    The wait before attempt n+1 is random between 0 and `base * 2**(n-1)`, at most `cap` ("full jitter"), or
    what Retry-After says. If Retry-After is above `retry_after_ceiling`, or the wait would outlast the
    deadline of the call, the answer at hand is returned at once.

    Args:
        inner: The transport that does the work.
        max_attempts: How often a request is sent at most, 1 or more.
        base: Seconds, upper bound of the first wait.
        cap: Seconds, upper bound of all waits without Retry-After.
        retry_after_ceiling: Seconds, longest Retry-After that is waited for.
        sleep: Waits; given so that tests need not.
        uniform: Returns a random number between its two arguments.
        observer: Is told of every repetition.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        max_attempts: int = 4,
        base: float = 0.5,
        cap: float = 8.0,
        retry_after_ceiling: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        observer: Observer | None = None,
    ) -> None:
        self._inner = inner
        self._max_attempts = max_attempts
        self._base = base
        self._cap = cap
        self._retry_after_ceiling = retry_after_ceiling
        self._sleep = sleep
        self._uniform = uniform
        self._observer = observer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, a GET as often as needed and allowed; return or raise the last outcome."""
        if request.method != "GET":
            return await self._inner.handle_async_request(request)
        # One per request: tenacity keeps the state of a running call on this object.
        retrying = AsyncRetrying(
            sleep=self._sleep,
            retry=self._should_retry,
            wait=self._wait,
            stop=self._should_stop,
            before_sleep=partial(self._tell, request),
            retry_error_callback=_last_outcome,
        )
        return await retrying(self._inner.handle_async_request, request)

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()

    def _should_retry(self, state: RetryCallState) -> bool:
        assert state.outcome is not None
        if state.outcome.failed:
            return isinstance(state.outcome.exception(), _BROKEN_CONNECTION)
        response = _response(state)
        return (
            response.status_code in RETRYABLE_STATUSES and (_retry_after(response) or 0.0) <= self._retry_after_ceiling
        )

    def _wait(self, state: RetryCallState) -> float:
        assert state.outcome is not None
        asked = None if state.outcome.failed else _retry_after(_response(state))
        if asked is not None:
            return asked
        return self._uniform(0.0, min(self._cap, self._base * 2 ** (state.attempt_number - 1)))

    def _tell(self, request: httpx.Request, state: RetryCallState) -> None:
        assert state.outcome is not None
        exc = state.outcome.exception()
        reason = type(exc).__name__ if exc else str(_response(state).status_code)
        logger.info("GET attempt %d met %s; next in %.1f s", state.attempt_number, reason, state.upcoming_sleep)
        if self._observer is not None:
            path = request.url.raw_path.partition(b"?")[0].decode("ascii")
            self._observer.api_retry(method=request.method, endpoint=endpoint_of(path), reason=reason)

    def _should_stop(self, state: RetryCallState) -> bool:
        # An answer in hand says more than the timeout that waiting on would end in.
        time_left = anyio.current_effective_deadline() - anyio.current_time()
        return state.attempt_number >= self._max_attempts or state.upcoming_sleep >= time_left


class DeadlineTransport(httpx.AsyncBaseTransport):
    """Ends a call that takes too long in all, however its parts behave.

    Args:
        inner: The transport that does the work.
        seconds: The longest time one call may take, above 0.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request.

        Raises:
            DeadlineExceededError: There was no complete answer in time.
            NoTurnError: The request was not even sent in time.
        """
        with anyio.move_on_after(self._seconds):
            return await self._inner.handle_async_request(request)
        if request.extensions.get(NEVER_SENT):
            raise NoTurnError(f"held back by the rate limit for {self._seconds:g} seconds")
        raise DeadlineExceededError(f"no complete answer within {self._seconds:g} seconds")

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()


def build_transport(
    inner: httpx.AsyncBaseTransport,
    *,
    total_timeout: float,
    max_attempts: int,
    budget: Budget | None = None,
    caller: str = "",
    observer: Observer | None = None,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> httpx.AsyncBaseTransport:
    """Wrap a network transport in the whole stack, in its order.

    Args:
        inner: The transport that talks to the network.
        total_timeout: Seconds one call may take in all.
        max_attempts: How often a GET is sent at most.
        budget: The rate limit that each attempt counts against; None for no limit.
        caller: Names whose calls these are: callers who share a budget take turns.
        observer: Is told of every attempt, every repetition, and every wait for a turn.
        sleep: Waits between attempts.
    """
    if observer is not None:
        inner = ObserveTransport(inner, observer)
    if budget is not None:
        inner = PaceTransport(inner, budget, caller=caller, observer=observer)
    retrying = RetryTransport(BufferTransport(inner), max_attempts=max_attempts, sleep=sleep, observer=observer)
    return DeadlineTransport(retrying, seconds=total_timeout)


def _response(state: RetryCallState) -> httpx.Response:
    assert state.outcome is not None
    response: httpx.Response = state.outcome.result()
    return response


def _last_outcome(state: RetryCallState) -> httpx.Response:
    """Return the last answer, or raise the last exception, in place of tenacity's RetryError."""
    return _response(state)


def _retry_after(response: httpx.Response) -> float | None:
    return parse_retry_after(response.headers.get("retry-after"))
