"""Check what an update of a draft keeps, and that a draft holds what was sent. The sandbox merges alike."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings

from extend_mcp.sandbox.engine.definitions import complete_steps
from extend_mcp.workflows.check import find_faults
from extend_mcp.workflows.merge import branches_without_block, contains, merged_draft
from tests.workflows.definitions import graphs

BLOCK: dict[str, Any] = {
    "blockType": "code",
    "name": "Large",
    "code": {"language": "javascript", "code": "return total > 100;"},
}
CHECK: dict[str, Any] = {"name": "check", "type": "VALIDATION", "config": {"blocks": [BLOCK]}}
ROUTE: dict[str, Any] = {
    "name": "route",
    "type": "ROUTER",
    "config": {"branches": [{"id": "large", "name": "Large", "block": BLOCK}]},
}
DRAFT = [CHECK, ROUTE]


@pytest.mark.parametrize("kept", [CHECK, ROUTE], ids=lambda step: step["type"])
@pytest.mark.parametrize("left_out", [{}, {"config": None}], ids=["absent", "null"])
def test_config_that_is_left_out_is_kept(kept: dict[str, Any], left_out: dict[str, Any]) -> None:
    steps = [{"name": kept["name"], "type": kept["type"], **left_out, "next": []}]
    assert merged_draft(DRAFT, steps) == [kept | {"next": []}]


@pytest.mark.parametrize("step", [{"name": "new", "type": "ROUTER"}, {"name": "check", "type": "ROUTER"}])
def test_nothing_is_kept_of_another_step(step: dict[str, Any]) -> None:
    assert merged_draft(DRAFT, [step]) == [step]


def test_other_types_are_replaced_whole() -> None:
    draft = [{"name": "read", "type": "EXTRACT", "config": {"extractor": {"id": "ex_1", "version": "1"}}}]
    assert merged_draft(draft, [{"name": "read", "type": "EXTRACT"}]) == [{"name": "read", "type": "EXTRACT"}]


def test_a_branch_keeps_its_name_and_block_and_a_new_one_has_none() -> None:
    given_steps = [{"name": "route", "type": "ROUTER", "config": {"branches": [{"id": "large"}, {"id": "small"}]}}]
    [merged] = merged_draft(DRAFT, given_steps)
    assert merged["config"]["branches"] == [{"id": "large", "name": "Large", "block": BLOCK}, {"id": "small"}]
    assert branches_without_block([merged]) == [("route", "small")]
    [renamed] = merged_draft(DRAFT, [ROUTE | {"config": {"branches": [{"id": "large", "name": "Big"}]}}])
    assert renamed["config"]["branches"] == [{"id": "large", "name": "Big", "block": BLOCK}]


@pytest.mark.parametrize(
    ("whole", "part", "held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([{"a": 1}], [{"a": 1}, {"a": 1}], False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": 1}, {"a": True}, False),
        ("x", {"a": 1}, False),
        (None, [], False),
    ],
)
def test_a_draft_holds_what_was_sent_or_does_not(whole: Any, part: Any, held: bool) -> None:
    assert contains(whole, part) is held


@settings(max_examples=150, deadline=None)
@given(graphs(), graphs())
def test_the_sandbox_makes_the_draft_that_is_predicted(before: Any, after: Any) -> None:
    if find_faults(before) or find_faults(after):
        return
    draft = complete_steps(before, [])
    untouched = copy.deepcopy((draft, after))
    made = complete_steps(after, draft)
    assert (draft, after) == untouched
    assert contains(made, merged_draft(draft, after))
    assert contains(made, after)
    assert branches_without_block(made) == []
