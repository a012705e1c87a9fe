"""Send one call to Extend, and turn the response into an object or an error."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import quote

import httpx
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from extend_mcp import __version__
from extend_mcp.api import errors
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.models import ApiModel, ApiObject, Page
from extend_mcp.api.requests import PAGE_SIZE, ListQuery
from extend_mcp.api.transport import ENDPOINT, ExtendTransport, request_id_of
from extend_mcp.api.wire import decode_json, is_header_safe

API_VERSION: Final = "2026-02-09"
"""Sent with every request: fixes the shapes of Extend's responses (Extend API reference, Versioning)."""

Query = Mapping[str, str | int | bool | None]
"""Query parameters by their Python name; those that are None are left out."""

_PLACEHOLDER: Final = re.compile(r"\{\w+\}")

_camel: Final = cache(to_camel)

ItemT = TypeVar("ItemT", bound=ApiModel)
ModelT = TypeVar("ModelT", bound=ApiObject)


@dataclass
class Pager(Generic[ItemT]):
    """A list of the API. Await it for one page, or iterate over its pages, each of which is read when it is needed.

    It begins with the page that ``token`` names. Without a ``size`` a page has as many items as Extend chooses, and
    `PAGE_SIZE` for iterating.
    """

    read_page: Callable[[str | None, int | None], Awaitable[Page[ItemT]]]
    token: str | None = None
    size: int | None = None

    def __await__(self) -> Generator[Any, None, Page[ItemT]]:
        return self.read_page(self.token, self.size).__await__()

    async def pages(self) -> AsyncGenerator[Page[ItemT], None]:
        """Iterate over whole pages."""
        token = self.token
        while True:
            page = await self.read_page(token, self.size or PAGE_SIZE)
            yield page
            token = page.next_page_token
            if token is None:
                return


