"""Every tool, resource, prompt and completion needs a scope that exists; toolsets amount to what their tools need."""

from __future__ import annotations

from typing import get_args

import pytest

from extend_mcp.scopes import (
    SCOPES,
    scope_of_completion,
    scope_of_prompt,
    scope_of_resource,
    scopes_of,
)
from extend_mcp.server import scopes_by_tool
from extend_mcp.settings import Settings, Toolset
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import Box, serving


def test_every_tool_needs_a_scope_that_exists() -> None:
    needed = scopes_by_tool(Settings.model_validate({"toolsets": "all"}))
    assert set(needed.values()) == set(SCOPES)
    assert needed["cancel_workflow_run"] == needed["cancel_runs"] == "runs:cancel"
    assert needed["delete_workflow_run"] == "runs:delete"
    assert needed["deploy_workflow_version"] == "workflows:write"


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("toolset", get_args(Toolset))
def test_a_toolset_s_scopes_are_those_of_its_tools(toolset: str, read_only: bool) -> None:
    tools = [tool for tool in TOOLSETS[toolset].tools if not read_only or tool.annotations.read_only_hint]  # type: ignore[union-attr]
    assert scopes_of([toolset], read_only=read_only) == {tool.scope for tool in tools}


async def test_prompts_resources_and_completions_need_reading_scopes(box: Box) -> None:
    async with serving(box) as client:
        prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
        templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
    reading = {"runs:read", "workflows:read"}
    assert {scope_of_prompt(name) for name in prompts} == reading
    assert {scope_of_resource(uri) for uri in templates} == reading
    assert {scope_of_completion(name) for name in ("run_id", "batch_id", "workflow", "of tomorrow")} == reading
    assert scope_of_resource("extend://account") is None
