"""Each rule of a definition alone: which path is named, and that nothing else is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from extend_mcp.workflows.check import find_faults, find_warnings

Steps = list[dict[str, Any]]
GOOD: Steps = [
    {"name": "trigger", "type": "TRIGGER", "next": [{"step": "parse"}]},
    {"name": "parse", "type": "PARSE", "next": [{"step": "sort"}]},
    {
        "name": "sort",
        "type": "CLASSIFY",
        "config": {
            "classifierConfig": {
                "classifications": [
                    {"id": "a", "type": "a", "description": "An a"},
                    {"id": "o", "type": "other", "description": "Anything else"},
                ]
            }
        },
        "next": [{"step": "read", "classificationId": "a"}],
    },
    {
        "name": "read",
        "type": "EXTRACT",
        "config": {"extractor": {"id": "ex_1", "version": "latest"}},
        "next": [{"step": "pick"}],
    },
    {
        "name": "pick",
        "type": "CONDITIONAL_EXTRACT",
        "config": {"rules": [{"formula": "TRUE", "extractor": {"id": "ex_2", "version": "draft"}}]},
        "next": [{"step": "route"}],
    },
    {
        "name": "route",
        "type": "ROUTER",
        "config": {"branches": [{"id": "b", "name": "B"}]},
        "next": [{"step": "check", "branchId": "b"}, {"step": "done", "branchId": "otherwise"}],
    },
    {
        "name": "check",
        "type": "VALIDATION",
        "config": {"blocks": [{"blockType": "semantic", "name": "n", "semantic": {"promptText": "?"}}]},
        "next": [{"step": "done", "result": "pass"}],
    },
    {"name": "done", "type": "WEBHOOK_RESPONSE"},
]


def test_the_good_one_is_good() -> None:
    assert find_faults(GOOD, deploying=True) == []


def set_to(*path: Any) -> Callable[[Steps], None]:
    *way, last, value = path

    def change(steps: Steps) -> None:
        holder: Any = steps
        for key in way:
            holder = holder[key]
        holder[last] = value

    return change


def drop(*path: Any) -> Callable[[Steps], None]:
    *way, last = path

    def change(steps: Steps) -> None:
        holder: Any = steps
        for key in way:
            holder = holder[key]
        del holder[last]

    return change


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (set_to(3, "name", "sort"), {"steps.2.next.0.step", "steps.3.name"}),
        (set_to(3, "name", ""), {"steps.2.next.0.step", "steps.3.name"}),
        (set_to(3, "type", "READ"), {"steps.3.type"}),
        (drop(3, "type"), {"steps.3.type"}),
        (set_to(1, "type", "COLLECT"), {"steps", "steps.0.next"}),
        (lambda steps: steps.append({"name": "again", "type": "PARSE"}), {"steps.8.type"}),
        (lambda steps: steps.append({"name": "t", "type": "TRIGGER", "next": [{"step": "parse"}]}), {"steps.8.type"}),
        (set_to(0, "next", []), {"steps.0.next"}),
        (set_to(0, "next", [{"step": "read"}]), {"steps.0.next"}),
        (set_to(1, "next", 0, "step", "nowhere"), {"steps.1.next.0.step"}),
        (set_to(4, "next", 0, "step", "trigger"), {"steps.4.next.0.step"}),
        (
            lambda steps: (set_to(1, "next", 0, "step", "read")(steps), set_to(4, "next", 0, "step", "trigger")(steps)),
            {"steps.4.next.0.step", *(f"steps.{index}.next" for index in (0, 1, 3, 4))},
        ),
        (set_to(2, "next", 0, "classificationId", "z"), {"steps.2.next.0.classificationId"}),
        (drop(2, "next", 0, "classificationId"), {"steps.2.next.0.classificationId"}),
        (set_to(6, "next", 0, "result", "maybe"), {"steps.6.next.0.result"}),
        (set_to(5, "next", 0, "branchId", "z"), {"steps.5.next.0.branchId"}),
        (
            set_to(5, "config", "branches", 0, "id", "otherwise"),
            {"steps.5.config.branches.0.id", "steps.5.next.0.branchId"},
        ),
        (set_to(3, "config", "extractorConfig", {"schema": {}}), {"steps.3.config"}),
        (drop(3, "config", "extractor"), {"steps.3.config"}),
        (set_to(3, "config", "extractor", "version", "newest"), {"steps.3.config.extractor.version"}),
        (
            set_to(2, "config", {"classifier": {"id": "cl_1", "version": "latest"}}),
            {"steps.2.config.classifier.version"},
        ),
        (set_to(4, "config", "rules", 0, "formula", "a > 1"), {"steps.4.config.rules"}),
        (set_to(4, "config", "rules", []), {"steps.4.config.rules"}),
        (set_to(6, "config", "blocks", 0, "blockType", "magic"), {"steps.6.config.blocks.0"}),
        (drop(6, "config", "blocks", 0, "name"), {"steps.6.config.blocks.0.name"}),
        (set_to(7, "next", [{"step": "read"}]), {"steps.7.next"}),
        (set_to(3, "next", 0, "step", "read"), {"steps.3.next"}),
    ],
)
def test_one_fault_is_named_by_its_path(change: Callable[[Steps], None], paths: set[str]) -> None:
    steps = copy.deepcopy(GOOD)
    change(steps)
    assert {fault.path for fault in find_faults(steps, deploying=True)} == paths


def test_a_block_without_a_kind_is_answered_with_the_kinds_of_blocks() -> None:
    steps = copy.deepcopy(GOOD)
    drop(6, "config", "blocks", 0, "blockType")(steps)
    [fault] = find_faults(steps)
    assert (fault.path, fault.rule) == ("steps.6.config.blocks.0", "must be one of the known types: code, semantic")


def test_an_unconfigured_step_may_be_drafted_without_next() -> None:
    steps = copy.deepcopy(GOOD)
    del steps[3]["config"]
    assert [fault.path for fault in find_faults(steps)] == ["steps.3.next"]
    del steps[3]["next"]
    assert find_faults(steps) == []
    assert [fault.path for fault in find_faults(steps, deploying=True)] == ["steps.3.config"]


@pytest.mark.parametrize("steps", [None, {}, [], "x", 5])
def test_what_is_no_list_of_steps_is_one_fault(steps: Any) -> None:
    assert [fault.path for fault in find_faults(steps)] == ["steps"]


def test_faults_come_in_the_order_of_the_steps() -> None:
    steps = [{"name": f"s{number}"} for number in range(12)]
    indexes = [int(fault.path.split(".")[1]) for fault in find_faults(steps) if "." in fault.path]
    assert indexes == sorted(indexes)


@pytest.mark.parametrize(
    ("kind", "place"),
    [("CLASSIFY", "classifierConfig.classifications"), ("SPLIT", "splitterConfig.splitClassifications")],
)
def test_an_inline_processor_without_other_is_warned_of_and_not_deployed(kind: str, place: str) -> None:
    steps = copy.deepcopy(GOOD)
    config, key = place.split(".")
    steps[2] |= {"type": kind, "config": {config: {key: [{"id": "a", "type": "a", "description": "An a"}]}}}
    path = f"steps.2.config.{place}"
    assert find_faults(steps) == []
    assert [each.path for each in find_warnings(steps)] == [path]
    assert [fault.path for fault in find_faults(steps, deploying=True)] == [path]
    assert find_warnings(steps, deploying=True) == []


@pytest.mark.parametrize(
    ("language", "faulty", "warned"),
    [("javascript", False, False), ("python", False, True), ("typescript", True, False), ("ruby", True, False)],
)
def test_only_javascript_runs_and_python_is_warned_of(language: str, faulty: bool, warned: bool) -> None:
    block = {"blockType": "code", "name": "n", "code": {"language": language, "code": "x"}}
    steps = copy.deepcopy(GOOD)
    steps[5]["config"]["branches"][0]["block"] = block
    steps[6]["config"]["blocks"] = [block]
    paths = ["steps.5.config.branches.0.block.code.language", "steps.6.config.blocks.0.code.language"]
    assert [fault.path for fault in find_faults(steps)] == (paths if faulty else [])
    for deploying in (False, True):
        assert [each.path for each in find_warnings(steps, deploying=deploying)] == (paths if warned else [])


@pytest.mark.parametrize("steps", [None, {}, [None], [{"type": ["CLASSIFY"]}], [{"type": "VALIDATION", "config": [1]}]])
def test_warnings_read_anything(steps: Any) -> None:
    assert find_warnings(steps) == []
