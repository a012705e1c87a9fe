"""Import what the MCP SDK does not export, with the reason for each use. No other module imports or relies on it.

tests/test_mcp_compat.py fails when a new version of the SDK changes one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio

# Our own authentication puts the caller here; the SDK exports only `get_access_token`, which has no caller.
from mcp.server.auth.middleware.auth_context import auth_context_var as auth_context_var

# Sessions are shared out among callers, which `max_sessions` cannot do: see `FairSessions`.
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext

# Tools refuse unknown arguments and parse JSON only where no text is wanted, which the SDK has no option for; its
# `Tool.from_function` would build each model twice.
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase as ArgModelBase
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata as FuncMetadata
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

# The types of the streams that the SDK's message loop reads and writes.
from mcp.shared._stream_protocols import ReadStream as ReadStream
from mcp.shared._stream_protocols import WriteStream as WriteStream
from mcp.shared.exceptions import MCPError
from mcp_types import REQUEST_TIMEOUT, ElicitRequestFormParams, ElicitResult

# Event streams end by our lifecycle: see `let_event_streams_finish`.
from sse_starlette.sse import AppStatus
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from mcp.server.connection import Connection
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server
    from mcp.server.mcpserver import Context, MCPServer

_VALIDATION_MARK: Final = b"errors.pydantic.dev"
_LOOK_SECONDS: Final = 0.5

FAILED_INITIALIZE: Final = "extend_mcp.failed_initialize"
"""The key of an ASGI scope under which a request is noted whose ``initialize`` was answered with an error."""


class FairSessions(StreamableHTTPSessionManager):
    """Sessions of which one caller may hold a part only, and a refused ``initialize`` none."""

    def __init__(
        self, server: MCPServer[Any], *, most: int, of_one_caller: int, idle_seconds: float, stateless: bool
    ) -> None:
        # Host, Origin and body size are checked by our own middleware.
        super().__init__(
            server._lowlevel_server,
            stateless=stateless,
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            session_idle_timeout=idle_seconds,
            max_sessions=most,
        )
        self._of_one_caller = of_one_caller
        # `MCPServer.session_manager` returns this one.
        server._lowlevel_server._session_manager = self

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        if requestor is not None:
            held = sum(owner == requestor for owner in self._session_owners.values())
            if held >= self._of_one_caller:
                return None
        return super()._admit_session(requestor)

    async def _serve_opening_request(
        self, http_transport: StreamableHTTPServerTransport, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await super()._serve_opening_request(http_transport, scope, receive, send)
        # The SDK keeps the session, since the status is 200: the error is in the body.
        if FAILED_INITIALIZE in scope and http_transport.mcp_session_id is not None:
            await self._discard_session(http_transport.mcp_session_id, http_transport)


def connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    """Return the connection of a request: a subscription must end with it, and the SDK has no public way to it."""
    return ctx.session._connection


def let_event_streams_finish() -> None:
    """Keep event streams open after SIGTERM, in the whole process: they carry the answers of calls in flight."""
    AppStatus.enable_automatic_graceful_drain = False


def is_validation_text(body: bytes) -> bool:
    """Recognize the SDK's answer to a malformed message: pydantic's report, which repeats the message's content."""
    return _VALIDATION_MARK in body


def lowlevel_server(server: MCPServer[Any]) -> Server[Any]:
    """Return the server that runs a message loop over any two streams; MCPServer runs it over its own only."""
    return server._lowlevel_server


async def ask(ctx: Context[Any, Any], params: ElicitRequestFormParams, *, seconds: float) -> ElicitResult:
    """Ask the client's user during a call, as before 2026-07-28. Unlike the SDK, stop when the client hangs up.

    Raises:
        MCPError: the client failed to ask, hung up, or took too long.
        ValidationError: the answer is not one that MCP knows.
    """
    answer: ElicitResult | Exception = MCPError(REQUEST_TIMEOUT, "The question was not answered.")
    request = ctx.request_context.request
    async with anyio.create_task_group() as tasks:
        # Over /sse and stdio the SDK ends the call itself.
        if isinstance(request, Request) and "mcp-session-id" in request.headers:
            tasks.start_soon(_cancel_when_gone, request, tasks.cancel_scope)
        with anyio.move_on_after(seconds):
            try:
                answer = await ctx.session.elicit_form(params.message, params.requested_schema, ctx.request_id)
            except Exception as error:  # raised below: the task group would wrap it
                answer = error
        tasks.cancel_scope.cancel()
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _cancel_when_gone(request: Request, scope: anyio.CancelScope) -> None:
    while not await request.is_disconnected():  # noqa: ASYNC110 - Starlette has no event for it
        await anyio.sleep(_LOOK_SECONDS)
    scope.cancel()
