"""Run concurrent clients against one server, and measure them in rounds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from kit.connection import Answer, Connection
from kit.processes import Child
from kit.requests import PROTOCOLS, Call, Encoder, fault_of

_SAMPLE_SECONDS = 0.25


class Client:
    """One client: a connection, and in the older protocol a session, which outlives its connections.

    Args:
        port: the server's, on 127.0.0.1.
        encoder: makes its requests.
    """

    def __init__(self, port: int, encoder: Encoder) -> None:
        self._port = port
        self._encoder = encoder
        self._connection: Connection | None = None
        self._session = b""
        self._sent = 0

    async def connect(self) -> None:
        """Open the connection if it is not open."""
        if self._connection is None:
            self._connection = await Connection.open(self._port)

    def disconnect(self) -> None:
        """Close the connection; the session stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def shake_hands(self) -> None:
        """Open a session.

        Raises:
            RuntimeError: the server gave none.
        """
        request, _ = self._encoder.initialize()
        answer = await self._ask(request)
        session = answer.header(b"mcp-session-id")
        if answer.status != 200 or not session:
            raise RuntimeError(f"initialize was answered with HTTP {answer.status}: {answer.message()[:300]!r}")
        self._session = b"Mcp-Session-Id: %b\r\n" % session
        answer = await self._ask(self._encoder.initialized(self._session))
        if answer.status != 202:
            raise RuntimeError(f"notifications/initialized was answered with HTTP {answer.status}")
        self._sent = 1

    async def call(self, index: int, names: tuple[str, ...]) -> tuple[str | None, int]:
        """Make one of the calls; return its fault or None, and its length in bytes."""
        request, request_id = self._encoder.call(index, self._sent, self._session)
        self._sent += 1
        try:
            answer = await self._ask(request)
        except OSError as error:
            self.disconnect()
            return type(error).__name__, 0
        message = answer.message()
        return fault_of(answer.status, message, request_id, names), len(message)

    async def _ask(self, request: bytes) -> Answer:
        await self.connect()
        assert self._connection
        return await self._connection.ask(request)


@dataclass
class Round:
    """The measurements of one round.

    Attributes:
        seconds: from the first request to the last answer.
        cpu: processor seconds of the server meanwhile.
        latencies: seconds of each call.
        received: bytes of JSON-RPC that came back in all.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    received: int = 0

    @property
    def throughput(self) -> float:
        """Return calls per second."""
        return len(self.latencies) / self.seconds


@dataclass
class Target:
    """A server under load and its measurements.

    Attributes:
        name: for the report.
        child: its process.
        clients: its clients.
        calls: the calls that they repeat.
        rounds: the rounds that count.
        faults: wrong responses by kind, including the warm-up.
        memory: samples of the calls made so far and the megabytes held then.
    """

    name: str
    child: Child
    clients: list[Client]
    calls: list[Call]
    rounds: list[Round] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    async def prepare(
        cls, name: str, child: Child, port: int, protocol: str, clients: int, calls: list[Call]
    ) -> Target:
        """Encode the calls, and open the sessions of the older protocol."""
        encoder = Encoder(port, protocol, calls)
        target = cls(name, child, [Client(port, encoder) for _ in range(clients)], calls)
        if protocol != PROTOCOLS[0]:
            for client in target.clients:
                await client.shake_hands()
                client.disconnect()
        return target

    async def warm_up(self, calls: int) -> None:
        """Make calls that are checked but not measured."""
        await self._run(calls)
        self.memory = [(0, self.child.resident_mb())]

    async def measure(self, calls: int) -> None:
        """Run one round and keep its measurements."""
        before = sum(len(each.latencies) for each in self.rounds)
        self.rounds.append(await self._run(calls, before))

    async def _run(self, calls: int, before: int = 0) -> Round:
        result = Round()
        numbers = iter(range(before, before + calls))
        # Connecting is no part of a call.
        await asyncio.gather(*(client.connect() for client in self.clients))
        cpu, begun = self.child.cpu_seconds(), time.perf_counter()
        sampling = asyncio.ensure_future(self._sample(result, before))
        try:
            await asyncio.gather(*(self._drive(client, numbers, result) for client in self.clients))
            result.seconds = time.perf_counter() - begun
            result.cpu = self.child.cpu_seconds() - cpu
            self.memory.append((before + calls, self.child.resident_mb()))
        finally:
            sampling.cancel()
            for client in self.clients:
                client.disconnect()
        return result

    async def _drive(self, client: Client, numbers: Iterator[int], result: Round) -> None:
        for number in numbers:
            index = number % len(self.calls)
            begun = time.perf_counter()
            fault, length = await client.call(index, self.calls[index].names)
            result.latencies.append(time.perf_counter() - begun)
            result.received += length
            if fault is not None:
                self.faults[fault] += 1

    async def _sample(self, result: Round, before: int) -> None:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            self.memory.append((before + len(result.latencies), self.child.resident_mb()))
