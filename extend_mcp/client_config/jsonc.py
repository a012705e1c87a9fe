"""Edit JSON with comments in place: every byte outside the change is preserved.

The libraries for this do not fit. ``json-five`` adds members without layout and needs a compiled package.
``jsonc-edit`` needs Node.js, ``json5kit`` cannot read block comments or exponents, and the others drop comments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]*")
_MAX_DEPTH = 200


class JsoncError(ValueError):
    """The text is not valid JSON, or its layout does not allow the change; the message says where."""


@dataclass
class Node:
    """A value and its place in the text.

    Attributes:
        start: index of its first character.
        end: index after its last one.
        value: as Python values.
        parts: the values in an object or list, by key or index.
        first: index of the first key or item.
        last: index after the last value in it.
        comma: whether a comma follows that value.
    """

    start: int
    end: int = 0
    value: Any = None
    parts: dict[str | int, Node] = field(default_factory=dict)
    first: int = 0
    last: int = 0
    comma: bool = False


def parse(text: str) -> Node | None:
    """Read a document; return None if it holds only blanks and comments.

    Raises:
        JsoncError: it is invalid, or an object has a key twice.
    """
    reader = _Reader(text)
    start = reader.skip(0)
    if start == len(text):
        return None
    node = reader.read(start, 0)
    if (end := reader.skip(node.end)) != len(text):
        raise reader.error(end, "expected the end of the document")
    return node


def with_value(text: str, path: Sequence[str], value: object) -> str:
    """Set ``value`` at ``path``, making the objects on the way.

    Raises:
        JsoncError: the text is invalid, or something on the way is not an object.
    """
    node = parse(text)
    newline = _newline(text)
    if node is None:
        gap = "" if not text or text.endswith("\n") else newline
        return text + gap + _dump(_nested(path, value), "", newline, "  ") + newline
    indent = _indent(text, node)
    for depth, key in enumerate(path):
        if not isinstance(node.value, dict):
            raise JsoncError(f"{_place(text, node.start)}: {'.'.join(path[:depth]) or 'the document'} is not an object")
        if key not in node.parts:
            return _inserted(text, node, _nested(path[depth + 1 :], value), indent, json.dumps(key) + ": ")
        node = node.parts[key]
    if node.value == value:
        return text
    return text[: node.start] + _dump(value, _margin(text, node.start), newline, indent) + text[node.end :]


def with_item(text: str, key: str, item: object) -> str:
    """Append ``item`` to the list at the top-level ``key``, making the list if it is missing.

    Raises:
        JsoncError: the text is invalid, or the value is not a list.
    """
    root = parse(text)
    if root is None or key not in root.parts:
        return with_value(text, [key], [item])
    if not isinstance(root.parts[key].value, list):
        raise JsoncError(f"{_place(text, root.parts[key].start)}: {key} is not a list")
    return _inserted(text, root.parts[key], item, _indent(text, root))


def _inserted(text: str, node: Node, value: object, indent: str, key: str = "") -> str:
    """Add a member or item after the last one and the comments that follow it."""
    newline, outer = _newline(text), _margin(text, node.start)
    margin = _margin(text, node.first) if node.parts and "\n" in text[node.start : node.first] else outer + indent
    close = node.end - 1
    tail = len(text[:close].rstrip(" \t\r\n"))
    head = text[:tail] if node.comma or not node.parts else f"{text[: node.last]},{text[node.last : tail]}"
    blanks = text[tail:close] if "\n" in text[tail:close] else newline + outer
    made = key + _dump(value, margin, newline, indent) + ("," if node.comma else "")
    return head + newline + margin + made + blanks + text[close:]


def _nested(path: Sequence[str], value: object) -> object:
    for key in reversed(path):
        value = {key: value}
    return value


def _dump(value: object, margin: str, newline: str, indent: str) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", newline + margin)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _margin(text: str, at: int) -> str:
    """Return the blanks at the start of the line that holds ``at``."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _indent(text: str, node: Node) -> str:
    """Return one step of the document's indentation."""
    inner, outer = _margin(text, node.first), _margin(text, node.start)
    return inner[len(outer) :] if node.parts and inner.startswith(outer) and inner != outer else "  "


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


class _Reader:
    def __init__(self, text: str) -> None:
        # Comments become blanks of the same length, so every index is one in the text too.
        self._text = _COMMENT.sub(lambda m: m[0] if m[0][0] == '"' else re.sub(r"[^\r\n]", " ", m[0]), text)
        self._scalar = json.JSONDecoder(parse_constant=self._refuse)

    def error(self, at: int, problem: str) -> JsoncError:
        return JsoncError(f"{_place(self._text, at)}: {problem}")

    def skip(self, at: int) -> int:
        match = _BLANKS.match(self._text, at)
        return match.end() if match else at

    def read(self, at: int, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self.error(at, "nested too deeply")
        opening = self._text[at : at + 1]
        if opening in ("{", "["):
            return self._read_parts(Node(at, value={} if opening == "{" else []), depth)
        try:
            value, end = self._scalar.raw_decode(self._text, at)
        except ValueError:
            raise self.error(at, "invalid string" if opening == '"' else "expected a value") from None
        return Node(at, end, value)

    def _read_parts(self, node: Node, depth: int) -> Node:
        is_object = isinstance(node.value, dict)
        close = "}" if is_object else "]"
        at = self.skip(node.start + 1)
        node.first = at
        while not self._text.startswith(close, at):
            if node.parts and not node.comma:
                raise self.error(at, f"expected a comma or {close}")
            key: str | int = len(node.parts)
            if is_object:
                key, at = self._read_key(at, node)
            part = node.parts[key] = self.read(at, depth + 1)
            node.last = part.end
            at = self.skip(part.end)
            node.comma = self._text.startswith(",", at)
            at = self.skip(at + 1) if node.comma else at
        node.end = at + 1
        values = {key: part.value for key, part in node.parts.items()}
        node.value = values if is_object else list(values.values())
        return node

    def _read_key(self, at: int, node: Node) -> tuple[str, int]:
        if not self._text.startswith('"', at):
            raise self.error(at, "expected a key in double quotes or }")
        key = self.read(at, 0)
        if key.value in node.parts:
            # It would be unclear which of the two counts.
            raise self.error(at, f"duplicate key {json.dumps(key.value)}")
        colon = self.skip(key.end)
        if not self._text.startswith(":", colon):
            raise self.error(colon, "expected a colon")
        return key.value, self.skip(colon + 1)

    @staticmethod
    def _refuse(constant: str) -> None:
        raise ValueError(constant)
