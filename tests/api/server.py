"""A real server on a real socket whose every answer a test decides, down to the last byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.transport import ExtendTransport, network_transport

OK = b'{"id": "workflow_run_1", "status": "PROCESSING"}'


@dataclass
class Answer:
    """The response to one request."""

    status: int = 200
    body: bytes = OK
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Close after so many bytes of the body, which is announced in full."""
    silent: bool = False
    """Close without a word."""
    wait: asyncio.Event | None = None
    """Answer only after this, which no test ever sets: a server that hangs."""


@dataclass
class Seen:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """The running server: its address, the answers still to give, the requests seen."""

    url: str
    answers: list[Answer]
    seen: list[Seen] = field(default_factory=list)


@asynccontextmanager
async def calling(url: str, **given: Any) -> AsyncIterator[ExtendClient]:
    """Our client over new connections; what is given is for its configuration or its transport."""
    names = {each.name for each in fields(ClientConfig)}
    config = {"api_key": SecretStr("sk_1"), "base_url": url}
    config |= {name: given.pop(name) for name in [*given] if name in names}
    async with network_transport(url) as network:
        yield ExtendClient(ClientConfig(**config), ExtendTransport(network, **given))


@asynccontextmanager
async def answering(*answers: Answer) -> AsyncIterator[Server]:
    """Serve ``answers`` in turn, the last one for ever."""
    server = Server("", list(answers) or [Answer()])
    serving: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = first.split(" ")
            server.seen.append(Seen(method, path, headers, body))
            answer = server.answers[0] if len(server.answers) == 1 else server.answers.pop(0)
            if answer.wait:
                await answer.wait.wait()
            if not answer.silent:
                fields = {"content-type": "application/json", "content-length": str(len(answer.body)), **answer.headers}
                text = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                writer.write(f"HTTP/1.1 {answer.status} X\r\n{text}connection: close\r\n\r\n".encode())
                writer.write(answer.body[: answer.cut])
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            serving.discard(asyncio.current_task())

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        # A connection that outlived its test would be reported as left open in another.
        left = [task for task in serving if task]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
