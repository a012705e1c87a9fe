"""JSON schemas that every host can read, without what a model does not need: each conversation pays for each token."""

from __future__ import annotations

from typing import Any, Final

_VALUES: Final = frozenset({"const", "default", "enum", "examples", "required"})
"""Keywords that hold values and no schemas."""


def lean(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without ``$ref``, ``additionalProperties``, generated titles and null alternatives.

    google-genai refuses a boolean ``additionalProperties``, and OpenAI's strict mode every other one. Semantic Kernel
    sends each property without the ``$defs`` that its ``$ref`` names. Unknown arguments are refused in code. None of
    our models refers to itself.
    """
    return _lean(schema, schema.get("$defs", {}))


def _lean(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        named = definitions[schema["$ref"].removeprefix("#/$defs/")]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    kept = {key: _lean_value(key, value, definitions) for key, value in schema.items() if not _is_noise(key, value)}
    alternatives = kept.get("anyOf")
    if isinstance(alternatives, list):
        real = [item for item in alternatives if item != {"type": "null"}]
        if len(real) == 1 and len(real) < len(alternatives) and "default" not in kept:
            rest = {key: value for key, value in kept.items() if key != "anyOf"}
            return {**real[0], **rest}
    return kept


def _is_noise(key: str, value: Any) -> bool:
    return (
        key == "$defs"
        or (key == "title" and isinstance(value, str))
        or (key == "default" and value is None)
        or key == "additionalProperties"
    )


def _lean_value(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key in _VALUES:
        return value
    if key == "properties":
        return {name: _lean(item, definitions) for name, item in value.items()}
    if isinstance(value, dict):
        return _lean(value, definitions)
    if isinstance(value, list):
        return [_lean(item, definitions) if isinstance(item, dict) else item for item in value]
    return value
