"""Our validator and the sandbox judge every definition alike, though they are written apart."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from extend_mcp.sandbox.engine.definitions import DefinitionReader
from extend_mcp.sandbox.engine.validation import InvalidFieldError
from extend_mcp.workflows.check import find_faults
from tests.workflows.definitions import changed_graphs, graphs

_ARBITRARY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "type", "next", "config", "step"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def refusal(steps: Any, *, deploying: bool) -> str | None:
    """Return what the sandbox says against a definition."""
    try:
        DefinitionReader(400).check(steps, deploying=deploying)
    except InvalidFieldError as error:
        return error.message
    return None


def agree(steps: Any, *, deploying: bool) -> bool:
    faults, refused = find_faults(steps, deploying=deploying), refusal(steps, deploying=deploying)
    assert bool(faults) == (refused is not None), (faults, refused)
    if refused is not None:
        # The sandbox stops at the first fault it meets; it must be among those that we list, or within one.
        # Of a cycle it names the first step that leads into it, we the steps on it.
        rule, _, path = refused.rpartition("; Path: ")
        if "cycle" in rule:
            assert any("cycle" in fault.rule for fault in faults)
            return False
        assert any(path == each.path or path.startswith(each.path) or each.path.startswith(path) for each in faults), (
            path,
            faults,
        )
    return not faults


@settings(max_examples=100, deadline=None)
@given(graphs(), st.booleans())
def test_they_agree_about_graphs(steps: Any, deploying: bool) -> None:
    target(-len(find_faults(steps, deploying=deploying)), label="few faults")
    agree(steps, deploying=deploying)


@settings(max_examples=100, deadline=None)
@given(changed_graphs(), st.booleans())
def test_they_agree_about_changed_graphs(steps: Any, deploying: bool) -> None:
    agree(steps, deploying=deploying)


@settings(max_examples=80, deadline=None)
@given(_ARBITRARY, st.booleans())
def test_they_agree_about_anything_at_all(steps: Any, deploying: bool) -> None:
    agree(steps, deploying=deploying)


def test_the_graphs_are_both_good_and_bad() -> None:
    seen: Counter[bool] = Counter()
    kinds: Counter[str] = Counter()

    @settings(max_examples=400, deadline=None, database=None, derandomize=True)
    @given(graphs())
    def sample(steps: Any) -> None:
        good = not find_faults(steps)
        seen[good] += 1
        if good:
            kinds.update(step["type"] for step in steps)

    sample()
    assert seen[True] > 30
    assert seen[False] > 30
    assert len(kinds) == 16, "good definitions have steps of every type"


@pytest.mark.parametrize("name", [False, 0, {}])
def test_both_refuse_a_branch_whose_name_is_no_text(name: object) -> None:
    steps = [
        {"name": "t", "type": "TRIGGER", "next": [{"step": "p"}]},
        {"name": "p", "type": "PARSE", "next": [{"step": "r"}]},
        {"name": "r", "type": "ROUTER", "config": {"branches": [{"id": "b", "name": name}]}},
    ]
    assert not agree(steps, deploying=False)
