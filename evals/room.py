"""A sandbox and a server, each in a process, and a spy that counts what is asked of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestParams, ElicitResult, TextContent, Tool

Person = Literal["yes", "no"]
"""The person's answer when the server asks."""

TOOLSETS = {"incident": "runs,workflows,incidents,webhooks"}
"""The toolsets of a scenario's server, where they are not the default ones."""

_FROZEN = "0.000001"
"""The sandbox's speed. Its clock moves during calls of questions that need it, so the facts of the others are fixed."""
_START_SECONDS = 60.0


@dataclass
class Room:
    """A sandbox with a scenario, and a server that works on it.

    Attributes:
        sandbox: the sandbox's base URL.
        mcp: the server's URL.
        pids: both processes.
    """

    sandbox: str
    mcp: str
    pids: list[int]

    @classmethod
    def open(cls, scenario: str, folder: Path) -> Room:
        """Start both processes, which write to files in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        sandbox, first = _start(["sandbox", "--scenario", scenario, "--speed", _FROZEN], folder)
        environment = {
            "EXTEND_API_KEY": "sk_evals",
            "EXTEND_BASE_URL": sandbox,
            "EXTEND_MCP_REQUESTS_PER_SECOND": "1000",
            "EXTEND_MCP_TOOLSETS": TOOLSETS.get(scenario, "runs,workflows"),
        }
        try:
            mcp, second = _start(["serve", "--transport", "http", "--port", "0"], folder, **environment)
        except RuntimeError:
            _end(first)
            raise
        return cls(sandbox, mcp, [first, second])

    def is_open(self) -> bool:
        """Return whether the sandbox answers."""
        try:
            return httpx.get(f"{self.sandbox}/_sandbox/requests", trust_env=False, verify=False).is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """End both processes, unless they have ended."""
        if self.is_open():
            for pid in reversed(self.pids):
                _end(pid)


def _start(arguments: list[str], folder: Path, **environment: str) -> tuple[str, int]:
    """Start a command of extend-mcp and return the URL that it prints, and its process id.

    Raises:
        RuntimeError: it ended or printed no URL.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("EXTEND_")}
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=f"{arguments[0]}-", suffix=".log", delete=False) as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "extend_mcp", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=ours | environment,
            start_new_session=True,
        )
    _children[process.pid] = process
    log = Path(output.name)
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text().splitlines(keepends=True):
            url = line.split()[-1] if line.endswith("\n") and "http://" in line else ""
            if url:
                return url, process.pid
        time.sleep(0.05)
    _end(process.pid)
    raise RuntimeError(f"extend-mcp {arguments[0]} did not start: {log.read_text()[-2000:]}")


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    if child := _children.pop(pid, None):
        child.wait()


_children: dict[int, subprocess.Popen[bytes]] = {}
"""The processes that this one started. A session's were started by another."""


@dataclass
class Call:
    """One call of a tool.

    Attributes:
        tool: its name.
        arguments: as the model gave them.
        text: what the model read.
        facts: the structured content, which a client may read.
        questions: what the server asked the person.
    """

    tool: str
    arguments: dict[str, Any]
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Return how many tokens the model read."""
        return tokens(self.text)


@dataclass
class Spy:
    """Calls tools for a model, and counts.

    Attributes:
        client: the connection to the server.
        sandbox: the sandbox's base URL.
        moving: whether the sandbox's clock runs during a call.
        calls: the calls so far.
        requests: the requests that the server sent to the sandbox for them, such as ``GET /workflow_runs``.
    """

    client: Client
    sandbox: str
    moving: bool = False
    calls: list[Call] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _questions: list[str] = field(default_factory=list)
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Call a tool and return the text of its answer."""
        async with self._one_at_a_time, httpx.AsyncClient(trust_env=False, verify=False) as control:
            await control.delete(f"{self.sandbox}/_sandbox/requests")
            self._questions.clear()
            async with anyio.create_task_group() as tasks:
                if self.moving:
                    tasks.start_soon(self._move, control)
                text, facts = await self._answer(tool, arguments)
                tasks.cancel_scope.cancel()
            self.calls.append(Call(tool, arguments, text, facts, [*self._questions]))
            answer = await control.get(f"{self.sandbox}/_sandbox/requests")
            self.requests += [f"{each['method']} {each['path']}" for each in answer.json()["requests"]]
        return text

    @property
    def instructions(self) -> str:
        """Return what the server says of itself."""
        return self.client.instructions or ""

    async def tools(self) -> list[Tool]:
        """Return the tools as the server lists them."""
        return (await self.client.list_tools()).tools

    async def preface(self) -> int:
        """Return the tokens of what a model reads before the question: the server's instructions and its tools."""
        tools = [[tool.name, tool.description, tool.input_schema] for tool in await self.tools()]
        return tokens(self.instructions + json.dumps(tools, separators=(",", ":")))

    def asked(self, question: str) -> None:
        """Note a question of the server to the person."""
        self._questions.append(question)

    async def _answer(self, tool: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        try:
            result = await self.client.call_tool(tool, arguments)
        except MCPError as error:
            # A tool that does not exist, say: the model may do better with its next call.
            return f"Error: {error}", {}
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        return text, {} if result.is_error else result.structured_content or {}

    async def _move(self, control: httpx.AsyncClient) -> None:
        while True:
            await control.post(f"{self.sandbox}/_sandbox/clock", json={"advanceSeconds": 1})
            await anyio.sleep(0.2)


@asynccontextmanager
async def watched(room: Room, person: Person | None) -> AsyncIterator[Spy]:
    """Connect to a room's server as a client that can ask a person, or as one that cannot."""

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        spy.asked(params.message)
        if person == "yes":
            return ElicitResult(action="accept", content={"confirm": True})
        return ElicitResult(action="decline")

    async with Client(room.mcp, elicitation_callback=answer if person else None) as client:
        # What the person agreed to happens while the call waits for it.
        spy = Spy(client, room.sandbox, moving=person is not None)
        yield spy


def tokens(text: str) -> int:
    """Return the tokens of o200k, or without rs_bpe more than there are likely to be."""
    if _count is None:
        return int(len(text) / 2.2)
    count: int = _count(text)
    return count


try:
    from rs_bpe.bpe import openai

    _count = openai.o200k_base().count
except ImportError:  # it has wheels for CPython only
    _count = None
