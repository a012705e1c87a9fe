"""Check that texts use plain words, and that docstrings lead with the action.

Each pattern comes with what to write in its place. Identifiers are not checked, only docstrings, comments, messages
and pages.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HABITS = {
    r"(?:is|are|was|were|be|been|being|as|not) told|tells(?! you)": "report, show, say",
    r"mend(?:s|ed|ing)?": "fix",
    r"stands|stood|standing|(?:how|as|where) (?:\w+ ){0,4}stand": "is, contains",
    r"go(?:es|ing|ne)? on|went on|no more follows?": "continue; end of list",
    r"(?-i:[Bb]esides?)": "next to, also, in addition to",
    r"who(?:m)?ever|who comes": "the caller",
    r"of (?:ours|yours|theirs|its own)|(?:of )?a like one": "our, your, its; a similar one",
    r"(?<!AUTH\s)(?:is|are) (?-i:none)": "does not exist, is invalid, no ...",
    r"anew|again and again": "again, repeatedly",
    r"hear(?:s|d|ing)?(?: of)?": "receive, be notified",
    r"(?:let|lets|letting) (?:\w+ )?go|thrown out": "release, evict",
    r"at hand|in passing|in words": "nothing: drop it",
    r"(?<!`)settled|as told": "finished, as expected",
    r"makes? known|made known|by name and rule": "list every problem",
    r"for people(?! who)|for machines": "human-readable, structured",
    r"plays? (?:a|an|its|the) (?:\w+ )?story|play an operator's story": "walks through a session",
    r"doors?|gates?|walks?(?! through)|walked|meter|courier|dice|eras?|(?:a|one|each|its|the) turn": "the field's word",
    r"(?<!not\s)at all|by itself|as it is(?! sent)|in good order": "nothing: drop it",
}
TOPS = (
    "extend_mcp",
    "tests",
    "benchmarks",
    "evals",
    "release",
    "docs",
    "manifests",
    "deploy",
    "AGENTS.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
)
HABIT = re.compile(
    r"\b(?:" + "|".join(f"(?:{pattern})" for pattern in HABITS).replace(" ", r"\s+") + r")\b", re.IGNORECASE
)
"""All habits; a space also matches a line break."""

QUESTION = re.compile(r"(?:What|Who|Whose|Whom|Whoever|Whatever|Where|Whether|Which|How)\b")

UNCHECKED = (
    "tests/docs/test_words.py",  # holds the list
)
"""Files and folders, relative to the repository, that are not checked."""


def test_texts_use_plain_words() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {' '.join(match[0].split())!r}; write: {_better(match[0])}"
        for file in _files("*.py", "*.md")
        for line, text in (_prose(file) if file.suffix == ".py" else [(1, _page(file))])
        for match in HABIT.finditer(text)
        for number in [line + text.count("\n", 0, match.start())]
    ]
    assert not found, "\n" + "\n".join(found)


def test_docstrings_lead_with_the_action() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]!r}"
        for file in _files("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        for text in [ast.get_docstring(node) or ""]
        if QUESTION.match(text)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The model is\ntold why.", "is\ntold"),
        ("Mend it first.", "Mend"),
        ("a line that is none", "is none"),
        ("the value, if it is None", None),
        ("It walks through a session.", None),
        ("Tell the user.", None),
    ],
)
def test_a_habit_is_found_across_lines_and_in_any_case(text: str, found: str | None) -> None:
    match = HABIT.search(text)
    assert (match and match[0]) == found


def _better(words: str) -> str:
    return next(
        better for pattern, better in HABITS.items() if re.fullmatch(pattern.replace(" ", r"\s+"), words, re.IGNORECASE)
    )


def _files(*patterns: str) -> Iterator[Path]:
    for top in TOPS:
        for pattern in patterns:
            for file in sorted((ROOT / top).rglob(pattern)) if (ROOT / top).is_dir() else [ROOT / top]:
                name = str(file.relative_to(ROOT))
                if file.match(pattern) and not name.startswith(UNCHECKED) and "node_modules" not in file.parts:
                    yield file


def _prose(file: Path) -> Iterator[tuple[int, str]]:
    """Yield each comment and string of a module, with its first line."""
    strings = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
        if token.type in strings:
            yield token.start[0], token.string


def _page(file: Path) -> str:
    text = file.read_text()
    if file.name == "CHANGELOG.md":
        # Entries of released versions are history.
        first, *rest = re.split(r"^(?=## )", text, flags=re.MULTILINE)
        text = first + "".join(section for section in rest[:1])
    return text
