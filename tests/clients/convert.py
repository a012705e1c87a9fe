"""Converts tools as a host does before it sends them to its model: ``python convert.py (google|openai|kernel)``.

Takes the tools as a JSON list on stdin, and prints what each became, by name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any


def google(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Convert with google-genai."""
    from google.genai._mcp_utils import mcp_to_gemini_tools
    from mcp.types import Tool

    converted = mcp_to_gemini_tools([Tool.model_validate(tool) for tool in tools])
    functions = [function for each in converted for function in each.function_declarations or ()]
    return {str(each.name): each.model_dump(mode="json", exclude_none=True) for each in functions}


def openai(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Convert with the OpenAI agents library, for OpenAI's strict mode."""
    from agents.strict_schema import ensure_strict_json_schema

    converted = {tool["name"]: ensure_strict_json_schema(tool["inputSchema"]) for tool in tools}
    for schema in converted.values():
        strict(schema)
    return converted


def strict(schema: Any) -> None:
    """Hold a schema to the rules of OpenAI's strict mode."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            assert schema.get("additionalProperties") is False, schema
            assert sorted(schema.get("required", [])) == sorted(schema.get("properties", {})), schema
        assert "$ref" not in schema or len(schema) == 1, schema
        for value in schema.values():
            strict(value)
    elif isinstance(schema, list):
        for value in schema:
            strict(value)


def kernel(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Convert with Semantic Kernel."""
    from mcp.types import Tool
    from semantic_kernel.connectors.ai.function_calling_utils import kernel_function_metadata_to_function_call_format
    from semantic_kernel.connectors.mcp import _get_parameter_dicts_from_mcp_tool
    from semantic_kernel.functions import KernelFunctionMetadata, KernelParameterMetadata

    converted = {}
    for tool in tools:
        parameters = [
            KernelParameterMetadata(**each) for each in _get_parameter_dicts_from_mcp_tool(Tool.model_validate(tool))
        ]
        metadata = KernelFunctionMetadata(
            name=tool["name"], description=tool["description"], parameters=parameters, is_prompt=False
        )
        converted[tool["name"]] = kernel_function_metadata_to_function_call_format(metadata)["function"]["parameters"]
    assert "$ref" not in json.dumps(converted), "it sends a property without the definitions that it refers to"
    return converted


CONVERTERS: dict[str, Callable[[list[dict[str, Any]]], dict[str, Any]]] = {
    "google": google,
    "openai": openai,
    "kernel": kernel,
}

print(json.dumps(CONVERTERS[sys.argv[1]](json.load(sys.stdin))))
