"""Run clients that connect, call, subscribe, cancel, and leave, some of them abruptly."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import httpx2
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ElicitRequestParams, ElicitResult

from kit.soak.calls import Chooser
from kit.soak.fleet import TOKENS, Fleet
from kit.soak.world import World

Mode = Literal["auto", "legacy"]

CALL_SECONDS = 90.0
"""Longer than any call may take."""

# The SDK deprecates the subscriptions of older clients, which still use them.
warnings.filterwarnings("ignore", message="resources/subscribe")
warnings.filterwarnings("ignore", message="resources/unsubscribe")


@dataclass
class Record:
    """The outcomes of the calls.

    Attributes:
        calls: by tool and outcome.
        faults: unexpected outcomes, by kind.
        events: connections, subscriptions, change notifications and answers of the person, by kind.
    """

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)


@dataclass
class Soaker:
    """A client of one server, connection after connection.

    Attributes:
        name: for the record.
        mode: the newest protocol version, or the one before.
        caller: the caller whose token it sends; None for stdio.
        can_be_asked: whether a person answers its elicitations.
    """

    name: str
    mode: Mode
    caller: str | None
    can_be_asked: bool
    fleet: Fleet
    world: World
    record: Record
    rng: random.Random

    def __post_init__(self) -> None:
        self._chooser = Chooser(self.world, self.rng)
        self._leaving = False

    async def live(self) -> None:
        """Connect, call and leave until the soak stops; over stdio stay connected."""
        while not self.world.stopping:
            self._leaving = False
            calls = self.rng.randint(20, 80) if self.caller else 10**9
            abruptly = self.caller is not None and self.rng.random() < 0.3
            try:
                with anyio.CancelScope() as scope:
                    async with self._connected() as client:
                        tools = [tool.name for tool in (await client.list_tools()).tools]
                        await self._use(client, tools, calls, scope if abruptly else None)
            # Every failure goes into the record; none may end the soak early.
            except Exception as error:
                if not self._leaving:
                    self.record.faults[f"{self.name}: connection: {_described(error)}"] += 1
                    await anyio.sleep(1)
            self.record.events["left abruptly" if self._leaving else "left"] += 1

    async def call_once(self, tool: str) -> None:
        """Connect over HTTP for one call; do nothing over stdio, which would start a process."""
        if self.caller is not None:
            async with self._connected() as client:
                await self._call(client, tool, {})

    async def _use(self, client: Client, tools: list[str], calls: int, scope: anyio.CancelScope | None) -> None:
        self.record.events[f"connected, {client.protocol_version}"] += 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, client)
            for _ in range(3):
                tasks.start_soon(self._call_on, client, tools, calls // 3)
            if scope is not None:
                await anyio.sleep(self.rng.uniform(1, 8))
                self._leaving = True
                scope.cancel()

    async def _call_on(self, client: Client, tools: list[str], calls: int) -> None:
        for _ in range(calls):
            if self.world.stopping:
                return
            if self.rng.random() < 0.05:
                await self._look_around(client)
            else:
                await self._call(client, *self._chooser.next(tools))
            await anyio.sleep(self.rng.uniform(0.05, 0.4))

    async def _call(self, client: Client, tool: str, arguments: dict[str, Any]) -> None:
        impatient = self.rng.random() < 0.07
        with anyio.move_on_after(self.rng.uniform(0.005, 0.8) if impatient else CALL_SECONDS) as patience:
            outcome = await self._outcome(client, tool, arguments)
        if patience.cancelled_caught:
            outcome = "cancelled by the client" if impatient else "HANGS"
            if not impatient:
                self.record.faults[f"{tool} took more than {CALL_SECONDS:g} s"] += 1
        self.record.calls[tool, outcome] += 1

    async def _outcome(self, client: Client, tool: str, arguments: dict[str, Any]) -> str:
        try:
            result = await client.call_tool(tool, arguments, progress_callback=self._progress)
            token = _facts(result).get("confirmation_token")
            if token is not None and self.rng.random() < 0.8:
                self.record.events["confirmed by token"] += 1
                result = await client.call_tool(tool, {**arguments, "confirmation_token": token})
        except MCPError as error:
            self.record.faults[f"{tool}: {_described(error)}"] += 1
            return "PROTOCOL ERROR"
        if result.is_error:
            return "tool error"
        return str(_facts(result).get("outcome") or "answered")

    async def _look_around(self, client: Client) -> None:
        """Read a resource or fetch a prompt."""
        what = self.rng.choice(("resource", "prompt"))
        try:
            if what == "resource":
                await client.read_resource(f"extend://workflow-runs/{self._chooser.run()}")
            else:
                await client.get_prompt("triage_failures")
            outcome = "answered"
        except MCPError:
            # A resource cannot report a failure of Extend in another way.
            outcome = "tool error"
        self.record.calls[f"({what})", outcome] += 1

    async def _listen(self, client: Client) -> None:
        """Subscribe to a run for a while."""
        uri = f"extend://workflow-runs/{self._chooser.run('PENDING', 'PROCESSING')}"
        try:
            if self.mode == "legacy":
                await client.subscribe_resource(uri)
                self.record.events["subscribed"] += 1
                await anyio.sleep(self.rng.uniform(1, 6))
                await client.unsubscribe_resource(uri)
                return
            with anyio.move_on_after(self.rng.uniform(2, 10)):
                async with client.listen(resource_subscriptions=[uri]) as changes:
                    self.record.events["subscribed"] += 1
                    async for _ in changes:
                        self.record.events["change received"] += 1
        except MCPError:
            # A subscription reads the run first, and that read may fail.
            self.record.events["subscription refused"] += 1

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.record.events["progress received"] += 1

    async def _answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        said = self.rng.choices(("yes", "no", "decline", "cancel"), (6, 1, 1, 1))[0]
        self.record.events[f"person asked, said {said}"] += 1
        await anyio.sleep(self.rng.uniform(0, 0.5))
        if said in ("decline", "cancel"):
            return ElicitResult(action="decline" if said == "decline" else "cancel")
        return ElicitResult(action="accept", content={"confirm": said == "yes"})

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        asking = self._answer if self.can_be_asked else None
        if self.caller is None:
            with (self.fleet.folder / "stdio.errors").open("a", encoding="utf-8") as errors:
                streams = stdio_client(self.fleet.stdio(), errlog=errors)
                async with Client(streams, mode=self.mode, elicitation_callback=asking) as client:
                    yield client
            return
        headers = {"Authorization": f"Bearer {TOKENS[self.caller]}"}
        async with httpx2.AsyncClient(headers=headers, timeout=CALL_SECONDS, trust_env=False) as http_client:
            streams = streamable_http_client(f"{self.fleet.url}/mcp", http_client=http_client)
            async with Client(streams, mode=self.mode, elicitation_callback=asking) as client:
                yield client


def soakers(fleet: Fleet, world: World, record: Record, rng: random.Random) -> list[Soaker]:
    """Return all clients: both protocols, both callers, with and without a person, and one over stdio."""
    given: list[tuple[str, Mode, str | None, bool]] = [
        ("anna, new, asked", "auto", "anna", True),
        ("anna, new, tokens", "auto", "anna", False),
        ("anna, old, asked", "legacy", "anna", True),
        ("anna, old, tokens", "legacy", "anna", False),
        ("watcher, new", "auto", "watcher", False),
        ("watcher, old", "legacy", "watcher", True),
        ("stdio, old, asked", "legacy", None, True),
    ]
    return [
        Soaker(name, mode, caller, asked, fleet, world, record, random.Random(rng.random()))
        for name, mode, caller, asked in given
    ]


def _facts(result: CallToolResult) -> dict[str, Any]:
    return result.structured_content or {}


def _described(error: BaseException) -> str:
    # The first error of a group. ExceptionGroup does not exist before Python 3.11.
    while getattr(error, "exceptions", ()):
        error = error.exceptions[0]  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {str(error)[:100]}"
