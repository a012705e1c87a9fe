"""Any JSON value as an indented tree of lines: the form in which nothing of a result is out of reach."""

from __future__ import annotations

import json
from typing import Any

from extend_mcp.views.untrusted import field_path, quote, quote_lines

_DEEPEST = 40
_WHOLE = 1_000_000


def tree_lines(value: Any, depth: int = 0) -> list[str]:
    """Render ``value`` whole: objects and lists indented, one leaf a line, strings marked as outside text.

    Args:
        value: what ``json.loads`` can return.
        depth: how many levels stand above it.

    Returns:
        Its lines. Below 40 levels the rest follows as one line of JSON.
    """
    if isinstance(value, dict):
        lines: list[str] = []
        for name, item in value.items():
            lines += _entry(f"{' ' * depth}{field_path(name)}", item, depth)
        return lines
    if isinstance(value, list):
        lines = []
        for index, item in enumerate(value):
            lines += _entry(f"{' ' * depth}[{index}]", item, depth)
        return lines
    return _entry(" " * depth, value, depth)


def _entry(label: str, value: Any, depth: int) -> list[str]:
    if isinstance(value, (dict, list)) and value:
        if depth >= _DEEPEST:
            return [f"{label}: {quote(json.dumps(value, ensure_ascii=False), _WHOLE)}"]
        if isinstance(value, list) and all(isinstance(item, (int, float, bool, type(None))) for item in value):
            return [f"{label}: {json.dumps(value)}"]
        return [f"{label}:", *tree_lines(value, depth + 1)]
    if isinstance(value, str):
        if "\n" in value or "\r" in value:
            return [f"{label}:", *quote_lines(value)]
        return [f"{label}: {quote(value, _WHOLE)}"]
    return [f"{label}: {json.dumps(value)}"]
