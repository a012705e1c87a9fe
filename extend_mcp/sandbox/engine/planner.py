"""Plan the steps that a run of any definition takes for a file.

The file's name decides: a step chooses the ID that occurs in the name, in whole or its last part,
and `review` in the name makes a check fail.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeGuard

from extend_mcp.sandbox.engine import result_builders as results
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.definitions import CHOOSING, choices_of
from extend_mcp.sandbox.engine.run_plan import Failure, PlannedStep, ResultBuilder, StepMoment, failure_for
from extend_mcp.sandbox.engine.sample_documents import Document, Section, part_file, read_document
from extend_mcp.sandbox.engine.seeded_random import IdMaker, SeededRandom
from extend_mcp.sandbox.engine.store import FileInput
from extend_mcp.sandbox.engine.validation import JsonObject

_JOINING = frozenset({"MERGE_EXTRACT", "COLLECT"})
"""Types of steps that bring the parts of a split back together."""


@dataclass(frozen=True)
class _Visit:
    """A step that is reached with a document. `after` is the index of the planned step before it, if any."""

    step: JsonObject
    document: Document
    after: int | None


def plan_steps(steps: list[JsonObject], item: FileInput, ids: IdMaker, created: datetime) -> tuple[PlannedStep, ...]:
    """Plan a run of a definition that has been checked. Each step runs at most once for a file or part."""
    return _Planner(steps, item, ids, created).plan()


class _Planner:
    def __init__(self, steps: list[JsonObject], item: FileInput, ids: IdMaker, created: datetime) -> None:
        self._by_name = {step["name"]: step for step in steps}
        self._ids = ids
        self._created = created
        self._whole = read_document("invoice", item, created)
        self._planned: list[PlannedStep] = []
        self._next = deque(_Visit(step, self._whole, None) for step in steps if step["type"] == "TRIGGER")
        # A join waits until no part can proceed without it.
        self._joins: deque[_Visit] = deque()
        self._seen: set[tuple[str, str]] = set()
        # The SPLIT steps that a part came from. None splits it again, or a cycle would never end.
        self._split_by: dict[str, frozenset[str]] = {}

    def plan(self) -> tuple[PlannedStep, ...]:
        while self._next or self._joins:
            visit = self._next.popleft() if self._next else self._joins.popleft()
            key = (visit.step["name"], visit.document.file["id"])
            if key not in self._seen:
                self._seen.add(key)
                self._visit(visit)
        return tuple(self._planned)

    def _visit(self, visit: _Visit) -> None:
        step, document = visit.step, visit.document
        if step["type"] == "HUMAN_REVIEW" and visit.after is not None:
            self._planned[visit.after] = replace(self._planned[visit.after], needs_review=True)
        if step["type"] == "SPLIT":
            self._split(step, document)
            return
        chosen = _choose(step, document)
        build = _with_saved_processor(step, _builder(step, document, chosen))
        after = visit.after if build is None else self._add(_planned(step, document, build))
        key = CHOOSING.get(step["type"])
        for entry in step.get("next") or []:
            if key is None or entry[key] == chosen:
                self._follow(entry["step"], document, after)

    def _split(self, step: JsonObject, document: Document) -> None:
        split_by = self._split_by.get(document.file["id"], frozenset())
        if step["name"] in split_by:
            return
        kinds = _kinds(step, "splitterConfig", "splitClassifications")
        parts = _split_pages(document, kinds, self._ids, self._created)
        build = _with_saved_processor(step, results.split(parts, kinds))
        assert build
        planned = _planned(step, document, build)
        after = self._add(replace(planned, makes=tuple(part.file for part in parts)))
        for part in parts:
            self._split_by[part.file["id"]] = split_by | {step["name"]}
            piece = read_document("invoice", FileInput(part.file), self._created)
            for entry in step.get("next") or []:
                if entry["classificationId"] == part.classification_id:
                    self._follow(entry["step"], piece, after)

    def _add(self, planned: PlannedStep) -> int:
        self._planned.append(planned)
        return len(self._planned) - 1

    def _follow(self, name: str, document: Document, after: int | None) -> None:
        step = self._by_name[name]
        if step["type"] in _JOINING:
            self._joins.append(_Visit(step, self._whole, after))
        else:
            self._next.append(_Visit(step, document, after))


def plan_step(
    document: Document,
    name: str,
    step_type: str,
    build: ResultBuilder,
    *,
    seed: str,
    file: JsonObject | None = None,
    needs_review: bool = False,
    failure: Failure | None = None,
) -> PlannedStep:
    """Plan one step for a document. The step's ID follows from the seed and its name."""
    return PlannedStep(
        name=name,
        step_type=step_type,
        step_id="step_" + SeededRandom(seed, name).token(21),
        seconds=SeededRandom(document.name, name, "seconds").fraction(1.0, 4.0),
        files=(file or document.file,),
        build_result=build,
        needs_review=needs_review,
        failure=failure,
    )


