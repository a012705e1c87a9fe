"""Workflows as graph, diagram and difference: whatever the definition holds, lines stay lines and labels labels."""

from __future__ import annotations

import copy
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from extend_mcp.views.workflows import diff_lines, graph_lines, mermaid_lines
from tests.workflows.definitions import changed_graphs, graphs

NASTY = st.text(
    alphabet=st.sampled_from(list("ab \n\r\t\"'`<>[](){}|\\#;&%«»-=>:\u202e\u200b\x1b\x00é漢")), min_size=1, max_size=30
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NASTY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NASTY, inner, max_size=3),
    max_leaves=8,
)
STEP = st.fixed_dictionaries(
    {},
    optional={
        "name": NASTY | JSON,
        "type": st.sampled_from(["TRIGGER", "PARSE", "CLASSIFY", "ROUTER", "TOMORROWS_TYPE"]) | JSON,
        "config": JSON,
        "next": st.lists(st.dictionaries(st.sampled_from(["step", "branchId", "result"]), NASTY, max_size=3)) | JSON,
    },
)
NODE = re.compile(r'  n\d+(\["[^"]+"\]|\{"[^"]+"\})')
EDGE = re.compile(r'  n\d+ -->(\|"[^"]+"\|)? n\d+')


def named(*names: str) -> list[dict[str, Any]]:
    """A chain of steps of these names."""
    return [
        {"name": name, "type": "HUMAN_REVIEW", "next": [{"step": after}] if after else []}
        for name, after in zip(names, [*names[1:], ""], strict=True)
    ]


@settings(max_examples=150)
@given(st.lists(STEP, max_size=5))
def test_a_graph_is_a_line_a_step_whatever_the_steps_hold(steps: list[Any]) -> None:
    lines = graph_lines(steps)
    heads = [line for line in lines if line not in ("No steps.", "Nothing leads to:")]
    assert len(heads) == len(steps)
    for number, line in enumerate(heads, 1):
        assert line.startswith(f"{number}. ")
        assert line.isprintable()


@settings(max_examples=150)
@given(st.lists(STEP, max_size=5))
def test_a_diagram_has_nodes_and_edges_and_nothing_else(steps: list[Any]) -> None:
    first, *rest = mermaid_lines(steps)
    assert first == "flowchart TD"
    nodes = [line for line in rest if NODE.fullmatch(line)]
    edges = [line for line in rest if EDGE.fullmatch(line)]
    assert len(nodes) == len(steps)
    assert len(nodes) + len(edges) == len(rest)
    for label in re.findall(r'"([^"]+)"', "\n".join(rest)):
        assert not re.search(r"[<>`\[\](){}|\\#;&%]", label.replace("<br/>", ""))
        assert "--" not in label


@given(graphs())
def test_nothing_differs_from_itself(steps: Any) -> None:
    assert diff_lines(steps, copy.deepcopy(steps)) == ["No difference in the steps."]


@settings(max_examples=200)
@given(changed_graphs(), changed_graphs())
def test_a_difference_is_told_whenever_there_is_one(before: Any, after: Any) -> None:
    before = [step for step in before if isinstance(step, dict)] if isinstance(before, list) else []
    after = [step for step in after if isinstance(step, dict)] if isinstance(after, list) else []
    lines = diff_lines(before, after)
    assert lines
    assert all(line.isprintable() for line in lines)
    if _gist(before) != _gist(after):
        assert lines != ["No difference in the steps."]


def _gist(steps: list[Any]) -> dict[str, Any]:
    """Return the meaning of steps: an empty `next` or `config` counts as missing, and only objects lead anywhere."""
    gist = {}
    for step in steps:
        following = step.get("next")
        leads = (
            [each.get("step") for each in following if isinstance(each, dict)] if isinstance(following, list) else []
        )
        gist[str(step.get("name"))] = (str(step.get("type")), str(leads), str(step.get("config")))
    return gist


def test_what_changed_is_named_with_before_and_after() -> None:
    before = [
        *named("a", "b"),
        {"name": "x", "type": "EXTRACT", "config": {"extractor": {"id": "ex_1", "version": "1"}}},
        {"name": "old", "type": "COLLECT"},
    ]
    after = copy.deepcopy(before)
    after[2]["config"]["extractor"]["version"] = "2"
    after[0]["next"] = []
    after[1]["type"] = "COLLECT"
    after[3] = {"name": "new", "type": "COLLECT"}
    text = "\n".join(diff_lines(before, after))
    for part in (
        "«x»",
        '«.extractor.version»: «"1"» -> «"2"»',
        "«old»",
        "«new»",
        "leads -> «b»; now -> end",
        "type: HUMAN_REVIEW -> COLLECT",
    ):
        assert part in text


def test_a_deeply_nested_definition_is_compared() -> None:
    deep: Any = "leaf"
    for _ in range(5000):
        deep = {"d": deep}
    lines = diff_lines([{"name": "a", "type": "PARSE", "config": deep}], [{"name": "a", "type": "PARSE"}])
    assert len("\n".join(lines)) < 2000
