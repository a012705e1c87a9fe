from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from extend_mcp import __version__
from release.__main__ import main


def test_a_bundle_has_the_manifest_and_the_package_and_nothing_compiled(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    assert CliRunner().invoke(main, ["bundle", str(folder)]).exit_code == 0
    names = {"manifest.json", "pyproject.toml", "README.md", "LICENSE", "extend_mcp"}
    assert {each.name for each in folder.iterdir()} == names
    assert json.loads((folder / "manifest.json").read_text())["version"] == __version__
    assert (folder / "extend_mcp" / "__main__.py").is_file()
    assert not list(folder.rglob("*.pyc"))
    with pytest.raises(FileExistsError):
        CliRunner().invoke(main, ["bundle", str(folder)], catch_exceptions=False)
