"""Serving over stdio, around two faults of the MCP SDK; docs/internals/upstream.md has the facts."""

from __future__ import annotations

import json
from typing import Any, Final

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)
from pydantic import ValidationError

from extend_mcp.mcp_compat import ReadStream, WriteStream, lowlevel_server

_PROBE: Final = "server/discover"
_ANSWER_SECONDS: Final = 2.0
"""Time that ``initialize`` waits for the answer to the probe before it."""


async def run_stdio(server: MCPServer[Any]) -> None:
    """Serve one client over stdio until it closes stdin.

    Unlike the SDK, let a client that only probed with ``server/discover`` open a 2025 session, and answer what is no
    message with a JSON-RPC error.
    """
    lowlevel = lowlevel_server(server)
    async with stdio_server() as (incoming, outgoing), outgoing:
        wire = StdioWire(incoming, outgoing)
        while wire.open:
            await lowlevel.run(wire, wire, lowlevel.create_initialization_options())


class StdioWire:
    """Both directions of one stdio connection, as the SDK's loop reads and writes them; ``open`` until the client ends.

    The SDK's loop serves the protocol of the first request for good. Where that was a probe, the loop ends at
    ``initialize`` as if the client had left, and the next loop begins with that message.
    """

    def __init__(self, incoming: ReadStream[SessionMessage | Exception], outgoing: WriteStream[SessionMessage]) -> None:
        self.open = True
        self._incoming = incoming
        self._outgoing = outgoing
        self._held: SessionMessage | None = None
        self._probes: list[RequestId] = []
        self._probed = False
        self._decided = False
        self._answered = anyio.Event()

    def __aiter__(self) -> StdioWire:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        item, self._held = self._held, None
        while item is None:
            item = await self._next()
        if isinstance(item.message, JSONRPCRequest) and not self._decided:
            probe = item.message.method == _PROBE
            if probe:
                self._probes.append(item.message.id)
            elif item.message.method == "initialize" and self._probed:
                await self._end_probe(item)
                raise StopAsyncIteration
            self._probed, self._decided = probe, not probe
        elif isinstance(item.message, JSONRPCNotification) and item.message.method == "notifications/cancelled":
            self._settle((item.message.params or {}).get("requestId"))
        return item

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message."""
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message."""
        await self._outgoing.send(item)
        if self._probes and isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._settle(item.message.id)

    async def aclose(self) -> None:
        """Keep both streams open: the next loop needs them."""

    async def __aenter__(self) -> StdioWire:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _next(self) -> SessionMessage | None:
        """Return the next message; None for an invalid line, once that is answered."""
        try:
            item = await self._incoming.__anext__()
        except (StopAsyncIteration, anyio.ClosedResourceError):
            self.open = False
            raise StopAsyncIteration from None
        if isinstance(item, SessionMessage):
            return item
        if (error := no_message(item)) is not None:
            await self._outgoing.send(SessionMessage(error))
        return None

    def _settle(self, number: Any) -> None:
        """Note that a request needs no answer any more: it got one, or the client gave up on it."""
        if number in self._probes:
            self._probes.remove(number)
            self._answered.set()

    async def _end_probe(self, initialize: SessionMessage) -> None:
        self._held, self._probed = initialize, False
        with anyio.move_on_after(_ANSWER_SECONDS):
            while self._probes:
                await self._answered.wait()
                self._answered = anyio.Event()


def no_message(error: Exception) -> JSONRPCError | None:
    """Return the answer to a line that is no message; None where JSON-RPC wants none.

    A notice and an answer get none, whatever is wrong with them. A blank line is no message either.
    """
    if not isinstance(error, ValidationError):
        return None
    given = [(each["type"], each["input"]) for each in error.errors(include_url=False, include_context=False)]
    line = next((value for kind, value in given if kind == "json_invalid"), None)
    if line is None:
        document: Any = next((value for kind, value in given if kind in ("missing", "model_type")), None)
        data = ErrorData(code=INVALID_REQUEST, message="Invalid request: this is not a JSON-RPC 2.0 request")
    elif not line.strip():
        return None
    else:
        document = _read(line)
        data = ErrorData(code=PARSE_ERROR, message="Parse error: this line is not JSON (UTF-8, no byte order mark)")
    if not isinstance(document, dict):
        return JSONRPCError(jsonrpc="2.0", id=None, error=data)
    if "id" not in document or "method" not in document:
        return None
    number = document["id"]
    return JSONRPCError(jsonrpc="2.0", id=number if type(number) in (int, str) else None, error=data)


def _read(line: str) -> Any:
    """Read what Python takes as JSON and pydantic refuses, such as half a surrogate, for the id in it."""
    try:
        return json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
