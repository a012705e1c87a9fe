"""What every API request passes before its route: the log, faults, and the checks of its headers."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extend_mcp.sandbox import wire
from extend_mcp.sandbox.errors import ApiError, JsonObject, error_body, json_response
from extend_mcp.sandbox.faults import ConnectionDroppedError, Fault
from extend_mcp.sandbox.settings import SandboxSettings

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox

CONNECTION = "extend_mcp.sandbox.connection"
"""Name of the ASGI extension that holds the request's transport (see `protocol`)."""

REQUEST_ID_HEADER = "x-extend-request-id"


@dataclass
class LoggedRequest:
    """One API request as it came in; `status` stays None when no answer was sent.

    `body` is its JSON, with the values of secrets and passwords left out; None where there was none.
    """

    method: str
    path: str
    query: dict[str, str]
    at: str
    status: int | None = None
    body: Any = None

    def to_json(self) -> JsonObject:
        """Describe the request for the control route."""
        return dict(vars(self))


class Gate:
    """ASGI middleware around the API's routes."""

    def __init__(self, app: ASGIApp, sandbox: "Sandbox") -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log the request, let a fault strike it, check its headers, then serve it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sandbox = self._sandbox
        with sandbox.lock:
            request_id = sandbox.ids("req_")
            entry = LoggedRequest(
                method=scope["method"],
                path=scope["path"],
                query=dict(QueryParams(scope["query_string"])),
                at=wire.timestamp(sandbox.clock.now()),
            )
            sandbox.log.append(entry)
            fault = sandbox.faults.take(entry.method, entry.path)
        scope.setdefault("state", {})["request_id"] = request_id

        async def receive_logged() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                raw.extend(message.get("body", b""))
                if not message.get("more_body"):
                    entry.body = _readable(bytes(raw))
            return message

        raw = bytearray()

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID_HEADER.encode(), request_id.encode())]
            await send(message)

        if fault is None:
            await self._serve(scope, receive_logged, send_logged)
        else:
            await self._strike(fault, scope, receive_logged, send_logged)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_headers(Headers(scope=scope), self._sandbox.settings)
        except ApiError as error:
            body = error_body(error.status, scope["state"]["request_id"], error.message)
            await json_response(body, error.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.drop and not fault.after:
            await _close(scope, receive, abort=True)
        elif fault.text is not None:
            answer = Response(fault.text, fault.status or 200, fault.headers, "text/html")
            await _late(fault, answer, scope, receive, send)
        elif fault.status is not None:
            body = fault.body if fault.body is not None else error_body(fault.status, scope["state"]["request_id"])
            await _late(fault, json_response(body, fault.status, fault.headers), scope, receive, send)
        else:
            head, body_bytes = await self._answer(scope, receive)
            await anyio.sleep(fault.delay_seconds)
            if fault.drop:
                await _close(scope, receive, abort=True)
                return
            await send(head)
            cut = fault.truncate is not None
            await send({"type": "http.response.body", "body": body_bytes[: fault.truncate], "more_body": cut})
            if cut:
                await _close(scope, receive, abort=False)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """Serve the request and keep the answer back."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._serve(scope, receive, keep)
        return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


def check_headers(headers: Headers, settings: SandboxSettings) -> None:
    """Check what every API request must carry.

    Raises:
        ApiError: 401 without a bearer token, 400 without the served API version, and the settings' status
            when a required workspace header is missing.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "A valid API key is required: send it as a bearer token.")
    version = headers.get("x-extend-api-version")
    if version != settings.api_version:
        told = f"unsupported version {version!r}" if version else "missing"
        raise ApiError(400, f"Header x-extend-api-version: {told}; use {settings.api_version}.")
    if settings.workspace_required and not headers.get("x-extend-workspace-id"):
        raise ApiError(settings.workspace_missing_status, "Header x-extend-workspace-id is required for this key.")


def _readable(raw: bytes) -> Any:
    """A JSON body for the log; anything else, an upload for one, is not kept."""
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


async def _late(fault: Fault, answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep(fault.delay_seconds)
    await answer(scope, receive, send)


async def _close(scope: Scope, receive: Receive, *, abort: bool) -> None:
    """End the connection: at once, or after what was written has gone out."""
    transport = scope.get("extensions", {}).get(CONNECTION)
    if transport is None:
        raise ConnectionDroppedError("the sandbox dropped this connection, as a fault ordered")
    if abort:
        transport.abort()
    else:
        transport.close()
    # The server takes an early return for a crash of the application; wait until it knows of the end.
    while (await receive())["type"] != "http.disconnect":
        pass
