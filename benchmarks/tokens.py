"""What the tool list costs a model in every conversation, in o200k tokens, beside the recorded figure.

    python benchmarks/tokens.py            print the table and compare with tokens.json
    python benchmarks/tokens.py --record   write the figures to tokens.json

Counted is what clients put before a model: name, description and input schema of each tool as minified JSON.
Exits with status 1 when a ceiling is passed, or when a figure grew by more than 5% since it was recorded.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import anyio
from benchkit.report import Section
from mcp.client.client import Client
from rs_bpe.bpe import openai

from extend_mcp.server import build_server
from extend_mcp.settings import DEFAULT_TOOLSETS, Settings
from extend_mcp.tools.toolsets import TOOLSETS

RECORD = Path(__file__).with_name("tokens.json")
GROWTH = 1.05
# Most tools and tokens: of the default toolsets, and of all together.
CEILINGS = {"default": (20, 5_000), "all": (36, 9_000)}
MOST_BYTES = 60 * 1024


async def listed(toolsets: tuple[str, ...]) -> list[dict[str, Any]]:
    """The tools as a client receives them."""
    server, app = build_server(Settings.model_validate({"sandbox": True, "toolsets": toolsets}))
    try:
        async with Client(server) as client:
            result = await client.list_tools()
    finally:
        await app.aclose()
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in result.tools]


def minified(value: Any) -> str:
    """JSON without a superfluous character."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def for_model(tool: dict[str, Any]) -> str:
    """What a model reads of a tool."""
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
    """What is too much."""
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
        found += [
            f"{name}: {key} grew from {before[key]} to {now[key]}"
            for key in ("tokens", "bytes")
            if now[key] > before[key] * GROWTH
        ]
    return found


def section() -> Section:
    """The figures, for the page of all benchmarks."""
    result = Section("Tokens of tools/list")
    rows = [[name, now["tools"], f"{now['tokens']:,}", f"{now['bytes']:,}"] for name, now in anyio.run(measure).items()]
    result.table(["toolsets", "tools", "tokens (o200k)", "bytes"], rows)
    return result


def main() -> None:
    """Measure, print, and compare or record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the figures to tokens.json")
    parser.add_argument("--tools", action="store_true", help="also print the tokens of each tool")
    given = parser.parse_args()
    figures = anyio.run(measure)
    if given.record:
        RECORD.write_text(json.dumps(figures, indent=2) + "\n")
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    print("| toolsets | tools | tokens (o200k) | recorded | tools/list, bytes |")
    print("| --- | --- | --- | --- | --- |")
    for name, now in figures.items():
        before = recorded.get(name, {}).get("tokens", "-")
        print(f"| {name} | {now['tools']} | {now['tokens']:,} | {before} | {now['bytes']:,} |")
    if given.tools:
        count = openai.o200k_base().count
        for tool in anyio.run(listed, tuple(TOOLSETS)):
            print(f"{count(for_model(tool)):5}  {tool['name']}")
    if problems := faults(figures, recorded):
        print("\n".join(problems), file=sys.stderr)
        print("Change the record on purpose with: python benchmarks/tokens.py --record", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
