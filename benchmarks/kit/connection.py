"""Keep one HTTP connection alive, with as little of HTTP as the servers' responses need.

A client library would cost more than the servers under test; this costs some microseconds per call.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Attributes:
        status: HTTP status.
        head: status line and headers.
        body: what followed.
    """

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header, named in lower case."""
        return _header(self.head, name)

    def message(self) -> bytes:
        """Return the JSON-RPC message: the body, or the data of the last event of a stream."""
        if not (self.header(b"content-type") or b"").startswith(b"text/event-stream"):
            return self.body
        # An event's name precedes its data. JSON escapes line ends, so this cannot occur in it.
        return self.body[self.body.rfind(b"\ndata: ") + len(b"\ndata: ") :].strip()


class Connection(asyncio.Protocol):
    """Sends one request at a time and waits for its answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: bytes | None = None
        self._waiter: asyncio.Future[Answer] | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to ``port`` of 127.0.0.1.

        Raises:
            OSError: nothing accepts.
        """
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def ask(self, request: bytes) -> Answer:
        """Send a request and return its answer.

        Raises:
            ConnectionError: the connection ended before the answer was whole.
        """
        if self._transport is None or self.closed:
            raise ConnectionError("the connection is closed")
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiter

    @property
    def closed(self) -> bool:
        """Return whether it is closed: servers close idle connections after some seconds."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect bytes until the answer is whole."""
        self._buffer += data
        if self._head is None:
            end = self._buffer.find(_END_OF_HEAD)
            if end < 0:
                return
            self._head = bytes(self._buffer[:end])
            del self._buffer[: end + len(_END_OF_HEAD)]
        body = self._whole_body(self._head)
        if body is None:
            return
        answer = Answer(int(self._head.split(b" ", 2)[1]), self._head, body)
        self._head = None
        self._buffer.clear()
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the waiting request."""
        self._transport = None
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("the connection broke"))

    def _whole_body(self, head: bytes) -> bytes | None:
        if _header(head, b"transfer-encoding") == b"chunked":
            # Looked at in full only when it may be whole: each chunk begins with its length.
            return _dechunked(bytes(self._buffer)) if self._buffer.endswith(b"0\r\n\r\n") else None
        length = int(_header(head, b"content-length") or 0)
        return bytes(self._buffer[:length]) if len(self._buffer) >= length else None


def _header(head: bytes, name: bytes) -> bytes | None:
    begin = head.lower().find(b"\r\n" + name + b":")
    if begin < 0:
        return None
    begin += len(name) + 3
    end = head.find(b"\r\n", begin)
    return head[begin : end if end >= 0 else None].strip()


def _dechunked(raw: bytes) -> bytes | None:
    """Return the joined chunks, or None if the last one, of length 0, is missing."""
    parts: list[bytes] = []
    place = 0
    while True:
        end = raw.find(b"\r\n", place)
        if end < 0:
            return None
        length = int(raw[place:end].split(b";")[0], 16)
        if length == 0:
            return b"".join(parts)
        place = end + 2
        if place + length > len(raw):
            return None
        parts.append(raw[place : place + length])
        place += length + 2
