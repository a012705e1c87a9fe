"""Run the session with fastmcp's client: ``python fastmcp_story.py (URL | COMMAND [ARGUMENT...])``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from story import Report, play, summarize

report = Report("fastmcp")


async def person(message: str, response_type: Any, params: Any, context: Any) -> Any:
    """Answers the server's questions."""
    action = report.reply(message)
    return ElicitResult(action=action, content={"confirm": True} if action == "accept" else None)


async def progress(*_: Any) -> None:
    """Record progress."""
    report.facts["progress"] += 1


async def main() -> None:
    """Play it."""
    command, *arguments = sys.argv[1:]
    target: Any = StdioTransport(command, arguments) if arguments else command
    async with Client(target, elicitation_handler=person, progress_handler=progress) as client:
        report.facts["protocol"] = client.protocol_version
        report.facts["tools"] = [tool.name for tool in await client.list_tools()]

        async def call(name: str, given: dict[str, Any]) -> str:
            result = await client.call_tool(name, given)
            return "\n".join(getattr(block, "text", "") for block in result.content)

        summarize(report, await play(call))
        report.facts["resources"] = len(await client.list_resource_templates())
        report.facts["prompts"] = len((await client.get_prompt("triage_failures", {})).messages)
        report.facts["reads"] = "as you choose"
    report.end()


asyncio.run(main())
