"""``extend-mcp demo``: walk through an on-call session on the sandbox, with a real MCP client over stdio.

The server runs as a child process, as an IDE would start it. The demo checks every answer and fails at the first
unexpected one.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import anyio
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestParams, ElicitResult, TextContent

Say = Callable[[str], None]

_PATIENCE = 30.0
_SHOWN_LINES = 14


class StoryError(Exception):
    """A step did not behave as expected."""


class Storyteller:
    """Makes the calls and prints them with their answers."""

    def __init__(self, client: Client, say: Say) -> None:
        self._client = client
        self._say = say

    def tell(self, sentence: str) -> None:
        """Announce the next step."""
        self._say(f"\n== {sentence}")

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, print call and answer, return its structured content."""
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        self._say(f"\n> {tool}({shown})")
        try:
            result = await self._client.call_tool(tool, arguments)
        except MCPError as error:
            raise StoryError(f"{tool} failed: {error}") from None
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        lines = text.splitlines()
        self._say(textwrap.indent("\n".join(lines[:_SHOWN_LINES]), "  "))
        if len(lines) > _SHOWN_LINES:
            self._say(f"  ({len(lines) - _SHOWN_LINES} more lines)")
        if result.is_error or result.structured_content is None:
            raise StoryError(f"{tool} answered with an error")
        return dict(result.structured_content)


def expect(claim: str, *, seen: object, wanted: object) -> None:
    """Check one claim of the demo; raise a StoryError if it does not hold."""
    if seen != wanted:
        raise StoryError(f"{claim}: expected {wanted!r}, saw {seen!r}")


async def play(say: Say) -> int:
    """Run the demo; return 0 when every step behaved as expected, else 1."""
    # Pass on the server's settings, not the account's, so that no real run can be touched.
    chosen = {name: value for name, value in os.environ.items() if name.startswith("EXTEND_MCP_")}
    server = StdioServerParameters(command=sys.executable, args=["-m", "extend_mcp", "serve", "--sandbox"], env=chosen)

    async def person(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        say(textwrap.indent(f"[the server asks a person]\n{params.message}\n[the person answers: yes]", "  | "))
        return ElicitResult(action="accept", content={"confirm": True})

    say("An MCP client starts `extend-mcp serve --sandbox` as a child process and talks to it over stdio.")
    problem = f"it did not end within {_PATIENCE:.0f} seconds"
    with anyio.move_on_after(_PATIENCE):
        async with Client(server, elicitation_callback=person) as client:
            # Caught here: the client's task group would wrap it on the way out.
            try:
                await _story(Storyteller(client, say))
                problem = ""
            except (StoryError, KeyError, IndexError) as error:
                problem = f"{type(error).__name__}: {error}"
    say(f"\nThe demo failed: {problem}" if problem else "\nDemo complete: every step behaved as expected.")
    return 1 if problem else 0


async def _story(teller: Storyteller) -> None:
    teller.tell("What is running?")
    running = await teller.call("list_runs", status="PROCESSING")
    if not running["runs"]:
        raise StoryError("nothing is running")

    teller.tell("Why did this one fail?")
    failed = await teller.call("list_runs", status="FAILED", page_size=3)
    explained = await teller.call("get_workflow_run", run_id=failed["runs"][0]["run_id"])
    expect("the run failed", seen=explained["status"], wanted="FAILED")
    if not explained.get("failures"):
        raise StoryError("the failed run does not say why it failed")

    teller.tell("Cancel one that is already finished: refused, and nothing is sent.")
    done = await teller.call("list_runs", status="PROCESSED", page_size=1)
    refused = await teller.call("cancel_workflow_run", run_id=done["runs"][0]["run_id"])
    expect("a finished run is not cancelled", seen=refused["outcome"], wanted="already_finished")
    expect("nothing is sent for it", seen=refused["request_sent"], wanted=False)

    teller.tell("Cancel one that is running: a person confirms, and the server waits until it is CANCELLED.")
    target = running["runs"][-1]["run_id"]
    cancelled = await teller.call("cancel_workflow_run", run_id=target, reason="wrong document was uploaded")
    expect("the run is cancelled", seen=cancelled["outcome"], wanted="cancelled")

    teller.tell("Read it again.")
    seen = await teller.call("get_workflow_run", run_id=target)
    expect("a fresh read shows it", seen=seen["status"], wanted="CANCELLED")
