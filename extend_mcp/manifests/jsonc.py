"""JSON with comments, changed in place: every byte that is not part of the change stays as it was.

Editors let people write comments and trailing commas into these files. The libraries that read such text either drop
the comments or write the whole document anew; a person's file must come back as they laid it out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_DEEPEST = 200


class JsoncError(ValueError):
    """The text cannot be read, or is not laid out as a change needs it; the words say where."""


@dataclass
class Node:
    """A value and where it stands.

    Attributes:
        start: index of its first character.
        end: index behind its last one.
        value: what it says; of objects and lists the nodes in it count instead.
        members: of an object, by key.
        items: of a list.
        tail: of an object or list, the index behind its last value, comma or comment.
        comma: whether a comma stands behind the last value.
    """

    start: int
    end: int = 0
    value: Any = None
    members: dict[str, Node] | None = None
    items: list[Node] | None = None
    tail: int = 0
    comma: bool = False
    parts: list[Node] = field(default_factory=list)

    def plain(self) -> Any:
        """What it says as Python values."""
        if self.members is not None:
            return {key: node.plain() for key, node in self.members.items()}
        return [node.plain() for node in self.items] if self.items is not None else self.value


def parse(text: str) -> Node | None:
    """Read a document; None where there is nothing but blanks and comments.

    Raises:
        JsoncError: it is broken, or an object has a key twice; says the line and the column.
    """
    reader = _Reader(text)
    at = reader.blank(0)
    if at == len(text):
        return None
    node = reader.value(at, 0)
    at = reader.blank(node.end)
    if at != len(text):
        raise reader.wrong(at, "something stands behind the end of the document")
    return node


def with_member(text: str, path: Sequence[str], value: object) -> str:
    """Put ``value`` at ``path``; objects on the way are made where they are missing, and a value there is replaced.

    Raises:
        JsoncError: it is broken, or what stands on the way is no object.
    """
    root = parse(text)
    if root is None:
        return text + _gap(text) + _dump(_nested(path, value), "", _break(text), "  ") + _break(text)
    node, indent = root, _unit(text, root)
    for depth, key in enumerate(path):
        if node.members is None:
            where = ".".join(path[:depth]) or "the document"
            raise JsoncError(f"{_place(text, node.start)}: {where} is not an object")
        found = node.members.get(key)
        if found is None:
            made = json.dumps(key, ensure_ascii=False) + ": "
            inner = _margin(text, node, indent)
            return _inserted(text, node, made + _dump(_nested(path[depth + 1 :], value), inner, _break(text), indent))
        node = found
    if node.plain() == value:
        return text
    margin = _line_margin(text, node.start)
    return text[: node.start] + _dump(value, margin, _break(text), indent) + text[node.end :]


def with_item(text: str, key: str, value: object) -> str:
    """Add ``value`` to the end of the list at the top-level ``key``, which is made where it is missing.

    Raises:
        JsoncError: it is broken, or what stands there is no list.
    """
    root = parse(text)
    found = root.members.get(key) if root and root.members is not None else None
    if root is None or found is None:
        return with_member(text, [key], [value])
    if found.items is None:
        raise JsoncError(f"{_place(text, found.start)}: {key} is not a list")
    indent = _unit(text, root)
    return _inserted(text, found, _dump(value, _margin(text, found, indent), _break(text), indent))


def _inserted(text: str, node: Node, made: str) -> str:
    """Add a member or an item behind the last one, and the comments that follow it."""
    begin = _break(text)
    margin = _margin(text, node, _unit(text, node))
    if not node.parts:
        closing = begin + _line_margin(text, node.start) if text[node.tail : node.end - 1].strip(" \t") == "" else ""
        return text[: node.tail] + begin + margin + made + closing + text[node.tail :].lstrip(" \t")
    last = node.parts[-1].end
    between = text[last : node.tail]
    if not node.comma:
        between = "," + between
    ending = "," if node.comma else ""
    closing = "" if _starts_with_break(text[node.tail :]) else begin + _line_margin(text, node.start)
    rest = text[node.tail :]
    return text[:last] + between + begin + margin + made + ending + closing + (rest.lstrip(" \t") if closing else rest)


def _nested(path: Sequence[str], value: object) -> object:
    for key in reversed(path):
        value = {key: value}
    return value


def _dump(value: object, margin: str, line_break: str, indent: str) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text.replace("\n", line_break + margin)


def _break(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _gap(text: str) -> str:
    return "" if not text or text.endswith("\n") else _break(text)


def _starts_with_break(text: str) -> bool:
    return text.lstrip(" \t")[:1] in ("\n", "\r")


def _line_margin(text: str, at: int) -> str:
    """The blanks that the line begins with in which ``at`` stands."""
    begin = max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1
    line = text[begin:at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _margin(text: str, node: Node, indent: str) -> str:
    """What stands before each value in an object or list."""
    outer = _line_margin(text, node.start)
    if node.parts:
        first = node.parts[0].start
        if "\n" in text[node.start : first] or "\r" in text[node.start : first]:
            return _line_margin(text, first)
    return outer + indent


def _unit(text: str, node: Node) -> str:
    """One step of indentation, as the document has it."""
    if node.parts:
        inner, outer = _line_margin(text, node.parts[0].start), _line_margin(text, node.start)
        if inner.startswith(outer) and len(inner) > len(outer):
            return inner[len(outer) :]
    return "  "


def _place(text: str, at: int) -> str:
    before = text[:at].replace("\r\n", "\n").replace("\r", "\n")
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def wrong(self, at: int, what: str) -> JsoncError:
        return JsoncError(f"{_place(self._text, at)}: {what}")

    def blank(self, at: int) -> int:
        match = _BLANK.match(self._text, at)
        end = match.end() if match else at
        if self._text.startswith("/*", end):
            raise self.wrong(end, "a comment does not end")
        return end

    def value(self, at: int, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self.wrong(at, "is nested too deeply")
        if self._text.startswith("{", at):
            return self._object(at, depth)
        if self._text.startswith("[", at):
            return self._list(at, depth)
        match = _STRING.match(self._text, at) or _SCALAR.match(self._text, at)
        if not match:
            raise self.wrong(at, "a value is missing, or is none that JSON knows")
        try:
            return Node(at, match.end(), json.loads(match[0]))
        except ValueError:
            raise self.wrong(at, "a string is not valid") from None

    def _object(self, start: int, depth: int) -> Node:
        members: dict[str, Node] = {}

        def member(at: int) -> Node:
            match = _STRING.match(self._text, at)
            if not match:
                raise self.wrong(at, "a key in quotation marks or a closing brace is missing")
            try:
                key = json.loads(match[0])
            except ValueError:
                raise self.wrong(at, "a key is not valid") from None
            if key in members:
                # A change of one of the two would leave it open which one counts.
                raise self.wrong(at, f"the key {match[0]} stands here a second time")
            colon = self.blank(match.end())
            if not self._text.startswith(":", colon):
                raise self.wrong(colon, "a colon is missing")
            value = self.value(self.blank(colon + 1), depth + 1)
            members[key] = value
            return Node(at, value.end)

        return self._sequence(Node(start, members=members), "}", member)

    def _list(self, start: int, depth: int) -> Node:
        items: list[Node] = []

        def item(at: int) -> Node:
            items.append(self.value(at, depth + 1))
            return items[-1]

        return self._sequence(Node(start, items=items), "]", item)

    def _sequence(self, node: Node, closing: str, read: Callable[[int], Node]) -> Node:
        at = self.blank(node.start + 1)
        while not self._text.startswith(closing, at):
            if at == len(self._text):
                raise self.wrong(at, f"a closing {closing} is missing")
            if node.parts and not node.comma:
                raise self.wrong(at, "a comma is missing")
            part = read(at)
            node.parts.append(part)
            at = self.blank(part.end)
            node.comma = self._text.startswith(",", at)
            if node.comma:
                at = self.blank(at + 1)
        node.tail = node.start + 1 + len(self._text[node.start + 1 : at].rstrip(" \t\r\n"))
        node.end = at + 1
        return node
