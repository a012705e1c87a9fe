"""One part of a step's result by its path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.models import StepRun
from extend_mcp.views.steps import NoSuchPartError, select_lines
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
        assert str(value) in "\n".join(select_lines(step, path))


def test_a_field_comes_with_what_is_known_of_it() -> None:
    step = extract_step()
    assert step.result
    path = next(iter(step.result["extractRun"]["output"]["metadata"]))
    text = "\n".join(select_lines(step, path))
    assert "What is known of it" in text
    assert "onfidence" in text


@pytest.mark.parametrize("path", ["nothing", "[0]", "...", "output[3]", "value.x.y"])
def test_what_is_not_there_lists_what_is(path: str) -> None:
    with pytest.raises(NoSuchPartError):
        select_lines(extract_step(), path)


@given(st.text(max_size=30))
def test_any_path_is_a_part_or_no_such_part(path: str) -> None:
    try:
        lines = select_lines(extract_step(), path)
    except NoSuchPartError:
        return
    assert lines
