"""Send one call to Extend, and turn the response into an object or an error."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import cache
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import quote

import anyio
import httpx
from pydantic.alias_generators import to_camel
from typing_extensions import Self

from extend_mcp import __version__
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.errors import (
    AnswerTooLargeError,
    ConnectFailedError,
    ExtendError,
    InvalidRequestError,
    MalformedResponseError,
    MissingApiKeyError,
    ResponseLostError,
    error_from_response,
    write_effect,
)
from extend_mcp.api.models import Answer, ApiModel, Page
from extend_mcp.api.rate_limit import LocalWindow, RateLimiter
from extend_mcp.api.tracing import REQUEST_ID, Observer
from extend_mcp.api.transport import (
    BodyTooLargeError,
    DeadlineExceededError,
    NeverSentError,
    build_transport,
    network_transport,
)
from extend_mcp.api.wire import decode_json, is_header_safe

API_VERSION: Final = "2026-02-09"
"""Sent with every request: fixes the shapes of Extend's responses (Extend API reference, Versioning)."""

Query = Mapping[str, str | int | bool | None]
"""Query parameters by their Python name; those that are None are left out."""

ListQuery = Mapping[str, object]
"""One of the typed queries of lists in `requests`."""

ItemT = TypeVar("ItemT", bound=ApiModel)
ModelT = TypeVar("ModelT", bound=Answer)


class Pager(Generic[ItemT]):
    """Iterates over a list of the API, and reads each page when it is needed.

    Args:
        read_page: Reads the page that a token names, or the first one without a token.
    """

    def __init__(self, read_page: Callable[[str | None], Awaitable[Page[ItemT]]]) -> None:
        self._read_page = read_page

    async def __aiter__(self) -> AsyncGenerator[ItemT, None]:
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                for item in page.data:
                    yield item

    async def pages(self, token: str | None = None) -> AsyncGenerator[Page[ItemT], None]:
        """Iterate over whole pages, from the one that ``token`` names."""
        while True:
            page = await self._read_page(token)
            yield page
            token = page.next_page_token
            if token is None:
                return


class BaseClient:
    """Credentials and connections of an API client.

    The first call opens the connection pool. `aclose` closes it, and so does the end of an `async with` block.

    Args:
        config: Address, credentials and limits.
        transport: The transport that talks to the network; retries, deadline and size limit are put around it.
            By default the network, through the proxy that the environment names.
        limiter: The rate limit, when other clients share it. By default this client has its own, if the
            configuration has a limit.
        caller: Names the caller; callers who share a limiter alternate.
        observer: Receives every attempt.
        sleep: Waits between attempts, in seconds.
        monotonic: Returns the time in seconds.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        limiter: RateLimiter | None = None,
        caller: str = "",
        observer: Observer | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._transport = transport
        if limiter is None and config.requests_per_second is not None:
            # Made here and not with the connections: it must remember requests of the last second.
            window = LocalWindow(config.requests_per_second, monotonic=monotonic)
            limiter = RateLimiter(window, sleep=sleep, monotonic=monotonic)
        self._limiter = limiter
        self._caller = caller
        self._observer = observer
        self._sleep = sleep
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"extend-mcp/{__version__}",
            "x-extend-api-version": API_VERSION,
            **({"x-extend-workspace-id": config.workspace_id} if config.workspace_id else {}),
        }
        self._timeout = httpx.Timeout(
            config.read_timeout, connect=config.connect_timeout, pool=config.connect_timeout
        ).as_dict()
        self._stack: httpx.AsyncBaseTransport | None = None
        self.on_run_gone: Callable[[str, bool], Awaitable[None]] | None = None
        """Awaited with a run's id after it was deleted through this client (True), or a read answered 404 (False)."""
        self.on_write_answered: Callable[[str], None] | None = None
        """Called with Extend's id of each request that can change something and was answered."""
        self.on_key_accepted: Callable[[str], None] | None = None
        """Called with the key when Extend first accepts it."""

    async def aclose(self) -> None:
        """Close all connections. A call after this opens new ones."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def get_page(
        self,
        kind: type[ItemT],
        path: str,
        next_page_token: str | None,
        max_page_size: int | None,
        query: ListQuery,
    ) -> Page[ItemT]:
        """Read one page of a list whose items are of ``kind``."""
        paging: Query = {"next_page_token": next_page_token, "max_page_size": max_page_size}
        document = await self.call("GET", path, query={**cast("Query", query), **paging})
        if not isinstance(document.get("data"), list):
            raise MalformedResponseError("The answer is not a list.")
        return _page_of(kind).model_validate(document)

    def get_pages(self, kind: type[ItemT], path: str, page_size: int, query: ListQuery) -> Pager[ItemT]:
        """Iterate over a list whose items are of ``kind``."""
        return Pager(lambda token: self.get_page(kind, path, token, page_size, query))

    async def send(
        self,
        kind: type[ModelT],
        method: str,
        path: str,
        *,
        query: Query | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> ModelT:
        """Make a call and read the response as one object of ``kind``; arguments as for `call`."""
        found = kind.model_validate(await self.call(method, path, query=query, content=content, headers=headers))
        if not found.key:
            raise MalformedResponseError(f"The answer is not {kind.called}.", effect=write_effect(method))
        return found

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Make one call and return the JSON object of the response.

        Args:
            method: The HTTP method.
            path: The path, its ids quoted by `path_segment`.
            query: Query parameters.
            content: The body; bytes are JSON unless ``headers`` say otherwise.
            headers: Headers that describe the body.
        """
        stack, key = self._open()
        given = {to_camel(name): value for name, value in (query or {}).items() if value is not None}
        if content is not None and headers is None:
            headers = {"Content-Type": "application/json"}
        try:
            # Not by httpx's client: cookies and redirects, which would carry the key elsewhere, are not wanted.
            request = httpx.Request(
                method,
                self._config.base_url.rstrip("/") + path + (f"?{httpx.QueryParams(given)}" if given else ""),
                headers={**self._headers, "Authorization": f"Bearer {key}", **(headers or {})},
                content=content,
                extensions={"timeout": self._timeout},
            )
            response = await stack.handle_async_request(request)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            failure = _error_from_exception(method, exc)
        else:
            request_id = response.headers.get("x-extend-request-id", "")
            learn = self.on_key_accepted
            if learn and response.is_success:
                self.on_key_accepted = None
                learn(key)
            # A server may echo anything here, even the key.
            if (
                self.on_write_answered
                and method != "GET"
                and REQUEST_ID.fullmatch(request_id)
                and key not in request_id
            ):
                self.on_write_answered(request_id)
            return _json_object(method, response, key)
        # Raised out here, so that it is not chained to an exception whose request carries the key.
        raise failure

    def _open(self) -> tuple[httpx.AsyncBaseTransport, str]:
        key = self._config.api_key
        secret = key.get_secret_value().strip() if key else ""
        if not secret:
            raise MissingApiKeyError
        if not is_header_safe(secret):
            raise MissingApiKeyError("EXTEND_API_KEY is not a key: it contains spaces or characters beyond ASCII.")
        if self._stack is None:
            self._stack = self._build_stack()
        return self._stack, secret

    def _build_stack(self) -> httpx.AsyncBaseTransport:
        try:
            httpx.URL(self._config.base_url)
            return build_transport(
                self._transport or network_transport(self._config.base_url),
                total_timeout=self._config.total_timeout,
                max_attempts=self._config.max_attempts,
                limiter=self._limiter,
                caller=self._caller,
                observer=self._observer,
                sleep=self._sleep,
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL):
            pass
        # Raised out here, so that it is not chained to an exception that quotes a proxy's password.
        raise ConnectFailedError("The base URL, or the proxy or certificate settings of this computer, cannot be used.")


