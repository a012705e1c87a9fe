"""Run the session with LlamaIndex's MCP tools: ``python llama_index_story.py URL``.

Over stdio this library starts a process for each call, so there is no run to find again on the sandbox in it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from story import Report, play, told

report = Report("llama-index-tools-mcp")


async def main() -> None:
    """Play it."""
    # By default this library gives a call 30 seconds.
    client = BasicMCPClient(sys.argv[1], timeout=60)
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}
    report.facts["tools"] = [*tools]

    async def call(name: str, given: dict[str, Any]) -> str:
        result = (await tools[name].acall(**given)).raw_output
        return "\n".join(getattr(block, "text", "") for block in result.content)

    told(report, await play(call))
    report.facts["resources"] = len((await client.list_resource_templates()).resource_templates)
    report.facts["prompts"] = len(await client.get_prompt("investigate_run", {"run_id": report.facts["run"]}))
    async with client._run_session() as session:
        report.facts["protocol"] = session.protocol_version
    report.end()


asyncio.run(main())
