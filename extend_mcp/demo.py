"""``extend-mcp demo``: walk through an on-call session on the sandbox, with a real MCP client over stdio.

The server runs as a child process, as an IDE would start it. The demo checks the answers and fails at the first
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

_PATIENCE = 30.0
_SHOWN_LINES = 14


class DemoError(Exception):
    """A step did not behave as expected."""


async def play(say: Callable[[str], None]) -> int:
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
                await _session(client, say)
                problem = ""
            except (DemoError, MCPError, KeyError, IndexError) as error:
                problem = f"{type(error).__name__}: {error}"
    say(f"\nThe demo failed: {problem}" if problem else "\nDemo complete: every step behaved as expected.")
    return 1 if problem else 0


async def _session(client: Client, say: Callable[[str], None]) -> None:
    async def call(tool: str, arguments: dict[str, Any], **wanted: object) -> dict[str, Any]:
        """Call a tool, print call and answer, check fields of the answer, and return it."""
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        say(f"\n> {tool}({shown})")
        result = await client.call_tool(tool, arguments)
        lines = "\n".join(block.text for block in result.content if isinstance(block, TextContent)).splitlines()
        say(textwrap.indent("\n".join(lines[:_SHOWN_LINES]), "  "))
        if len(lines) > _SHOWN_LINES:
            say(f"  ({len(lines) - _SHOWN_LINES} more lines)")
        answer: dict[str, Any] | None = result.structured_content
        if result.is_error or answer is None:
            raise DemoError(f"{tool} answered with an error")
        seen = {name: answer.get(name) for name in wanted}
        if seen != wanted:
            raise DemoError(f"{tool}: expected {wanted}, saw {seen}")
        return answer

    say("\n== What is running?")
    running = await call("list_runs", {"status": "PROCESSING"})
    target = running["runs"][-1]["run_id"]

    say("\n== Why did this one fail?")
    failed = await call("list_runs", {"status": "FAILED", "page_size": 3})
    await call("get_workflow_run", {"run_id": failed["runs"][0]["run_id"]}, status="FAILED")

    say("\n== Cancel one that is already finished: refused, and nothing is sent.")
    done = await call("list_runs", {"status": "PROCESSED", "page_size": 1})
    finished = {"run_id": done["runs"][0]["run_id"]}
    await call("cancel_workflow_run", finished, outcome="already_finished", request_sent=False)

    say("\n== Cancel one that is running: a person confirms, and the server waits until it is CANCELLED.")
    await call("cancel_workflow_run", {"run_id": target, "reason": "wrong document was uploaded"}, outcome="cancelled")

    say("\n== Read it again.")
    await call("get_workflow_run", {"run_id": target}, status="CANCELLED")
