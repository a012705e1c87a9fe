"""The ASGI middleware of the HTTP server. `extend_mcp.http.app` has the list, in order."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

import anyio
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extend_mcp.callers import CallerUser
from extend_mcp.http.auth.base import Challenge
from extend_mcp.http.lifecycle import Lifecycle
from extend_mcp.limits import Shares
from extend_mcp.mcp_compat import is_validation_text
from extend_mcp.scopes import MISSING_SCOPE
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.telemetry.request_id import accept_request_id, request_id

REQUEST_ID_HEADER: Final = "x-request-id"

_LINGER_SECONDS: Final = 0.5
_LINGER_BYTES: Final = 8 * 1024 * 1024
"""The most of a refused body that is still read and dropped, so that its sender gets to see the refusal."""

_REASONS: Final = {
    401: "credential",
    403: "origin_or_scope",
    408: "slow_body",
    413: "large_body",
    421: "host",
    429: "share",
    503: "full",
}

_TOO_LARGE: Final = 413, "The request is too large."
_TOO_SLOW: Final = 408, "The request did not come in time."

_INTERRUPTED: Final = (
    "The server ended before the call did. It is unclear whether the call took effect: look before you repeat anything."
)

_INVALID_MESSAGE: Final = (
    'The body is no JSON-RPC 2.0 message. Example: {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
)


@dataclass
class ShutdownMiddleware:
    """Answer a call that the end of the process breaks off."""

    app: ASGIApp
    lifecycle: Lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self.lifecycle.draining:
                raise
            if started:
                await send({"type": "http.response.body", "body": b""})
                return
            body, headers = _rpc_error(-32000, _INTERRUPTED), {"connection": "close"}
            await Response(body, 503, headers, "application/json")(scope, receive, send)


@dataclass
class RequestIdMiddleware:
    """Give each request an id for its logs, spans, audit lines and response, and count refusals before MCP."""

    app: ASGIApp
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        accepted = accept_request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = accepted
                reason = _REASONS.get(message["status"])
                # A probe that says "not ready" refuses nobody.
                if reason and scope["path"] != "/readyz":
                    self.metrics.refused(reason=reason)
            await send(message)

        before = request_id.set(accepted)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            request_id.reset(before)


@dataclass
class ConcurrencyLimitMiddleware:
    """Answer 503 when too many requests are in progress, and 429 when too many of one caller are; streams count.

    It comes after authentication, which reads no body, so nobody holds a slot without a credential.
    """

    app: ASGIApp
    shares: Shares

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        caller = user.caller.principal if isinstance(user, CallerUser) else ""
        with self.shares.hold(caller) as refused:
            if not refused:
                await self.app(scope, receive, send)
                return
        share = f"{self.shares.of_one_caller} of your requests are being answered, open streams included."
        text, status = (share, 429) if refused == "share" else ("Too many requests are being answered.", 503)
        refusal = PlainTextResponse(text, status, {"Retry-After": "1", "Connection": "close"})
        await refusal(scope, receive, send)


@dataclass
class TrustedHostMiddleware:
    """Check Host and Origin (MCP specification, Transports), by the SDK's own rules.

    With ``addresses`` it accepts any IP address as the host, as scrapers send it. A web page that had its own name
    resolve to this server would send the name.
    """

    app: ASGIApp
    allowed: TransportSecuritySettings
    addresses: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, refusal = Headers(scope=scope), None
        if not (self.addresses and "origin" not in headers and _is_address(headers.get("host", ""))):
            refusal = await TransportSecurityMiddleware(self.allowed).validate_request(Request(scope))
        await (refusal or self.app)(scope, receive, send)


@dataclass
class ScopeChallengeMiddleware:
    """Answer 403 and name the scope when `ScopeMiddleware` refused a tool call for lack of one.

    A client of 2026-07-28 names the method in a header, so it gets the challenge that lets it ask its user for more
    (MCP specification, Authorization: scope challenge). All others get the JSON-RPC error unchanged.
    """

    app: ASGIApp
    challenge: Challenge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if Headers(scope=scope).get("mcp-method") != "tools/call":
            await self.app(scope, receive, send)
            return
        challenged = False

        async def challenging_send(message: Message) -> None:
            nonlocal challenged
            if message["type"] == "http.response.start" and MISSING_SCOPE in scope:
                challenged = True
                await self.challenge.insufficient(scope[MISSING_SCOPE])(scope, receive, send)
            if not challenged:
                await send(message)

        await self.app(scope, receive, challenging_send)


@dataclass
class StreamShutdownMiddleware:
    """End a GET of an event stream when the process ends, as if its client had left."""

    app: ASGIApp
    lifecycle: Lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        # There is nothing to replay, and the SDK would send no response (500) to a client that asks for it.
        scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"last-event-id"]}
        started = restarted = ended = False

        async def watched_send(message: Message) -> None:
            nonlocal started, restarted, ended
            if message["type"] == "http.response.start":
                # The SDK's /sse responds a second time when its stream has ended.
                started, restarted = True, started
            if restarted:
                return
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def receive_or_end() -> Message:
            with self.lifecycle.until_streams_end():
                return await receive()
            return {"type": "http.disconnect"}

        await self.app(scope, receive_or_end, watched_send)
        if started and not ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass
class BodyLimitMiddleware:
    """Read the whole body before the application sees the request, within a size and a time.

    Attributes:
        max_bytes: the largest body; a larger one gets 413.
        seconds: the longest time for a body to arrive; a slower one gets 408 (RFC 9110, section 15.5.9).
        total_bytes: the most bytes of all bodies in progress; a request beyond gets 503.
    """

    app: ASGIApp
    max_bytes: int
    seconds: float
    total_bytes: float = inf
    held: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        body = bytearray()
        refusal: tuple[int, str] | None = _TOO_LARGE
        try:
            if not (length.isdigit() and int(length) > self.max_bytes):
                refusal = _TOO_SLOW
                with anyio.move_on_after(self.seconds):
                    refusal = await self._read(Request(scope, receive), body)
            if refusal is None:
                await self.app(scope, _replay(bytes(body), receive), send)
        except ClientDisconnect:
            return
        finally:
            self.held -= len(body)
            body.clear()
        if refusal is not None:
            await _refuse(*refusal, receive, send)

    async def _read(self, request: Request, body: bytearray) -> tuple[int, str] | None:
        """Read the body; return the refusal of one that is too large."""
        async for part in request.stream():
            body += part
            self.held += len(part)
            if len(body) > self.max_bytes:
                return _TOO_LARGE
            if self.held > self.total_bytes:
                return 503, "Too many requests are being received."
        return None


@dataclass
class InvalidMessageMiddleware:
    """Refuse a body that is no JSON-RPC message in one line: the SDK's report would repeat what was in the body."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: Message | None = None
        body = b""

        async def checked_send(message: Message) -> None:
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
            if is_validation_text(body):
                body = _rpc_error(-32600, _INVALID_MESSAGE)
                MutableHeaders(scope=held)["content-length"] = str(len(body))
            await send(held)
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, checked_send)


def _is_address(host: str) -> bool:
    """Return whether a Host header holds an IP address, with or without a port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _rpc_error(code: int, message: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}).encode()


async def _refuse(status: int, text: str, receive: Receive, send: Send) -> None:
    """Respond, and close the connection: what is left of the body must not be read as the next request."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
    # Closing on a client that still sends would reset the connection, and it would never see the response.
    with anyio.move_on_after(_LINGER_SECONDS):
        left = _LINGER_BYTES
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                break
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(messages, None) or await receive()

    return replay
