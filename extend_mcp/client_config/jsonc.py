"""Edit JSON with comments in place: every byte outside the change is preserved.

The libraries for this do not fit. ``json-five`` adds members without layout, ``codemod-json`` loses comments,
``jsoncgx`` and ``json5kit`` cannot read all of JSON with comments, ``jsonc-edit`` needs Node.js, and
``jsonc-document`` needs Python 3.12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import reduce
from typing import Any, Final

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_COMMENT: Final = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA: Final = re.compile(rf"{_STRING}|,(?=[ \t\r\n]*[}}\]])", re.DOTALL)
_BLANKS: Final = " \t\r\n"


class EditError(Exception):
    """The text cannot be changed; the message names the problem and its place."""


class Document:
    """A text of JSON with comments.

    Attributes:
        value: the value in it; None if it holds only blanks and comments.

    Raises:
        EditError: it is invalid, or an object has a key twice.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        # What JSON does not have becomes blanks, so every index is one in the text too.
        self._uncommented = _COMMENT.sub(_blank, text)
        self._plain = _LAST_COMMA.sub(_blank, self._uncommented)
        try:
            self.value = _DECODER.decode(self._plain) if self._plain.strip(_BLANKS) else None
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise EditError(f"it is not valid JSON ({place}: {error.msg})") from None
        except RecursionError:
            raise EditError("it is not valid JSON (nested too deeply)") from None

    def with_value(self, path: Sequence[str], value: object) -> str:
        """Return the text with ``value`` at ``path``, making the objects on the way.

        Raises:
            EditError: something on the way is not an object.
        """
        if self.value is None:
            gap = "" if not self._text or self._text.endswith("\n") else self._newline
            return self._text + gap + self._dump(_nested(path, value), "") + self._newline
        start, end = self._skip(0), 0
        for depth, key in enumerate(path):
            if not self._plain.startswith("{", start):
                raise EditError(f"{'.'.join(path[:depth]) or 'the document'} is not an object")
            members = self._members(start)
            if key not in members:
                return self._with_part(start, _nested(path[depth + 1 :], value), json.dumps(key) + ": ")
            start, end = members[key]
        return self._text[:start] + self._dump(value, self._margin(start)) + self._text[end:]

    def with_item(self, key: str, item: object) -> str:
        """Return the text with ``item`` at the end of the list at the top-level ``key``, which is made if missing.

        Raises:
            EditError: the value is not a list.
        """
        if not isinstance(self.value, dict) or key not in self.value:
            return self.with_value([key], [item])
        start, _ = self._members(self._skip(0))[key]
        if not self._plain.startswith("[", start):
            raise EditError(f"{key} is not a list")
        return self._with_part(start, item)

    def _members(self, at: int) -> dict[str, tuple[int, int]]:
        """Return where each value of the object at this place begins and ends."""
        members: dict[str, tuple[int, int]] = {}
        at = self._skip(at + 1)
        while not self._plain.startswith("}", at):
            key, colon = _DECODER.raw_decode(self._plain, at)
            start = self._skip(self._skip(colon) + 1)
            _, end = _DECODER.raw_decode(self._plain, start)
            members[key] = start, end
            at = self._skip(end)
            at = self._skip(at + self._plain.startswith(",", at))
        return members

    def _with_part(self, start: int, value: object, key: str = "") -> str:
        """Add a member or item after the last one and the comments that follow it."""
        text, margin, close = self._text, self._margin(start), _DECODER.raw_decode(self._plain, start)[1] - 1
        last, tail = len(self._plain[:close].rstrip(_BLANKS)), len(text[:close].rstrip(_BLANKS))
        filled = last > start + 1
        comma = "," if filled and "," in self._uncommented[last:close] else ""
        head = f"{text[:last]},{text[last:tail]}" if filled and not comma else text[:tail]
        blanks = text[tail:close] if "\n" in text[tail:close] else self._newline + margin
        margin += self._indent()
        return head + self._newline + margin + key + self._dump(value, margin) + comma + blanks + text[close:]

    def _dump(self, value: object, margin: str) -> str:
        return json.dumps(value, indent=self._indent(), ensure_ascii=False).replace("\n", self._newline + margin)

    def _margin(self, at: int) -> str:
        """Return the blanks at the start of the line that holds ``at``."""
        line = self._text[self._text.rfind("\n", 0, at) + 1 : at]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _indent(self) -> str:
        """Return one step of the document's indentation."""
        start = self._skip(0)
        inner, outer = self._margin(self._skip(start + 1)), self._margin(start)
        return inner[len(outer) :] if self.value and inner.startswith(outer) and inner != outer else "  "

    def _skip(self, at: int) -> int:
        return len(self._plain) - len(self._plain[at:].lstrip(_BLANKS))


def _blank(found: re.Match[str]) -> str:
    return found[0] if found[0][0] == '"' else re.sub(r"[^\r\n]", " ", found[0])


def _nested(path: Sequence[str], value: object) -> object:
    return reduce(lambda inner, key: {key: inner}, reversed(path), value)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in members]
    for key in keys:
        if keys.count(key) > 1:
            # It would be unclear which of the two counts.
            raise EditError(f"it is not valid JSON (duplicate key {json.dumps(key)})")
    return dict(members)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique)
