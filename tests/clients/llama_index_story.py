"""Run the session with LlamaIndex's MCP tools: ``python llama_index_story.py URL`` or ``... SANDBOX COMMAND...``.

Over stdio this library starts a process for each call, so all of them act on one sandbox and share a state folder.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from typing import Any

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from story import Report, play, summarize

report = Report("llama-index-tools-mcp")


def connect(state: str) -> BasicMCPClient:
    """Return the client of a URL, or of a command that acts on a sandbox and keeps its plans in ``state``."""
    address, *command = sys.argv[1:]
    # By default this library gives a call 30 seconds.
    if not command:
        return BasicMCPClient(address, timeout=60)
    account = {"EXTEND_BASE_URL": address, "EXTEND_API_KEY": "sk_llama", "XDG_STATE_HOME": state}
    return BasicMCPClient(command[0], args=command[1:], env={**os.environ, **account}, timeout=60)


async def main(client: BasicMCPClient) -> None:
    """Play it."""
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}
    report.facts["tools"] = [*tools]

    async def call(name: str, given: dict[str, Any]) -> str:
        result = (await tools[name].acall(**given)).raw_output
        return "\n".join(getattr(block, "text", "") for block in result.content)

    summarize(report, await play(call))
    report.facts["resources"] = len((await client.list_resource_templates()).resource_templates)
    report.facts["prompts"] = len(await client.get_prompt("investigate_run", {"run_id": report.facts["run"]}))
    async with client._run_session() as session:
        report.facts["protocol"] = session.protocol_version
    report.end()


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(connect(folder)))
