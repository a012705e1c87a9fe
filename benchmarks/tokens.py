"""Count what a model reads, in o200k tokens: the tool list and answers, compared with the record and Extend's JSON.

    python benchmarks/tokens.py            print the tables and compare with tokens.json
    python benchmarks/tokens.py --record   write the figures of the tool list to tokens.json

Of a tool, clients show a model its name, description and input schema; of an answer, its text. Fails if a ceiling is
passed, a tool costs 5% more on average than when it was recorded, or an answer is too large a part of the raw JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import anyio
from kit.report import Section, Target, show
from kit.sandbox import Extend, all_steps, hundred_pages
from kit.servers import OURS, arguments
from kit.stdio import StdioServer
from mcp.client.client import Client
from rs_bpe.bpe import openai

from extend_mcp.server import build_server
from extend_mcp.settings import DEFAULT_TOOLSETS, Settings
from extend_mcp.tools.toolsets import TOOLSETS

RECORD = Path(__file__).with_name("tokens.json")
GROWTH = 1.05
RAW = "Extend's JSON, minified"
# The most tools and tokens of the default toolsets, and of all.
CEILINGS = {"default": (20, 5_000), "all": (40, 9_000)}
MOST_BYTES = 60 * 1024


async def listed(toolsets: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the tools as a client receives them."""
    server, app = build_server(Settings.model_validate({"sandbox": True, "toolsets": toolsets}))
    try:
        async with Client(server) as client:
            result = await client.list_tools()
    finally:
        await app.aclose()
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in result.tools]


def minified(value: Any) -> str:
    """Return JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def for_model(tool: dict[str, Any]) -> str:
    """Return what a model reads of a tool."""
    return minified({key: tool[key] for key in ("name", "description", "inputSchema")})


async def measure() -> dict[str, dict[str, int]]:
    """Count tools, tokens and bytes of the default toolsets, of each one, and of all."""
    count = openai.o200k_base().count
    groups = {"default": DEFAULT_TOOLSETS, "all": tuple(TOOLSETS), **{name: (name,) for name in TOOLSETS}}
    figures = {}
    for name, toolsets in groups.items():
        tools = await listed(tuple(toolsets))
        figures[name] = {
            "tools": len(tools),
            "tokens": sum(count(for_model(tool)) for tool in tools),
            "bytes": len(minified({"tools": tools}).encode()),
        }
    return figures


def faults(figures: dict[str, dict[str, int]], recorded: dict[str, dict[str, int]]) -> list[str]:
    """Return the ceilings that are passed, and the figures that grew."""
    found = []
    for name, (tools, tokens) in CEILINGS.items():
        if figures[name]["tools"] > tools or figures[name]["tokens"] > tokens:
            found.append(f"{name}: more than {tools} tools or {tokens} tokens")
    if figures["default"]["bytes"] > MOST_BYTES:
        found.append(f"default: tools/list is larger than {MOST_BYTES} bytes")
    for name, now in figures.items():
        before = recorded.get(name)
        if before is None:
            found.append(f"{name}: no figure is recorded")
            continue
        # A new tool is held to the ceilings, and to no record of the others.
        found += [
            f"{name}: {key} a tool grew from {before[key] // before['tools']} to {now[key] // now['tools']}"
            for key in ("tokens", "bytes")
            if now[key] / now["tools"] > before[key] / before["tools"] * GROWTH
        ]
    return found


def tool_list(figures: dict[str, dict[str, int]], recorded: dict[str, dict[str, int]]) -> Section:
    """Compare the tool list with the recorded figures."""
    result = Section("Tokens of tools/list")
    rows = []
    for name, now in figures.items():
        before = recorded.get(name, now)
        ratio = now["tokens"] / now["tools"] / (before["tokens"] / before["tools"])
        rows.append([name, now["tools"], f"{now['tokens']:,}", f"{before['tokens']:,}", f"{ratio:.2f}"])
        rows[-1].append(f"{now['bytes']:,}")
        result.targets.append(Target(f"a tool, {name}", "as recorded", GROWTH, ratio))
    result.table(["toolsets", "tools", "tokens (o200k)", "recorded", "ratio a tool", "bytes"], rows)
    return result


def answers(extend: Extend) -> Section:
    """Compare answers with the minified JSON that Extend returned."""
    count = openai.o200k_base().count
    runs = {
        "every type of step": (all_steps()["id"], 0.15),
        "100 pages": (hundred_pages()["id"], 0.05),
        "the newest run": (extend.runs[0], 0.15),
    }
    asked = [(f"get_workflow_run: {what}", "get_workflow_run", *each) for what, each in runs.items()]
    result, rows = Section("Tokens of an answer"), []
    with StdioServer(OURS.stdio, **extend.environment) as ours:
        for what, tool, run_id, most in [*asked, ("list_runs: a page of 20", "list_runs", "", 0.15)]:
            raw = count(minified(extend.run(run_id) if run_id else extend.page()))
            mine = count(_text(ours, tool, arguments(tool, run_id)))
            rows.append([what, f"{raw:,}", f"{mine:,}", f"{mine / raw:.3f}"])
            result.targets.append(Target(what, RAW, most, mine / raw))
    result.table(["answer", RAW, "ours", "ratio"], rows)
    return result


def _text(server: StdioServer, tool: str, given: dict[str, object]) -> str:
    answer = server.answer(server.call(tool, given))
    return "\n".join(part.get("text", "") for part in answer["content"])


def sections(extend: Extend) -> list[Section]:
    """Return both parts."""
    return [tool_list(anyio.run(measure), json.loads(RECORD.read_text())), answers(extend)]


def main() -> int:
    """Measure, print, and compare or record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the figures to tokens.json")
    parser.add_argument("--tools", action="store_true", help="also print the tokens of each tool")
    given = parser.parse_args()
    figures = anyio.run(measure)
    if given.record:
        RECORD.write_text(json.dumps(figures, indent=2) + "\n")
    recorded = json.loads(RECORD.read_text())
    with Extend.start() as extend:
        status = show([tool_list(figures, recorded), answers(extend)])
    if given.tools:
        count = openai.o200k_base().count
        for tool in anyio.run(listed, tuple(TOOLSETS)):
            print(f"{count(for_model(tool)):5}  {tool['name']}")
    if problems := faults(figures, recorded):
        print("\n".join(problems), file=sys.stderr)
        print("Change the record on purpose with: python benchmarks/tokens.py --record", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
