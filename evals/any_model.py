"""Any model that pydantic-ai knows, by name: ``EVALS_MODEL=openai:gpt-5 python -m evals run``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_ai import Agent, Tool, UsageLimitExceeded
from pydantic_ai.models import Model
from pydantic_ai.usage import RunUsage, UsageLimits

from evals.account import Account
from evals.question import Question
from evals.room import Spy

_INSTRUCTIONS = """\
You answer an operator's question with the tools of an MCP server. Answer in a few sentences, with the figures, ids or
file names that were asked for, and say what cannot be known. The server says of itself:

"""
_MOST_REQUESTS = 12


class AnyModel:
    """Answers questions with a model, and adds up what it used."""

    def __init__(self, model: Model | str) -> None:
        self._model = model
        self.usage = RunUsage()

    async def __call__(self, question: Question, spy: Spy, account: Account) -> str:
        """Answer a question. The account is not looked at."""
        tools = [
            Tool.from_schema(_calls(spy, tool.name), tool.name, tool.description, tool.input_schema)
            for tool in await spy.tools()
        ]
        agent = Agent(self._model, instructions=_INSTRUCTIONS + spy.instructions, tools=tools)
        try:
            result = await agent.run(question.asked, usage_limits=UsageLimits(request_limit=_MOST_REQUESTS))
        except UsageLimitExceeded as error:
            return f"No answer: {error}"
        self.usage.incr(result.usage)
        return str(result.output)


def _calls(spy: Spy, name: str) -> Callable[..., Awaitable[str]]:
    async def call(**arguments: Any) -> str:
        return await spy.call(name, arguments)

    return call
