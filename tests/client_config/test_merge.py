from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_mcp.client_config.clients import CLIENTS
from extend_mcp.client_config.merge import Merged, merge

CURSOR, VSCODE = CLIENTS["cursor"], CLIENTS["vscode"]
ENTRY = {"command": "uvx", "args": ["extend-mcp"]}

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


def merged(text: str) -> Merged:
    return merge(CURSOR, text, ENTRY, [])


def comments(text: str) -> list[str]:
    """The comments of a text, outside of strings."""
    found = re.findall(r'"(?:[^"\\]|\\.)*"|(//[^\r\n]*|/\*.*?\*/)', text, re.DOTALL)
    return [each for each in found if each]


def is_made_by_inserting(old: str, new: str) -> bool:
    """Return whether leaving one piece out of ``new`` gives ``old``."""
    same = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(old))
    return any(old[at:] == new[len(new) - len(old) + at :] for at in range(same + 1))


@settings(max_examples=100)
@given(laid_out(OBJECTS))
def test_the_entry_is_added_and_nothing_else_changes(document: tuple[str, Any]) -> None:
    text, value = document
    servers = value.get("mcpServers", {})
    if not isinstance(servers, dict) or not isinstance(servers.get("extend", {}), dict):
        with pytest.raises(ValueError, match="is not a table"):
            merged(text)
        return
    made = merged(text)
    assert made.old == servers.get("extend", {})
    # The merge itself checks what the text says: adding twice is adding once.
    assert merged(made.text) == Merged(made.new, made.new, made.text, ours=True)
    if "extend" not in servers:
        assert comments(made.text) == comments(text)
        assert is_made_by_inserting(text, made.text)


@given(st.text(alphabet='{}[],:"\\/*\n 1at', max_size=30))
def test_any_text_is_merged_or_refused(text: str) -> None:
    try:
        made = merged(text)
    except ValueError:
        return
    assert comments(made.text) == comments(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1', "Expecting ',' delimiter: line 1 column 8"),
        ('\n\n{\n  "a" 1\n}', "Expecting ':' delimiter: line 4 column 7"),
        ("{'a': 1}", "Expecting property name enclosed in double quotes: line 1 column 2"),
        ("{} {}", "Extra data: line 1 column 4"),
        ("/* {}", "Expecting value: line 1 column 1"),
        ("[]", "the document is not an object"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        merged(text)


def test_the_layout_of_the_file_and_comments_on_a_line_are_kept() -> None:
    text = '{ // top\r\n\t"mcpServers": { // mine\r\n\t\t"other": {"command": "x"}, // its\r\n\t},\r\n}\r\n'
    entry = (
        '\r\n\t\t"extend": {\r\n\t\t\t"command": "uvx",\r\n\t\t\t"args": [\r\n\t\t\t\t"extend-mcp"\r\n\t\t\t]\r\n\t\t},'
    )
    assert merged(text).text == text.replace("// mine", f"// mine{entry}")
    assert merged("// note").text.startswith(
        '// note\n{\n  "mcpServers": {\n    "extend": {\n      "command": "uvx",\n'
    )
    # A comment of several lines that begins on the brace's line.
    assert comments(merged('{ /* two\nlines */ "a": 1}').text) == ["/* two\nlines */"]


def test_the_table_is_found_by_what_the_text_then_says() -> None:
    text = '{"x": {"mcpServers": {"extend": {"command": "no"}}}, "mcpServers": {"a": {}}, "y": "\\"mcpServers\\": {"}'
    assert json.loads(merged(text).text) == {
        "x": {"mcpServers": {"extend": {"command": "no"}}},
        "mcpServers": {"extend": ENTRY, "a": {}},
        "y": '"mcpServers": {',
    }
    # A key that is spelled with an escape is not found.
    with pytest.raises(ValueError, match="its layout does not allow the change"):
        merged('{"mcp\\u0053ervers": {}}')


def test_a_prompt_is_added_once_to_a_list_that_is_made_where_it_is_missing() -> None:
    inputs = VSCODE.inputs()
    for text, before in (
        ("{}", []),
        ('{"inputs": []}', []),
        ('{\n  "inputs": [ // mine\n    {"id": "a"}, // first\n  ]\n}\n', [{"id": "a"}]),
        ('{"inputs": [7]}', [7]),
    ):
        made = merge(VSCODE, text, ENTRY, inputs).text
        assert comments(made) == comments(text)
        bare = json.loads(re.sub(r"//.*", "", made).replace("},\n  ]", "}\n  ]").replace("}, \n  ]", "}\n  ]"))
        assert bare == {"inputs": [*inputs, *before], "servers": {"extend": ENTRY}}
        assert merge(VSCODE, made, ENTRY, inputs).text == made
