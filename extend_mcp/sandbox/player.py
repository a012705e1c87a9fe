"""Plays any definition: walks its routing for a file and plans the steps that a run would take.

Words in the file's name steer it: an id (or its last part) that occurs in the name is chosen where a step chooses,
and `review` makes a check fail.
"""

from collections import deque
from dataclasses import replace
from datetime import datetime
from typing import Any

from extend_mcp.sandbox.definitions import CHOOSING, declared
from extend_mcp.sandbox.dice import Dice, IdMaker
from extend_mcp.sandbox.errors import JsonObject
from extend_mcp.sandbox.plan import PlannedStep, ResultBuilder
from extend_mcp.sandbox.scenarios import step_results as results
from extend_mcp.sandbox.scenarios.documents import Document, read_document
from extend_mcp.sandbox.scenarios.failures import BY_WORD_IN_NAME
from extend_mcp.sandbox.store import FileInput


def play(steps: list[JsonObject], item: FileInput, ids: IdMaker, created: datetime) -> tuple[PlannedStep, ...]:
    """Plan a run of a definition that has been checked; each step runs at most once."""
    document = read_document("invoice", item, created)
    by_name = {step["name"]: step for step in steps}
    queue = deque(step for step in steps if step["type"] == "TRIGGER")
    planned: list[PlannedStep] = []
    seen: set[str] = set()
    while queue:
        step = queue.popleft()
        if step["name"] in seen:
            continue
        seen.add(step["name"])
        chosen = _choose(step, document)
        if step["type"] == "HUMAN_REVIEW" and planned:
            planned[-1] = replace(planned[-1], needs_review=True)
        build = _builder(step, document, chosen)
        if build is not None:
            planned.append(_planned(step, document, build))
        key = CHOOSING.get(step["type"])
        for entry in step.get("next") or []:
            if key is None or entry[key] == chosen:
                queue.append(by_name[entry["step"]])
    return tuple(planned)


def _planned(step: JsonObject, document: Document, build: ResultBuilder) -> PlannedStep:
    name = str(document.file["name"]).lower()
    failure = next((each for word, each in BY_WORD_IN_NAME.items() if word in name), None)
    return PlannedStep(
        name=step["name"],
        step_type=step["type"],
        step_id="step_" + Dice("definition", step["name"]).token(21),
        seconds=Dice(document.name, step["name"], "seconds").fraction(1.0, 4.0),
        files=(document.file,),
        build_result=build,
        failure=failure if step["type"] == "PARSE" else None,
    )


def _choose(step: JsonObject, document: Document) -> str | None:
    key = CHOOSING.get(step["type"])
    if key is None:
        return None
    name = document.name.lower()
    if step["type"] in ("RULE_VALIDATION", "VALIDATION"):
        return "fail" if "review" in name else "pass"
    known = declared(step) or [entry[key] for entry in step.get("next") or []]
    said = [each for each in known if each.lower() in name or each.lower().rpartition("_")[2] in name]
    return next(iter([*said, *known]), None)


def _builder(step: JsonObject, document: Document, chosen: str | None) -> ResultBuilder | None:
    """What builds the step run's result; None for types that make no step run."""
    config: JsonObject = step.get("config") or {}
    kind, name = step["type"], step["name"]
    if kind == "PARSE":
        return results.parse(document)
    if kind == "EXTRACT":
        return results.extract(document.name, name, _values(config, document))
    if kind == "MERGE_EXTRACT":
        return results.merge_extract(document.name, (name,), document.values)
    if kind == "CONDITIONAL_EXTRACT":
        return results.extract(document.name, name, document.values)
    if kind == "CLASSIFY":
        known = declared(step) or [chosen or "other"]
        kinds = [each.removeprefix("cls_") for each in known]
        return results.classify(document, kinds, (chosen or "other").removeprefix("cls_"), "The heading says so.")
    if kind == "SPLIT":
        return results.split(document, ())
    if kind == "RULE_VALIDATION":
        return results.rules([results.Check(rule["name"], chosen == "pass") for rule in config.get("rules", [])])
    if kind == "VALIDATION":
        checks = [results.Check(block["name"], chosen == "pass") for block in config.get("blocks", [])]
        return results.validation(checks)
    if kind == "ROUTER":
        branches = [(each["id"], each.get("name") or each["id"], "") for each in config.get("branches", [])]
        matched = chosen if chosen in {each[0] for each in branches} else None
        return results.route(branches, matched)
    if kind == "EXTERNAL_DATA_VALIDATION":
        return results.external_response(200, {"ok": True})
    return None


def _values(config: JsonObject, document: Document) -> JsonObject:
    schema: Any = (config.get("extractorConfig") or {}).get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties:
        return document.values
    return {
        str(name): document.values.get(str(name), f"{name} {Dice(document.name, name).between(100, 999)}")
        for name in properties
    }
