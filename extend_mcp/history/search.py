"""Match a text as a person means it: case and separators aside, whole words, identifiers exactly.

``INV-30627``, ``inv 30627`` and ``INV30627`` are one identifier, ``INV-306271`` is another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NamedTuple

from extend_mcp.history.details import Passage, RunDetails
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


class Query:
    """A text to find."""

    def __init__(self, text: str) -> None:
        self.text = unicodedata.normalize("NFC", text)
        self.compact = compact(self.text)  # empty if nothing is left to find
        self._pattern = _pattern(self.text)

    @property
    def like(self) -> str:
        """A pattern of SQL's LIKE that every matching text fits."""
        # LIKE ignores the case of ASCII letters alone.
        return f"%{'%'.join(char if char.isascii() else '_' for char in _SEPARATORS.sub('', self.text))}%"

    @property
    def expression(self) -> str | None:
        """The query for the index of grams; None if the text is too short for one."""
        grams = [self.compact[at : at + _GRAM] for at in range(len(self.compact) - _GRAM + 1)]
        return " AND ".join(f'"{gram}"' for gram in grams[:_MOST_GRAMS]) or None

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


def grams(details: RunDetails) -> str:
    """Return all sequences of three characters in a run's texts, each once, for the index."""
    found: set[str] = set()
    for passage in details.passages():
        text = compact(passage.text)
        found.update(text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1))
    return " ".join(found)


def excerpt(text: str, span: tuple[int, int], around: int = 60) -> str:
    """Return the surroundings of a place in a text."""
    begin, end = max(0, span[0] - around), min(len(text), span[1] + around)
    return f"{'…' if begin else ''}{text[begin:end].strip()}{'…' if end < len(text) else ''}"


def _pattern(text: str) -> re.Pattern[str]:
    pieces: list[str] = []
    previous, is_apart = "", False
    chars = _SEPARATORS.sub(" ", text).strip()
    # A number can be written in groups, such as DE89 3704 0044 or 1,200.50.
    between = r"[ \-_./,]?" if len(chars) >= _IDENTIFIER_CHARS and any(map(str.isdigit, chars)) else ""
    for char in chars:
        if char == " ":
            is_apart = True
            continue
        if previous:
            changes = previous.isdigit() != char.isdigit()
            pieces.append(r"[\W_]{0,8}" if is_apart else r"[\W_]{0,3}" if changes else between)
        pieces.append(re.escape(char))
        previous, is_apart = char, False
    before = r"(?<![^\W_])" if chars[:1] < _UNSPACED else ""
    after = r"(?![^\W_])" if chars[-1:] < _UNSPACED else ""
    return re.compile(f"{before}{''.join(pieces)}{after}" if pieces else r"(?!)", re.IGNORECASE)
