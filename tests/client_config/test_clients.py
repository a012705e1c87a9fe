from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extend_mcp import __version__
from extend_mcp.client_config.clients import CLIENTS, Client, Machine, to_text
from extend_mcp.client_config.launch import PUBLISHED, Launch, this_machine


def program(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("home", [".cache/uv/archive-v0/abc", ".cache/uv/environments-v2/x"])
def test_an_environment_that_uv_made_for_one_run_is_not_named(home: str, tmp_path: Path) -> None:
    script = program(tmp_path / home / "bin" / "extend-mcp")
    assert this_machine(str(script.with_name("python")), str(tmp_path / home), {}) == PUBLISHED


def test_the_command_that_pipx_exposes_is_named(tmp_path: Path) -> None:
    venv = tmp_path / "pipx" / "venvs" / "extend-mcp"
    script = program(venv / "bin" / "extend-mcp")
    exposed = tmp_path / "bin" / "extend-mcp"
    exposed.parent.mkdir()
    exposed.symlink_to(script)
    python = str(script.with_name("python"))
    assert this_machine(python, str(venv), {"PATH": str(exposed.parent)}) == Launch(str(exposed))
    # Where it is not on the search path, or another program of that name is, the script itself is what works.
    other = program(tmp_path / "other" / "extend-mcp")
    for path in ("", str(other.parent)):
        assert this_machine(python, str(venv), {"PATH": path}) == Launch(str(script))


@pytest.mark.parametrize("name", ["extend-mcp", "extend-mcp.exe"])
def test_else_the_script_beside_the_interpreter_is_named(name: str, tmp_path: Path) -> None:
    script = program(tmp_path / "venv" / "bin" / name)
    assert this_machine(str(script.with_name("python")), str(tmp_path / "venv"), {}) == Launch(str(script))


def test_else_the_interpreter(tmp_path: Path) -> None:
    python = str(tmp_path / "bin" / "python")
    assert this_machine(python, str(tmp_path), {}) == Launch(python, ("-m", "extend_mcp"))


def test_flags_follow_the_command() -> None:
    made = PUBLISHED.with_flags(sandbox=True, read_only=True, toolsets="runs,files")
    assert made.args == (f"extend-mcp=={__version__}", "--sandbox", "--read-only", "--toolsets", "runs,files")
    assert PUBLISHED.with_flags() == PUBLISHED


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
        ("goose", "linux", ".config/goose/config.yaml"),
    ],
)
def test_where_a_client_keeps_its_settings(client: str, platform: str, where: str, tmp_path: Path) -> None:
    machine = Machine(home=tmp_path, project=tmp_path / "project", platform=platform, environment={})
    assert CLIENTS[client].file(machine) == tmp_path / where


def test_variables_that_move_settings_are_heeded(tmp_path: Path) -> None:
    environment = {
        "APPDATA": str(tmp_path / "a"),
        "XDG_CONFIG_HOME": str(tmp_path / "x"),
        "CODEX_HOME": str(tmp_path / "c"),
    }
    windows = Machine(tmp_path, tmp_path, "win32", environment)
    linux = Machine(tmp_path, tmp_path / "project", "linux", environment)
    assert CLIENTS["vscode"].file(windows) == tmp_path / "a" / "Code" / "User" / "mcp.json"
    assert CLIENTS["vscode"].file(linux) == tmp_path / "x" / "Code" / "User" / "mcp.json"
    assert CLIENTS["codex"].file(linux) == tmp_path / "c" / "config.toml"
    assert CLIENTS["claude-code"].file(linux) == tmp_path / "project" / ".mcp.json"
    assert CLIENTS["librechat"].file(linux) == tmp_path / "project" / "librechat.yaml"


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_the_docs_name_the_file_on_each_system(client: Client) -> None:
    cells = []
    for platform in ("win32", "darwin", "linux"):
        file = str(client.file(Machine(Path("~"), Path("PROJECT"), platform, {})))
        file = file.replace("~/AppData/Roaming", "%APPDATA%")
        file = file.replace("/", "\\") if platform == "win32" and "PROJECT" not in file else file
        cells.append(f"`{file.removeprefix('PROJECT/')}`" + " in your project" * file.startswith("PROJECT"))
    page = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
    assert f"| {client.title} | `{client.name}` | {' | '.join(cells)} | " in page


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_block_for_the_sandbox_needs_no_key(client: Any) -> None:
    made = to_text(client.document(PUBLISHED.with_flags(sandbox=True), None), client.syntax)
    if client.name != "librechat":
        assert "EXTEND_API_KEY" not in made
        assert "--sandbox" in made