@dataclass(eq=False, repr=False)
class BaseClient:
    """Credentials of an API client, and the transport that sends its requests.

    Attributes:
        transport: Sends each request; it may be shared, and closing it is its owner's.
        on_run_gone: Awaited with a run's id after it was deleted through this client (True), or a read answered 404
            (False).
        on_write_answered: Called with Extend's id of each request that can change something and was answered.
        on_key_accepted: Called with the key when Extend first accepts it.
    """

    config: ClientConfig
    transport: ExtendTransport
    _: KW_ONLY
    on_run_gone: Callable[[str, bool], Awaitable[None]] | None = None
    on_write_answered: Callable[[str], None] | None = None
    on_key_accepted: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        config = self.config
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

    def list_of(self, kind: type[ItemT], path: str, *ids: str, query: ListQuery) -> Pager[ItemT]:
        """Return a list whose items are of ``kind``; path and ids as for `call`."""
        first, wanted = query.get("next_page_token"), query.get("max_page_size")

        async def read_page(token: str | None, size: int | None) -> Page[ItemT]:
            paging: Query = {"next_page_token": token, "max_page_size": size}
            body = await self.call("GET", path, *ids, query={**cast("Query", query), **paging})
            with suppress(ValidationError):
                # Much faster than by way of Python objects, and it refuses everything that needs those.
                return _page_of(kind).model_validate_json(body)
            with suppress(ValidationError):
                return _page_of(kind).model_validate(_json_object("GET", body))
            raise errors.MalformedResponseError("The answer is not a list.")

        return Pager(read_page, first, wanted)

    async def send(
        self,
        kind: type[ModelT],
        method: str,
        path: str,
        *ids: str,
        query: Query | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> ModelT:
        """Make a call and read the response as one object of ``kind``; arguments as for `call`."""
        body = await self.call(method, path, *ids, query=query, content=content, headers=headers)
        found = kind.model_validate(_json_object(method, body))
        if not found.id:
            raise errors.MalformedResponseError("The answer has no id.", effect=errors.write_effect(method))
        return found

    async def call(
        self,
        method: str,
        path: str,
        *ids: str,
        query: Query | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Make one call and return the body of its response.

        The ids fill the path, such as ``/workflow_runs/{id}``, in order. Bytes are JSON unless headers describe them.
        """
        given = iter(ids)
        filled = _PLACEHOLDER.sub(lambda _: _segment(next(given)), path)
        chosen = {_camel(name): value for name, value in (query or {}).items() if value is not None}
        if content is not None and headers is None:
            headers = {"Content-Type": "application/json"}
        given_key = self.config.api_key
        key = given_key.get_secret_value().strip() if given_key else ""
        if not key:
            raise errors.MissingApiKeyError
        if not is_header_safe(key):
            raise errors.MissingApiKeyError(
                "EXTEND_API_KEY is not a key: it contains spaces or characters beyond ASCII."
            )
        try:
            # Not by httpx's client: cookies and redirects, which would carry the key elsewhere, are not wanted.
            request = httpx.Request(
                method,
                self.config.base_url.rstrip("/") + filled + (f"?{httpx.QueryParams(chosen)}" if chosen else ""),
                headers={**self._headers, "Authorization": f"Bearer {key}", **(headers or {})},
                content=content,
                extensions={"timeout": self._timeout, ENDPOINT: path},
            )
            response = await self.transport.handle_async_request(request)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            failure = _error_from_exception(method, exc)
        else:
            if self.on_key_accepted and response.is_success:
                learn, self.on_key_accepted = self.on_key_accepted, None
                learn(key)
            if self.on_write_answered and method != "GET" and (request_id := request_id_of(response, key)):
                self.on_write_answered(request_id)
            if response.is_success:
                return response.content
            # An error page may echo the request; the key must not come back that way.
            failed = response.content.replace(key.encode(), b"[key]")
            failure = errors.error_from_response(method, response.status_code, response.headers, failed)
        # Raised out here, so that it is not chained to an exception whose request carries the key.
        raise failure


@cache
def _page_of(kind: type[ItemT]) -> type[Page[ItemT]]:
    return Page[kind]  # type: ignore[valid-type]


def _segment(given_id: str) -> str:
    """Quote an id so that it is one segment of a path, or refuse it. A response can contain any id."""
    if given_id in {"", ".", ".."}:
        raise errors.InvalidRequestError("An id must not be empty or consist of dots; nothing was sent.")
    return quote(given_id, safe="")


def _json_object(method: str, body: bytes) -> dict[str, Any]:
    try:
        document = decode_json(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    raise errors.MalformedResponseError("The answer is not a JSON object.", effect=errors.write_effect(method))


_FAILURES: Final[tuple[tuple[Any, type[errors.ExtendError], str], ...]] = (
    (httpx.InvalidURL, errors.InvalidRequestError, "The arguments do not fit into a URL."),
    ((httpx.ConnectTimeout, httpx.PoolTimeout), errors.ConnectFailedError, "Extend could not be reached in time."),
    (
        (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol),
        errors.ConnectFailedError,
        "Extend could not be reached.",
    ),
    (httpx.TimeoutException, errors.ResponseLostError, "Extend did not answer in time."),
    (httpx.DecodingError, errors.MalformedResponseError, "The answer cannot be decompressed."),
    (httpx.HTTPError, errors.ResponseLostError, "The connection broke before the answer was complete."),
)
"""The meaning of each error of httpx, the first that fits. Its own text is not used: it may quote headers."""


def _error_from_exception(method: str, exc: httpx.HTTPError | httpx.InvalidURL) -> errors.ExtendError:
    kind, message = next((kind, message) for causes, kind, message in _FAILURES if isinstance(exc, causes))
    sent = kind not in (errors.InvalidRequestError, errors.ConnectFailedError)
    retryable = kind in (errors.ConnectFailedError, errors.ResponseLostError)
    return kind(message, retryable=retryable, effect=errors.write_effect(method) if sent else "none")
