"""The ASGI middleware of the HTTP server. `extend_mcp.http.app` has the list, in order."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
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
from extend_mcp.telemetry.spans import request_id

REQUEST_ID_HEADER: Final = "x-request-id"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# An IP address, with or without a port. No name is of digits alone.
_ADDRESS: Final = re.compile(r"([0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")

# The time for which a refused body is still read and dropped, so that its sender gets to see the refusal.
_LINGER_SECONDS: Final = 0.5
_REASONS: Final = {
    401: "credential",
    403: "origin_or_scope",
    408: "slow_body",
    413: "large_body",
    421: "host",
    429: "share",
    503: "full",
}
_INTERRUPTED: Final = (
    "The server ended before the call did. It is unclear whether the call took effect: look before you repeat anything."
)
_INVALID_MESSAGE: Final = (
    'The body is no JSON-RPC 2.0 message. Example: {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
)


@dataclass
class RequestIdMiddleware:
    """Give each request an id for its logs, spans, audit lines and response, and count refusals before MCP."""

    app: ASGIApp
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        # Any other could forge a line of a log.
        accepted = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = accepted
                reason = _REASONS.get(message["status"])
                # A probe that says "not ready" refuses nobody.
                if reason and scope["path"] != "/readyz":
                    self.metrics.count("refused_requests_total", reason=reason)
            await send(message)

        # Each request has a task and so a context to itself.
        request_id.set(accepted)
        await self.app(scope, receive, send_with_id)


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
        headers, app = Headers(scope=scope), self.app
        if not (self.addresses and "origin" not in headers and _ADDRESS.fullmatch(headers.get("host", ""))):
            app = await TransportSecurityMiddleware(self.allowed).validate_request(Request(scope)) or app
        await app(scope, receive, send)


@dataclass
class ConcurrencyLimitMiddleware:
    """Answer 503 when too many requests are in progress, and 429 when too many of one caller are; streams count.

    It comes after authentication, which reads no body, so nobody holds a slot without a credential.
    """

    app: ASGIApp
    shares: Shares

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        with self.shares.hold(user.caller.principal if isinstance(user, CallerUser) else "") as refused:
            if not refused:
                await self.app(scope, receive, send)
                return
        share = f"{self.shares.of_one_caller} of your requests are being answered, open streams included."
        text, status = (share, 429) if refused == "share" else ("Too many requests are being answered.", 503)
        refusal = PlainTextResponse(text, status, {"Retry-After": "1", "Connection": "close"})
        await refusal(scope, receive, send)


@dataclass
class ShutdownMiddleware:
    """Answer a call that the end of the process breaks off, and end a GET of an event stream as if its client left."""

    app: ASGIApp
    lifecycle: Lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            with anyio.CancelScope() as waiting:
                self.lifecycle.on_end.add(waiting.cancel)
                try:
                    if not self.lifecycle.streams_end:
                        return await receive()
                finally:
                    self.lifecycle.on_end.discard(waiting.cancel)
            return {"type": "http.disconnect"}

        wanted = receive
        if scope["method"] == "GET":
            wanted = receive_or_end
            # There is nothing to replay, and the SDK would send no response (500) to a client that asks for it.
            scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"last-event-id"]}
        try:
            await self.app(scope, wanted, watched_send)
        except asyncio.CancelledError:
            if not self.lifecycle.draining:
                raise
            if not started:
                body, headers = _rpc_error(-32000, _INTERRUPTED), {"connection": "close"}
                await Response(body, 503, headers, "application/json")(scope, receive, send)
        if started and not ended:
            await send({"type": "http.response.body", "body": b""})


@dataclass
class BodyLimitMiddleware:
    """Read the whole body before the application sees the request.

    One larger than ``max_bytes`` gets 413, one that takes longer than ``seconds`` 408 (RFC 9110, section 15.5.9), and
    one with which those in progress exceed ``total_bytes`` 503.
    """

    app: ASGIApp
    max_bytes: int
    seconds: float
    total_bytes: float = inf
    held: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        body, refusal = bytearray(), self._judge(int(length) if length.isdigit() else 0)
        try:
            with anyio.move_on_after(_LINGER_SECONDS if refusal else self.seconds) as reading:
                async for part in Request(scope, receive).stream():
                    # Closing on a client that still sends would reset the connection, and it would never see why.
                    if refusal is None:
                        body += part
                        self.held += len(part)
                        refusal = self._judge(len(body))
                        if refusal:
                            self.held -= len(body)
                            body.clear()
                            reading.deadline = anyio.current_time() + _LINGER_SECONDS
            if reading.cancelled_caught and refusal is None:
                refusal = 408, "The request did not come in time."
            if refusal is None:
                replayed: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

                async def replay() -> Message:
                    return replayed.pop() if replayed else await receive()

                await self.app(scope, replay, send)
                return
        except ClientDisconnect:
            return
        finally:
            self.held -= len(body)
            body.clear()
        status, text = refusal
        # What is left of the body must not be read as the next request.
        await PlainTextResponse(text, status, {"Connection": "close"})(scope, receive, send)

    def _judge(self, size: int) -> tuple[int, str] | None:
        if size > self.max_bytes:
            return 413, "The request is too large."
        if self.held > self.total_bytes:
            return 503, "Too many requests are being received."
        return None


@dataclass
class ErrorMiddleware:
    """Replace two errors of the SDK.

    A tool call that `ScopeMiddleware` refused for lack of a scope gets 403 and the challenge that lets a client ask
    its user for more (MCP specification, Authorization). Only a client of 2026-07-28 names the method in a header; all
    others get the JSON-RPC error unchanged. A body that is no JSON-RPC message is refused in one line: the SDK's report
    would repeat what was in the body.
    """

    app: ASGIApp
    challenge: Challenge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_call = Headers(scope=scope).get("mcp-method") == "tools/call"
        held: Message | None = None
        body = b""

        async def checked_send(message: Message) -> None:
            nonlocal held, body
            lacking = scope.get(MISSING_SCOPE) if is_call else None
            if message["type"] == "http.response.start" and (lacking or message["status"] == 400):
                held = message
                return
            if held is None:
                await send(message)
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            if lacking:
                await self.challenge.insufficient(lacking)(scope, receive, send)
            elif is_validation_text(body):
                invalid = Response(_rpc_error(-32600, _INVALID_MESSAGE), 400, media_type="application/json")
                await invalid(scope, receive, send)
            else:
                await send(held)
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, checked_send)


def _rpc_error(code: int, message: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}).encode()
