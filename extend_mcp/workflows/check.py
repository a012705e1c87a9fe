"""Is this a definition that can be sent? Every fault at once, each with its path.

Rules: Extend API reference, WorkflowStepDefinition and Create Workflow Version.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from extend_mcp.workflows.graph import endless, entries
from extend_mcp.workflows.parts import BLOCK_KINDS
from extend_mcp.workflows.steps import CONFIGURED_LATER, STEP, STEP_TYPES

Json = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a definition.

    Attributes:
        path: where, such as ``steps.2.next.0.step``.
        rule: what is wanted there.
    """

    path: str
    rule: str


def find_faults(steps: object, *, deploying: bool = False) -> list[Fault]:
    """Find everything that is wrong with a definition.

    Args:
        steps: the definition's steps, any JSON value.
        deploying: whether it is to be published, so that every step must be configured.

    Returns:
        All faults, in order of their path; none for a definition that can be sent.
    """
    if not isinstance(steps, list) or not steps:
        return [Fault("steps", "must be an array of at least one step")]
    faults = [fault for index, step in enumerate(steps) for fault in _shape(index, step)]
    read = [(index, _readable(step)) for index, step in enumerate(steps) if isinstance(step, dict)]
    for rule in _GRAPH_RULES:
        faults += rule(read)
    for index, step in read:
        faults += _unconfigured(index, step, deploying=deploying)
        if deploying:
            faults += [Fault(path, 'must have an entry of type "other"') for path in _without_other(index, step)]
    return _in_order(faults)


def find_warnings(steps: object, *, deploying: bool = False) -> list[Fault]:
    """Find what Extend takes now and will object to later: in a deploy, or when a run reaches it.

    Args:
        steps: the definition's steps, any JSON value.
        deploying: whether it is to be published; what a deploy refuses is a fault then.

    Returns:
        All warnings, in order of their path.
    """
    read = [(index, step) for index, step in enumerate(steps if isinstance(steps, list) else []) if _is_object(step)]
    warnings = [
        Fault(path, 'is "python", which Extend stores and cannot run: a run that reaches it gets an error')
        for index, step in read
        for path in _python_blocks(index, step)
    ]
    if not deploying:
        rule = 'has no entry of type "other", which a deploy needs'
        warnings += [Fault(path, rule) for index, step in read for path in _without_other(index, step)]
    return _in_order(warnings)


def _in_order(faults: list[Fault]) -> list[Fault]:
    unique = dict.fromkeys(faults)
    return sorted(unique, key=lambda fault: [(part.isdigit(), part.zfill(9)) for part in fault.path.split(".")])


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _readable(step: Json) -> Json:
    """Drop a name or type that is not a string. It is reported as a fault already, and the graph needs strings."""
    return {key: value for key, value in step.items() if key not in ("name", "type") or isinstance(value, str)}


def _shape(index: int, step: object) -> list[Fault]:
    """List the faults of one step, apart from the others."""
    try:
        STEP.validate_python(step)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=True, include_input=False)
        faults = [Fault(_path(index, problem), _words(problem)) for problem in problems]
        # Without a type there is no model that could miss the name.
        tagless = any(problem["type"].startswith("union_tag") for problem in problems) and isinstance(step, dict)
        name = step.get("name") if isinstance(step, dict) else None
        if tagless and not (isinstance(name, str) and name):
            faults.append(Fault(f"steps.{index}.name", "must be a string that is not empty"))
        return faults
    except RecursionError:
        return [Fault(f"steps.{index}", "is nested too deeply")]
    return []


def _path(index: int, problem: ErrorDetails) -> str:
    # The location also contains the tags of the chosen alternatives: a step's type, and a block's kind.
    parts: list[str] = []
    was_tag = False
    for part in problem["loc"]:
        in_block = not was_tag and (parts[-1:] == ["block"] or parts[-2:-1] == ["blocks"])
        was_tag = part in STEP_TYPES or (in_block and part in BLOCK_KINDS)
        if not was_tag:
            parts.append(str(part))
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found") and not parts:
        parts = ["type"]
    return ".".join(["steps", str(index), *parts])


def _words(problem: ErrorDetails) -> str:
    kind = problem["type"]
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a field of this type of step"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return "must be one of the known types: " + _expected(problem)
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "must be an object"
    if kind == "list_type":
        return "must be an array"
    if kind == "too_short":
        return "must not be empty"
    if kind == "too_long":
        return "must be empty: nothing follows this type of step"
    message = problem["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|String) should (be|have)", r"must \2", message)


def _expected(problem: ErrorDetails) -> str:
    tags = str(problem.get("ctx", {}).get("expected_tags", "")) or ", ".join(STEP_TYPES)
    return tags.replace("'", "")


Rule = Callable[[list[tuple[int, Json]]], list[Fault]]


def _names(steps: list[tuple[int, Json]]) -> list[Fault]:
    first: dict[str, int] = {}
    faults = []
    for index, step in steps:
        name = step.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            faults.append(Fault(f"steps.{index}.name", f"must be unique; steps.{first[name]} has it already"))
    return faults


