"""The schemas in the tool list hold nothing that a host is known to refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from extend_mcp.tools.base import ExtendTool
from extend_mcp.tools.schema import schema_of
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import ERAS, Box, Mode, serving

SCENARIO = "empty"
TOOLS = [tool for toolset in TOOLSETS.values() for tool in toolset.tools]


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
    assert len(tools) == len(TOOLS)
    for tool in tools:
        for each in schemas([tool.input_schema, tool.output_schema]):
            assert not each.keys() & {"$ref", "$defs", "definitions"}, tool.name
            assert "additionalProperties" not in each, tool.name
        assert tool.input_schema["type"] == "object"


def plain(schema: Any, definitions: dict[str, Any]) -> Any:
    """Pydantic's schema without references, titles, examples, ``additionalProperties`` and nulls."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")] | {k: v for k, v in schema.items() if k != "$ref"}
    kept = {
        key: value for key, value in schema.items() if key not in ("$defs", "title", "additionalProperties", "examples")
    }
    if "anyOf" in kept:
        real, null = kept.pop("anyOf")
        assert null == {"type": "null"}
        kept = real | kept
        if kept.get("default", 0) is None:
            del kept["default"]
        return plain(kept, definitions)
    if "properties" in kept:
        kept["properties"] = {name: plain(each, definitions) for name, each in kept["properties"].items()}
    if "items" in kept:
        kept["items"] = plain(kept["items"], definitions)
    return kept


@pytest.mark.parametrize(
    "tool", [tool for toolset in TOOLSETS.values() for tool in toolset.tools], ids=lambda t: t.name
)
def test_a_schema_is_pydantics_without_what_hosts_refuse(tool: ExtendTool) -> None:
    for model in (tool.fn_metadata.arg_model, tool.fn_metadata.output_model):
        # Aliases name what rows are read from.
        schema = model.model_json_schema(by_alias=False)
        assert schema_of(model) == plain(schema, schema.get("$defs", {}))


class Odd(BaseModel):
    odd: int | str


def test_a_type_that_no_schema_is_known_for_is_refused() -> None:
    with pytest.raises(TypeError):
        schema_of(Odd)
