"""JSON schemas that every host can read, without what a model does not need: each conversation pays for each token."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, WithJsonSchema
from pydantic.fields import FieldInfo

_TYPES: Final[dict[type, dict[str, Any]]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    dict: {"type": "object"},
}
_RULES: Final = {"description": "description", "pattern": "pattern", "ge": "minimum", "le": "maximum"}


@cache
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model, made once: it must not be changed.

    Pydantic would first build a validator and a serializer for each model, and a client waits for the schemas of all
    tools. This reads the fields only, and knows the types that arguments and answers have.

    There is no ``$ref``, ``additionalProperties``, title or null. google-genai refuses a boolean
    ``additionalProperties``, and OpenAI's strict mode every other one. Semantic Kernel sends each property without the
    ``$defs`` that its ``$ref`` names. Unknown arguments are refused in code.

    Raises:
        TypeError: a field has a type that is not known here.
    """
    fields = model.model_fields
    schema = {
        "description": cleandoc(model.__doc__ or ""),
        "properties": {name: _of_field(field) for name, field in fields.items()},
        "required": [name for name, field in fields.items() if field.is_required()],
        "type": "object",
    }
    return {key: value for key, value in schema.items() if value or key == "properties"}


def _of_field(field: FieldInfo) -> dict[str, Any]:
    schema = _with_rules(_of(field.annotation), [field])
    return schema if field.is_required() or field.default is None else {**schema, "default": field.default}


def _of(annotation: Any) -> dict[str, Any]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _with_rules(_of(parts[0]), parts[1:])
    if origin in (Union, UnionType) and len(parts) == 2 and NoneType in parts:
        return _of(parts[0] if parts[1] is NoneType else parts[1])
    if origin is Literal:
        allowed = {"const": parts[0]} if len(parts) == 1 else {"enum": [*parts]}
        return {**allowed, **_TYPES[type(parts[0])]}
    if origin is list:
        return {"items": _of(parts[0]), "type": "array"}
    if annotation is Any:
        return {}
    kind = origin or annotation
    if issubclass(kind, BaseModel):
        return schema_of(kind)
    if issubclass(kind, str):
        kind = str
    if kind not in _TYPES:
        raise TypeError(f"tools/schema.py does not know {annotation}")
    return _TYPES[kind]


def _with_rules(schema: dict[str, Any], marks: Iterable[Any]) -> dict[str, Any]:
    """Add what an annotation or a field says about the values."""
    size = "Items" if schema.get("type") == "array" else "Length"
    rules = {**_RULES, "min_length": f"min{size}", "max_length": f"max{size}"}
    for mark in marks:
        for part in (mark, *mark.metadata) if isinstance(mark, FieldInfo) else (mark,):
            if isinstance(part, WithJsonSchema):
                schema = part.json_schema or {}
            elif isinstance(part, BeforeValidator):
                # A pattern is for the converted value, and pydantic does not show it either.
                rules.pop("pattern", None)
            given = {rule: getattr(part, name, None) for name, rule in rules.items()}
            schema = {**schema, **{rule: value for rule, value in given.items() if value is not None}}
    return schema
