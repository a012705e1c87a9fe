"""Share the session of the Python clients. Runs in their environment, which has nothing of this project."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from mcp.types import LATEST_PROTOCOL_VERSION

SINCE = "30d"


class Report:
    """The observations of a session, printed as JSON at its end."""

    def __init__(self, package: str) -> None:
        self.facts: dict[str, Any] = {"version": version(package), "asked": [], "progress": 0, "answers": {}}
        # What these libraries offer is the newest version of the SDK below them, and the server speaks it.
        self.facts["protocol"] = LATEST_PROTOCOL_VERSION
        self.replies = ["decline", "accept"]

    def reply(self, question: str) -> str:
        """Note a question, and say what the person answers: no at first, then yes."""
        self.facts["asked"].append(question)
        return self.replies.pop(0)

    def end(self) -> None:
        """Print it."""
        print(json.dumps(self.facts))


def script(seen: list[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the next call of a model that has read these answers; None when it is done.

    It is the model's part in every story: it finds what runs, looks at it, counts, and cancels it; where the server
    gives it a plan and a token, it calls again with the token, as after a person's yes in the chat.
    """
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list_runs", {"status": "PROCESSING"}),
        ("summarize_runs", {"created_since": SINCE, "group_by": "workflow"}),
    ]
    if len(seen) < len(calls):
        return calls[len(seen)]
    run = runs_of(seen[0])[-1]
    follow: list[tuple[str, dict[str, Any]]] = [
        ("get_workflow_run", {"run_id": run}),
        ("cancel_workflow_run", {"run_id": run, "reason": "wrong document"}),
        ("cancel_workflow_run", {"run_id": run, "reason": "wrong document"}),
        ("get_workflow_run", {"run_id": run}),
    ]
    # Bare in the text, in quotation marks in the fields.
    token = re.search(r'confirmation_token"?: ?"?(v1\.[A-Za-z0-9_-]+)', seen[3]) if len(seen) >= 4 else None
    if token:
        follow[2] = ("cancel_workflow_run", {**follow[2][1], "confirmation_token": token[1]})
    at = len(seen) - len(calls)
    return follow[at] if at < len(follow) else None


async def play(call: Callable[[str, dict[str, Any]], Awaitable[str]]) -> list[str]:
    """Make the calls of the script in the model's place, and return the answers."""
    seen: list[str] = []
    while (following := script(seen)) is not None:
        seen.append(await call(*following))
    return seen


def summarize(report: Report, seen: list[str]) -> None:
    """Put what the model read into the report. Some libraries give it the text of an answer, others the fields."""
    report.facts |= {
        "reads": "fields" if seen[0].startswith("{") else "text",
        "answers": {
            "list_runs": len(runs_of(seen[0])),
            "summarize_runs": int(re.findall(r"\d+", seen[1])[0]),
            "get_workflow_run": status_of(seen[2]),
        },
        "declined": outcome_of(seen[3]),
        "cancelled": outcome_of(seen[4]),
        "status": status_of(seen[5]),
        "run": runs_of(seen[0])[-1],
    }


def runs_of(text: str) -> list[str]:
    """The runs that a list names."""
    return list(dict.fromkeys(re.findall(r"workflow_run_[A-Za-z0-9_-]{21}", text)))


def status_of(text: str) -> str:
    """Return the status in an explanation of a run."""
    if text.startswith("{"):
        return str(json.loads(text)["status"])
    found = re.search(r"· ([A-Z_]+):", text)
    return found[1] if found else text


def outcome_of(text: str) -> str:
    """The outcome of a cancel."""
    return str(json.loads(text)["outcome"]) if text.startswith("{") else text.partition(":")[0]
