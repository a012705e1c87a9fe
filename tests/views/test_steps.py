"""One part of a step's result by its path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.models import StepRun, WorkflowRun
from extend_mcp.views.steps import NoSuchPartError, lines_with, select_part, step_view
from tests.harness import example


def extract_step() -> StepRun:
    steps = example("workflow_run.allsteps")["stepRuns"]
    return StepRun.model_validate(next(step for step in steps if step["stepType"] == "EXTRACT"))


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [found for key, item in value.items() for found in leaves(item, f"{path}.{key}" if path else key)]
    if isinstance(value, list) and value:
        return [found for index, item in enumerate(value) for found in leaves(item, f"{path}[{index}]")]
    return [(path, value)]


def test_every_extracted_value_is_found_by_its_path() -> None:
    step = extract_step()
    assert step.result
    found = leaves(step.result["extractRun"]["output"]["value"])
    assert found
    for path, value in found:
        assert str(value) in "\n".join(select_part(step, path)[0])


def test_a_field_is_one_line_and_its_place_on_the_page_is_shown_on_request() -> None:
    step = extract_step()
    assert step.result
    output = step.result["extractRun"]["output"]
    corner = {"polygon": [{"x": 61.25, "y": 529.0}], "page": {"number": 3}}
    output["metadata"]["total"] |= {"reviewAgentScore": 2, "citations": [corner]}
    short = select_part(step, "total")
    assert short == (["total: 120.5 (confidence 0.97, review score 2 of 5, page 3)"], True)
    assert "61.25" in "\n".join(select_part(step, "total", "full")[0])
    whole = step_view(WorkflowRun(), step, detail="concise", page=1, limit=8000).text
    assert "total: 120.5 (confidence 0.97, review score 2 of 5, page 3)" in whole
    assert "61.25" not in whole


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("PARSE", ["5 pages, 1 chunk", "Chunk 1 (page, pages 1-1):", "| This is the content of the chunk."]),
        ("CLASSIFY", ["type «invoice», confidence 0.98", "- «Header says Invoice»"]),
        ("SPLIT", ["1 part: 1 «invoice»", "1-2: «invoice» «INV-001» file_child1 «pages 1-2»"]),
        (
            "EXTRACT",
            [
                "2 fields, lowest confidence 0.97 («total»)",
                "invoice_number: «INV-001» (confidence 0.99)",
                "total: 120.5 (confidence 0.97)",
            ],
        ),
        (
            "RULE_VALIDATION",
            [
                "1 of 3 rules passed; not: «lines ok» RULE_FAILED, «bad formula» PARSE_ERROR",
                "passed: «total positive»",
                "FAILED: «lines ok» RULE_FAILED (items failed: [1])",
                "FAILED: «bad formula» PARSE_ERROR - error «unexpected token»",
            ],
        ),
        ("VALIDATION", ["1 of 1 block passed", "passed: «sum check» - reasoning «matches»"]),
        ("ROUTER", ["took branch «High value»", "took: «High value»"]),
        ("EXTERNAL_DATA_VALIDATION", ["HTTP 200, data: «ok»", "status: 200", "data:", " ok: true"]),
    ],
)
def test_each_type_of_step_has_its_lines(kind: str, lines: list[str]) -> None:
    [step] = [step for step in example("workflow_run.allsteps")["stepRuns"] if step["stepType"] == kind]
    view = step_view(WorkflowRun(), StepRun.model_validate(step), detail="concise", page=1, limit=8000)
    assert view.step_result.content.splitlines() == lines


def test_lines_with_a_text_are_below_what_they_belong_to() -> None:
    far = "x" * 500
    lines = [
        "Chunk 1 (page 1):",
        "| one",
        "| Sixty  Days",
        "Chunk 2 (page 2):",
        f"| {far}sixty days{far}",
        "| sixty days",
    ]
    found = lines_with(lines, "sixty days")
    assert found[:3] == ["Chunk 1 (page 1):", "| Sixty  Days", "Chunk 2 (page 2):"]
    assert found[3].startswith("| …xxx")
    assert len(found[3]) < 400
    assert found[4:] == ["| sixty days"]
    assert lines_with(["a:", " b:", "  c: 1", " d:", "  c: 2"], "c:") == ["a:", " b:", "  c: 1", " d:", "  c: 2"]


def test_a_field_with_a_dot_in_its_name_is_found() -> None:
    step = StepRun.model_validate({"result": {"extractRun": {"output": {"value": {"net.total": {"eur": 5}}}}}})
    assert select_part(step, "net.total.eur") == (["net.total.eur:", " : 5"], False)


@pytest.mark.parametrize("path", ["nothing", "[0]", "...", "output[3]", "value.x.y"])
def test_what_is_not_there_lists_what_is(path: str) -> None:
    with pytest.raises(NoSuchPartError):
        select_part(extract_step(), path)


@given(st.text(max_size=30))
def test_any_path_is_a_part_or_no_such_part(path: str) -> None:
    try:
        lines, _ = select_part(extract_step(), path)
    except NoSuchPartError:
        return
    assert lines
