"""The graph that a definition's `next` entries make, read from any JSON: whatever is not readable is no edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

KEYS = {
    "CLASSIFY": "classificationId",
    "SPLIT": "classificationId",
    "CONDITIONAL": "conditionId",
    "RULE_VALIDATION": "result",
    "VALIDATION": "result",
    "ROUTER": "branchId",
}
"""By step type: the key of a next entry that names the outcome, next to its target."""

_OPEN = object()


def entries(step: Json) -> list[tuple[int, Json]]:
    """Return the next entries of a step that are objects, each with its index."""
    found = step.get("next")
    given = found if isinstance(found, list) else []
    return [(place, entry) for place, entry in enumerate(given) if isinstance(entry, dict)]


def choice(step: Json, entry: Json) -> str | None:
    """Return what chooses this entry: an id, ``pass`` or ``fail``; None where the step does not choose."""
    key = KEYS.get(step["type"]) if isinstance(step.get("type"), str) else None
    chosen = entry.get(key) if key else None
    return chosen if isinstance(chosen, str) else None


def walk(steps: Sequence[Json]) -> tuple[list[Json], list[Json]]:
    """Order steps as a run would come to them.

    Returns:
        The steps that a run can reach, nearest first, and the others.
    """
    by_name = _by_name(steps)
    queue = [step for step in steps if step.get("type") == "TRIGGER"]
    reached: list[Json] = []
    while queue:
        step = queue.pop(0)
        if any(step is each for each in reached):
            continue
        reached.append(step)
        queue += [by_name[entry["step"]] for _, entry in entries(step) if _names_one(entry, by_name)]
    return reached, [step for step in steps if not any(step is each for each in reached)]


def endless(steps: Sequence[Json]) -> set[str]:
    """Return the names of the steps on a cycle that no path leads out of.

    A step can end when it leads nowhere, or when one of its outcomes leads nowhere or only to steps that can end.
    """
    by_name = _by_name(steps)
    able: set[str] = set()
    while True:
        more = {
            name
            for name, step in by_name.items()
            if name not in able and any(all(target in able for target in way) for way in _outcomes(step, by_name))
        }
        if not more:
            break
        able |= more
    # A step that only leads into a cycle is fixed with the cycle, so it is not reported as well.
    return {name for name in by_name if name not in able and name in _reached(name, by_name)}


def _reached(name: str, by_name: dict[str, Json]) -> set[str]:
    """Return the names of the steps that a step leads to, itself only if a path leads back."""
    seen: set[str] = set()
    pending = [name]
    while pending:
        targets = {entry["step"] for _, entry in entries(by_name[pending.pop()]) if _names_one(entry, by_name)}
        pending += targets - seen
        seen |= targets
    return seen


def _outcomes(step: Json, by_name: dict[str, Json]) -> list[list[str]]:
    """Return, for each outcome of a step, the steps it leads to."""
    ways: dict[Any, list[str]] = {outcome: [] for outcome in _possible(step)}
    for _, entry in entries(step):
        # A target that does not exist is another fault; here it counts as an end.
        if _names_one(entry, by_name):
            ways.setdefault(choice(step, entry), []).append(entry["step"])
    return list(ways.values())


def _possible(step: Json) -> list[Any]:
    kind, config = step.get("type"), step.get("config")
    config = config if isinstance(config, dict) else {}
    if kind in ("RULE_VALIDATION", "VALIDATION"):
        return ["pass", "fail"]
    if kind == "ROUTER":
        return [*_ids(config.get("branches"), or_open=True), "otherwise"]
    if kind == "CONDITIONAL":
        return _ids(config.get("conditions"), or_open=False)
    if kind in ("CLASSIFY", "SPLIT"):
        name, items = ("classifierConfig", "classifications") if kind == "CLASSIFY" else _SPLITTER
        inline = config.get(name)
        # A saved processor may know classifications that nothing is routed for.
        return _ids(inline.get(items), or_open=True) if isinstance(inline, dict) else [_OPEN]
    return [None]


_SPLITTER = ("splitterConfig", "splitClassifications")


def _ids(items: object, *, or_open: bool) -> list[Any]:
    given = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    found = [item["id"] for item in given if isinstance(item.get("id"), str)]
    return found or ([_OPEN] if or_open else [])


def _by_name(steps: Sequence[Json]) -> dict[str, Json]:
    named: dict[str, Json] = {}
    for step in steps:
        if isinstance(step.get("name"), str):
            named.setdefault(step["name"], step)
    return named


def _names_one(entry: Json, by_name: dict[str, Json]) -> bool:
    return isinstance(entry.get("step"), str) and entry["step"] in by_name
