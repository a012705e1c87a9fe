"""JSON schemas without what a model does not need: every token of them is paid for in every conversation."""

from __future__ import annotations

from typing import Any


def lean(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop what a model does not need from a schema: generated titles, null alternatives, null defaults."""
    kept = {key: _lean_value(key, value) for key, value in schema.items() if not _is_noise(key, value)}
    alternatives = kept.get("anyOf")
    if isinstance(alternatives, list):
        real = [item for item in alternatives if item != {"type": "null"}]
        if len(real) == 1 and len(real) < len(alternatives) and "default" not in kept:
            rest = {key: value for key, value in kept.items() if key != "anyOf"}
            return {**real[0], **rest}
    return kept


def _is_noise(key: str, value: Any) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)


def _lean_value(key: str, value: Any) -> Any:
    if key in ("properties", "$defs") and isinstance(value, dict):
        return {name: lean(item) for name, item in value.items()}
    if isinstance(value, dict):
        return lean(value)
    if isinstance(value, list):
        return [lean(item) if isinstance(item, dict) else item for item in value]
    return value
