"""Encode requests before the clock starts, and check the responses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PROTOCOLS = ("2026-07-28", "2025-11-25")
"""Protocol versions: the newer has no sessions, the older begins with a handshake and has them."""

TOOLS = ("list_runs", "get_workflow_run")

_CLIENT = {"name": "load-benchmark", "version": "1"}
_FIRST_ID = 10_000_000
"""Ids have eight digits, so that the length of a request is known before its id."""


@dataclass(frozen=True)
class Call:
    """One tool call.

    Attributes:
        tool: name of the tool.
        names: the answer must hold one of these.
    """

    tool: str
    arguments: dict[str, Any]
    names: tuple[str, ...]


def calls_on(run_ids: list[str], tools: tuple[str, ...]) -> list[Call]:
    """Return alternating calls of ``tools``, which the clients repeat."""
    calls = []
    for run_id in run_ids:
        for tool in tools:
            if tool == "list_runs":
                calls.append(Call(tool, {}, tuple(run_ids)))
            else:
                calls.append(Call(tool, {"run_id": run_id}, (run_id,)))
    return calls


class Encoder:
    """Encodes requests to one server in one protocol version.

    Args:
        port: the server's, on 127.0.0.1.
        protocol: one of `PROTOCOLS`.
        calls: the calls to encode.
    """

    def __init__(self, port: int, protocol: str, calls: list[Call]) -> None:
        self._port = port
        self._protocol = protocol
        self._ready = [self._encode_call(call) for call in calls]

    def call(self, index: int, number: int, session: bytes) -> tuple[bytes, int]:
        """Return the bytes of a call, and its id.

        Args:
            index: which of the calls.
            number: how many requests this connection's session made before.
            session: the session's header line; empty without sessions.
        """
        head, body_begin, body_end = self._ready[index]
        request_id = _FIRST_ID + number
        return b"%b%b\r\n%b%d%b" % (head, session, body_begin, request_id, body_end), request_id

    def initialize(self) -> tuple[bytes, int]:
        """Return the request that opens a session, and its id."""
        params = {"protocolVersion": self._protocol, "capabilities": {}, "clientInfo": _CLIENT}
        body = {"jsonrpc": "2.0", "id": _FIRST_ID, "method": "initialize", "params": params}
        return self._post(json.dumps(body).encode(), b""), _FIRST_ID

    def initialized(self, session: bytes) -> bytes:
        """Return the notification that follows."""
        return self._post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}', session)

    def _post(self, body: bytes, session: bytes) -> bytes:
        return self._head(len(body), {"MCP-Protocol-Version": self._protocol}) + session + b"\r\n" + body

    def _encode_call(self, call: Call) -> tuple[bytes, bytes, bytes]:
        params: dict[str, Any] = {"name": call.tool, "arguments": call.arguments}
        headers = {"MCP-Protocol-Version": self._protocol}
        if self._protocol == PROTOCOLS[0]:
            headers |= {"Mcp-Method": "tools/call", "Mcp-Name": call.tool}
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": self._protocol,
                "io.modelcontextprotocol/clientInfo": _CLIENT,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        begin = b'{"jsonrpc":"2.0","method":"tools/call","params":%b,"id":' % json.dumps(params).encode()
        end = b"}"
        length = len(begin) + len(str(_FIRST_ID)) + len(end)
        return self._head(length, headers), begin, end

    def _head(self, length: int, headers: dict[str, str]) -> bytes:
        lines = [
            "POST /mcp HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return "".join(f"{line}\r\n" for line in lines).encode()


def fault_of(status: int, message: bytes, request_id: int, names: tuple[str, ...]) -> str | None:
    """Return the kind of fault of a response to a call, or None if it is correct.

    Args:
        status: HTTP status.
        message: the JSON-RPC message.
        request_id: the id it must carry.
        names: the text of the result must hold one of these.
    """
    if status != 200:
        return f"HTTP {status}"
    try:
        answer = json.loads(message)
    except ValueError:
        return "no JSON"
    if not isinstance(answer, dict) or answer.get("id") != request_id:
        return "not the answer to this request"
    result = answer.get("result")
    if not isinstance(result, dict):
        return f"JSON-RPC error {(answer.get('error') or {}).get('code')}"
    if result.get("isError"):
        return "isError"
    text = "".join(part.get("text", "") for part in result.get("content", ()))
    return None if any(name in text for name in names) else "names no run"
