"""Every tool, resource, prompt and completion needs a scope that exists; toolsets amount to what their tools need."""

from __future__ import annotations

from typing import get_args

import pytest

from extend_mcp.scopes import SCOPES, scopes_of
from extend_mcp.server import declared_scopes
from extend_mcp.settings import Settings, ToolsetName
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import Box, serving


def test_every_tool_needs_a_scope_that_exists() -> None:
    needed = declared_scopes(Settings.model_validate({"toolsets": "all"})).tools
    assert set(needed.values()) == set(SCOPES)
    assert needed["cancel_workflow_run"] == needed["cancel_runs"] == "runs:cancel"
    assert needed["delete_workflow_run"] == "runs:delete"
    assert needed["deploy_workflow_version"] == "workflows:write"


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("toolset", get_args(ToolsetName))
def test_a_toolset_s_scopes_are_those_of_its_tools(toolset: str, read_only: bool) -> None:
    tools = [tool for tool in TOOLSETS[toolset].tools if not read_only or tool.annotations.read_only_hint]
    assert set(scopes_of([toolset], read_only=read_only)) == {tool.scope for tool in tools}


async def test_everything_that_is_listed_has_declared_a_reading_scope(box: Box) -> None:
    declared = declared_scopes(Settings())
    async with serving(box) as client:
        prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
        templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
        resources = [str(each.uri) for each in (await client.list_resources()).resources]
    reading = {"runs:read", "workflows:read"}
    assert {declared.prompts[name] for name in prompts} == reading
    assert {declared.resources[uri] for uri in templates} == reading
    assert [declared.resources[uri] for uri in resources] == [None]
    assert set(declared.completions.values()) == reading


@pytest.mark.parametrize(
    ("uri", "needed"),
    [
        ("extend://account", set()),
        ("extend://workflow-runs/r1", {"runs:read"}),
        ("extend://workflow-runs/r1/steps/2", {"runs:read"}),
        ("extend://batches/b1", {"runs:read"}),
        ("extend://workflows/w1", {"workflows:read"}),
        ("EXTEND://workflows/w1", {"runs:read", "workflows:read"}),
        ("file:///etc/passwd", {"runs:read", "workflows:read"}),
    ],
)
def test_a_uri_needs_the_scope_of_its_resource_and_an_unknown_one_all(uri: str, needed: set[str]) -> None:
    assert declared_scopes(Settings()).of_resource(uri) == needed
