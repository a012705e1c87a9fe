"""The scripted model: it makes the calls of a question's script, so that the bank runs without a model."""

from __future__ import annotations

from evals.account import Account
from evals.question import Question
from evals.room import Spy


async def scripted(question: Question, spy: Spy, account: Account) -> str:
    """Make the calls of a script. Answer with what they returned, or with what the question says."""
    for tool, arguments in question.script:
        await spy.call(tool, arguments(account, spy.calls))
    return question.says(account) if question.says else "\n".join(call.text for call in spy.calls)
