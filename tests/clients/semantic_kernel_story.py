"""Run the session with Semantic Kernel: ``python semantic_kernel_story.py (URL | COMMAND [ARGUMENT...])``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from semantic_kernel import Kernel
from semantic_kernel.connectors.mcp import MCPStdioPlugin, MCPStreamableHttpPlugin
from story import Report, play, summarize

report = Report("semantic-kernel")


async def main() -> None:
    """Play it."""
    command, *arguments = sys.argv[1:]
    plugin: Any = MCPStreamableHttpPlugin("extend", command)
    if arguments:
        plugin = MCPStdioPlugin("extend", command, args=arguments)
    kernel = Kernel()
    async with plugin:
        prompts = {prompt.name for prompt in (await plugin.session.list_prompts()).prompts}
        functions = kernel.add_plugin(plugin).functions
        report.facts["tools"] = [name for name in functions if name not in prompts]

        async def call(name: str, given: dict[str, Any]) -> str:
            result = await kernel.invoke(functions[name], **given)
            return "\n".join(getattr(content, "text", "") for content in result.value)

        summarize(report, await play(call))
        report.facts["prompts"] = len(prompts & {*functions})
    report.end()


asyncio.run(main())
