"""Match a text as a person means it: case and separators aside, whole words, identifiers exactly.

``INV-30627``, ``inv 30627`` and ``INV30627`` are one identifier, ``INV-306271`` is another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NamedTuple

from extend_mcp.history.details import Passage
from extend_mcp.runs.statistics import RunFacts

_SEPARATORS = re.compile(r"[\W_]+")
_IDENTIFIER_CHARS: Final = 6
_GRAM: Final = 3
_MOST_GRAMS: Final = 40
_UNSPACED: Final = "\u0e00"
"""Scripts from here on, such as Thai or Chinese, put no spaces between words."""


class Hit(NamedTuple):
    """A run that was searched for, and the first passage that holds the text."""

    run: RunFacts
    passage: Passage | None


class TextQuery:
    """A text to find.

    Attributes:
        text: the text as it was given, in NFC.
        compact: the text as `compact` returns it; empty if nothing is left to find.
        like: a pattern of SQL's LIKE that every matching text fits.
        expression: the query for the index of compact texts; None if the text is too short for one.
    """

    def __init__(self, text: str) -> None:
        self.text = text = unicodedata.normalize("NFC", text)
        self.compact = compact(text)
        # LIKE ignores the case of ASCII letters alone.
        self.like = f"%{'%'.join(char if char.isascii() else '_' for char in _SEPARATORS.sub('', text))}%"
        grams = [self.compact[at : at + _GRAM] for at in range(len(self.compact) - _GRAM + 1)]
        self.expression = " AND ".join(f'"{gram}"' for gram in grams[:_MOST_GRAMS]) or None
        self._pattern = _pattern(_SEPARATORS.sub(" ", text).strip())

    def find(self, text: str) -> tuple[int, int] | None:
        """Return where a text, in NFC, holds the query."""
        found = self._pattern.search(text)
        return found.span() if found else None

    def first(self, passages: Iterable[Passage]) -> Passage | None:
        """Return the first passage that holds the query."""
        return next((passage for passage in passages if self.find(passage.text)), None)


def list_passages(run: RunFacts) -> list[Passage]:
    """Return the texts of a run that lists show."""
    texts = [*(("file name", name) for name in run.file_names), ("reviewer's note", run.note)]
    return [Passage(place, unicodedata.normalize("NFC", text)) for place, text in texts]


def compact(text: str) -> str:
    """Return a text without case and separators."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFC", text)).casefold()


def excerpt(text: str, span: tuple[int, int], around: int = 60) -> str:
    """Return the surroundings of a place in a text."""
    begin, end = max(0, span[0] - around), min(len(text), span[1] + around)
    return f"{'…' if begin else ''}{text[begin:end].strip()}{'…' if end < len(text) else ''}"


def _pattern(words: str) -> re.Pattern[str]:
    # A number can be written in groups, such as DE89 3704 0044 or 1,200.50.
    is_number = len(words) >= _IDENTIFIER_CHARS and any(map(str.isdigit, words))
    pattern = previous = ""
    for space, char in re.findall(r"(\s?)(\S)", words):
        if space:
            pattern += r"[\W_]{0,8}"
        elif previous and previous.isdigit() != char.isdigit():
            pattern += r"[\W_]{0,3}"
        elif previous and is_number:
            pattern += r"[ \-_./,]?"
        pattern += re.escape(char)
        previous = char
    before = r"(?<![^\W_])" if words[:1] < _UNSPACED else ""
    after = r"(?![^\W_])" if words[-1:] < _UNSPACED else ""
    return re.compile(f"{before}{pattern}{after}" if words else r"(?!)", re.IGNORECASE)
