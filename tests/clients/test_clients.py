"""Real clients list the tools, call them, and confirm a cancel; docs/clients.md says what they were seen to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from extend_mcp.settings import DEFAULT_TOOLSETS
from extend_mcp.skills import SKILLS
from extend_mcp.tools.toolsets import TOOLSETS
from tests.clients.conftest import BIN, PYTHON, PYTHON_2, ROOT, SERVER, STORIES, output_of, report_of

pytestmark = pytest.mark.clients

TOOLS = [tool.name for name in DEFAULT_TOOLSETS for tool in TOOLSETS[name].tools]
WITHOUT_QUESTIONS = {
    "OpenAI agents, stdio",
    "Semantic Kernel, stdio",
    "Semantic Kernel, HTTP",
    "LlamaIndex, HTTP",
    "LlamaIndex, stdio",
}


@pytest.mark.parametrize("story", STORIES)
def test_a_client_lists_calls_and_confirms_a_cancel(story: str) -> None:
    report = report_of(story)
    assert sorted(report["tools"]) == sorted(TOOLS)
    assert report["answers"]["list_runs"] >= 1
    assert report["answers"]["summarize_runs"] >= 50
    assert report["answers"]["get_workflow_run"] == "PROCESSING"
    if story in WITHOUT_QUESTIONS:
        assert report["asked"] == []
        assert report["declined"] == "confirmation_required"
    else:
        assert len(report["asked"]) == 2
        assert all(f"Cancel workflow run {report['run']}?" in question for question in report["asked"])
        assert "«wrong document»" in report["asked"][1]
        assert report["declined"] == "declined"
    assert report["cancelled"] == "cancelled"
    assert report["status"] == "CANCELLED"


@pytest.mark.parametrize("story", [story for story in STORIES if story.startswith("TypeScript")])
def test_the_typescript_sdk_reads_resources_and_prompts_and_checks_answers_against_their_schemas(
    story: str,
) -> None:
    report = report_of(story)
    assert report["resource"] is True
    assert report["prompt"] is True
    assert report["structured"] is True
    assert report["progress"] >= 1
    newer = "2.x" in story and "SSE" not in story
    assert report["protocol"] == ("2026-07-28" if newer else "2025-11-25")
    assert report.get("skills") == ([each.name for each in SKILLS] if newer else None)


@pytest.mark.parametrize(("library", "python"), [("google", PYTHON_2), ("openai", PYTHON), ("kernel", PYTHON)])
def test_a_library_converts_every_tool_for_its_model(library: str, python: Path) -> None:
    tools = [tool for toolset in TOOLSETS.values() for tool in toolset.tools]
    listed = [{"name": each.name, "description": each.description, "inputSchema": each.parameters} for each in tools]
    converted = json.loads(output_of([str(python), "convert.py", library], json.dumps(listed)))
    assert [*converted] == [tool.name for tool in tools]


def inspector(*arguments: str, method: str, target: list[str]) -> Any:
    """Run the Inspector's command line and return the JSON that it prints."""
    # It wants a newer Node than many have; the one among the packages is new enough.
    printed = output_of(
        [
            str(BIN / "node"),
            str(BIN / "mcp-inspector"),
            "--cli",
            *target,
            "-e",
            "EXTEND_MCP_SANDBOX=true",
            "--method",
            method,
            *arguments,
        ]
    )
    return json.loads(printed)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_inspector_lists_and_calls(transport: str, url: str) -> None:
    target = SERVER if transport == "stdio" else [url]
    listed = inspector(method="tools/list", target=target)
    assert [tool["name"] for tool in listed["tools"]] == TOOLS
    assert len(inspector(method="prompts/list", target=target)["prompts"]) == 7
    assert inspector(method="resources/list", target=target)["resources"][0]["uri"] == "extend://account"
    arguments = ("--tool-name", "list_runs", "--tool-arg", "status=FAILED", "page_size=2")
    called = inspector(*arguments, method="tools/call", target=target)
    assert {run["status"] for run in called["structuredContent"]["runs"]} == {"FAILED"}


def test_the_inspector_cannot_be_asked_and_cancels_with_the_token(url: str) -> None:
    target = [url]
    running = inspector("--tool-name", "list_runs", "--tool-arg", "status=PENDING", method="tools/call", target=target)
    run = running["structuredContent"]["runs"][-1]["run_id"]
    cancel = ("--tool-name", "cancel_workflow_run", "--tool-arg", f"run_id={run}")
    plan = inspector(*cancel, method="tools/call", target=target)["structuredContent"]
    assert plan["outcome"] == "confirmation_required"
    token = f"confirmation_token={plan['confirmation_token']}"
    assert inspector(*cancel, token, method="tools/call", target=target)["structuredContent"]["outcome"] == "cancelled"
    read = ("--tool-name", "get_workflow_run", "--tool-arg", f"run_id={run}")
    assert inspector(*read, method="tools/call", target=target)["structuredContent"]["status"] == "CANCELLED"


def test_the_inspector_finds_no_fault_in_the_schemas(url: str) -> None:
    """Its strict mode ends with another status where another client could not read one."""
    inspector("--strict", method="tools/list", target=[url])


def rows() -> list[str]:
    """The table of docs/clients.md, from the reports."""
    lines = [
        "| Client | Version | Protocol | Can be asked | Progress | Resources | Prompts | The model reads |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for story in STORIES:
        report = report_of(story)
        cells = [
            story,
            report["version"],
            report["protocol"],
            "yes" if report["asked"] else "no: by token",
            "yes" if report["progress"] else "no",
            "yes" if report.get("resource") or report.get("resources") else "no",
            "yes" if report.get("prompt") or report.get("prompts") else "no",
            report.get("reads", "as you choose"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def test_the_docs_say_what_was_seen() -> None:
    text = (ROOT / "docs" / "clients.md").read_text()
    table = "\n".join(rows())
    assert table in text, f"put this into docs/clients.md:\n{table}"
    pinned = re.findall(
        r'"@modelcontextprotocol/inspector": "([^"]+)"', (ROOT / "tests/clients/package.json").read_text()
    )
    assert f"Inspector {pinned[0]}" in text
