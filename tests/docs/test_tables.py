"""What the docs list is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from extend_mcp.server import INSTRUCTIONS
from extend_mcp.settings import DEFAULT_TOOLSETS
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import Box, serving

ROOT = Path(__file__).parents[2]


def test_the_table_of_tools_is_the_tools() -> None:
    """docs/tools.md holds these lines, in this order; print them with ``tools_table``."""
    assert "\n".join(tools_table()) in (ROOT / "docs" / "tools.md").read_text()


def test_a_description_has_at_most_three_sentences() -> None:
    """They are paid for in every conversation."""
    for toolset in TOOLSETS.values():
        for tool in toolset.tools:
            sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", tool.description)
            assert 1 <= len(sentences) <= 3, tool.name


def tools_table() -> list[str]:
    """A row a tool, from the tools themselves."""
    rows = ["| Toolset | Tool | What a model is told of it | Writes |", "|---|---|---|---|"]
    for toolset in TOOLSETS.values():
        group = f"`{toolset.name}`" + (" (default)" if toolset.name in DEFAULT_TOOLSETS else "")
        for tool in toolset.tools:
            assert tool.annotations
            writes = "no" if tool.annotations.read_only_hint else "yes"
            if tool.annotations.destructive_hint:
                writes += ", asks a person"
            rows.append(f"| {group} | `{tool.name}` | {tool.description.replace('|', '/')} | {writes} |")
    return rows


async def test_every_prompt_and_resource_is_in_the_docs_with_what_it_is_for(box: Box) -> None:
    text = (ROOT / "docs" / "tools.md").read_text()
    async with serving(box) as client:
        prompts = (await client.list_prompts()).prompts
        templates = (await client.list_resource_templates()).resource_templates
        resources = (await client.list_resources()).resources
    for prompt in prompts:
        assert f"| `{prompt.name}` | {prompt.description} |" in text
    for uri, about in [
        *((each.uri_template, each.description) for each in templates),
        *((str(each.uri), each.description) for each in resources),
    ]:
        assert f"| `{uri}` | {about} |" in text


def test_the_instructions_are_short() -> None:
    assert len(INSTRUCTIONS.split()) < 250
