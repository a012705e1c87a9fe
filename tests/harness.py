"""A server under test: our MCP server, the real sandbox over a socket, the SDK's client, and one clock for all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import httpx
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, ElicitRequestParams, ElicitResult, TextContent
from pydantic import SecretStr

from extend_mcp.actions.sqlite_store import SqliteStore
from extend_mcp.actions.store import ActionStore
from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.rate_limit import LocalWindow, RateLimiter
from extend_mcp.api.transport import ExtendTransport, network_transport
from extend_mcp.callers import CallerRegistry, Shared
from extend_mcp.limits import CallLimits
from extend_mcp.sandbox import Sandbox
from extend_mcp.sandbox.api.fault_injection import read_fault
from extend_mcp.server import build_server, sealing_keys
from extend_mcp.settings import Settings

Mode = Literal["auto", "legacy"]
ERAS: tuple[Mode, ...] = ("auto", "legacy")

EXAMPLES = Path(__file__).parent / "data"
KEY = "sk_test_canary_4f1d"


def example(name: str) -> dict[str, Any]:
    """A documented example run as wire JSON."""
    document: dict[str, Any] = json.loads(_text(name))
    return document


@cache
def _text(name: str) -> str:
    return (EXAMPLES / f"{name}.json").read_text()


def example_run(run_id: str, status: str) -> dict[str, Any]:
    """The all-steps example under another id and status."""
    return {**example("workflow_run.allsteps"), "id": run_id, "status": status}


# One client for all: making one loads certificates, which takes longer than the call.
_control = httpx.Client(trust_env=False, verify=False)


@dataclass
class Box:
    """The sandbox that a test runs against; served at ``base_url``, steered here without the detour over HTTP."""

    base_url: str
    sandbox: Sandbox

    def load(self, run: dict[str, Any], *, live: bool = False) -> str:
        """Load a run and return its id."""
        return self.sandbox.load_run(run, live=live).id

    def fault(self, **fault: Any) -> None:
        """Arm a fault."""
        self.sandbox.faults.add(read_fault({"times": 1, **fault}))

    def finish(self, run_id: str, status: str, *, before_cancel: bool) -> None:
        """Let a run finish, at once or when its cancel arrives."""
        self.sandbox.finish_run(run_id, status, before_cancel=before_cancel)

    def advance(self, seconds: float) -> None:
        """Turn the clock."""
        self.sandbox.advance(seconds)

    def now(self) -> datetime:
        """The simulated present."""
        return self.sandbox.clock.now()

    def state(self) -> dict[str, Any]:
        """Everything the sandbox holds, in short."""
        return self.sandbox.state()

    def requests(self, method: str | None = None) -> list[dict[str, Any]]:
        """The API requests received, in order."""
        with self.sandbox.lock:
            return [entry.to_json() for entry in self.sandbox.log if method in (None, entry.method)]

    def forget(self) -> None:
        """Forget the API requests received so far."""
        with self.sandbox.lock:
            self.sandbox.log.clear()

    def api(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Call the API as someone else would."""
        headers = {"Authorization": "Bearer sk_someone_else", "x-extend-api-version": "2026-02-09"}
        answer = _control.request(method, f"{self.base_url}{path}", headers=headers, **options)
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document

    def workflow(self, name: str = "Invoice Processing") -> str:
        """The id of a workflow of the scenario."""
        found: str = next(each["id"] for each in self.state()["workflows"] if each["name"] == name)
        return found


LIMITS = {each.name for each in fields(CallLimits)}
"""The limits of a call that `serving` takes like settings."""


@dataclass
class BoxClock:
    """The sandbox's time as the server's: sleeping turns the sandbox's clock, and takes no real time."""

    box: Box
    on_sleep: Callable[[], None] | None = None
    before_sleep: Callable[[], Awaitable[None]] | None = None
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        """The sandbox's present."""
        return self.box.now()

    def monotonic(self) -> float:
        """Seconds slept so far."""
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        """Turn the clock by ``seconds``."""
        if self.before_sleep:
            await self.before_sleep()
        self.slept.append(seconds)
        if self.on_sleep:
            self.on_sleep()
        self.box.advance(seconds)


@dataclass
class Person:
    """The person that the server asks: their answers, and the questions so far."""

    action: Literal["accept", "decline", "cancel"] = "accept"
    confirm: bool | None = True
    asked: list[str] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None
    """Called while the question is open."""

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """Answer an elicitation."""
        self.asked.append(params.message)
        if self.meanwhile:
            self.meanwhile()
        # Some clients send the form's content with every answer, a ticked box included.
        return ElicitResult(action=self.action, content={} if self.confirm is None else {"confirm": self.confirm})


@asynccontextmanager
async def serving(
    box: Box, *, mode: Mode = "auto", person: Person | None = None, **settings: Any
) -> AsyncIterator[Client]:
    """Our server on ``box``, and a client of the given protocol connected to it."""
    async with (
        running_server(box, **settings) as server,
        Client(server, mode=mode, elicitation_callback=person.answer if person else None) as client,
    ):
        yield client


@asynccontextmanager
async def running_server(
    box: Box,
    *,
    key: str | None = KEY,
    on_sleep: Callable[[], None] | None = None,
    before_sleep: Callable[[], Awaitable[None]] | None = None,
    requests_per_second: int | None = None,
    store: ActionStore | None = None,
    **settings: Any,
) -> AsyncIterator[MCPServer[CallerRegistry]]:
    """Our server on ``box``, whose rate limit waits in the sandbox's time."""
    clock = BoxClock(box, on_sleep, before_sleep)
    limits = CallLimits(**{name: settings.pop(name) for name in [*settings] if name in LIMITS})
    chosen = Settings.model_validate({"api_key": key, "base_url": box.base_url, **settings})
    limiter = None
    if requests_per_second is not None:
        window = LocalWindow(requests_per_second, monotonic=clock.monotonic)
        limiter = RateLimiter(window, sleep=clock.sleep, monotonic=clock.monotonic)

    transport = ExtendTransport(network_transport(box.base_url), limiter=limiter, sleep=clock.sleep)

    def connect(_: object) -> ExtendClient:
        config = ClientConfig(api_key=SecretStr(key) if key else None, base_url=box.base_url)
        return ExtendClient(config, transport)

    shared = Shared(sealing_keys(chosen), store=store or SqliteStore())
    server, registry = build_server(chosen, connect=connect, clock=clock, limits=limits, shared=shared)
    try:
        yield server
    finally:
        await registry.aclose()
        await transport.inner.aclose()


def text_of(result: CallToolResult) -> str:
    """The answer's text."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def facts_of(result: CallToolResult) -> dict[str, Any]:
    """The structured content of an answer that is no error."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    facts: dict[str, Any] = result.structured_content
    return facts
