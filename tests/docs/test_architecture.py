"""The examples of docs/internals/architecture.md name files, functions and classes that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import extend_mcp

PACKAGE = Path(extend_mcp.__file__).parent
PAGE = PACKAGE.parent / "docs" / "internals" / "architecture.md"
_STEP = re.compile(r"^\d+\. `([\w/]+\.py)`: (.*)", re.MULTILINE)


def section(heading: str) -> str:
    text = PAGE.read_text()
    return text[text.index(f"## {heading}") :].partition("\n")[2].partition("\n## ")[0]


def names(file: Path) -> set[str]:
    """Return the functions, classes, methods and constants that a module defines."""
    found: set[str] = set()

    def add(body: list[ast.stmt], prefix: str = "") -> None:
        for statement in body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.update((prefix + statement.name, statement.name))
            if isinstance(statement, ast.ClassDef):
                add(statement.body, f"{statement.name}.")
            if isinstance(statement, ast.Assign):
                found.update(target.id for target in statement.targets if isinstance(target, ast.Name))

    add(ast.parse(file.read_text()).body)
    return found


def test_every_step_of_a_walk_names_what_exists() -> None:
    known = set().union(*(names(file) for file in PACKAGE.rglob("*.py")))
    walks = [section("From `run_id`"), section("A filter of"), section("From a bearer token")]
    assert [len(_STEP.findall(walk)) for walk in walks] == [12, 8, 8]
    for walk in walks:
        for path, words in _STEP.findall(walk):
            assert (PACKAGE / path).is_file(), path
            # The first name is the file's own; the others may belong to its neighbors.
            quoted = [name for name in re.findall(r"`([A-Za-z_][\w.]*)`", words) if name not in ("page_token",)]
            first = next(name for name in quoted)
            assert first in names(PACKAGE / path), (path, first)
            assert [name for name in quoted if name not in known] == [], path


def test_a_run_id_passes_twelve_files_at_most() -> None:
    assert len({path for path, _ in _STEP.findall(section("From `run_id`"))}) <= 12


def test_every_package_is_in_the_table() -> None:
    table = PAGE.read_text().partition("| Package |")[2].partition("\n\n")[0]
    for folder in PACKAGE.iterdir():
        if (folder / "__init__.py").exists():
            assert f"`{folder.name}/`" in table, folder.name
