"""Structure of the package: which module imports which, read from the source without running it."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import extend_mcp

PACKAGE = Path(extend_mcp.__file__).parent
SANDBOX = "extend_mcp.sandbox"

Graph = Mapping[str, set[str]]


def module_name(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported: all but the bodies of functions.

    Imports under `if TYPE_CHECKING` count, since a type that is needed both ways is a circle too.
    """
    for statement in body:
        yield statement
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for block in ("body", "orelse", "finalbody"):
                yield from statements(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from statements(handler.body)


def imported(statement: ast.stmt, known: Iterable[str]) -> set[str]:
    """Return the modules among the known ones that a statement names in an import."""
    if isinstance(statement, ast.Import):
        return {name.name for name in statement.names} & set(known)
    if isinstance(statement, ast.ImportFrom):
        assert statement.level == 0, "relative imports are not used"
        # `from package import name` needs the submodule of that name, or the package itself.
        names = {f"{statement.module}.{name.name}": str(statement.module) for name in statement.names}
        return {full if full in known else module for full, module in names.items()} & set(known)
    return set()


def graph_of(sources: Mapping[str, str]) -> Graph:
    """Return, for each module, the modules that it imports when it is imported."""
    return {
        name: {found for each in statements(ast.parse(source).body) for found in imported(each, sources)} - {name}
        for name, source in sources.items()
    }


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or not. A group is one circle or several."""
    reached = {name: reachable(graph, name) for name in graph}
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted(sorted(group) for group in groups if group)


def reachable(graph: Graph, start: str) -> set[str]:
    """Return every module that is imported, directly or not, when this one is."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


GRAPH = graph_of({name: path.read_text(encoding="utf-8") for name, path in MODULES.items()})


def inside(package: str) -> dict[str, set[str]]:
    """Return the part of the graph that lies inside a package."""
    names = {name for name in GRAPH if name == package or name.startswith(f"{package}.")}
    return {name: GRAPH[name] & names for name in names}


def imports_from(package: str, *others: str) -> list[str]:
    """List the imports of one package's modules from modules of the others."""
    return [
        f"{name} imports {target}"
        for name in sorted(inside(package))
        for target in sorted(GRAPH[name])
        if any(target == other or target.startswith(f"{other}.") for other in others)
    ]


def test_circles_are_found() -> None:
    graph = graph_of(
        {
            "p": "from p.a import x",
            "p.a": "from p import b",
            "p.b": "if TYPE_CHECKING:\n    from p.c import y",
            "p.c": "import p.a",
            "p.d": "def f() -> None:\n    import p.e",
            "p.e": "import p.d, os",
        }
    )
    assert graph["p"] == {"p.a"}
    assert graph["p.e"] == {"p.d"}
    assert circles(graph) == [["p.a", "p.b", "p.c"]]


def test_the_sandbox_has_no_import_circle() -> None:
    assert circles(inside(SANDBOX)) == []


def test_the_sandbox_imports_nothing_from_the_rest() -> None:
    own = inside(SANDBOX)
    assert {name: GRAPH[name] - own.keys() for name in own if GRAPH[name] - own.keys()} == {}


def test_the_layers_of_the_sandbox() -> None:
    assert imports_from(f"{SANDBOX}.engine", f"{SANDBOX}.api", f"{SANDBOX}.scenarios", f"{SANDBOX}.sandbox") == []
    assert imports_from(f"{SANDBOX}.scenarios", f"{SANDBOX}.api", f"{SANDBOX}.sandbox") == []
    assert imports_from(f"{SANDBOX}.api", f"{SANDBOX}.scenarios", f"{SANDBOX}.sandbox") == []


def test_the_sandbox_imports_at_the_top_of_its_files_only() -> None:
    late = [
        f"{name}:{node.lineno}"
        for name in inside(SANDBOX)
        for function in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8")))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert late == []


def test_a_client_does_not_wait_for_what_only_calls_need() -> None:
    """The list of all tools needs none of these, which a start over stdio would load before it."""
    heavy = (
        "httpx",
        "redis",
        "uvicorn.server",
        "tomlkit",
        "dotenv",
        "extend_mcp.sandbox",
        "extend_mcp.client_config",
        "extend_mcp.http",
    )
    code = f"""
import sys, mcp.server.mcpserver
before = set(sys.modules)
import extend_mcp.cli, extend_mcp.stdio, extend_mcp.server
from extend_mcp.settings import Settings, load
extend_mcp.server.build_server(load(Settings, toolsets="all"))
print([name for name in sys.modules if name not in before and name.startswith({heavy!r})])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def names_of(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines for others, without type variables and loggers."""
    for statement in tree.body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield statement.name
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            is_type_variable = isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func) == "TypeVar"
            yield from (each.id for each in targets if isinstance(each, ast.Name) and not is_type_variable)


def test_no_two_things_share_a_name() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module, path in MODULES.items():
        if not module.startswith(SANDBOX):
            for name in names_of(ast.parse(path.read_text(encoding="utf-8"))):
                places[name].append(module)
    shared = {name: modules for name, modules in places.items() if len(modules) > 1 and not name.startswith("_")}
    # Each module logs under its own name.
    assert set(shared) <= {"logger"}, shared
