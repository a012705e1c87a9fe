"""The table of what looks like our marks or like nothing, from Unicode's names and its list of confusables.

pip install confusable-homoglyphs && python -m tests.views.look_alikes        writes extend_mcp/views/look_alikes.py
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from html.entities import html5
from pathlib import Path

TABLE = Path(__file__).parents[2] / "extend_mcp" / "views" / "look_alikes.py"

ANGLE = re.compile(
    r"(?=.*(ANGLE BRACKET|ANGLE QUOTATION MARK|LESS-THAN|GREATER-THAN|^PRECEDES|^SUCCEEDS|DOUBLE (PRECEDES|SUCCEEDS)))"
    r"(?!.*(EQUAL|EQUIVALENT|SIMILAR|APPROXIMATE|ARROW|APL|CIRCLE|QUESTION|\bNOT\b|\bN?OR\b|ABOVE|UNDER REL|CLOSED|TAG"
    r"|WITH DOT$|OVERLAPPING|BESIDE))|.*ANGLE BRACKET WITH DOT"
)
DOUBLE = re.compile(r"DOUBLE|MUCH|TRIPLE|CURVED|WITH DOT|ARC|HEAVY (LEFT|RIGHT)-POINTING ANGLE BRACKET")
CLOSING = re.compile(r"^RIGHT|RIGHT[- ]|GREATER|SUCCEEDS")
UNSEEN = re.compile(
    r"VARIATION SELECTOR|(HANGUL|SCRIPT|CHOSEONG|JUNGSEONG) FILLER|GRAPHEME JOINER|VOWEL INHERENT|PATTERN BLANK"
    r"|NULL NOTEHEAD|OBJECT REPLACEMENT|(NUMBER|CONSONANT) JOINER|PLANE SPACE"
)
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def named(pattern: re.Pattern[str]) -> set[str]:
    """Every character whose name fits."""
    return {char for char in map(chr, range(sys.maxunicode + 1)) if pattern.match(unicodedata.name(char, ""))}


def confused_with(wanted: str) -> set[str]:
    """Every character that Unicode lists as confusable with these ones, directly or through another."""
    from confusable_homoglyphs.confusables import confusables_data  # type: ignore[import-not-found,unused-ignore]

    found: set[str] = set()
    fresh = set(wanted)
    while fresh:
        found |= fresh
        fresh = {each["c"] for char in fresh for each in confusables_data.get(char, ()) if len(each["c"]) == 1} - found
    # A letter of every Japanese text, and a circumflex.
    return found - {"\u304f", "\uff3e"}


def look_alikes() -> dict[str, set[str]]:
    """The characters of the table."""
    angles = {char for char in named(ANGLE) if unicodedata.category(char) not in HIDDEN}
    doubles = {char for char in angles if DOUBLE.search(unicodedata.name(char))}
    opening = {char for char in angles - doubles if not CLOSING.search(unicodedata.name(char))}
    closing = angles - doubles - opening
    opening |= confused_with("<" + "".join(opening)) - doubles
    closing |= confused_with(">" + "".join(closing)) - doubles
    unseen = {char for char in named(re.compile(f".*({UNSEEN.pattern})")) if unicodedata.category(char) not in HIDDEN}
    return {"DOUBLE": doubles, "OPENING": opening, "CLOSING": closing, "UNSEEN": unseen}


def entities(chars: Iterable[str]) -> list[str]:
    """The HTML entities of these characters and of what cannot be seen, as they are written behind ``&``."""
    wanted = set(chars)
    return sorted(
        name
        for name, text in html5.items()
        if any(char in wanted or unicodedata.category(char) in HIDDEN or char in "\u2028\u2029" for char in text)
    )


def table() -> str:
    """The source of the module."""
    found = look_alikes()
    names = entities(set().union(*found.values()) - set("<>"))
    lines = [
        '"""Characters that look like the marks around outside text, or like nothing. Generated: do not edit.',
        "",
        "Written by tests/views/look_alikes.py from Unicode's character names and its list of confusables.",
        '"""',
        "",
        "from __future__ import annotations",
    ]
    notes = {
        "DOUBLE": "They look like one of our marks by themselves.",
        "OPENING": "Two of them next to each other look like an opening mark.",
        "CLOSING": "Two of them next to each other look like a closing mark.",
        "UNSEEN": "Letters, marks or symbols of which nothing is seen, as a class of a regular expression.",
    }
    for name, note in notes.items():
        lines += ["", f"{name} = ("]
        lines += _rows(_spans(found[name], ranges=name == "UNSEEN"))
        lines += [")", f'"""{note}"""']
    lines += ["", "ENTITIES = ("]
    lines += _rows([f"{name}|" for name in names[:-1]] + names[-1:])
    lines += [
        ")",
        '"""HTML entities that stand for one of these, or for what cannot be seen, as a regular expression."""',
        "",
    ]
    return "\n".join(lines)


def _rows(parts: list[str]) -> list[str]:
    """Lines of the module that hold the parts in one string, each as many as fit."""
    rows = [""]
    for part in parts:
        if len(rows[-1]) + len(part) > 110:
            rows.append("")
        rows[-1] += part
    return [f'    "{row}"' for row in rows]


def _spans(chars: set[str], *, ranges: bool) -> list[str]:
    codes = sorted(map(ord, chars))
    if not ranges:
        return [_escape(code) for code in codes]
    starts = [code for code in codes if code - 1 not in codes]
    ends = [code for code in codes if code + 1 not in codes]
    return [
        _escape(start) if start == end else f"{_escape(start)}-{_escape(end)}"
        for start, end in zip(starts, ends, strict=True)
    ]


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
