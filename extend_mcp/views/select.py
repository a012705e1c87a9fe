"""One part of a step's result, chosen by its path: a field, a chunk, a rule."""

from __future__ import annotations

import re
from typing import Any

from extend_mcp.api.models import StepRun
from extend_mcp.runs.failures import child_run
from extend_mcp.views.steps import as_object, extracted_fields
from extend_mcp.views.tree import tree_lines
from extend_mcp.views.untrusted import field_path

_PART = re.compile(r"\[(\d{1,9})\]|([^.\[\]]+)")
_MOST_NAMES = 12


class NoSuchPartError(LookupError):
    """The result has no such part; the text lists what stands where the path ended."""


def select_lines(step: StepRun, path: str) -> list[str]:
    """Show what stands at ``path`` in a step's result.

    Args:
        step: the step run.
        path: names and indexes, such as ``line_items[0].amount`` or ``chunks[3].content``; it may begin at the
            whole result, at the child run's output, or at the extracted values.

    Returns:
        The part as a tree; an extracted field with its confidence and citations.

    Raises:
        NoSuchPartError: there is no such part.
    """
    parts = [int(index) if index else name for index, name in _PART.findall(path)]
    output = as_object(child_run(step).get("output"))
    roots = [output.get("value"), output, child_run(step), step.result]
    found = [value for root in roots if (value := _follow(root, parts)) is not _MISSING]
    if not parts or not found:
        raise NoSuchPartError(_names(roots))
    lines = [f"{field_path(path)}:", *tree_lines(found[0], 1)]
    facts = {
        name: item
        for name, _, item in extracted_fields(output.get("value"), output.get("metadata"))
        if item and (name == path or name.startswith((f"{path}.", f"{path}[")))
    }
    return [*lines, "What is known of it:", *tree_lines(facts, 1)] if facts else lines


_MISSING = object()


def _follow(value: Any, parts: list[int | str]) -> Any:
    for part in parts:
        if isinstance(part, str):
            value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
        else:
            value = value[part] if isinstance(value, list) and part < len(value) else _MISSING
    return value


def _names(roots: list[Any]) -> str:
    names = [str(name) for root in roots for name in as_object(root)]
    return ", ".join(dict.fromkeys(names[:_MOST_NAMES]))
