"""Clients that come, call, ask to be told of changes, change their minds, and go, with and without a word."""

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

from soakkit.calls import Chooser
from soakkit.fleet import TOKENS, Fleet
from soakkit.world import World

Era = Literal["auto", "legacy"]

CALL_SECONDS = 90.0
"""Longer than any call may take: past it the server hangs."""

# Subscribing as older clients do is deprecated in the SDK, and still what they do.
warnings.filterwarnings("ignore", message="resources/subscribe")
warnings.filterwarnings("ignore", message="resources/unsubscribe")


@dataclass
class Record:
    """What became of the calls.

    Attributes:
        calls: by tool and outcome.
        faults: what should not have happened, by what it was.
        events: by what it was: connections, subscriptions, changes heard of, answers of the person.
    """

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)


@dataclass
class Soaker:
    """One who calls one server, connection after connection.

    Attributes:
        name: for the record.
        era: version of the protocol: the newest, or the one before.
        caller: whose token it carries; None for stdio.
        can_be_asked: whether a person sits there who answers questions.
    """

    name: str
    era: Era
    caller: str | None
    can_be_asked: bool
    fleet: Fleet
    world: World
    record: Record
    dice: random.Random

    def __post_init__(self) -> None:
        self._chooser = Chooser(self.world, self.dice)
        self._leaving = False

    async def live(self) -> None:
        """Connect, call and go, until the soak stops; the one over stdio stays connected."""
        while not self.world.stopping:
            self._leaving = False
            calls = self.dice.randint(20, 80) if self.caller else 10**9
            abruptly = self.caller is not None and self.dice.random() < 0.3
            try:
                with anyio.CancelScope() as scope:
                    async with self._connected() as client:
                        tools = [tool.name for tool in (await client.list_tools()).tools]
                        await self._use(client, tools, calls, scope if abruptly else None)
            # The record is where all of them go: nothing may end the soak early.
            except Exception as error:
                if not self._leaving:
                    self.record.faults[f"{self.name}: connection: {_told(error)}"] += 1
                    await anyio.sleep(1)
            self.record.events["left abruptly" if self._leaving else "left in good order"] += 1

    async def call_once(self, tool: str) -> None:
        """Connect over HTTP for a single call; nothing over stdio, where a process would be started for it."""
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
                await anyio.sleep(self.dice.uniform(1, 8))
                self._leaving = True
                scope.cancel()

    async def _call_on(self, client: Client, tools: list[str], calls: int) -> None:
        for _ in range(calls):
            if self.world.stopping:
                return
            if self.dice.random() < 0.05:
                await self._look_around(client)
            else:
                await self._call(client, *self._chooser.next(tools))
            await anyio.sleep(self.dice.uniform(0.05, 0.4))

    async def _call(self, client: Client, tool: str, arguments: dict[str, Any]) -> None:
        impatient = self.dice.random() < 0.07
        with anyio.move_on_after(self.dice.uniform(0.005, 0.8) if impatient else CALL_SECONDS) as patience:
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
            if token is not None and self.dice.random() < 0.8:
                self.record.events["confirmed by token"] += 1
                result = await client.call_tool(tool, {**arguments, "confirmation_token": token})
        except MCPError as error:
            self.record.faults[f"{tool}: {_told(error)}"] += 1
            return "PROTOCOL ERROR"
        if result.is_error:
            return "error told"
        return str(_facts(result).get("outcome") or "answered")

    async def _look_around(self, client: Client) -> None:
        """Read a resource, fetch a prompt: what a tool call is not."""
        what = self.dice.choice(("resource", "prompt"))
        try:
            if what == "resource":
                await client.read_resource(f"extend://workflow-runs/{self._chooser.run()}")
            else:
                await client.get_prompt("triage_failures")
            outcome = "answered"
        except MCPError:
            # A resource has no other way to say that Extend failed.
            outcome = "error told"
        self.record.calls[f"({what})", outcome] += 1

    async def _listen(self, client: Client) -> None:
        """Subscribe to a run, hear of it for a while, and end that."""
        uri = f"extend://workflow-runs/{self._chooser.run('PENDING', 'PROCESSING')}"
        try:
            if self.era == "legacy":
                await client.subscribe_resource(uri)
                self.record.events["subscribed"] += 1
                await anyio.sleep(self.dice.uniform(1, 6))
                await client.unsubscribe_resource(uri)
                return
            with anyio.move_on_after(self.dice.uniform(2, 10)):
                async with client.listen(resource_subscriptions=[uri]) as changes:
                    self.record.events["subscribed"] += 1
                    async for _ in changes:
                        self.record.events["change heard of"] += 1
        except MCPError:
            # Whoever subscribes must be able to read the run, and that reading may meet a fault.
            self.record.events["subscription refused"] += 1

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.record.events["progress told"] += 1

    async def _answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        said = self.dice.choices(("yes", "no", "decline", "cancel"), (6, 1, 1, 1))[0]
        self.record.events[f"person asked, said {said}"] += 1
        await anyio.sleep(self.dice.uniform(0, 0.5))
        if said in ("decline", "cancel"):
            return ElicitResult(action="decline" if said == "decline" else "cancel")
        return ElicitResult(action="accept", content={"confirm": said == "yes"})

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        asking = self._answer if self.can_be_asked else None
        if self.caller is None:
            with (self.fleet.folder / "stdio.errors").open("a", encoding="utf-8") as errors:
                streams = stdio_client(self.fleet.stdio(), errlog=errors)
                async with Client(streams, mode=self.era, elicitation_callback=asking) as client:
                    yield client
            return
        headers = {"Authorization": f"Bearer {TOKENS[self.caller]}"}
        async with httpx2.AsyncClient(headers=headers, timeout=CALL_SECONDS, trust_env=False) as http_client:
            streams = streamable_http_client(f"{self.fleet.url}/mcp", http_client=http_client)
            async with Client(streams, mode=self.era, elicitation_callback=asking) as client:
                yield client


def soakers(fleet: Fleet, world: World, record: Record, dice: random.Random) -> list[Soaker]:
    """Everybody who calls: both eras, both callers, with and without a person, and one over stdio."""
    given: list[tuple[str, Era, str | None, bool]] = [
        ("anna, new, asked", "auto", "anna", True),
        ("anna, new, tokens", "auto", "anna", False),
        ("anna, old, asked", "legacy", "anna", True),
        ("anna, old, tokens", "legacy", "anna", False),
        ("watcher, new", "auto", "watcher", False),
        ("watcher, old", "legacy", "watcher", True),
        ("stdio, old, asked", "legacy", None, True),
    ]
    return [
        Soaker(name, era, caller, asked, fleet, world, record, random.Random(dice.random()))
        for name, era, caller, asked in given
    ]


def _facts(result: CallToolResult) -> dict[str, Any]:
    return result.structured_content or {}


def _told(error: BaseException) -> str:
    # Of a group, the first one; the class itself is not there before Python 3.11.
    while getattr(error, "exceptions", ()):
        error = error.exceptions[0]  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {str(error)[:100]}"
