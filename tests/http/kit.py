"""Our application over HTTP, in this process but on a real socket, and two Extend accounts behind one address."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from extend_mcp.clock import Clock
from extend_mcp.http.app import HttpApp
from extend_mcp.http.serve import GracefulServer, listen
from extend_mcp.http.settings import HttpLimits, HttpSettings
from extend_mcp.limits import CallLimits
from extend_mcp.sandbox.sandbox_server import running_app
from extend_mcp.settings import Settings
from extend_mcp.telemetry.redaction import Redactor
from tests.harness import KEY, LIMITS, Box, Mode, Person


@dataclass
class Running:
    """An application that is being served.

    Attributes:
        url: its base URL, without a path.
        app: what it serves.
        server: uvicorn's server.
    """

    url: str
    app: HttpApp
    server: GracefulServer

    @property
    def mcp(self) -> str:
        """The address of the MCP endpoint."""
        return f"{self.url}/mcp"

    async def post(self, body: Any, headers: dict[str, str] | None = None, path: str = "/mcp") -> httpx.Response:
        """Send one request as no MCP client would."""
        async with plain_client() as client:
            return await client.post(f"{self.url}{path}", content=_bytes(body), headers=headers or {})

    async def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """Read a path."""
        async with plain_client() as client:
            return await client.get(f"{self.url}{path}", headers=headers or {})


def plain_client() -> httpx.AsyncClient:
    """A client that loads no certificates and asks no proxy."""
    return httpx.AsyncClient(trust_env=False, verify=False, timeout=20)


@asynccontextmanager
async def serving_http(
    base_url: str,
    *,
    http: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    sse: bool = False,
    clock: Clock | None = None,
    redactor: Redactor | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Our application on a free port, with Extend at ``base_url``."""
    calls = CallLimits(**{name: settings.pop(name) for name in [*settings] if name in LIMITS})
    given = {"api_key": KEY, "base_url": base_url, "requests_per_second": 1000, **settings}
    chosen = Settings.model_validate(given)
    http_settings = HttpSettings(**(http or {}))
    bounds = HttpLimits(**{"shutdown_seconds": 5, **(limits or {})})
    kept = {"limits": bounds, "call_limits": calls, "clock": clock}
    app = HttpApp(chosen, http_settings, redactor or Redactor(), sse=sse, **kept)
    with listen("127.0.0.1", 0) as listener:
        ready = anyio.Event()
        server = GracefulServer(app, ready.set)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: server.serve(sockets=[listener]))
            await ready.wait()
            yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", app, server)
            server.should_exit = True
    await app.registry.aclose()


@asynccontextmanager
async def connected(
    running: Running,
    bearer: str | None = None,
    *,
    mode: Mode = "auto",
    person: Person | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[Client]:
    """The SDK's client, with a bearer token."""
    import httpx2

    sent = {**({"Authorization": f"Bearer {bearer}"} if bearer else {}), **(headers or {})}
    async with (
        httpx2.AsyncClient(headers=sent, timeout=30, trust_env=False, verify=False) as http_client,
        Client(
            streamable_http_client(running.mcp, http_client=http_client),
            mode=mode,
            elicitation_callback=person.answer if person else None,
        ) as client,
    ):
        yield client


class Accounts:
    """Extend with several accounts: which one a request sees, its key says; an unknown key is refused."""

    def __init__(self, accounts: dict[str, ASGIApp]) -> None:
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its account."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        key = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
        app = self._accounts.get(key)
        if app is None:
            body = json.dumps({"code": "UNAUTHORIZED", "message": "unknown key", "retryable": False}).encode()
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await app(scope, receive, send)


@contextmanager
def extend_with(accounts: dict[str, Box]) -> Iterator[str]:
    """One address of Extend for several accounts, by their keys."""
    with running_app(Accounts({key: box.sandbox.app for key, box in accounts.items()})) as base_url:
        yield base_url


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
