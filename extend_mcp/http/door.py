"""What every HTTP request passes before anything looks at it: an id for it, and bounds on its body."""

from __future__ import annotations

import json
from typing import Final

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.telemetry.request_id import accept_request_id, request_id

REQUEST_ID_HEADER: Final = "x-request-id"

_LINGER_SECONDS: Final = 0.5
_LINGER_BYTES: Final = 8 * 1024 * 1024
"""How much of a refused body is still read and thrown away, so that its sender gets to see the refusal."""

_REASONS: Final = {
    401: "credential",
    403: "origin_or_scope",
    408: "slow_body",
    413: "large_body",
    421: "host",
    503: "full",
}


_NO_MESSAGE: Final = {
    "jsonrpc": "2.0",
    "id": None,
    "error": {
        "code": -32600,
        "message": 'The body is no JSON-RPC 2.0 message. Example: {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}',
    },
}


class NoMessage:
    """ASGI middleware: a body that is no JSON-RPC message is refused in one line.

    The SDK hands out pydantic's text instead, a page that repeats what was in the body.

    Args:
        app: the SDK's application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        held: Message | None = None
        body = b""

        async def worded_send(message: Message) -> None:
            nonlocal held, body
            if message["type"] == "http.response.start" and message["status"] == 400:
                held = message
                return
            if held is None:
                await send(message)
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            if b"errors.pydantic.dev" in body:
                body = json.dumps(_NO_MESSAGE).encode()
                MutableHeaders(scope=held)["content-length"] = str(len(body))
            await send(held)
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, worded_send)


class RequestIds:
    """ASGI middleware: gives each request an id, for its logs, spans, audit lines and answer, and counts refusals.

    Args:
        app: the application.
        metrics: counts the requests that were refused at the door.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = accept_request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))

        async def named_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = given
                reason = _REASONS.get(message["status"])
                # A probe that says "not ready" refuses nobody.
                if reason and scope["path"] != "/readyz":
                    self._metrics.refused(reason=reason)
            await send(message)

        before = request_id.set(given)
        try:
            await self._app(scope, receive, named_send)
        finally:
            request_id.reset(before)


class WholeBody:
    """ASGI middleware: a request's body is here, whole, before the application sees the request.

    Args:
        app: the application.
        most_bytes: the largest body; a larger one is answered 413.
        seconds: how long a body may take to come; a slower one is answered 408 (RFC 9110, section 15.5.9).
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int, seconds: float) -> None:
        self._app = app
        self._most = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self._most:
            await _refuse(413, "The request is too large.", receive, send)
            return
        body = None
        with anyio.move_on_after(self._seconds):
            try:
                body = await self._read(receive)
            except _TooLargeError:
                await _refuse(413, "The request is too large.", receive, send)
                return
            except ClientDisconnect:
                return
        if body is None:
            await _refuse(408, "The request did not come in time.", receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._most:
                raise _TooLargeError
            if not message.get("more_body", False):
                return bytes(body)


class AtOnce:
    """ASGI middleware: so many requests at once and no more; the next is answered 503 and may come again.

    Args:
        app: the application.
        most: how many, open streams included.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._open >= self._most:
            headers = {"Retry-After": "1", "Connection": "close"}
            await PlainTextResponse("Too many requests are being answered.", 503, headers)(scope, receive, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1


class _TooLargeError(Exception):
    """The body is larger than allowed."""


async def _refuse(status: int, words: str, receive: Receive, send: Send) -> None:
    """Answer, and close the connection: what is left of the body must not be read as the next request."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode(), "more_body": True})
    # Closing on a client that still sends would reset the connection, and it would never see the answer.
    with anyio.move_on_after(_LINGER_SECONDS):
        left = _LINGER_BYTES
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                break
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
