from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.views.untrusted import tree_lines

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(JSON)
def test_any_json_becomes_lines(value: Any) -> None:
    assert all("\n" not in line for line in tree_lines(value))


def test_every_leaf_stands_on_a_line_of_its_own() -> None:
    lines = tree_lines({"a": {"b": ["x", {"c": None}], "n": [1, 2.5, True]}, "t": "one\ntwo", "e": {}, "odd key": 1})
    assert lines == [
        "a:",
        " b:",
        "  [0]: «x»",
        "  [1]:",
        "   c: null",
        " n: [1, 2.5, true]",
        "t:",
        "| one",
        "| two",
        "e: {}",
        "«odd key»: 1",
    ]


def test_bottomless_nesting_ends_in_one_line_of_json() -> None:
    value: Any = "deep"
    for _ in range(200):
        value = {"k": value}
    lines = tree_lines(value)
    assert len(lines) == 41
    assert "deep" in lines[-1]