def _beginning(steps: list[tuple[int, Json]]) -> list[Fault]:
    faults = []
    for kind in ("TRIGGER", "PARSE"):
        found = [index for index, step in steps if step.get("type") == kind]
        if not found:
            faults.append(Fault("steps", f"must have exactly one {kind} step"))
        faults += [Fault(f"steps.{index}.type", f"only one step may be a {kind}") for index in found[1:]]
    parses = {
        step.get("name") for _, step in steps if step.get("type") == "PARSE" and isinstance(step.get("name"), str)
    }
    for index, step in steps:
        if step.get("type") == "TRIGGER":
            leads = entries(step)
            target = leads[0][1].get("step") if len(leads) == 1 else None
            if not isinstance(target, str) or target not in parses:
                faults.append(Fault(f"steps.{index}.next", "must have one entry, which names the PARSE step"))
    return faults


def _targets(steps: list[tuple[int, Json]]) -> list[Fault]:
    kinds = {step["name"]: step.get("type") for _, step in steps if isinstance(step.get("name"), str)}
    faults = []
    for index, step in steps:
        for place, entry in entries(step):
            target, path = entry.get("step"), f"steps.{index}.next.{place}.step"
            if isinstance(target, str) and target and target not in kinds:
                faults.append(Fault(path, "must be the name of a step"))
            elif isinstance(target, str) and kinds.get(target) == "TRIGGER":
                faults.append(Fault(path, "nothing leads back to the TRIGGER"))
    return faults


def _choices(steps: list[tuple[int, Json]]) -> list[Fault]:
    """Ids that `next` may name must be among those that the step's own configuration makes."""
    faults = []
    for index, step in steps:
        config = step.get("config")
        kind = step.get("type")
        if not isinstance(config, dict) or kind not in _CHOICES:
            continue
        key, places, extra = _CHOICES[kind]
        for place in places:
            made = _at(config, place)
            if not isinstance(made, list):
                continue
            ids = [item.get("id") for item in made if isinstance(item, dict)]
            known = {each for each in ids if isinstance(each, str)}
            where = f"steps.{index}.config.{place}"
            seen: set[str] = set()
            for number, each in enumerate(ids):
                if isinstance(each, str) and (each in seen or each in extra):
                    rule = "is reserved" if each in extra else "must be unique"
                    faults.append(Fault(f"{where}.{number}.id", rule))
                seen |= {each} if isinstance(each, str) else set()
            for number, entry in entries(step):
                chosen = entry.get(key)
                if isinstance(chosen, str) and chosen and chosen not in known and chosen not in extra:
                    rule = f"must be one of the ids in config.{place}" + (f" or {', '.join(extra)}" if extra else "")
                    faults.append(Fault(f"steps.{index}.next.{number}.{key}", rule))
    return faults


# Per type: the key of a next entry, where the config lists the ids, and which other ids exist.
_CHOICES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "CLASSIFY": ("classificationId", ("classifierConfig.classifications",), ()),
    "SPLIT": ("classificationId", ("splitterConfig.splitClassifications",), ()),
    "CONDITIONAL": ("conditionId", ("conditions",), ()),
    "ROUTER": ("branchId", ("branches",), ("otherwise",)),
}


def _endings(steps: list[tuple[int, Json]]) -> list[Fault]:
    stuck = endless([step for _, step in steps])
    return [
        Fault(f"steps.{index}.next", "is on a cycle that cannot end: some way out of it must lead elsewhere")
        for index, step in steps
        if step.get("name") in stuck
    ]


_GRAPH_RULES: tuple[Rule, ...] = (_names, _beginning, _targets, _choices, _endings)


def _unconfigured(index: int, step: Json, *, deploying: bool) -> list[Fault]:
    if step.get("type") not in CONFIGURED_LATER or step.get("config") is not None:
        return []
    faults = []
    if step.get("next"):
        faults.append(Fault(f"steps.{index}.next", "can be set only when config is"))
    if deploying:
        faults.append(Fault(f"steps.{index}.config", "is required before a workflow can be deployed"))
    return faults


def _without_other(index: int, step: Json) -> list[str]:
    """Return the path of an inline processor's classifications without an entry of type `other`."""
    kind = step.get("type")
    place = _CHOICES[kind][1][0] if kind in ("CLASSIFY", "SPLIT") else ""
    made = _at(step.get("config"), place) if place else None
    if not isinstance(made, list) or not made or not all(isinstance(item, dict) for item in made):
        return []
    return [] if any(item.get("type") == "other" for item in made) else [f"steps.{index}.config.{place}"]


def _python_blocks(index: int, step: Json) -> list[str]:
    """Return the paths of the languages of a step's Python blocks."""
    found = []
    for place, suffix in (("blocks", ""), ("branches", ".block")):
        made = _at(step.get("config"), place)
        for number, item in enumerate(made if isinstance(made, list) else []):
            if _at(item, f"{suffix}.code.language".removeprefix(".")) == "python":
                found.append(f"steps.{index}.config.{place}.{number}{suffix}.code.language")
    return found


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
