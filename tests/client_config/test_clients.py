from __future__ import annotations

import sys
from pathlib import Path

import pytest

from extend_mcp.client_config.clients import CLIENTS, Client, Launch, published, this_machine, to_text


def started(
    program: Path, prefix: Path, monkeypatch: pytest.MonkeyPatch, python: str = "/opt/python", exists: bool = True
) -> Launch:
    """Return what is named where the program of this path runs."""
    program.parent.mkdir(parents=True, exist_ok=True)
    if exists:
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "install", "cursor"])
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", python)
    return this_machine()


@pytest.mark.parametrize("home", [".cache/uv/archive-v0/abc", ".cache/uv/environments-v2/x"])
def test_an_environment_that_uv_made_for_one_run_is_not_named(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert started(tmp_path / home / "bin" / "extend-mcp", tmp_path / home, monkeypatch) == published()


def test_the_command_that_runs_is_named_as_pipx_exposes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = tmp_path / "pipx" / "venvs" / "extend-mcp"
    script = venv / "bin" / "extend-mcp"
    assert started(script, venv, monkeypatch) == Launch(str(script))
    exposed = tmp_path / "bin" / "extend-mcp"
    exposed.parent.mkdir()
    exposed.symlink_to(script)
    monkeypatch.setattr(sys, "argv", [str(exposed)])
    assert this_machine() == Launch(str(exposed))
    # A relative path is good in one folder only.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bin/extend-mcp"])
    assert this_machine() == Launch(str(exposed))


@pytest.mark.parametrize("name", ["__main__.py", "pytest"])
def test_else_the_interpreter(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = Launch("/opt/python", ("-m", "extend_mcp"))
    assert started(tmp_path / name, tmp_path, monkeypatch) == interpreter
    assert started(tmp_path / "gone" / "extend-mcp", tmp_path, monkeypatch, exists=False) == interpreter


@pytest.mark.parametrize(
    ("client", "platform", "where"),
    [
        ("claude-desktop", "darwin", "Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", "AppData/Roaming/Claude/claude_desktop_config.json"),
        ("vscode", "darwin", "Library/Application Support/Code/User/mcp.json"),
        ("vscode", "linux", ".config/Code/User/mcp.json"),
        ("zed", "darwin", ".config/zed/settings.json"),
        ("zed", "win32", "AppData/Roaming/Zed/settings.json"),
        ("cursor", "linux", ".cursor/mcp.json"),
        ("windsurf", "darwin", ".codeium/windsurf/mcp_config.json"),
        ("gemini", "linux", ".gemini/settings.json"),
        ("codex", "linux", ".codex/config.toml"),
    ],
)
def test_where_a_client_keeps_its_settings(client: str, platform: str, where: str, tmp_path: Path) -> None:
    assert CLIENTS[client].file(tmp_path, platform, {}) == tmp_path / where


def test_variables_that_move_settings_are_heeded(tmp_path: Path) -> None:
    environment = {
        "APPDATA": str(tmp_path / "a"),
        "XDG_CONFIG_HOME": str(tmp_path / "x"),
        "CODEX_HOME": str(tmp_path / "c"),
    }
    assert CLIENTS["vscode"].file(tmp_path, "win32", environment) == tmp_path / "a" / "Code" / "User" / "mcp.json"
    assert CLIENTS["vscode"].file(tmp_path, "linux", environment) == tmp_path / "x" / "Code" / "User" / "mcp.json"
    assert CLIENTS["codex"].file(tmp_path, "linux", environment) == tmp_path / "c" / "config.toml"
    assert CLIENTS["claude-code"].file(tmp_path, "linux", environment) == Path(".mcp.json")


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_the_docs_name_the_file_on_each_system(client: Client) -> None:
    cells = []
    for platform in ("win32", "darwin", "linux"):
        file = str(client.file(Path("~"), platform, {}))
        if "/" in file and platform == "win32":
            file = file.replace("~/AppData/Roaming", "%APPDATA%").replace("/", "\\")
        cells.append(f"`{file}`" + " in your project" * (file == client.path))
    page = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
    assert f"| {client.title} | `{client.name}` | {' | '.join(cells)} | " in page


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_block_for_the_sandbox_needs_no_key(client: Client) -> None:
    made = to_text(client.document(Launch("extend-mcp", ("--sandbox",)), None), client.path)
    assert "EXTEND_API_KEY" not in made
    assert "--sandbox" in made
