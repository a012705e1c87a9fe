"""Edit JSON with comments in place: every byte outside the change is preserved.

The libraries for this do not fit. ``json-five`` adds members without layout, ``codemod-json`` loses comments,
``jsoncgx`` and ``json5kit`` cannot read all of JSON with comments, ``jsonc-edit`` needs Node.js, and
``jsonc-document`` needs Python 3.12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

_COMMENT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_MAX_DEPTH: Final = 200

# `int` refuses the constants that Python's reader takes in addition, such as NaN.
_DECODER: Final = json.JSONDecoder(parse_constant=int)


class EditError(Exception):
    """The text cannot be changed; the message names the problem and its place."""


@dataclass
class Node:
    """A value, its place in the text, and the values in it by key or index."""

    start: int
    end: int
    value: Any
    parts: Mapping[str | int, Node] = field(default_factory=dict)


class Document:
    """A text of JSON with comments.

    Args:
        text: the text.

    Attributes:
        root: the value in it; None if it holds only blanks and comments.

    Raises:
        EditError: it is invalid, or an object has a key twice.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        # Comments become blanks of the same length, so every index is one in the text too.
        self._plain = _COMMENT.sub(lambda m: m[0] if m[0][0] == '"' else re.sub(r"[^\r\n]", " ", m[0]), text)
        start = self._skip(0)
        self.root = self._read(start, 0) if start < len(text) else None
        if self.root and (end := self._skip(self.root.end)) < len(text):
            raise self._invalid(end, "expected the end of the document")

    def with_value(self, path: Sequence[str], value: object) -> str:
        """Return the text with ``value`` at ``path``, making the objects on the way.

        Raises:
            EditError: something on the way is not an object.
        """
        node = self.root
        if node is None:
            gap = "" if not self._text or self._text.endswith("\n") else self._newline
            return self._text + gap + self._dump(_nested(path, value), "", "  ") + self._newline
        for depth, key in enumerate(path):
            if not isinstance(node.value, dict):
                where = ".".join(path[:depth]) or "the document"
                raise EditError(f"{self._place(node.start)}: {where} is not an object")
            if key not in node.parts:
                return self._with_part(node, _nested(path[depth + 1 :], value), json.dumps(key) + ": ")
            node = node.parts[key]
        if node.value == value:
            return self._text
        made = self._dump(value, self._margin(node.start), self._indent())
        return self._text[: node.start] + made + self._text[node.end :]

    def with_item(self, key: str, item: object) -> str:
        """Return the text with ``item`` at the end of the list at the top-level ``key``, which is made if missing.

        Raises:
            EditError: the value is not a list.
        """
        node = self.root.parts.get(key) if self.root else None
        if node is None:
            return self.with_value([key], [item])
        if not isinstance(node.value, list):
            raise EditError(f"{self._place(node.start)}: {key} is not a list")
        return self._with_part(node, item)

    def _with_part(self, node: Node, value: object, key: str = "") -> str:
        """Add a member or item after the last one and the comments that follow it."""
        text, indent, outer, first = self._text, self._indent(), self._margin(node.start), self._skip(node.start + 1)
        last = max((part.end for part in node.parts.values()), default=first)
        comma = "," if node.parts and self._plain.startswith(",", self._skip(last)) else ""
        margin = self._margin(first) if node.parts and "\n" in text[node.start : first] else outer + indent
        close = node.end - 1
        tail = len(text[:close].rstrip(" \t\r\n"))
        head = text[:tail] if comma or not node.parts else f"{text[:last]},{text[last:tail]}"
        blanks = text[tail:close] if "\n" in text[tail:close] else self._newline + outer
        return head + self._newline + margin + key + self._dump(value, margin, indent) + comma + blanks + text[close:]

    def _dump(self, value: object, margin: str, indent: str) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", self._newline + margin)

    def _margin(self, at: int) -> str:
        """Return the blanks at the start of the line that holds ``at``."""
        line = self._text[self._text.rfind("\n", 0, at) + 1 : at]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _indent(self) -> str:
        """Return one step of the document's indentation."""
        root = self.root
        if root is None or not root.parts:
            return "  "
        inner, outer = self._margin(self._skip(root.start + 1)), self._margin(root.start)
        return inner[len(outer) :] if inner.startswith(outer) and inner != outer else "  "

    def _skip(self, at: int) -> int:
        match = _BLANKS.match(self._plain, at)
        return match.end() if match else at

    def _place(self, at: int) -> str:
        return f"line {self._text.count(chr(10), 0, at) + 1}, column {at - self._text.rfind(chr(10), 0, at)}"

    def _invalid(self, at: int, problem: str) -> EditError:
        return EditError(f"it is not valid JSON ({self._place(at)}: {problem})")

    def _read(self, at: int, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self._invalid(at, "nested too deeply")
        opening = self._plain[at : at + 1]
        if opening not in ("{", "["):
            try:
                value, end = _DECODER.raw_decode(self._plain, at)
            except ValueError:
                raise self._invalid(at, "invalid string" if opening == '"' else "expected a value") from None
            return Node(at, end, value)
        start, close, comma = at, "}" if opening == "{" else "]", True
        parts: dict[str | int, Node] = {}
        at = self._skip(at + 1)
        while not self._plain.startswith(close, at):
            if not comma:
                raise self._invalid(at, f"expected a comma or {close}")
            key: str | int = len(parts)
            if opening == "{":
                key, at = self._read_key(at, parts)
            parts[key] = self._read(at, depth + 1)
            at = self._skip(parts[key].end)
            comma = self._plain.startswith(",", at)
            at = self._skip(at + comma)
        values = {key: part.value for key, part in parts.items()}
        return Node(start, at + 1, values if opening == "{" else list(values.values()), parts)

    def _read_key(self, at: int, parts: Mapping[str | int, Node]) -> tuple[str, int]:
        """Return the next key, and where its value begins."""
        if not self._plain.startswith('"', at):
            raise self._invalid(at, "expected a key in double quotes or }")
        key = self._read(at, 0)
        if key.value in parts:
            # It would be unclear which of the two counts.
            raise self._invalid(at, f"duplicate key {json.dumps(key.value)}")
        colon = self._skip(key.end)
        if not self._plain.startswith(":", colon):
            raise self._invalid(colon, "expected a colon")
        return key.value, self._skip(colon + 1)


def _nested(path: Sequence[str], value: object) -> object:
    return reduce(lambda inner, key: {key: inner}, reversed(path), value)
