"""The catalogue of example calls reports a missing entry by the tool's name and by the file to add it to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.calls import CALLS, ExampleCall, Needs, calls, first_calls, make_objects
from tests.harness import Box

SCENARIO = "empty"


def test_every_tool_has_an_example_call() -> None:
    calls()


@pytest.mark.parametrize("read", [calls, first_calls])
def test_a_tool_without_an_example_call_is_named(read: Callable[..., object]) -> None:
    for tool in {call.tool for call in CALLS}:
        without = [call for call in CALLS if call.tool != tool]
        with pytest.raises(AssertionError) as failure:
            read(catalogue=without)
        reported = f"{tool} has no example call. Add one to CALLS in tests/calls.py."
        assert reported in str(failure.value).splitlines()


def test_an_example_call_without_a_tool_is_named() -> None:
    left_over = [*CALLS, ExampleCall(tool="old_tool", name="", arguments={})]
    with pytest.raises(AssertionError, match=r"tests/calls.py has an example call of old_tool, which is not a tool\."):
        calls(catalogue=left_over)


def test_each_call_has_a_name_of_its_own() -> None:
    names = [(call.tool, call.name) for call in CALLS]
    assert len(set(names)) == len(names)


def test_one_of_each_object_is_made_and_no_id_is_left_open(box: Box) -> None:
    objects = make_objects(box)
    assert objects.keys() == set(Needs)
    assert "Needs." not in str([call.on(objects) for call in CALLS])
