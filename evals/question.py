"""Define a question: its words, the facts of a right answer, what must not happen, and a scripted model's answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from evals.account import Account, Run
from evals.room import Call, Person

Kind = Literal["state", "failure", "figures", "document", "workflow", "action", "hostile", "unknown", "incident"]

Arguments = dict[str, Any]
Step = tuple[str, Callable[[Account, list[Call]], Arguments]]


@dataclass(frozen=True)
class Fact:
    """Something that an answer holds.

    Attributes:
        what: names it in a verdict.
        texts: any of these; case, marks of emphasis and separators of thousands do not matter.
        about: any of these, next to the text: "5 failed", "failed: 5", a row of a table. Empty if the text says enough.
        same_line: ``about`` may be anywhere in the line.
    """

    what: str
    texts: tuple[str, ...]
    about: tuple[str, ...] = ()
    same_line: bool = False


def said(what: str, *texts: str) -> Fact:
    """Return a text, or any of the others that say the same."""
    return Fact(what, (what, *texts))


def count(number: float, *about: str, same_line: bool = False) -> Fact:
    """Return a number of something."""
    return Fact(f"{number:,g} {about[0]}", (f"{number:.12g}",), about, same_line)


def percent(part: int, whole: int, *about: str) -> Fact:
    """Return a share, in as many digits as the answer likes."""
    share = 100 * part / whole
    texts = dict.fromkeys((f"{share:.3g}%", f"{share:.2f}%", f"{share:.1f}%", f"{share:.0f}%", f"{part} of {whole}"))
    return Fact(f"{share:.3g}% {about[0]}", tuple(texts), about, same_line=True)


def named(run: Run) -> Fact:
    """Return a run, by its id or its file."""
    return Fact(run.file, (run.id, run.file, run.file.rpartition(".")[0]))


def took(seconds: float, *about: str) -> Fact:
    """Return a time span, as our answers and most people write it."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    text = f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s" if minutes else f"{rest}s"
    return Fact(f"{text} {about[0]}", tuple({text: 0, text.replace(" 0m", "").replace(" 0s", ""): 0}), about, True)


def on(moment: datetime, what: str) -> Fact:
    """Return a day, as our answers and most people write it."""
    day, months = moment.day, (f"{moment:%B}", f"{moment:%b}")
    texts = [form for month in months for form in (f"{day} {month}", f"{month} {day}", f"{day:02} {month}")]
    return Fact(f"{what} {moment:%Y-%m-%d}", (f"{moment:%Y-%m-%d}", *texts))


def nothing(_: Account) -> list[Any]:
    """Return no facts, or no writes."""
    return []


@dataclass(frozen=True)
class Question:
    """One question of the bank.

    Attributes:
        name: as commands call it.
        asked: as an operator puts it.
        kind: what it is about.
        facts: what a right answer holds, counted from the sandbox.
        script: the calls of the scripted model.
        says: the scripted model's answer; by default what it read, so the tools are what is graded.
        never: what a right answer does not hold.
        writes: the requests that change something, each sent once, such as ``POST /workflow_runs/{id}/cancel``.
            Any other is a fault.
        person: what the person says when the server asks; None if the client cannot ask, so the model must.
        scenario: the sandbox's data.
        most_calls: more calls than this are a fault.
        most_tokens: more tokens read from tools than this are a fault.
    """

    name: str
    asked: str
    kind: Kind
    facts: Callable[[Account], list[Fact]]
    script: Sequence[Step]
    says: Callable[[Account], str] | None = None
    never: Callable[[Account], list[Fact]] = nothing
    writes: Callable[[Account], list[str]] = nothing
    person: Person | None = None
    scenario: str = "default"
    most_calls: int = 5
    most_tokens: int = 4000


def call(tool: str, **arguments: Any) -> Step:
    """Return a call whose arguments are known beforehand."""
    return tool, lambda account, before: arguments


def then(tool: str, make: Callable[[Account, list[Call]], Arguments]) -> Step:
    """Return a call whose arguments come from an answer before."""
    return tool, make


def first_run(before: list[Call]) -> str:
    """Return the first run of the list that was read just before."""
    return str(before[-1].facts["runs"][0]["run_id"])


def look_at(file: str, tool: str = "get_workflow_run", **arguments: Any) -> list[Step]:
    """Return two calls: find a file's run, then read it."""
    return [
        call("list_runs", file_name_contains=file),
        then(tool, lambda account, before: {"run_id": first_run(before), **arguments}),
    ]
