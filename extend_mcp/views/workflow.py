"""A workflow's steps as a short graph, as a Mermaid diagram, and as the difference between two definitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from extend_mcp.views.steps import as_object, objects
from extend_mcp.views.untrusted import clean, cut, plain, quote, shown_url, word
from extend_mcp.workflows.graph import choice, entries, walk

Json = dict[str, Any]

_MERMAID_MARKS = str.maketrans(dict.fromkeys("\"'`<>[](){}|\\#;&%«»", " ") | {"-": "\u2010", "=": " "})


def graph_lines(steps: Sequence[Json]) -> list[str]:
    """A step a line, as a run comes to them: name, type, what it uses, and where it leads.

    Args:
        steps: the definition's steps, of any form; an unknown type is shown like the others.
    """
    if not steps:
        return ["No steps."]
    reached, others = walk(steps)
    lines = [_line(number, step) for number, step in enumerate(reached, 1)]
    if others:
        lines.append("Nothing leads to:")
        lines += [_line(number, step) for number, step in enumerate(others, len(reached) + 1)]
    return lines


def _line(number: int, step: Json) -> str:
    uses = _uses(step)
    return f"{number}. {_called(step)} {_kind(step)}{f' ({uses})' if uses else ''}{_leads(step)}"


def _leads(step: Json) -> str:
    ways: dict[str | None, list[str]] = {}
    for _, entry in entries(step):
        ways.setdefault(choice(step, entry), []).append(quote(entry.get("step") or "?", 60))
    if not ways:
        return " -> end"
    said = [
        f"{f'{quote(chosen, 40)}: ' if chosen is not None else ''}{', '.join(targets)}"
        for chosen, targets in ways.items()
    ]
    return f" -> {'; '.join(said)}"


def _uses(step: Json) -> str:
    config = as_object(step.get("config"))
    for key in ("extractor", "classifier", "splitter"):
        if named := as_object(config.get(key)):
            return f"{key} {quote(named.get('id') or '?', 60)} {quote(named.get('version') or '?', 20)}"
        if f"{key}Config" in config:
            return f"{key} configured inline"
    for key in ("rules", "blocks", "branches", "conditions"):
        if items := objects(config.get(key)):
            return f"{len(items)} {key if len(items) > 1 else _SINGULAR[key]}"
    if request := as_object(config.get("requestOptions")):
        return f"{word(request.get('method'), 8)} {quote(plain(shown_url(str(request.get('url') or ''))), 80)}"
    if "config" not in step and str(step.get("type")) in _NEEDS_CONFIG:
        return "not configured yet"
    return ""


_SINGULAR = {"rules": "rule", "blocks": "block", "branches": "branch", "conditions": "condition"}
_NEEDS_CONFIG = frozenset(
    {"EXTRACT", "CLASSIFY", "SPLIT", "CONDITIONAL_EXTRACT", "RULE_VALIDATION", "EXTERNAL_DATA_VALIDATION"}
)


def mermaid_lines(steps: Sequence[Json]) -> list[str]:
    """The same graph as a Mermaid flowchart; names cannot break out of their labels.

    Args:
        steps: the definition's steps, of any form.
    """
    lines = ["flowchart TD"]
    nodes = {id(step): f"n{number}" for number, step in enumerate(steps, 1)}
    by_name: dict[str, Json] = {}
    for step in steps:
        if isinstance(step.get("name"), str):
            by_name.setdefault(step["name"], step)
        label = f"{_label(step.get('name') or '?')}<br/>{_label(_kind(step))}"
        opening, closing = ('{"', '"}') if step.get("type") in ("ROUTER", "CONDITIONAL", "CLASSIFY") else ('["', '"]')
        lines.append(f"  {nodes[id(step)]}{opening}{label}{closing}")
    for step in steps:
        for _, entry in entries(step):
            target = by_name.get(entry["step"]) if isinstance(entry.get("step"), str) else None
            if target is not None:
                chosen = choice(step, entry)
                label = f'|"{_label(chosen)}"|' if chosen is not None else ""
                lines.append(f"  {nodes[id(step)]} -->{label} {nodes[id(target)]}")
    return lines


def _label(text: object) -> str:
    # A label may hold letters and digits of any script; whatever Mermaid or HTML could act on becomes a space.
    return " ".join(cut(clean(str(text)).translate(_MERMAID_MARKS), 60).split()) or "?"


def diff_lines(before: Sequence[Json], after: Sequence[Json]) -> list[str]:
    """What changes from one definition to another: steps added, removed and changed, matched by name.

    Args:
        before: the steps that are there.
        after: the steps that would be.
    """
    old, new = _named(before), _named(after)
    lines = [f"+ {_called(step)} {_kind(step)}{_leads(step)}" for name, step in new.items() if name not in old]
    lines += [f"- {_called(step)} {_kind(step)}{_leads(step)}" for name, step in old.items() if name not in new]
    for name, step in new.items():
        if name in old:
            lines += [f"~ {_called(step)} {change}" for change in _changes(old[name], step)]
    return lines or ["No difference in the steps."]


def _named(steps: Sequence[Json]) -> dict[str, Json]:
    return {str(step.get("name")): step for step in steps}


def _changes(before: Json, after: Json) -> list[str]:
    changes = []
    if before.get("type") != after.get("type"):
        changes.append(f"type: {_kind(before)} -> {_kind(after)}")
    if _edges(before) != _edges(after):
        changes.append(f"leads{_leads(before)}; now{_leads(after)}")
    for key in dict.fromkeys([*before, *after]):
        if key in ("name", "type", "next"):
            continue
        old, new = _leaves(before.get(key)), _leaves(after.get(key))
        moved = [path for path in dict.fromkeys([*old, *new]) if old.get(path, _ABSENT) != new.get(path, _ABSENT)]
        called = key if key == "config" else quote(key, 40)
        changes += [
            f"{called}{quote(path, 80) if path else ''}: {_value(old, path)} -> {_value(new, path)}" for path in moved
        ]
    return changes


_ABSENT = object()


def _edges(step: Json) -> list[tuple[str | None, Any]]:
    return [(choice(step, entry), entry.get("step")) for _, entry in entries(step)]


def _leaves(value: Any) -> dict[str, Any]:
    """Every leaf of a JSON value by its path; without recursion, since a definition can be nested at will."""
    leaves: dict[str, Any] = {}
    pending: list[tuple[str, Any]] = [("", value)] if value is not None else []
    while pending:
        path, item = pending.pop()
        if isinstance(item, dict) and item:
            pending += [(f"{path}.{name}", child) for name, child in reversed(list(item.items()))]
        elif isinstance(item, list) and item:
            pending += [(f"{path}[{index}]", child) for index, child in reversed(list(enumerate(item)))]
        else:
            leaves[path] = item
    return leaves


def _value(leaves: dict[str, Any], path: str) -> str:
    return quote(json.dumps(leaves[path], ensure_ascii=False), 80) if path in leaves else "none"


def _called(step: Json) -> str:
    return quote(step.get("name") or "?", 60)


def _kind(step: Json) -> str:
    return word(step.get("type") or "", 40) or "?"
