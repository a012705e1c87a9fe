"""A server on real sockets that has one fault at a time, and two addresses at which nobody answers."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Literal

KEY = "sk_canary_77c2"
"""Echoed by every error of the server, so that an error that repeats it is seen."""

GOOD = json.dumps(
    {
        "id": "thing_1",
        "object": "workflow_run",
        "status": "PROCESSED",
        "name": "a thing",
        "batchId": "batch_1",
        "deleted": True,
        "data": [],
        "draftVersion": {"id": "version_1", "version": "draft", "steps": []},
    }
).encode()
"""Answers every call: it has what each of the API's objects needs."""

SLOW_STEP = 10.0
"""Seconds between two bytes of the slow body: well within the read time-out."""

Manner = Literal["whole", "hang", "reset", "reset in body", "end early", "endless"]


@dataclass(frozen=True)
class Wire:
    """The faults that a client meets on the wire.

    Attributes:
        where: whether there is a server; ``refused``: nobody listens; ``full``: the connection never opens.
        status: of the answer.
        body: what is written, or None for ``GOOD`` in full length.
        headers: added to the length; an empty value leaves the header out.
        retry_in: sends Retry-After as the date so many seconds from now.
        size: bytes to which the body is filled up.
        packed: whether the body is sent as gzip.
        manner: how the answer goes wrong on its way.
    """

    where: Literal["server", "refused", "full"] = "server"
    status: int = 200
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    retry_in: int | None = None
    size: int | None = None
    packed: bool = False
    manner: Manner = "whole"

    def content(self) -> bytes:
        """The body's bytes as they are sent."""
        body = GOOD if self.body is None else self.body
        if self.size:
            head = body[:-1] + b', "padding": "'
            body = head + b"x" * (self.size - len(head) - 2) + b'"}'
        return gzip.compress(body, 1) if self.packed else body

    def head(self, length: int) -> bytes:
        """Status line and headers."""
        headers = {"content-type": "application/json", "content-length": str(length), **dict(self.headers)}
        if self.packed:
            headers["content-encoding"] = "gzip"
        if self.retry_in is not None:
            moment = datetime.now(timezone.utc) + timedelta(seconds=self.retry_in)
            headers["retry-after"] = format_datetime(moment, usegmt=True)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        return f"HTTP/1.1 {self.status} X\r\n{lines}connection: close\r\n\r\n".encode()


@dataclass
class Server:
    """The running server.

    Attributes:
        url: its address.
        wire: what it does now.
        strikes: the methods that meet the fault; others are answered well.
        seen: method and path of each request that arrived whole.
        open: the connections being served.
    """

    url: str
    wire: Wire = field(default_factory=Wire)
    strikes: frozenset[str] = frozenset({"GET", "POST", "DELETE"})
    seen: list[tuple[str, str]] = field(default_factory=list)
    open: set[asyncio.Task[None]] = field(default_factory=set)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it as ``wire`` says."""
        task = asyncio.current_task()
        assert task
        self.open.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length")), 0)
            await reader.readexactly(length)
            method, path, _ = first.split(" ")
            self.seen.append((method, path))
            await _answer(self.wire if method in self.strikes else Wire(), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self.open.discard(task)


async def _answer(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if wire.manner == "hang":
        # Until the client goes.
        await reader.read()
        return
    if wire.manner != "reset":
        body = wire.content()
        broken = wire.manner in ("reset in body", "end early", "endless")
        writer.write(wire.head(1_000_000 if wire.manner == "endless" else len(body)))
        writer.write(body[: len(body) // 2] if broken else body)
        await writer.drain()
    while wire.manner == "endless" and not reader.at_eof():
        await asyncio.sleep(SLOW_STEP)
        writer.write(b" ")
        await writer.drain()
    if wire.manner.startswith("reset"):
        await asyncio.sleep(0.01)  # The client reads what was sent before the reset would sweep it away.
        # A linger time of zero makes the kernel reset the connection.
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


@asynccontextmanager
async def faulty() -> AsyncIterator[Server]:
    """Serve on a free port."""
    server = Server("")
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        # What was accepted last may not have begun; what hangs ends with its client. No socket may be left.
        await asyncio.sleep(0.01)
        while server.open:
            await asyncio.wait(server.open, timeout=1)
            for task in server.open:
                task.cancel()


@contextmanager
def unreachable() -> Iterator[dict[str, str]]:
    """Two addresses: ``refused``, where nobody listens, and ``full``, whose queue takes no further connection."""
    with contextlib.ExitStack() as sockets:
        held = sockets.enter_context(socket.socket())
        # Bound and not listening: refused, and nobody else can take the port meanwhile.
        held.bind(("127.0.0.1", 0))
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield {
            "refused": f"http://127.0.0.1:{held.getsockname()[1]}",
            "full": f"http://127.0.0.1:{full.getsockname()[1]}",
        }
