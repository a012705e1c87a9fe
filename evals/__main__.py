"""Run the bank of questions, or answer it from a shell: ``python -m evals --help``."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio

from evals.grade import grade
from evals.question import Question
from evals.questions import BANK
from evals.run import HEAD, Model, Rooms, Verdict, row, summary
from evals.scripted import scripted
from evals.session import Session
from evals.wrong import WRONG, caught

MEDIAN_CALLS, ANSWER_TOKENS = 2, 700
"""Bounds of the scripted model: calls a question, and tokens of any answer of a tool."""


async def run(questions: Sequence[Question], model: Model) -> list[Verdict]:
    """Ask a model these questions and print the verdicts."""
    verdicts = []
    print(HEAD)
    with closing(Rooms()) as rooms:
        # By scenario, and what changes it last, so that few rooms are opened.
        for question in sorted(questions, key=lambda each: (each.scenario, each.person == "yes")):
            verdicts.append(await rooms.ask(question, model))
            print(row(verdicts[-1]), flush=True)
    print(f"\n{summary(verdicts)}")
    return verdicts


async def check(questions: Sequence[Question]) -> list[str]:
    """Run the scripted model. Return what is wrong: with our tools, with their costs, or with the grader."""
    verdicts = await run(questions, scripted)
    problems = [f"{each.question.name}: {fault}" for each in verdicts for fault in each.faults]
    for each in verdicts:
        in_words = replace(each.attempt, answer=each.key.in_words(each.question))
        problems += [
            f"{each.question.name}, the right answer: {fault}" for fault in grade(each.question, each.key, in_words)
        ]
    if statistics.median(len(each.attempt.calls) for each in verdicts) > MEDIAN_CALLS:
        problems.append(f"the median question takes more than {MEDIAN_CALLS} calls")
    return problems + [
        f"{each.question.name}: an answer of {call.tool} has {call.tokens} tokens, at most {ANSWER_TOKENS}"
        for each in verdicts
        for call in each.attempt.calls
        if call.tokens > ANSWER_TOKENS
    ]


async def check_wrong() -> list[str]:
    """Grade the wrong answers and print why each is wrong. Return what was not caught."""
    problems = []
    print("| Wrong answer | Question | Verdict |\n|---|---|---|")
    with closing(Rooms()) as rooms:
        for wrong in WRONG:
            verdict, found = await caught(wrong, rooms)
            problems += [f"{wrong.what}: {problem}" for problem in found]
            print(f"| {wrong.what} | {wrong.question} | {'; '.join(verdict.faults)} |", flush=True)
    print(f"\n{len(WRONG)} wrong answers, {len(problems)} not caught.")
    return problems


async def ask_model(name: str, questions: Sequence[Question]) -> list[str]:
    """Ask a model of pydantic-ai, and print what it used."""
    from evals.any_model import AnyModel

    model = AnyModel(name)
    verdicts = await run(questions, model)
    print(f"{name} used {model.usage}.")
    return [f"{each.question.name}: {fault}\n{each.attempt.answer}" for each in verdicts for fault in each.faults]


async def call(session: Session, question: Question, tool: str | None, arguments: str) -> str:
    """Call a tool, or without its name list the tools."""
    if tool:
        return await session.call(question, tool, json.loads(arguments))
    listed = [(each.name, each.description, each.input_schema["properties"]) for each in await session.tools(question)]
    return "\n".join(f"{name}: {about}\n  {json.dumps(schema)}" for name, about, schema in listed)


def main() -> int:
    """Run one command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evals", description="Questions to an assistant with our tools.")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, about: str, **names: str) -> None:
        command = commands.add_parser(name, help=about)
        for argument, count in names.items():
            command.add_argument(argument, nargs=count or None, default="{}" if argument == "arguments" else None)

    add("run", "ask the scripted model, or with EVALS_MODEL any model of pydantic-ai", questions="*")
    add("wrong", "show that the grader catches wrong answers")
    add("ask", "print a question, or list all", question="?")
    add("call", "call a tool for a question, or list the tools", question="", tool="?", arguments="?")
    add("grade", "grade a JSON file of answers by question, and end the session", file="")
    add("end", "end the session")
    given = parser.parse_args()
    if given.command == "run":
        chosen = [BANK[name] for name in given.questions or BANK]
        model = os.environ.get("EVALS_MODEL")
        return report(anyio.run(ask_model, model, chosen) if model else anyio.run(check, chosen))
    if given.command == "wrong":
        return report(anyio.run(check_wrong))
    session = Session()
    if given.command == "ask":
        asked = [BANK[given.question]] if given.question else BANK.values()
        print("\n".join(f"{each.name}: {each.asked}" for each in asked))
    elif given.command == "call":
        print(anyio.run(call, session, BANK[given.question], given.tool, given.arguments))
    elif given.command == "grade":
        verdicts = session.grade(json.loads(Path(given.file).read_text()))
        print("\n".join([HEAD, *map(row, verdicts), "", summary(verdicts)]))
        session.end()
        return int(any(each.faults for each in verdicts))
    else:
        session.end()
    return 0


def report(problems: list[str]) -> int:
    """Print problems to stderr and return the exit status."""
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
