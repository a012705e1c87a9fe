"""Run the session with pydantic-ai: ``python pydantic_ai_story.py COMMAND [ARGUMENT...]``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from story import Report, script, summarize

report = Report("pydantic-ai-slim")
seen: list[str] = []


def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """The scripted model."""
    report.facts["tools"] = [tool.name for tool in info.function_tools]
    returned = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    seen[:] = [part.model_response_str() for part in returned]
    call = script(seen)
    return ModelResponse(parts=[ToolCallPart(*call)]) if call else ModelResponse(parts=[TextPart("done")])


async def person(message: str, response_type: Any, params: Any, context: Any) -> Any:
    """Answers the server's questions."""
    from fastmcp.client.elicitation import ElicitResult

    action = report.reply(message)
    return ElicitResult(action=action, content={"confirm": True} if action == "accept" else None)


async def progress(*_: Any) -> None:
    """Record progress."""
    report.facts["progress"] += 1


async def main() -> None:
    """Play it."""
    command, *arguments = sys.argv[1:]
    toolset = MCPToolset(StdioTransport(command, arguments), elicitation_handler=person, progress_handler=progress)
    async with toolset:
        run = await Agent(FunctionModel(model), toolsets=[toolset]).run("Cancel the run with the wrong document.")
        report.facts["resources"] = len(await toolset.list_resource_templates())
    assert run.output == "done"
    summarize(report, seen)
    report.end()


asyncio.run(main())