@cache
def _page_of(kind: type[ItemT]) -> type[Page[ItemT]]:
    return Page[kind]  # type: ignore[valid-type]


def path_segment(given_id: str) -> str:
    """Quote an id so that it is one segment of a path, whatever it contains.

    Raises:
        InvalidRequestError: The id is empty, or would lead to another path. A response can contain such an id.
    """
    if given_id in {"", ".", ".."}:
        raise InvalidRequestError("An id must not be empty or consist of dots; nothing was sent.")
    return quote(given_id, safe="")


def _json_object(method: str, response: httpx.Response, key: str) -> dict[str, Any]:
    if not response.is_success:
        # An error page may echo the request; the key must not come back that way.
        body = response.content.replace(key.encode(), b"[key]")
        raise error_from_response(method, response.status_code, response.headers, body)
    try:
        document = decode_json(response.content)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    raise MalformedResponseError(
        "The answer is not a JSON object.", status=response.status_code, effect=write_effect(method)
    )


def _error_from_exception(method: str, exc: httpx.HTTPError | httpx.InvalidURL) -> ExtendError:
    """Translate an exception of httpx. Its text is not used: it may quote headers."""
    effect = write_effect(method)
    match exc:
        case httpx.InvalidURL():
            return InvalidRequestError("The arguments do not fit into a URL.")
        case NeverSentError():
            return ConnectFailedError(
                "The call waited for the rate limit until its time was over; nothing was sent.",
                retryable=True,
            )
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return ConnectFailedError("Extend could not be reached in time.", retryable=True)
        case httpx.ConnectError() | httpx.ProxyError() | httpx.UnsupportedProtocol():
            return ConnectFailedError("Extend could not be reached.", retryable=True)
        case DeadlineExceededError():
            return ResponseLostError(
                "Extend did not answer within the total time allowed.", retryable=True, effect=effect
            )
        case httpx.TimeoutException():
            return ResponseLostError("Extend did not answer in time.", retryable=True, effect=effect)
        case BodyTooLargeError():
            return AnswerTooLargeError("The answer is too large.", effect=effect)
        case httpx.DecodingError():
            return MalformedResponseError("The answer cannot be decompressed.", effect=effect)
        case _:
            return ResponseLostError(
                "The connection broke before the answer was complete.", retryable=True, effect=effect
            )
