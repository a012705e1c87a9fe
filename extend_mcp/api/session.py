"""One account's connection to Extend: sends a call, and turns whatever comes back into an object or an error."""

import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import anyio
import httpx
from pydantic import SecretStr
from typing_extensions import Self

from extend_mcp import __version__
from extend_mcp.api.certificates import certificates
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
from extend_mcp.api.observe import Observer
from extend_mcp.api.pace import Budget, LocalPermits
from extend_mcp.api.transport import BodyTooLargeError, DeadlineExceededError, NoTurnError, build_transport
from extend_mcp.api.wire import decode_json, is_header_safe

API_VERSION: Final = "2026-02-09"
"""Sent with every request: Extend answers in the shapes of this version (Extend API reference, Versioning)."""

_LIMITS: Final = httpx.Limits(max_connections=500, max_keepalive_connections=100)
"""Beyond httpx's own, for servers with many callers: the rate limit is what holds requests back, not the pool."""

Query = dict[str, str | int | bool | None]

ItemT = TypeVar("ItemT", bound=ApiModel)
ModelT = TypeVar("ModelT", bound=Answer)


class BearerAuth(httpx.Auth):
    """Adds the API key to each request. Held here, not in the client's headers, so that no repr shows it."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Set the Authorization header."""
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


class Session:
    """What all operations share: credentials, connections, and how answers are read.

    The connection pool is opened by the first call and closed by `aclose`, also at the end of an `async with` block.

    Args:
        config: Address, credentials and limits.
        transport: The transport that talks to the network; retries, deadline and size limit are put around it.
            Given by tests; by default the network, through the proxy the environment names.
        budget: The rate limit, where it is shared with other sessions. By default one of this session's own, if
            the configuration has a limit.
        caller: Names whose calls these are: callers who share a budget take turns.
        observer: Is told of every attempt.
        sleep: Waits between attempts, in seconds; given by tests.
        monotonic: Tells the time in seconds; given by tests.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        budget: Budget | None = None,
        caller: str = "",
        observer: Observer | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._transport = transport
        if budget is None and config.requests_per_second is not None:
            # Made once, so that what it learned outlives the connections.
            permits = LocalPermits(config.requests_per_second, monotonic=monotonic)
            budget = Budget(permits, sleep=sleep, monotonic=monotonic)
        self._budget = budget
        self._caller = caller
        self._observer = observer
        self._sleep = sleep
        self._http: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close all connections. A call after this opens new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def get_list(self, kind: type[ItemT], path: str, query: Query) -> Page[ItemT]:
        """Read one page of a list whose items are of ``kind``."""
        document = await self.call("GET", path, query=query)
        if not isinstance(document.get("data"), list):
            raise MalformedResponseError("The answer is not a list.")
        return Page[kind].model_validate(document)  # type: ignore[valid-type]

    async def send(self, kind: type[ModelT], method: str, path: str, *, content: bytes | None = None) -> ModelT:
        """Make a call that is answered with one object of ``kind``."""
        return self._object(kind, method, await self.call(method, path, content=content))

    @staticmethod
    def _object(kind: type[ModelT], method: str, document: dict[str, Any]) -> ModelT:
        found = kind.model_validate(document)
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
        """Make one call and return the JSON object it is answered with.

        Args:
            method: The HTTP method.
            path: The path, its ids made safe by `path_segment`.
            query: Values that are None are left out.
            content: The body; bytes are JSON unless ``headers`` say otherwise.
            headers: Headers that describe the body.
        """
        http, key = self._open()
        try:
            response = await http.request(
                method,
                path,
                params={name: value for name, value in (query or {}).items() if value is not None},
                content=content,
                headers=headers or ({"Content-Type": "application/json"} if content is not None else None),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            failure = _error_from_exception(method, exc)
        else:
            return _json_object(method, response, key)
        # Raised out here, so that it is not chained to an exception whose request carries the key.
        raise failure

    def _open(self) -> tuple[httpx.AsyncClient, str]:
        key = self._config.api_key
        secret = key.get_secret_value().strip() if key else ""
        if not secret:
            raise MissingApiKeyError
        if not is_header_safe(secret):
            raise MissingApiKeyError("EXTEND_API_KEY is not a key: it contains spaces or characters beyond ASCII.")
        if self._http is None:
            self._http = self._build_http(SecretStr(secret))
        return self._http, secret

    def _build_http(self, key: SecretStr) -> httpx.AsyncClient:
        config = self._config
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"extend-mcp/{__version__}",
            "x-extend-api-version": API_VERSION,
        }
        if config.workspace_id:
            headers["x-extend-workspace-id"] = config.workspace_id
        try:
            return httpx.AsyncClient(
                auth=BearerAuth(key),
                base_url=config.base_url,
                headers=headers,
                # A redirect would carry the key to wherever it points.
                follow_redirects=False,
                timeout=httpx.Timeout(config.read_timeout, connect=config.connect_timeout, pool=config.connect_timeout),
                transport=build_transport(
                    self._transport or network_transport(config.base_url),
                    total_timeout=config.total_timeout,
                    max_attempts=config.max_attempts,
                    budget=self._budget,
                    caller=self._caller,
                    observer=self._observer,
                    sleep=self._sleep,
                ),
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL):
            pass
        # Raised out here, so that it is not chained to an exception that quotes a proxy's password.
        raise ConnectFailedError("The base URL, or the proxy or certificate settings of this computer, cannot be used.")


class SharedTransport(httpx.AsyncBaseTransport):
    """A transport that several sessions use: closing one of them leaves it open.

    Args:
        inner: The transport that does the work; whoever made it closes it.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Hand the request on."""
        return await self._inner.handle_async_request(request)


def network_transport(base_url: str) -> httpx.AsyncHTTPTransport:
    """Open the network as httpx would by itself: it reads no proxy settings once it is given a transport."""
    url = urlsplit(base_url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(url.hostname or ""):
        return httpx.AsyncHTTPTransport(verify=certificates(), limits=_LIMITS)
    # The variables often name a proxy by host and port alone.
    named = proxy if "://" in proxy else f"http://{proxy}"
    return httpx.AsyncHTTPTransport(verify=certificates(), proxy=named, limits=_LIMITS)


def path_segment(given_id: str) -> str:
    """Make an id one segment of a path, whatever is in it.

    Raises:
        InvalidRequestError: The id is empty, or would climb to another path; an answer of the API can bring such a one.
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
    """Say what an exception of httpx means for the call. Its own text is not used: it may quote headers."""
    effect = write_effect(method)
    match exc:
        case httpx.InvalidURL():
            return InvalidRequestError("The arguments do not fit into a URL.")
        case NoTurnError():
            return ConnectFailedError(
                "The call waited for its turn under the rate limit until its time was over; nothing was sent.",
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
