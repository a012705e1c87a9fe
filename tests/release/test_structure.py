from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from release.__main__ import main
from release.structure import measure_revision, measure_tree

FILES = {
    "__init__.py": "",
    "settings.py": """
from typing import ClassVar
class Settings:
    model_config: ClassVar[dict] = {}
    one: int = 1
    two: str = "x"
""",
    "http/__init__.py": "",
    "http/settings.py": "class HttpSettings:\n    port: int = 1\n",
    "http/app.py": "from . import serve\nfrom ..settings import Settings\n",
    "http/serve.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from extend_mcp.http.app import app\n",
    "cli.py": "def main():\n    import json\n",
    "other.py": "from extend_mcp.settings import Settings\ndef f():\n    def g():\n        import json\n",
    "sandbox/__init__.py": "x = 1\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "extend_mcp" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "extend_mcp" / name).write_text(text)
    return tmp_path


def test_a_tree_is_measured(tree: Path) -> None:
    found = measure_tree(tree)
    assert (found.files, found.sandbox) == (8, (1, 1))
    assert found.lines == sum(len(text.splitlines()) for name, text in FILES.items() if "sandbox" not in name)
    assert found.settings == {"HttpSettings": 1, "Settings": 2}
    assert found.lazy == ["extend_mcp/other.py:4 import json"]
    assert found.circles == [["extend_mcp.http.app", "extend_mcp.http.serve"]]
    assert "settings: 3 (HttpSettings 1, Settings 2)\n" in found.report()
    assert "import circles: 1\n  extend_mcp.http.app <-> extend_mcp.http.serve\n" in found.report()


def test_a_revision_is_measured_as_it_was(tree: Path) -> None:
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "First"]):
        subprocess.run([*git, *command], check=True)
    before = measure_tree(tree)
    (tree / "extend_mcp" / "more.py").write_text("import json\n")
    assert measure_revision(tree, "HEAD") == before
    assert measure_tree(tree) != before


def test_the_working_tree_of_this_repository_is_printed() -> None:
    done = CliRunner().invoke(main, ["structure"])
    assert done.exit_code == 0
    assert done.output.startswith("files without sandbox: ")
