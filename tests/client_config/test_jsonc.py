from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_mcp.client_config.jsonc import Document, EditError

ENTRY = {"command": "uvx", "args": ["extend-mcp"]}
PATH = ("mcpServers", "extend")

BLANKS = st.text(" \t\n", max_size=3) | st.sampled_from(
    ["\r\n", ' // note, with } and "\n', "/* { */", "/* two\nlines */ "]
)
KEYS = st.text(max_size=4) | st.sampled_from(["mcpServers", "extend", "other"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4) | st.builds(
    lambda rest, servers: {**rest, "mcpServers": servers},
    st.dictionaries(KEYS, VALUES, max_size=2),
    st.dictionaries(KEYS, VALUES, max_size=3),
)


@st.composite
def laid_out(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> tuple[str, Any]:
    """A value, and a text that says it with comments, blanks and trailing commas wherever they may stand."""

    def text_of(value: Any) -> str:
        if isinstance(value, dict):
            return sequence(
                "{", [json.dumps(key) + gap() + ":" + gap() + text_of(each) for key, each in value.items()], "}"
            )
        if isinstance(value, list):
            return sequence("[", [text_of(each) for each in value], "]")
        return json.dumps(value, ensure_ascii=draw(st.booleans()))

    def sequence(opening: str, parts: list[str], closing: str) -> str:
        ending = gap() + "," if parts and draw(st.booleans()) else ""
        return opening + ",".join(gap() + part + gap() for part in parts) + ending + gap() + closing

    def gap() -> str:
        return draw(BLANKS)

    value = draw(values)
    return gap() + text_of(value) + gap(), value


def comments(text: str) -> list[str]:
    """The comments of a text, outside of strings."""
    found = re.findall(r'"(?:[^"\\]|\\.)*"|(//[^\r\n]*|/\*.*?\*/)', text, re.DOTALL)
    return [each for each in found if each]


@settings(max_examples=40)
@given(laid_out(VALUES))
def test_what_is_written_is_read(document: tuple[str, Any]) -> None:
    text, value = document
    assert Document(text).value == value


@settings(max_examples=40)
@given(laid_out(OBJECTS))
def test_a_member_is_added_and_nothing_else_changes(document: tuple[str, Any]) -> None:
    text, value = document
    servers = value.get("mcpServers", {})
    if not isinstance(servers, dict):
        with pytest.raises(EditError, match="mcpServers is not an object"):
            Document(text).with_value(PATH, ENTRY)
        return
    changed = Document(text).with_value(PATH, ENTRY)
    made = Document(changed).value
    assert made == {**value, "mcpServers": {**servers, "extend": ENTRY}}
    assert list(made) == [*value, *({"mcpServers"} - value.keys())]
    if "extend" not in servers:
        # Everything is still there, in its order: one piece was added, and perhaps a comma before it.
        assert comments(changed) == comments(text)
        assert is_made_by_inserting(text, changed)


def is_made_by_inserting(old: str, new: str) -> bool:
    """Return whether leaving characters out of ``new`` gives ``old``; blanks before a closing brace may move."""
    rest = iter(new)
    return all(char in rest for char in old if not char.isspace())


@settings(max_examples=40)
@given(laid_out(OBJECTS))
def test_adding_twice_is_adding_once(document: tuple[str, Any]) -> None:
    text, value = document
    if isinstance(value.get("mcpServers", {}), dict):
        once = Document(text).with_value(PATH, ENTRY)
        assert Document(once).with_value(PATH, ENTRY) == once


@given(st.text(alphabet='{}[],:"\\/*\n 1at', max_size=30))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    try:
        Document(text)
    except EditError as error:
        said = str(error)
    else:
        return
    assert re.match(r"it is not valid JSON \((line \d+, column \d+: |duplicate key)", said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1', "line 1, column 8: Expecting ',' delimiter"),
        ('{\n  "a" 1\n}', "line 2, column 7: Expecting ':' delimiter"),
        ('{"a": 1 "b": 2}', "line 1, column 9: Expecting ',' delimiter"),
        ('{"b": 0, "a": 1, "a": 2}', 'duplicate key "a"'),
        ("{'a': 1}", "line 1, column 2: Expecting property name enclosed in double quotes"),
        ('{"a": tru}', "line 1, column 7: Expecting value"),
        ("{} {}", "line 1, column 4: Extra data"),
        ("/* {}", "line 1, column 1: Expecting value"),
        ('{"a": "\\x"}', "line 1, column 8: Invalid \\escape"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(EditError) as problem:
        Document(text)
    assert said in str(problem.value)


def test_the_layout_of_the_file_is_kept() -> None:
    text = '{\r\n\t"mcpServers": {\r\n\t\t"other": {"command": "x"}, // mine\r\n\t},\r\n}\r\n'
    assert Document(text).with_value(PATH, {"command": "uvx"}) == (
        '{\r\n\t"mcpServers": {\r\n\t\t"other": {"command": "x"}, // mine\r\n'
        '\t\t"extend": {\r\n\t\t\t"command": "uvx"\r\n\t\t},\r\n\t},\r\n}\r\n'
    )


def test_an_item_goes_to_the_end_of_a_list_that_is_made_where_it_is_missing() -> None:
    assert Document('{"inputs": []}').with_item("inputs", {"id": "b"}) == '{"inputs": [\n  {\n    "id": "b"\n  }\n]}'
    text = '{\n  "inputs": [\n    {"id": "a"} // first\n  ]\n}\n'
    added = '{\n  "inputs": [\n    {"id": "a"}, // first\n    {\n      "id": "b"\n    }\n  ]\n}\n'
    assert Document(text).with_item("inputs", {"id": "b"}) == added
    assert Document(Document("{}").with_item("inputs", 1)).value == {"inputs": [1]}
    with pytest.raises(EditError, match="inputs is not a list"):
        Document('{"inputs": 3}').with_item("inputs", 1)
