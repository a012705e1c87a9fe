"""Run the session with LangChain's MCP adapters: ``python langchain_story.py COMMAND [ARGUMENT...]``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.prompts import load_mcp_prompt
from langchain_mcp_adapters.resources import load_mcp_resources
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp.types import ElicitResult
from story import Report, script, summarize

report = Report("langchain-mcp-adapters")
seen: list[str] = []


class Scripted(BaseChatModel):
    """The scripted model."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        report.facts["tools"] = [tool.name for tool in tools]
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        seen[:] = [text_of(message.content) for message in messages if isinstance(message, ToolMessage)]
        call = script(seen)
        calls = [{"name": call[0], "args": call[1], "id": f"call-{len(seen)}"}] if call else []
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(content="" if calls else "done", tool_calls=calls))]
        )


def text_of(content: Any) -> str:
    """The text of an answer."""
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


async def person(_: Any, params: Any, __: Any) -> ElicitResult:
    """Answers the server's questions."""
    action = report.reply(params.message)
    return ElicitResult(action=action, content={"confirm": True} if action == "accept" else None)


async def progress(*_: Any) -> None:
    """Record progress."""
    report.facts["progress"] += 1


async def main() -> None:
    """Play it."""
    command, *arguments = sys.argv[1:]
    callbacks = Callbacks(on_elicitation=person, on_progress=progress)
    connection: Any = {"transport": "stdio", "command": command, "args": arguments}
    client = MultiServerMCPClient({"extend": connection}, callbacks=callbacks)
    async with client.session("extend") as session:
        tools = await load_mcp_tools(session, callbacks=callbacks, server_name="extend")
        result = await create_agent(Scripted(), tools).ainvoke(
            {"messages": [("user", "Cancel it.")]}, {"recursion_limit": 40}
        )
        assert result["messages"][-1].content == "done"
        summarize(report, seen)
        report.facts["resources"] = len(await load_mcp_resources(session))
        arguments_of_prompt = {"run_id": report.facts["run"]}
        report.facts["prompts"] = len(await load_mcp_prompt(session, "investigate_run", arguments=arguments_of_prompt))
    report.end()


asyncio.run(main())
