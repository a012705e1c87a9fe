"""docs/examples.md, every tool called on the sandbox at a fixed time, with a table of them; docs/report.md.

python -m tests.docs.examples        writes both
"""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path

import anyio
from mcp.client.client import Client

from extend_mcp.report import make_report, parse_thresholds, render
from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings
from extend_mcp.sandbox.sandbox_server import running_app
from extend_mcp.settings import DEFAULT_TOOLSETS, Settings
from extend_mcp.tools.toolsets import TOOLSETS
from tests.calls import ExampleCall, Needs, first_calls
from tests.harness import Box, BoxClock, Person, facts_of, serving, text_of

PAGE = Path(__file__).parents[2] / "docs" / "examples.md"
REPORT_PAGE = PAGE.with_name("report.md")

_NOW = 1_770_717_600.0  # 2026-02-10T10:00:00Z
_MOST_LINES = 24
# The objects that a call makes, and how their id looks in its answer.
_MADE: dict[str, tuple[re.Pattern[str], tuple[Needs, ...]]] = {
    "run_workflow": (re.compile(r"workflow_run_[\w-]{21}"), (Needs.NEW_RUN, Needs.OLD_RUN)),
    "create_workflow": (re.compile(r"workflow_[\w-]{21}"), (Needs.DRAFT_WORKFLOW,)),
    "upload_file": (re.compile(r"file_[\w-]{21}"), (Needs.FILE,)),
    "create_webhook_endpoint": (re.compile(r"\bwh_\w[\w-]+"), (Needs.ENDPOINT,)),
    "create_webhook_subscription": (re.compile(r"\bwhes_\w[\w-]+"), (Needs.SUBSCRIPTION,)),
}


def _objects_of(box: Box) -> dict[Needs, str]:
    """The objects that the sandbox has from the start."""
    runs = box.state()["runs"]
    workflow = box.workflow("Invoice Processing")

    def ids(status: str) -> list[str]:
        return [run["id"] for run in runs if run["status"] == status]

    done = [run["id"] for run in runs if run["workflowId"] == workflow and run["status"] == "PROCESSED"]
    return {
        Needs.DONE_RUN: done[0],
        Needs.TWIN_RUN: done[1],
        Needs.FAILED_RUN: ids("FAILED")[0],
        Needs.REVIEW_RUN: ids("NEEDS_REVIEW")[0],
        Needs.MOVING_RUN: ids("PROCESSING")[0],
        Needs.QUEUED_RUN: ids("PENDING")[0],
        Needs.OTHER_QUEUED_RUN: ids("PENDING")[1],
        Needs.WORKFLOW: "Invoice Processing",
        Needs.WORKFLOW_ID: workflow,
    }


async def examples() -> dict[str, list[str]]:
    """Return the call and answer of each tool, as lines."""
    # How long a look waits for the next one is spread at random.
    random.seed(1)
    sandbox = Sandbox(SandboxSettings(), SandboxClock(speed=0, source=lambda: _NOW))
    with running_app(sandbox.app) as base_url:
        sandbox.links.base_url = "http://sandbox.example"
        box = Box(base_url, sandbox)
        person = Person()
        objects = _objects_of(box)
        with tempfile.TemporaryDirectory() as folder:
            settings = {
                "toolsets": tuple(TOOLSETS),
                "audit": f"{folder}/audit.jsonl",
                "file_roots": [_made_folder(Path(folder) / "exports")],
            }
            async with serving(box, person=person, **settings) as client:
                return {tool: await _example(client, objects, person, call) for tool, call in first_calls().items()}


def _made_folder(path: Path) -> Path:
    path.mkdir()
    return path


async def _example(client: Client, objects: dict[Needs, str], person: Person, call: ExampleCall) -> list[str]:
    arguments = call.on(objects)
    person.asked.clear()
    result = await client.call_tool(call.tool, arguments)
    text = text_of(result)
    assert not result.is_error, (call.tool, arguments, text)
    if call.tool in _MADE:
        pattern, made = _MADE[call.tool]
        found = pattern.search(str(facts_of(result)))
        assert found, (call.tool, facts_of(result))
        objects |= dict.fromkeys(made, found[0])
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    lines = [f"> {call.tool}({shown})"]
    for question in person.asked:
        lines += ["", *(f"  | {line}" for line in ("[a person is asked]", *question.splitlines(), "[the person: yes]"))]
    answer = text.splitlines()
    lines += ["", *answer[:_MOST_LINES]]
    if len(answer) > _MOST_LINES:
        lines.append(f"({len(answer) - _MOST_LINES} more lines)")
    return [_steady(line) for line in lines]


def _steady(line: str) -> str:
    """The line without what is another at each run: what is sealed, and secrets."""
    line = re.sub(r"/\S+/exports/", "/home/ana/exports/", line)
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
        *tools_table(),
        "",
    ]
    for toolset in TOOLSETS.values():
        default = " (default)" if toolset.name in DEFAULT_TOOLSETS else ""
        parts += [f"## {toolset.name}{default}", ""]
        for tool in toolset.tools:
            parts += [f"### {tool.name}", "", tool.description, "", "```text", *answers[tool.name], "```", ""]
    return "\n".join(parts)


async def with_report(page: str) -> str:
    """Return docs/report.md with its example as the command prints it."""
    command = re.search(r"`extend-mcp report --since (\w+) --fail-if '(.*)'` on the sandbox's scenario `(\w+)`", page)
    assert command, "docs/report.md has no example"
    sandbox = Sandbox(SandboxSettings(scenario=command[3]), SandboxClock(speed=0, source=lambda: _NOW))
    with running_app(sandbox.app) as base_url:
        box = Box(base_url, sandbox)
        settings = Settings.model_validate(
            {"api_key": "sk_example", "base_url": base_url, "label": "PRODUCTION", "requests_per_second": 1000}
        )
        report = await make_report(settings, command[1], clock=BoxClock(box))
    text = render(report, parse_thresholds(command[2]), "text")
    return re.sub(r"(?s)```text\n(?:(?!```).)*```\n\Z", lambda _: f"```text\n{text}\n```\n", page)


def tools_table() -> list[str]:
    """Return a row for each tool."""
    rows = ["| Toolset | Tool | Description | Writes |", "|---|---|---|---|"]
    for toolset in TOOLSETS.values():
        group = f"`{toolset.name}`" + (" (default)" if toolset.name in DEFAULT_TOOLSETS else "")
        for tool in toolset.tools:
            assert tool.annotations
            writes = "no" if tool.annotations.read_only_hint else "yes"
            if tool.annotations.destructive_hint:
                writes += ", asks a person"
            rows.append(f"| {group} | `{tool.name}` | {tool.description.replace('|', '/')} | {writes} |")
    return rows


if __name__ == "__main__":
    PAGE.write_text(page(anyio.run(examples)), encoding="utf-8")
    REPORT_PAGE.write_text(anyio.run(with_report, REPORT_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
