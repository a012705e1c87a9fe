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
    kept: dict[str, Any] = _lean(schema, schema.get("$defs", {}))
    return kept


def _lean(schema: Any, definitions: dict[str, Any]) -> Any:
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        named = definitions[schema["$ref"].removeprefix("#/$defs/")]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    kept = {key: _lean_value(key, value, definitions) for key, value in schema.items() if not _is_noise(key, value)}
    real = [item for item in kept.get("anyOf", ()) if item != {"type": "null"}]
    if len(real) == 1 < len(kept["anyOf"]) and "default" not in kept:
        del kept["anyOf"]
        kept = {**real[0], **kept}
    return kept


def _is_noise(key: str, value: Any) -> bool:
    is_title = key == "title" and isinstance(value, str)
    return is_title or key in ("$defs", "additionalProperties") or (key == "default" and value is None)


def _lean_value(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key in _VALUES:
        return value
    if key == "properties":
        return {name: _lean(item, definitions) for name, item in value.items()}
    return [_lean(item, definitions) for item in value] if isinstance(value, list) else _lean(value, definitions)
