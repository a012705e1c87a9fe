"""Call a server over streamable HTTP (2026-07-28) at next to no cost, with the interface of `StdioServer`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from kit.connection import Connection
from kit.processes import free_port
from kit.requests import PROTOCOLS, Call, Encoder
from kit.servers import Server
from kit.stdio import is_error


class HttpServer:
    """A server as a child process on a free port, from here until the end of the `with` block.

    Args:
        server: the server to run.
        environment: variables it gets in addition to the machine's own.
    """

    def __init__(self, server: Server, **environment: str) -> None:
        self._name = server.name
        self._port = free_port()
        self._child = server.start_http(self._port, **environment)
        self._loop = asyncio.new_event_loop()
        self._connections: list[Connection] = []
        self._sent = 0

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        # The event loop closes them in its next iteration.
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
        self._child.__exit__()

    def call(self, tool: str, arguments: dict[str, Any]) -> bytes:
        """Call a tool and return the message with the answer."""
        return self._loop.run_until_complete(self._all([(tool, arguments)], 1))

    def ready(self, at_once: int) -> None:
        """Open the connections, which is not part of a call."""
        self._loop.run_until_complete(self._connect(at_once))

    def burst(self, calls: Sequence[tuple[str, dict[str, Any]]], at_once: int) -> float:
        """Make all calls on ``at_once`` connections, and return the seconds it took.

        Raises:
            RuntimeError: an answer was an error, or a connection was lost.
        """
        self.ready(at_once)
        begun = time.perf_counter()
        self._loop.run_until_complete(self._all(calls, at_once))
        return time.perf_counter() - begun

    def answer(self, message: bytes) -> dict[str, Any]:
        """Return the result in a message.

        Raises:
            RuntimeError: it is an error.
        """
        result: dict[str, Any] | None = json.loads(message).get("result")
        if result is None or result.get("isError"):
            raise RuntimeError(f"{self._name} answered {message[:500]!r}: {self._child.errors()}")
        return result

    async def _connect(self, at_once: int) -> None:
        # Let the event loop notice connections that the server closed.
        await asyncio.sleep(0)
        self._connections = [each for each in self._connections if not each.closed]
        while len(self._connections) < at_once:
            self._connections.append(await Connection.open(self._port))

    async def _all(self, calls: Sequence[tuple[str, dict[str, Any]]], at_once: int) -> bytes:
        encoder = Encoder(self._port, PROTOCOLS[0], [Call(tool, arguments, ()) for tool, arguments in calls])
        numbers = iter(range(len(calls)))
        drives = (self._drive(each, encoder, numbers) for each in self._connections[:at_once])
        answers = await asyncio.gather(*drives, return_exceptions=True)
        if lost := [answer for answer in answers if isinstance(answer, BaseException)]:
            raise RuntimeError(f"{self._name}: {len(lost)} of {at_once} connections were lost: {lost[0]}") from lost[0]
        for answer in answers:
            if answer and is_error(answer):
                self.answer(answer)
        return next(answer for answer in answers if answer)

    async def _drive(self, connection: Connection, encoder: Encoder, numbers: Any) -> bytes:
        message = b""
        for number in numbers:
            request, _ = encoder.call(number, self._sent, b"")
            self._sent += 1
            got = (await connection.ask(request)).message()
            message = message if message and is_error(message) else got
        return message