def _planned(step: JsonObject, document: Document, build: ResultBuilder) -> PlannedStep:
    failure = failure_for(document.name) if step["type"] == "PARSE" else None
    return plan_step(document, step["name"], step["type"], build, seed="definition", failure=failure)


def _choose(step: JsonObject, document: Document) -> str | None:
    key = CHOOSING.get(step["type"])
    if key is None:
        return None
    if step["type"] in ("RULE_VALIDATION", "VALIDATION"):
        return "fail" if document.needs_review else "pass"
    known = choices_of(step) or [entry[key] for entry in step.get("next") or []]
    return next(iter([*_named(known, document), *known]), None)


def _named(known: Sequence[str], document: Document) -> list[str]:
    name = document.name.lower()
    return [each for each in known if each.lower() in name or each.lower().rpartition("_")[2] in name]


def _kinds(step: JsonObject, inline: str, key: str) -> list[JsonObject]:
    """Return the classifications of a step: its own, or those that its routes name for a saved processor."""
    own = ((step.get("config") or {}).get(inline) or {}).get(key)
    if own is not None:
        return list(own)
    routed = dict.fromkeys(entry["classificationId"] for entry in step.get("next") or [])
    return [{"id": each, "type": each.removeprefix("cls_"), "description": each} for each in routed or ["other"]]


def _split_pages(document: Document, kinds: list[JsonObject], ids: IdMaker, created: datetime) -> list[results.Part]:
    """Split the pages into one part per kind: the kinds in the file's name, or all but `other`."""
    named = _named([kind["id"] for kind in kinds], document)
    wanted = [kind for kind in kinds if kind["id"] in named or (not named and kind["type"] != "other")] or kinds
    wanted = wanted[: document.pages]
    length = document.pages // len(wanted)
    parts = []
    for place, kind in enumerate(wanted):
        last = document.pages if place == len(wanted) - 1 else (place + 1) * length
        section = Section(kind["type"], f"{kind['type']} {place + 1}", place * length + 1, last, {})
        parts.append(results.Part(section, part_file(document.file, section, ids, created), kind["id"]))
    return parts


def _builder(step: JsonObject, document: Document, chosen: str | None) -> ResultBuilder | None:
    """Return the builder of the step run's result, or None for types that have no step run."""
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
        known = _kinds(step, "classifierConfig", "classifications")
        return results.classify(document, known, chosen or "other", "The heading says so.")
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


def _with_saved_processor(step: JsonObject, build: ResultBuilder | None) -> ResultBuilder | None:
    """Put the saved processor of the step, if any, into its results."""
    config = step.get("config") or {}
    kind = next((each for each in ("extractor", "classifier", "splitter") if config.get(each)), None)
    if build is None or kind is None:
        return build

    def build_named(moment: StepMoment) -> JsonObject | None:
        result = build(moment)
        for child in wire.child_runs(result):
            child[kind] |= {"id": config[kind]["id"], "name": f"{kind} of {step['name']}"}
            child[f"{kind}Version"] |= {f"{kind}Id": config[kind]["id"], "version": config[kind]["version"]}
        return result

    return build_named


def _values(config: JsonObject, document: Document) -> JsonObject:
    schema: Any = (config.get("extractorConfig") or {}).get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties:
        return document.values
    return {
        str(name): document.values.get(str(name), f"{name} {SeededRandom(document.name, name).between(100, 999)}")
        for name in properties
    }


def plan_generic_steps(run: JsonObject, ids: IdMaker, now: datetime) -> tuple[PlannedStep, ...]:
    """Plan steps for a loaded run of any shape: parse and extract its first file, or a new one if that is unusable."""
    files = run.get("files")
    first = files[0] if isinstance(files, list) and files else None
    file = first if _is_usable_file(first) else wire.file_summary(ids("file_"), "document.pdf", 1, now)
    document = read_document("invoice", FileInput(file), now)
    extraction = results.extract(document.name, "Generic Extractor", document.values)
    return (
        plan_step(document, "Parse", "PARSE", results.parse(document), seed="invoice"),
        plan_step(document, "Extract", "EXTRACT", extraction, seed="invoice"),
    )


def _is_usable_file(value: object) -> TypeGuard[JsonObject]:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), str) for key in ("id", "name"))
        and isinstance(value.get("metadata"), dict)
    )
