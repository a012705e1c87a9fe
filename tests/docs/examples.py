"""docs/examples.md: every tool called on the sandbox at a time that stands still, with what it answers.

python -m tests.docs.examples        writes the page
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from mcp.client.client import Client

from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings
from extend_mcp.sandbox.sandbox_server import running_app
from extend_mcp.settings import DEFAULT_TOOLSETS
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import Box, Person, facts_of, serving, text_of

PAGE = Path(__file__).parents[2] / "docs" / "examples.md"

_NOW = 1_770_717_600.0  # 2026-02-10T10:00:00Z
_MOST_LINES = 24
_STEPS = [
    {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
    {"name": "Parse", "type": "PARSE", "next": []},
]

Arguments = dict[str, Any] | Callable[["Story"], dict[str, Any]]


class Story:
    """What the calls so far found, for those that follow."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.kept: dict[str, str] = {}
        runs = box.state()["runs"]
        self.by_status: dict[str, list[str]] = {}
        for run in runs:
            self.by_status.setdefault(run["status"], []).append(run["id"])
        invoices = box.workflow("Invoice Processing")
        self.invoices = [run["id"] for run in runs if run["workflowId"] == invoices and run["status"] == "PROCESSED"]

    def run(self, status: str, number: int = 0) -> str:
        """The id of a run of that status."""
        return self.by_status[status][number]


CALLS: dict[str, Arguments] = {
    "list_runs": {"status": "FAILED", "page_size": 3},
    "get_workflow_run": lambda story: {"run_id": story.run("FAILED")},
    "get_step_result": lambda story: {"run_id": story.run("NEEDS_REVIEW"), "step": "EXTRACT"},
    "summarize_runs": {"created_since": "7d", "group_by": "failure_reason"},
    "explain_failure": lambda story: {"run_id": story.run("FAILED")},
    "review_queue": {},
    "compare_runs": lambda story: dict(zip(("first", "second"), story.invoices[:2], strict=True)),
    "cancel_workflow_run": lambda story: {"run_id": story.run("PROCESSING"), "reason": "wrong document"},
    "cancel_runs": lambda story: {"run_ids": story.by_status["PENDING"]},
    "rerun_workflow_runs": lambda story: {"run_ids": [story.run("FAILED")]},
    "run_workflow": {"workflow": "Invoice Processing", "text": "total: 12.50"},
    "run_workflow_batch": {"workflow": "Invoice Processing", "inputs": [{"text": "total: 1"}, {"text": "total: 2"}]},
    "wait_for_run": lambda story: {"run_ids": [story.kept["run_workflow"]], "seconds": 30},
    "update_workflow_run": lambda story: {"run_id": story.kept["run_workflow"], "metadata": {"ticket": "OPS-17"}},
    "delete_workflow_run": lambda story: {"run_id": story.kept["run_workflow"]},
    "list_workflows": {},
    "get_workflow": {"workflow": "Invoice Processing"},
    "list_workflow_versions": {"workflow": "Invoice Processing"},
    "get_workflow_version": {"workflow": "Invoice Processing"},
    "create_workflow": {"name": "Receipts", "steps": _STEPS},
    "update_workflow": {"workflow": "Receipts", "name": "Receipts and tickets"},
    "deploy_workflow_version": {"workflow": "Receipts and tickets", "name": "First"},
    "upload_file": {"text": "total: 12.50", "name": "receipt.txt"},
    "get_file": lambda story: {"file_id": story.kept["upload_file"]},
    "list_files": {"page_size": 3},
    "delete_file": lambda story: {"file_id": story.kept["upload_file"]},
    "create_webhook_endpoint": {
        "url": "https://hooks.example.com/extend",
        "name": "Ops",
        "events": ["workflow.created"],
    },
    "list_webhook_endpoints": {},
    "update_webhook_endpoint": lambda story: {
        "endpoint_id": story.kept["create_webhook_endpoint"],
        "status": "disabled",
    },
    "create_webhook_subscription": lambda story: {
        "endpoint_id": story.kept["create_webhook_endpoint"],
        "resource_type": "workflow",
        "resource_id": story.box.workflow(),
        "events": ["workflow_run.failed"],
    },
    "list_webhook_subscriptions": {},
    "update_webhook_subscription": lambda story: {
        "subscription_id": story.kept["create_webhook_subscription"],
        "events": ["workflow_run.failed", "workflow_run.completed"],
    },
    "delete_webhook_subscription": lambda story: {"subscription_id": story.kept["create_webhook_subscription"]},
    "delete_webhook_endpoint": lambda story: {"endpoint_id": story.kept["create_webhook_endpoint"]},
}
# What later calls need of an answer: where its id stands in the fields.
_KEEP = {
    "run_workflow": r"workflow_run_[\w-]{21}",
    "upload_file": r"file_[\w-]{21}",
    "create_webhook_endpoint": r"\bwh_\w[\w-]+|webhook_endpoint_[\w-]+",
    "create_webhook_subscription": r"\bwhs_\w[\w-]+|webhook_subscription_[\w-]+",
}


async def examples() -> dict[str, list[str]]:
    """What each tool was called with and answered, as lines."""
    # How long a look waits for the next one is spread at random.
    random.seed(1)
    sandbox = Sandbox(SandboxSettings(), SandboxClock(speed=0, source=lambda: _NOW))
    with running_app(sandbox.app) as base_url:
        sandbox.links.base_url = "http://sandbox.example"
        box = Box(base_url, sandbox)
        person = Person()
        story = Story(box)
        async with serving(box, person=person, toolsets=tuple(TOOLSETS)) as client:
            return {tool: await _example(client, story, person, tool) for tool in CALLS}


async def _example(client: Client, story: Story, person: Person, tool: str) -> list[str]:
    given = CALLS[tool]
    arguments = given(story) if callable(given) else given
    person.asked.clear()
    result = await client.call_tool(tool, arguments)
    text = text_of(result)
    assert not result.is_error, (tool, arguments, text)
    if tool in _KEEP:
        found = re.search(_KEEP[tool], str(facts_of(result)))
        assert found, (tool, facts_of(result))
        story.kept[tool] = found[0]
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    lines = [f"> {tool}({shown})"]
    for question in person.asked:
        lines += ["", *(f"  | {line}" for line in ("[a person is asked]", *question.splitlines(), "[the person: yes]"))]
    answer = text.splitlines()
    lines += ["", *answer[:_MOST_LINES]]
    if len(answer) > _MOST_LINES:
        lines.append(f"({len(answer) - _MOST_LINES} more lines)")
    return [_steady(line) for line in lines]


def _steady(line: str) -> str:
    """The line without what is another at each run: what is sealed, and secrets."""
    return re.sub(r"\bwss_[\w-]+", "(a secret)", re.sub(r"\bv1\.[\w-]{40,}", "(sealed)", line))


def page(answers: dict[str, list[str]]) -> str:
    """The page as Markdown."""
    parts = [
        "# What does each tool answer?",
        "",
        "Every tool, called in this order on the sandbox at 2026-02-10T10:00:00Z, with the text that a model reads.",
        "Each answer also holds the same facts as fields (structured content). A test calls them all and compares.",
        "",
        "Regenerate this page with `.venv/bin/python -m tests.docs.examples`.",
        "",
    ]
    for toolset in TOOLSETS.values():
        default = " (default)" if toolset.name in DEFAULT_TOOLSETS else ""
        parts += [f"## {toolset.name}{default}", ""]
        for tool in toolset.tools:
            parts += [f"### {tool.name}", "", tool.description, "", "```text", *answers[tool.name], "```", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(anyio.run(examples)), encoding="utf-8")
