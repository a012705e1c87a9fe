"""Measure the package without importing it: size, settings, in-function imports and import circles."""

from __future__ import annotations

import ast
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "extend_mcp"
LAZY_ALLOWED = frozenset({f"{PACKAGE}.cli", f"{PACKAGE}.callers"})
"""The modules that may import inside functions."""
SETTINGS_CLASSES = frozenset({"Settings", "HttpSettings"})


@dataclass(frozen=True)
class Structure:
    """The measurements of one tree.

    Attributes:
        files: Python files without the sandbox.
        lines: their lines.
        sandbox: files and lines of the sandbox.
        settings: fields by settings class.
        lazy: in-function imports outside the modules that may have them, as ``path:line statement``.
        circles: groups of modules that import each other at module level, for type checking too.
    """

    files: int
    lines: int
    sandbox: tuple[int, int]
    settings: dict[str, int]
    lazy: list[str]
    circles: list[list[str]]

    def report(self) -> str:
        """Return the measurements as text."""
        per_class = ", ".join(f"{name} {count}" for name, count in self.settings.items())
        return "\n".join(
            [
                f"files without sandbox: {self.files}",
                f"lines without sandbox: {self.lines:,}",
                f"sandbox: {self.sandbox[0]} files, {self.sandbox[1]:,} lines",
                f"settings: {sum(self.settings.values())} ({per_class})",
                f"in-function imports outside cli.py and callers.py: {len(self.lazy)}",
                *(f"  {each}" for each in self.lazy),
                f"import circles: {len(self.circles)}",
                *(f"  {' <-> '.join(each)}" for each in self.circles),
                "",
            ]
        )


def measure_revision(repository: Path, revision: str) -> Structure:
    """Measure the package at a git revision.

    Raises:
        subprocess.CalledProcessError: the revision does not exist.
    """
    command = ["git", "-C", str(repository), "archive", revision, PACKAGE]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
        return measure_tree(Path(folder))


def measure_tree(root: Path) -> Structure:
    """Measure the package in ``root``."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((root / PACKAGE).rglob("*.py"))}
    trees = {_module(path, root): (path, ast.parse(text)) for path, text in texts.items()}
    sandbox = [text for path, text in texts.items() if "sandbox" in path.relative_to(root).parts]
    rest = [text for path, text in texts.items() if "sandbox" not in path.relative_to(root).parts]
    return Structure(
        files=len(rest),
        lines=sum(len(text.splitlines()) for text in rest),
        sandbox=(len(sandbox), sum(len(text.splitlines()) for text in sandbox)),
        settings=dict(each for _, tree in trees.values() for each in _settings(tree)),
        lazy=[
            f"{path.relative_to(root)}:{node.lineno} {ast.unparse(node)}"
            for module, (path, tree) in trees.items()
            if module not in LAZY_ALLOWED
            for node in _lazy_imports(tree)
        ],
        circles=_circles({module: _imported(module, path, tree, set(trees)) for module, (path, tree) in trees.items()}),
    )


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _settings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in SETTINGS_CLASSES:
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign) and not _is_class_var(each)]
            yield node.name, len(fields)


def _is_class_var(node: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(node.annotation)


def _lazy_imports(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    found = {
        node.lineno: node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return [found[line] for line in sorted(found)]


def _imported(module: str, path: Path, tree: ast.Module, known: set[str]) -> set[str]:
    """Return the package's modules that a module imports at module level, for type checking too."""
    found: set[str] = set()
    for node in _at_module_level(tree.body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            # `from package import module` needs the module; `from module import name` needs the source.
            found |= {name for name in names if name in known} or {source}
    return (found & known) - {module}


def _at_module_level(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If):
            yield from _at_module_level([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = (each for handler in node.handlers for each in handler.body)
            yield from _at_module_level([*node.body, *handlers, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With | ast.ClassDef):
            yield from _at_module_level(node.body)


def _circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in imports:
        if module not in index:
            visit(module)
    return sorted(found)
