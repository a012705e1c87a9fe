"""Run the session with the OpenAI agents library: ``python openai_agents_story.py COMMAND [ARGUMENT...]``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from story import Report, script, summarize

report = Report("openai-agents")
seen: list[str] = []


class Scripted(Model):
    """The scripted model."""

    async def get_response(
        self,
        system_instructions: Any,
        input: Any,  # noqa: A002 - its library's name
        model_settings: Any,
        tools: Any,
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        report.facts["tools"] = [tool.name for tool in tools]
        items = [] if isinstance(input, str) else input
        seen[:] = [text_of(item["output"]) for item in items if item.get("type") == "function_call_output"]
        call = script(seen)
        if call:
            name, arguments = call
            output: Any = ResponseFunctionToolCall(
                name=name, arguments=json.dumps(arguments), call_id=f"call-{len(seen)}", type="function_call"
            )
        else:
            text = ResponseOutputText(text="done", type="output_text", annotations=[])
            output = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def text_of(output: Any) -> str:
    """The text of an answer."""
    if isinstance(output, list):
        return "\n".join(part.get("text", "") for part in output)
    try:
        return str(json.loads(output)["text"])
    except (ValueError, TypeError, KeyError):
        return str(output)


async def main() -> None:
    """Play it."""
    set_tracing_disabled(True)
    command, *arguments = sys.argv[1:]
    # By default this library gives a call five seconds; following a cancel may take twelve.
    async with MCPServerStdio({"command": command, "args": arguments}, client_session_timeout_seconds=60) as server:
        agent = Agent(name="operator", model=Scripted(), mcp_servers=[server])
        result = await Runner.run(agent, "Cancel the run with the wrong document.", max_turns=20)
        report.facts["prompts"] = len((await server.list_prompts()).prompts)
    assert result.final_output == "done"
    summarize(report, seen)
    report.end()


asyncio.run(main())
