"""Explain wrong arguments to a model: field, rule and an example, in place of pydantic's own text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from extend_mcp.mcp_compat import FuncMetadata
from extend_mcp.tools.schema import schema_of
from extend_mcp.views.untrusted import clean, cut

_MOST_PROBLEMS: Final = 5
_MOST_CHARS: Final = 620
"""Of the whole text: under 300 tokens however it is counted."""

_RULES: Final = {
    "missing": "is required",
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("dict_type", "model_attributes_type", "model_type"), "must be an object"),
    "int_parsing": "must be a valid integer",
    "int_parsing_size": "must be a smaller integer",
    "list_type": "must be a list",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_unicode": "must be valid Unicode text",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} item(s)",
}
"""By pydantic's name of the fault, where its own words speak of Python; filled in from the fault's context."""

_SAMPLES: Final[dict[str, Any]] = {"string": "some text", "boolean": True, "object": {}, "number": 1.5}


def explain_arguments(tool: str, metadata: FuncMetadata, error: ValidationError) -> str:
    """Explain wrong arguments: field, rule and an example, one line each, at most five. No value is repeated."""
    # The values are not even read: one may be a secret.
    problems = error.errors(include_url=False, include_input=False)
    properties: dict[str, Any] = schema_of(metadata.arg_model)["properties"]
    text = f"{tool}: wrong arguments; nothing was sent."
    unknown = any(len(each["loc"]) == 1 and each["type"] == "extra_forbidden" for each in problems)
    names = f"\nIts arguments: {cut(', '.join(properties), 240)}" if unknown else ""
    shown = 0
    for problem in problems[:_MOST_PROBLEMS]:
        line = f"\n- {_explain(metadata, properties, problem)}"
        if shown and len(text) + len(line) + len(names) > _MOST_CHARS:
            break
        text += line
        shown += 1
    more = f"\nand {len(problems) - shown} more" if len(problems) > shown else ""
    return text + more + names


def _explain(metadata: FuncMetadata, properties: dict[str, Any], problem: ErrorDetails) -> str:
    name, *inner = problem["loc"] or ("arguments",)
    where = clean(f"{name}{''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in inner)}")
    # A character beyond ASCII may cost a model several tokens.
    where = cut(where, 40 if where.isascii() else 12)
    if problem["type"] == "extra_forbidden":
        rule = "is not a known field" if inner else "not an argument of this tool"
    elif words := _RULES.get(problem["type"]):
        rule = words.format(**problem.get("ctx", {}))
    else:
        rule = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        rule = cut(rule.replace("String should match pattern", "must match"), 240)
    if name not in properties:
        return f"{where}: {rule}"
    example = _example(metadata.arg_model.model_fields[str(name)], properties[str(name)])
    return f"{where}: {rule}. Example: {name}={example}"


def _example(known: FieldInfo, schema: dict[str, Any]) -> str:
    """Return a good value as JSON: the example of the argument's type, else one made from its schema."""
    kind, items = schema.get("type", "string"), schema.get("items", {})
    example = next(_examples(known), _SAMPLES.get(kind, schema.get("minimum", 1)))
    if "enum" in (items or schema):
        example = (items or schema)["enum"][0]
    return json.dumps([example] if kind == "array" and not isinstance(example, list) else example)


def _examples(part: Any) -> Iterator[Any]:
    """Iterate over the examples of a field or a type: its own first, then those of its parts."""
    if isinstance(part, FieldInfo):
        yield from part.examples or ()
        part = part.annotation
    for inner in (*getattr(part, "__metadata__", ()), *get_args(part)):
        yield from _examples(inner)
