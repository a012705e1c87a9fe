"""The graph that a definition's `next` entries make, read from any JSON: whatever is not readable is no edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]


class Choices(NamedTuple):
    """The outcomes between which a type of step chooses: ids at a place in its config, and others.

    ``key`` is that of a next entry which names the outcome. Others may exist where ``is_open``: a saved processor
    may know classifications that nothing is routed for.
    """

    key: str
    place: str = ""
    others: tuple[str, ...] = ()
    is_open: bool = False


_CHOICES = {
    "CLASSIFY": Choices("classificationId", "classifierConfig.classifications", is_open=True),
    "SPLIT": Choices("classificationId", "splitterConfig.splitClassifications", is_open=True),
    "CONDITIONAL": Choices("conditionId", "conditions"),
    "RULE_VALIDATION": Choices("result", others=("pass", "fail")),
    "VALIDATION": Choices("result", others=("pass", "fail")),
    "ROUTER": Choices("branchId", "branches", others=("otherwise",), is_open=True),
}
_OPEN = object()


def entries(step: Json) -> list[tuple[int, Json]]:
    """Return the next entries of a step that are objects, each with its index."""
    found = step.get("next")
    given = found if isinstance(found, list) else []
    return [(place, entry) for place, entry in enumerate(given) if isinstance(entry, dict)]


def choices_of(step: Json) -> Choices | None:
    """Return the outcomes between which a step chooses; None where it does not choose."""
    kind = step.get("type")
    return _CHOICES.get(kind) if isinstance(kind, str) else None


def at(value: Any, path: str) -> Any:
    """Return the part of a JSON value at a path of names; None if it has no such part."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def edges(step: Json) -> list[tuple[str | None, Any]]:
    """Return the step that each next entry names, after what chooses the entry: an id, ``pass`` or ``fail``."""
    choices = choices_of(step)
    chosen = [(entry.get(choices.key) if choices else None, entry.get("step")) for _, entry in entries(step)]
    return [(outcome if isinstance(outcome, str) else None, target) for outcome, target in chosen]


def listed_choices(step: Json) -> list[Any] | None:
    """Return what the config of a step lists as its outcomes; None where it has no such list."""
    choices = choices_of(step)
    found = at(step.get("config"), choices.place) if choices and choices.place else None
    return found if isinstance(found, list) else None


def by_distance(steps: Sequence[Json]) -> tuple[list[Json], list[Json]]:
    """Return the steps that a run can reach, nearest first, and the others."""
    reached = _reached([step for step in steps if step.get("type") == "TRIGGER"], _by_name(steps))
    return list(reached.values()), [step for step in steps if id(step) not in reached]


def endless(steps: Sequence[Json]) -> set[str]:
    """Return the names of the steps on a cycle that no path leads out of.

    A step can end when it leads nowhere, or when one of its outcomes leads nowhere or only to steps that can end.
    """
    by_name = _by_name(steps)
    able: set[str] = set()
    while more := {
        name
        for name, step in by_name.items()
        if name not in able and any(able.issuperset(way) for way in _outcomes(step, by_name))
    }:
        able |= more
    # A step that only leads into a cycle is fixed with the cycle, so it is not reported as well.
    return {
        name
        for name, step in by_name.items()
        if name not in able and id(step) in _reached(_following(step, by_name), by_name)
    }


def _reached(queue: list[Json], by_name: dict[str, Json]) -> dict[int, Json]:
    """Return steps and all that they lead to by their identity, nearest first."""
    reached: dict[int, Json] = {}
    while queue:
        step, *queue = queue
        if id(step) not in reached:
            reached[id(step)] = step
            queue += _following(step, by_name)
    return reached


def _following(step: Json, by_name: dict[str, Json]) -> list[Json]:
    return [by_name[target] for _, target in _ways(step, by_name)]


def _outcomes(step: Json, by_name: dict[str, Json]) -> list[list[str]]:
    """Return, for each outcome of a step, the steps it leads to."""
    choices = choices_of(step)
    ids: list[object] = [each for item in listed_choices(step) or () if isinstance(each := at(item, "id"), str)]
    possible = [*(ids or ([_OPEN] if choices.is_open else [])), *choices.others] if choices else [None]
    ways: dict[object, list[str]] = {outcome: [] for outcome in possible}
    for chosen, target in _ways(step, by_name):
        ways.setdefault(chosen, []).append(target)
    return list(ways.values())


def _by_name(steps: Sequence[Json]) -> dict[str, Json]:
    # Of two with the same name, the first counts.
    return {step["name"]: step for step in reversed(steps) if isinstance(step.get("name"), str)}


def _ways(step: Json, by_name: dict[str, Json]) -> list[tuple[str | None, str]]:
    """Return where a step leads, each with what chooses it. A target that does not exist counts as an end."""
    return [(chosen, target) for chosen, target in edges(step) if isinstance(target, str) and target in by_name]
