"""Is this a definition that can be sent? Every fault at once, each with its path.

Rules: Extend API reference, WorkflowStepDefinition and Create Workflow Version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from extend_mcp.workflows.graph import Json, at, choices_of, endless, entries, listed_choices
from extend_mcp.workflows.steps import CONFIGURED_LATER, step_models


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a definition: where, such as ``steps.2.next.0.step``, and what is wanted there."""

    path: str
    rule: str


def find_faults(steps: object, *, deploying: bool = False) -> list[Fault]:
    """Find everything that is wrong with a definition, in order of the path.

    The steps are any JSON value. Where it is ``deploying``, every step must be configured.
    """
    if not isinstance(steps, list) or not steps:
        return [Fault("steps", "must be an array of at least one step")]
    faults = [fault for index, step in enumerate(steps) for fault in _shape(index, step)]
    # A name or type that is not a string is a fault already, and the graph needs strings.
    read = [
        (index, {key: value for key, value in step.items() if key not in ("name", "type") or isinstance(value, str)})
        for index, step in enumerate(steps)
        if isinstance(step, dict)
    ]
    faults += _of_graph(read)
    for index, step in read:
        is_configured = step.get("type") not in CONFIGURED_LATER or step.get("config") is not None
        if not is_configured and step.get("next"):
            faults.append(Fault(f"steps.{index}.next", "can be set only when config is"))
        if not is_configured and deploying:
            faults.append(Fault(f"steps.{index}.config", "is required before a workflow can be deployed"))
        if deploying:
            faults += [Fault(path, 'must have an entry of type "other"') for path in _without_other(index, step)]
    return _in_order(faults)


def find_warnings(steps: object, *, deploying: bool = False) -> list[Fault]:
    """Find what Extend takes now and will object to later, in a deploy or when a run reaches it.

    Where it is ``deploying``, what a deploy refuses is a fault and no warning.
    """
    python = 'is "python", which Extend stores and cannot run: a run that reaches it gets an error'
    other = 'has no entry of type "other", which a deploy needs'
    warnings: list[Fault] = []
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, dict):
            warnings += [Fault(path, python) for path in _python_blocks(index, step)]
            warnings += [] if deploying else [Fault(path, other) for path in _without_other(index, step)]
    return _in_order(warnings)


def _in_order(faults: list[Fault]) -> list[Fault]:
    unique = dict.fromkeys(faults)
    return sorted(unique, key=lambda fault: [(part.isdigit(), part.zfill(9)) for part in fault.path.split(".")])


def _shape(index: int, step: object) -> Iterator[Fault]:
    """Find the faults of one step, apart from the others."""
    if not isinstance(step, dict):
        yield Fault(f"steps.{index}", "must be an object")
        return
    kind, name = step.get("type"), step.get("name")
    model = step_models().get(kind) if isinstance(kind, str) else None
    if model is None:
        yield Fault(f"steps.{index}.type", f"must be one of the known types: {', '.join(step_models())}")
        # Without a type there is no model that could miss the name.
        if not (isinstance(name, str) and name):
            yield Fault(f"steps.{index}.name", "must be a string that is not empty")
        return
    try:
        model.model_validate(step)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            path = ".".join(["steps", str(index), *map(str, problem["loc"])])
            # The kind of a block is part of pydantic's path.
            yield Fault(re.sub(r"(\.block|\.blocks\.\d+)\.(code|semantic)\b", r"\1", path, count=1), _words(problem))
    except RecursionError:
        yield Fault(f"steps.{index}", "is nested too deeply")


_RULES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this type of step",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be an array",
    "too_short": "must not be empty",
    "too_long": "must be empty: nothing follows this type of step",
    **dict.fromkeys(("union_tag_invalid", "union_tag_not_found"), "must be one of the known types: code, semantic"),
}
"""By pydantic's name of the fault."""


def _words(problem: ErrorDetails) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    return _RULES.get(problem["type"]) or re.sub(r"^(Input|String) should (be|have)", r"must \2", message)


def _of_graph(steps: list[tuple[int, Json]]) -> Iterator[Fault]:
    """Find the faults of steps among one another; each with its index."""
    kinds = {step["name"]: step.get("type") for _, step in steps if "name" in step}
    parses = [step["name"] for _, step in steps if step.get("type") == "PARSE" and "name" in step]
    single = {kind: [index for index, step in steps if step.get("type") == kind] for kind in ("TRIGGER", "PARSE")}
    stuck = endless([step for _, step in steps])
    first: dict[str, int] = {}
    yield from (Fault("steps", f"must have exactly one {kind} step") for kind, found in single.items() if not found)
    for index, step in steps:
        path, name, kind = f"steps.{index}", step.get("name"), step.get("type")
        if name is not None and first.setdefault(name, index) != index:
            yield Fault(f"{path}.name", f"must be unique; steps.{first[name]} has it already")
        if index in single.get(str(kind), ())[1:]:
            yield Fault(f"{path}.type", f"only one step may be a {kind}")
        targets = [(place, entry.get("step")) for place, entry in entries(step)]
        if kind == "TRIGGER" and not (len(targets) == 1 and targets[0][1] in parses):
            yield Fault(f"{path}.next", "must have one entry, which names the PARSE step")
        if name in stuck:
            yield Fault(f"{path}.next", "is on a cycle that cannot end: some way out of it must lead elsewhere")
        for place, target in targets:
            if isinstance(target, str) and target and target not in kinds:
                yield Fault(f"{path}.next.{place}.step", "must be the name of a step")
            elif isinstance(target, str) and kinds.get(target) == "TRIGGER":
                yield Fault(f"{path}.next.{place}.step", "nothing leads back to the TRIGGER")
        yield from _of_choices(path, step)


def _of_choices(path: str, step: Json) -> Iterator[Fault]:
    """Find ids in `next` that are not among those that the step's own configuration makes."""
    choices, made = choices_of(step), listed_choices(step)
    if choices is None or made is None:
        return
    seen = set(choices.others)
    for number, each in enumerate([item.get("id") for item in made if isinstance(item, dict)]):
        if isinstance(each, str) and each in seen:
            rule = "is reserved" if each in choices.others else "must be unique"
            yield Fault(f"{path}.config.{choices.place}.{number}.id", rule)
        seen |= {each} if isinstance(each, str) else set()
    for number, entry in entries(step):
        chosen = entry.get(choices.key)
        if isinstance(chosen, str) and chosen and chosen not in seen:
            rule = " or ".join([f"must be one of the ids in config.{choices.place}", *choices.others])
            yield Fault(f"{path}.next.{number}.{choices.key}", rule)


def _without_other(index: int, step: Json) -> list[str]:
    """Return the path of an inline processor's classifications without an entry of type `other`."""
    choices, made = choices_of(step), listed_choices(step)
    if not (choices and choices.key == "classificationId" and made and all(isinstance(item, dict) for item in made)):
        return []
    return [] if any(item.get("type") == "other" for item in made) else [f"steps.{index}.config.{choices.place}"]


def _python_blocks(index: int, step: Json) -> Iterator[str]:
    """Iterate over the paths of the languages of a step's Python blocks."""
    for place, language in (("blocks", "code.language"), ("branches", "block.code.language")):
        made = at(step.get("config"), place)
        for number, item in enumerate(made if isinstance(made, list) else []):
            if at(item, language) == "python":
                yield f"steps.{index}.config.{place}.{number}.{language}"
