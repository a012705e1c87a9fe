"""Serving over stdio, around two faults of the MCP SDK; docs/internals/upstream.md has the facts."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCRequest
from pydantic import ValidationError

from extend_mcp.mcp_compat import ReadStream, WriteStream, lowlevel_server

_MOST_NOTICES = 8


async def run_stdio(server: MCPServer[Any]) -> None:
    """Serve one client over stdio until it closes stdin.

    Unlike the SDK, let a client that only probed with ``server/discover`` open a 2025 session, and answer what is no
    message with a JSON-RPC error. The SDK's loop serves the protocol of its first request for good, so each probe gets
    its own loop, and the next message waits for the probe's answer.
    """
    lowlevel = lowlevel_server(server)
    options = lowlevel.create_initialization_options()
    async with stdio_server() as (incoming, outgoing), outgoing:
        messages = _messages(incoming, outgoing)
        first: deque[SessionMessage] = deque(maxlen=_MOST_NOTICES + 1)
        async for item in messages:
            request = item.message
            if isinstance(request, JSONRPCRequest) and request.method == "server/discover":
                sender, receiver = anyio.create_memory_object_stream[SessionMessage | Exception]()
                answer, answers = anyio.create_memory_object_stream[SessionMessage]()
                async with anyio.create_task_group() as tasks, sender, answers:
                    tasks.start_soon(lowlevel.run, receiver, answer, options)
                    await sender.send(item)
                    await outgoing.send(await answers.receive())
            else:
                first.append(item)
                if isinstance(request, JSONRPCRequest):
                    break
        sender, receiver = anyio.create_memory_object_stream[SessionMessage | Exception]()
        async with anyio.create_task_group() as tasks, sender:
            tasks.start_soon(lowlevel.run, receiver, outgoing, options)
            for item in first:
                await sender.send(item)
            async for item in messages:
                await sender.send(item)


async def _messages(
    incoming: ReadStream[SessionMessage | Exception], outgoing: WriteStream[SessionMessage]
) -> AsyncIterator[SessionMessage]:
    """Yield the messages, and answer the other lines."""
    async for item in incoming:
        if isinstance(item, SessionMessage):
            yield item
        elif (error := _answer_to(item)) is not None:
            await outgoing.send(SessionMessage(error))


def _answer_to(error: Exception) -> JSONRPCError | None:
    """Return the answer to a line that is no message; None where JSON-RPC wants none.

    A notice and an answer get none, whatever is wrong with them. A blank line is no message either.
    """
    if not isinstance(error, ValidationError):
        return None
    given = {each["type"]: each["input"] for each in reversed(error.errors(include_url=False, include_context=False))}
    document: Any = given.get("missing", given.get("model_type"))
    data = ErrorData(code=INVALID_REQUEST, message="Invalid request: this is not a JSON-RPC 2.0 request")
    if (line := given.get("json_invalid")) is not None:
        if not line.strip():
            return None
        data = ErrorData(code=PARSE_ERROR, message="Parse error: this line is not JSON (UTF-8, no byte order mark)")
        # Python takes as JSON what pydantic refuses, such as half a surrogate. That gives the id.
        with suppress(ValueError, RecursionError):
            document = json.loads(line.removeprefix("\ufeff"))
    if not isinstance(document, dict):
        return JSONRPCError(jsonrpc="2.0", id=None, error=data)
    if not document.keys() >= {"id", "method"}:
        return None
    number = document["id"]
    return JSONRPCError(jsonrpc="2.0", id=number if type(number) in (int, str) else None, error=data)
