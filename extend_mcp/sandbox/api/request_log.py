"""Log every API request and give it an ID, then check the headers that all requests must carry."""

import json
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extend_mcp.sandbox.api.responses import error_response
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.validation import ApiError, JsonObject
from extend_mcp.sandbox.sandbox_settings import SandboxSettings

_REQUEST_ID_HEADER = "x-extend-request-id"


@dataclass
class LoggedRequest:
    """An API request as received. `status` stays None if no response was sent.

    `body` is its JSON without the values of secrets and passwords, or None if there was none.
    """

    method: str
    path: str
    query: dict[str, str]
    at: str
    request_id: str
    status: int | None = None
    body: Any = None

    def to_json(self) -> JsonObject:
        """Describe the request for the control route."""
        return dict(vars(self))


class RequestLogMiddleware:
    """Add each request to the log and its ID to the response."""

    def __init__(self, app: ASGIApp, account: SandboxAccount, log: list[LoggedRequest]) -> None:
        self._app = app
        self._account = account
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log the request and serve it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._account.lock:
            request_id = self._account.ids("req_")
            entry = LoggedRequest(
                method=scope["method"],
                path=scope["path"],
                query=dict(QueryParams(scope["query_string"])),
                at=wire.timestamp(self._account.clock.now()),
                request_id=request_id,
            )
            self._log.append(entry)
        scope.setdefault("state", {})["request_id"] = request_id
        raw = bytearray()

        async def receive_logged() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                raw.extend(message.get("body", b""))
                if not message.get("more_body"):
                    entry.body = _body_to_log(bytes(raw))
            return message

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                message["headers"] = [*message["headers"], (_REQUEST_ID_HEADER.encode(), request_id.encode())]
            await send(message)

        await self._app(scope, receive_logged, send_logged)


class HeaderCheckMiddleware:
    """Refuse requests without the headers that every API request must carry."""

    def __init__(self, app: ASGIApp, settings: SandboxSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the headers, then serve the request."""
        if scope["type"] == "http":
            try:
                _check_headers(Headers(scope=scope), self._settings)
            except ApiError as error:
                await error_response(error, scope["state"]["request_id"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _check_headers(headers: Headers, settings: SandboxSettings) -> None:
    """Check what every API request must carry.

    Raises:
        ApiError: 401 without a bearer token, 400 without the served API version, and the settings' status
            if a required workspace header is missing.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "A valid API key is required: send it as a bearer token.")
    version = headers.get("x-extend-api-version")
    if version != settings.api_version:
        found = f"unsupported version {version!r}" if version else "missing"
        raise ApiError(400, f"Header x-extend-api-version: {found}; use {settings.api_version}.")
    if settings.workspace_required and not headers.get("x-extend-workspace-id"):
        raise ApiError(settings.workspace_missing_status, "Header x-extend-workspace-id is required for this key.")


def _body_to_log(raw: bytes) -> Any:
    """Parse a JSON body. Other bodies, such as uploads, are not kept."""
    try:
        return _without_secrets(json.loads(raw)) if raw else None
    except (ValueError, RecursionError):
        return None


def _without_secrets(value: Any, name: str = "") -> Any:
    if name == "password" and value is not None:
        return "[secret]"
    if isinstance(value, dict):
        inside_secrets = name == "secrets"
        return {key: "[secret]" if inside_secrets else _without_secrets(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return value
