"""Every wrong type for every argument of every tool, by introspection: field, rule and example, in few tokens."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from evals.room import tokens
from extend_mcp.tools.base import ExtendTool
from extend_mcp.tools.explain import explain_arguments
from tests.calls import tools
from tests.harness import ERAS, Box, Mode, serving, text_of

pytestmark = pytest.mark.thorough

SCENARIO = "empty"
CANARY = "canary_8f2b"
TOOLS = tools()
MOST_TOKENS = 300

# One of each type of JSON, and of each kind of trouble: nested, blank, long, huge, no Unicode; most hold a canary.
WRONG: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    float("nan"),
    float("inf"),
    "",
    " ",
    CANARY,
    CANARY * 1000,
    f"\x00{CANARY}",
    f"\ud800{CANARY}",
    f"[{CANARY}",
    "[" * 5000,
    [],
    [CANARY],
    [1, CANARY],
    [[CANARY]],
    [None],
    [{CANARY: CANARY}],
    [{"file": [CANARY], "secrets": CANARY}],
    {},
    {CANARY: CANARY},
    {"a": {"b": [CANARY]}},
)
# What pydantic, its documentation or Python would say.
RAW = ("pydantic", "validation error", "[type=", "input_value", "instance of", "Traceback", "Input should", "Arguments")


def problem_of(tool: ExtendTool, arguments: dict[str, Any]) -> str | None:
    """Return how wrong arguments are explained; None if the schema takes them."""
    try:
        tool.validated(arguments)
    except ValidationError as error:
        return explain_arguments(tool.name, tool.fn_metadata, error)
    return None


def line_of(text: str, argument: str) -> str | None:
    """Return what is said of one argument."""
    return next((line for line in text.splitlines() if re.match(rf"- {argument}[:.\[]", line)), None)


def required(tool: ExtendTool, argument: str) -> dict[str, Any]:
    """The examples that the server gives for the tool's other arguments, so that one is wrong alone."""
    text = problem_of(tool, {}) or ""
    examples = dict(re.findall(r"^- \w+: is required\. Example: (\w+)=(.*)$", text, re.M))
    return {name: json.loads(value) for name, value in examples.items() if name != argument}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_it_names_field_rule_and_a_good_example(tool: ExtendTool) -> None:
    refused = 0
    for argument in tool.fn_metadata.arg_model.model_fields:
        others = required(tool, argument)
        for wrong in WRONG:
            text = problem_of(tool, {**others, argument: wrong})
            if text is None:
                continue
            refused += 1
            line = line_of(text, argument)
            assert line, f"{argument}={wrong!r:.40}: {text}"
            found = re.match(rf"- [^:]+: (.{{8,}})\. Example: {argument}=(.+)$", line)
            assert found, line
            again = problem_of(tool, {**others, argument: json.loads(found[2])})
            assert again is None or line_of(again, argument) is None, f"the example is refused: {again}"
            assert tokens(text) < MOST_TOKENS, text
            # A name is the caller's own and is said; a value never is, whatever argument it was given for.
            assert CANARY not in re.sub(rf"\.{CANARY}: ", "", text), text
            assert not [raw for raw in RAW if raw in text.partition(":")[2]], text
    assert refused >= len(tool.fn_metadata.arg_model.model_fields)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_all_wrong_at_once_is_still_short(tool: ExtendTool) -> None:
    names = [*tool.fn_metadata.arg_model.model_fields]
    for wrong in (None, 1.5, [[CANARY]], CANARY * 10_000):
        text = problem_of(tool, dict.fromkeys([*names, *(f"{n}-{CANARY}" * 50 for n in range(50))], wrong))
        assert text
        assert tokens(text) < MOST_TOKENS, text
    strange = problem_of(tool, {f"\u202e\x1b[31m\U0001f512{n}" * 30: CANARY for n in range(5)})
    assert strange
    assert tokens(strange) < MOST_TOKENS, strange
    assert "\x1b" not in strange
    assert "\u202e" not in strange


def test_a_fault_inside_of_a_list_says_where() -> None:
    text = problem_of(TOOLS["run_workflow_batch"], {"workflow": "x", "inputs": [{"text": "a"}, {"url": CANARY}]})
    assert text
    assert "- inputs[1].url: is not a known field. Example: inputs=[{" in text
    assert CANARY not in text


@pytest.mark.parametrize("mode", ERAS)
async def test_every_tool_goes_on_answering(box: Box, mode: Mode) -> None:
    # Over the wire as well: what a client can send is more than what a validator is given.
    sent = 0
    async with serving(box, mode=mode, toolsets="all") as client:
        for tool in TOOLS.values():
            for argument in tool.fn_metadata.arg_model.model_fields:
                others = required(tool, argument)
                wrong = next(each for each in (1.5, [[1]], "") if problem_of(tool, {**others, argument: each}))
                result = await client.call_tool(tool.name, {**others, argument: wrong})
                assert result.is_error
                assert line_of(text_of(result), argument)
                sent += 1
            good = await client.call_tool("list_runs", {})
            assert not good.is_error
    assert sent > 100
    # Nothing but the good calls went to Extend.
    assert len(box.requests()) == len(TOOLS)
