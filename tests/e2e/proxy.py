"""A small load balancer for tests: what docs/deploy.md asks of one, and nothing else.

- It asks each replica's /readyz all the time and passes requests on in turn, to those that are ready.
- A request goes to another replica only where the connection was refused, so that nothing of it was sent.
- Where a replica breaks off before its answer has begun, the caller learns that the outcome is unclear.
- Answers pass as they come, so that event streams do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

UNCLEAR: Final = (
    "The load balancer got no answer from the server. It is unclear whether the call took effect. "
    "Look before you repeat anything: read the run, or list recent runs; a repeated start costs credits again."
)
"""The words of deploy/nginx.conf."""

_LARGEST_HEAD = 65536
_LOOK_EVERY = 0.05
_READY_SECONDS = 2.0
_BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead, OSError)


class Proxy:
    """Passes requests on to replicas, one connection for each.

    Args:
        ports: where the replicas listen, on this machine.

    Attributes:
        url: where it listens itself.
        holding: how many requests each replica has not answered yet, by its port.
        broken: how many answers were lost.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.url = ""
        self.holding: Counter[int] = Counter()
        self.broken = 0
        self._ports = list(ports)
        self._ready: set[int] = set()
        self._next = 0

    @property
    def ready(self) -> frozenset[int]:
        """The ports of the replicas that said they are ready when they were last asked."""
        return frozenset(self._ready)

    async def look(self) -> None:
        """Ask every replica once whether it is ready."""
        async with anyio.create_task_group() as tasks:
            for port in self._ports:
                tasks.start_soon(self._look_at, port)

    async def watch(self) -> None:
        """Ask repeatedly, until cancelled."""
        while True:
            await self.look()
            await anyio.sleep(_LOOK_EVERY)

    async def serve(self, client: SocketStream) -> None:
        """Answer one connection, which carries one request."""
        async with client:
            with suppress(*_BROKEN):
                head, body = await _read_request(client)
                await self._pass_on(client, head, body)

    async def _look_at(self, port: int) -> None:
        ready = False
        with anyio.move_on_after(_READY_SECONDS), suppress(*_BROKEN):
            async with await anyio.connect_tcp("127.0.0.1", port) as replica:
                await replica.send(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                ready = (await replica.receive()).startswith(b"HTTP/1.1 200 ")
        (self._ready.add if ready else self._ready.discard)(port)

    def _in_turn(self) -> list[int]:
        """The ready replicas, beginning with the one whose turn it is."""
        self._next = (self._next + 1) % len(self._ports)
        turn = self._ports[self._next :] + self._ports[: self._next]
        return [port for port in turn if port in self._ready]

    async def _pass_on(self, client: SocketStream, head: bytes, body: bytes) -> None:
        for port in self._in_turn():
            try:
                replica = await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                # Refused, so nothing was sent: the next one may have it.
                continue
            self.holding[port] += 1
            try:
                async with replica, anyio.create_task_group() as tasks:
                    tasks.start_soon(_until_gone, client, tasks.cancel_scope)
                    with suppress(*_BROKEN):
                        await self._answer(client, replica, head + body)
                    tasks.cancel_scope.cancel()
            finally:
                self.holding[port] -= 1
            return
        await client.send(_error(503, "No replica takes requests. Nothing was sent."))

    async def _answer(self, client: SocketStream, replica: SocketStream, request: bytes) -> None:
        answer = BufferedByteReceiveStream(replica)
        try:
            await replica.send(request)
            head = await answer.receive_until(b"\r\n\r\n", _LARGEST_HEAD)
        except _BROKEN:
            self.broken += 1
            await client.send(_error(502, UNCLEAR))
            return
        await client.send(_closing(head))
        # To the replica's end of the connection: a stream that breaks off in the middle does so for the client too.
        while True:
            await client.send(await answer.receive())


@asynccontextmanager
async def balancing(ports: Sequence[int]) -> AsyncIterator[Proxy]:
    """A load balancer on a free port, until the block ends."""
    proxy = Proxy(ports)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        await proxy.look()
        proxy.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.start_soon(proxy.watch)
        tasks.start_soon(listener.serve, proxy.serve)
        yield proxy
        tasks.cancel_scope.cancel()


async def _read_request(client: SocketStream) -> tuple[bytes, bytes]:
    incoming = BufferedByteReceiveStream(client)
    head = await incoming.receive_until(b"\r\n\r\n", _LARGEST_HEAD)
    length = next((int(value) for name, value in _fields(head) if name == b"content-length"), 0)
    body = await incoming.receive_exactly(length) if length else b""
    return _closing(head), body


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [(name.strip().lower(), value.strip()) for name, _, value in lines if name]


def _closing(head: bytes) -> bytes:
    """A request's or answer's head that says that nothing follows on this connection."""
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if line and not line.lower().startswith(b"connection:")]
    return b"\r\n".join([first, *kept, b"connection: close", b"", b""])


async def _until_gone(client: SocketStream, scope: anyio.CancelScope) -> None:
    """Let the replica know when the client leaves: its connection is closed too."""
    with suppress(*_BROKEN):
        await client.receive()
    scope.cancel()


def _error(status: int, words: str) -> bytes:
    document = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": words}}
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} No Answer\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + body
