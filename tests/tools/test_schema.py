"""The schemas in the tool list hold nothing that a host is known to refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from extend_mcp.tools.schema import lean
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import ERAS, Box, Mode, serving

SCENARIO = "empty"


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside of a schema."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from schemas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas(inner)


@pytest.mark.parametrize("mode", ERAS)
async def test_every_listed_schema_can_be_read_alone_and_is_strict(box: Box, mode: Mode) -> None:
    async with serving(box, mode=mode, toolsets="all") as client:
        tools = (await client.list_tools()).tools
    assert len(tools) == sum(len(toolset.tools) for toolset in TOOLSETS.values())
    for tool in tools:
        for each in schemas([tool.input_schema, tool.output_schema]):
            assert not each.keys() & {"$ref", "$defs", "definitions"}, tool.name
            assert "additionalProperties" not in each, tool.name
        assert tool.input_schema["type"] == "object"


def test_a_reference_is_replaced_by_what_it_names_and_keeps_what_is_beside_it() -> None:
    item = {"type": "object", "properties": {"title": {"type": "string", "title": "T"}}, "additionalProperties": False}
    schema = {
        "$defs": {"Item": item, "Outer": {"type": "array", "items": {"$ref": "#/$defs/Item"}}},
        "properties": {"a": {"$ref": "#/$defs/Outer", "description": "mine"}, "additionalProperties": {"type": "null"}},
    }
    lone = {"type": "object", "properties": {"title": {"type": "string"}}}
    assert lean(schema) == {
        "properties": {
            "a": {"type": "array", "items": lone, "description": "mine"},
            "additionalProperties": {"type": "null"},
        }
    }


def test_values_are_left_as_they_are() -> None:
    schema = {"type": "object", "default": {"title": "x", "additionalProperties": True}, "enum": [{"$ref": "y"}]}
    assert lean(schema) == schema
