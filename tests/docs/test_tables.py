"""Compare the lists in the docs with the code."""

from __future__ import annotations

import re
from pathlib import Path

from extend_mcp.server import INSTRUCTIONS
from extend_mcp.settings import DEFAULT_TOOLSETS
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import Box, serving

ROOT = Path(__file__).parents[2]


def test_the_table_of_toolsets_is_the_toolsets() -> None:
    page = (ROOT / "docs" / "tools.md").read_text()
    for toolset in TOOLSETS.values():
        name = f"`{toolset.name}`" + (" (default)" if toolset.name in DEFAULT_TOOLSETS else "")
        assert f"| {name} | {toolset.about} |" in page


def test_a_description_has_at_most_three_sentences() -> None:
    """They are paid for in every conversation."""
    for toolset in TOOLSETS.values():
        for tool in toolset.tools:
            sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", tool.description)
            assert 1 <= len(sentences) <= 3, tool.name


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
