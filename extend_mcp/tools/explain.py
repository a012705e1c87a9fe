"""Wrong arguments in words for a model: field, rule and an example, in place of pydantic's own text."""

from __future__ import annotations

from typing import Any, get_args

from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from extend_mcp.tools.args import Example
from extend_mcp.views.untrusted import clean, cut

_MOST_PROBLEMS = 5


def explain_arguments(tool: str, metadata: FuncMetadata, error: ValidationError) -> str:
    """Explain wrong arguments: field, rule and an example, one line each, at most five."""
    problems = error.errors(include_url=False, include_context=True)
    lines = [_explain(metadata, problem) for problem in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"and {len(problems) - _MOST_PROBLEMS} more")
    return "\n".join([f"{tool}: wrong arguments; nothing was sent.", *(f"- {line}" for line in lines)])


def _explain(metadata: FuncMetadata, problem: ErrorDetails) -> str:
    path = ".".join(str(part) for part in problem["loc"][:1]) or "arguments"
    shown = cut(clean(path), 60)
    if problem["type"] == "extra_forbidden":
        return f"{shown}: not an argument of this tool. It has: {', '.join(metadata.arg_model.model_fields)}"
    known = metadata.arg_model.model_fields.get(path)
    example = next((mark.value for mark in _marks(known) if isinstance(mark, Example)), None) if known else None
    if example is None:
        return f"{shown}: {_rule(problem)}"
    written = example if example[0] in "{0123456789" else f'"{example}"'
    return f"{shown}: {_rule(problem)}. Example: {path}={written}"


def _marks(known: Any) -> list[Any]:
    # In an optional argument the marks stand inside the union's member.
    inner = [mark for part in get_args(known.annotation) for mark in getattr(part, "__metadata__", ())]
    return [*known.metadata, *inner]


def _rule(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return "is required"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return cut(message, 240)
