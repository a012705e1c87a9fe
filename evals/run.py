"""Ask a model the questions of the bank, each in a room where nothing is left of what others changed."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.account import Account
from evals.grade import Attempt, Key, grade
from evals.question import Question
from evals.room import Room, Spy, tokens, watched

Model = Callable[[Question, Spy, Account], Awaitable[str]]
"""Answers a question with a spy's tools. Only the scripted model looks at the account."""


@dataclass(frozen=True)
class Verdict:
    """An attempt at a question, the right answer, and what is wrong with the attempt."""

    question: Question
    key: Key
    attempt: Attempt
    faults: list[str]
    preface: int = 0
    """Tokens that a model reads with each request, in addition to what was said."""

    @property
    def input_tokens(self) -> int:
        """Return what a model reads in all: with each request everything again."""
        read = [call.tokens for call in self.attempt.calls]
        requests = len(read) + 1
        return requests * (self.preface + tokens(self.question.asked)) + sum(
            each * (requests - place) for place, each in enumerate(read, start=1)
        )


class Rooms:
    """One room for each scenario, and a new one after an attempt that changed something."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="extend-mcp-evals-")
        self._rooms: dict[str, tuple[Room, Account]] = {}

    async def ask(self, question: Question, model: Model) -> Verdict:
        """Ask a model one question and grade its answer."""
        if question.scenario not in self._rooms:
            opened = Room.open(question.scenario, Path(self._folder.name))
            self._rooms[question.scenario] = opened, Account(opened.sandbox)
        room, account = self._rooms[question.scenario]
        # Read what the facts need, since the answer may change it.
        Key.of(question, account)
        began = time.time()
        async with watched(room, question.person) as spy:
            preface = await spy.preface()
            answer = await model(question, spy, account)
        attempt = Attempt(question.name, answer, spy.calls, spy.requests, began)
        key = Key.at(question, account, attempt)
        if attempt.changes:
            self._close(question.scenario)
        return Verdict(question, key, attempt, grade(question, key, attempt), preface)

    def close(self) -> None:
        """End all processes."""
        for scenario in [*self._rooms]:
            self._close(scenario)
        self._folder.cleanup()

    def _close(self, scenario: str) -> None:
        room, account = self._rooms.pop(scenario)
        account.close()
        room.close()


def row(verdict: Verdict) -> str:
    """Return a verdict as a row of the table."""
    attempt = verdict.attempt
    cells = [verdict.question.name, verdict.question.kind, len(attempt.calls), f"{attempt.tokens:,}"]
    cells += [len(attempt.requests), "; ".join(verdict.faults) or "right"]
    return f"| {' | '.join(map(str, cells))} |"


HEAD = "| Question | Kind | Calls | Tokens | Requests | Verdict |\n|---|---|---|---|---|---|"


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return figures about all verdicts, those of each kind included."""
    right = Counter(verdict.question.kind for verdict in verdicts if not verdict.faults)
    asked = Counter(verdict.question.kind for verdict in verdicts)
    kinds = ", ".join(f"{kind} {right[kind]} of {number}" for kind, number in sorted(asked.items()))
    calls = [len(verdict.attempt.calls) for verdict in verdicts]
    input_tokens = sum(verdict.input_tokens for verdict in verdicts)
    read = [call.tokens for verdict in verdicts for call in verdict.attempt.calls] or [0]
    return (
        f"{right.total()} of {len(verdicts)} right: {kinds}.\n"
        f"Calls a question: median {statistics.median(calls):g}, most {max(calls)}, {sum(calls)} in all.\n"
        f"Tokens of a tool's answer: median {statistics.median(read):g}, most {max(read)}, {sum(read):,} in all.\n"
        f"A model that reads instructions, tools and all answers with each request reads {input_tokens:,} tokens."
    )
