from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from extend_mcp.cli import main


def run(*arguments: str, words: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["install", *arguments], input=words)
    return result.exit_code, result.output


def test_a_block_is_printed_as_it_can_be_pasted() -> None:
    result = CliRunner().invoke(main, ["install", "cursor", "--sandbox", "--read-only"])
    entry = json.loads(result.stdout)["mcpServers"]["extend"]
    assert Path(entry["command"]).is_file()
    assert entry["args"][-2:] == ["--sandbox", "--read-only"]
    assert "mcp.json" in result.stderr
    code, text = run("codex", "--published")
    assert (code, 'command = "uvx"' in text, "Set EXTEND_API_KEY" in text) == (0, True, True)


def test_the_command_of_a_block_starts_the_server() -> None:
    made = json.loads(CliRunner().invoke(main, ["install", "cursor", "--sandbox"]).stdout)["mcpServers"]["extend"]
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    request["params"] |= {"capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}  # type: ignore[operator]
    done = subprocess.run(
        [made["command"], *made["args"]], input=json.dumps(request) + "\n", capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout.splitlines()[0])["result"]["serverInfo"]["name"] == "extend-mcp"


def test_writing_says_what_became_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    code, text = run("cursor", "--write", "--file", str(file))
    assert (code, f"Created {file}. Restart Cursor to load it." in text, "Set EXTEND_API_KEY" in text) == (
        0,
        True,
        True,
    )
    code, text = run("cursor", "--write", "--file", str(file))
    assert (code, f"{file} was not changed. It already has this entry." in text) == (0, True)
    # Without a terminal nobody can be asked.
    code, text = run("cursor", "--write", "--published", "--file", str(file))
    assert (code, "with --yes" in text, "These keys change: command, args." in text) == (1, True, True)
    code, text = run("cursor", "--write", "--published", "--file", str(file), "--yes")
    [backup] = tmp_path.glob("mcp.json.bak-*")
    assert (code, f"Updated {file} (backup: {backup.name}). Restart Cursor to load it." in text) == (0, True)
    assert json.loads(file.read_text())["mcpServers"]["extend"]["command"] == "uvx"
    file.write_text("{")
    code, text = run("cursor", "--write", "--file", str(file))
    assert (code, "line 1 column 2" in text, file.read_text()) == (1, True, "{")


def test_region_and_toolsets_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    for wrong, said in (
        (("--region", "mars"), "'mars' is not one of"),
        (("--toolsets", "runz"), "choose from runs, workflows"),
        (("--toolsets", "all,runs"), "use 'all' alone"),
    ):
        code, text = run("cursor", "--write", "--file", str(file), *wrong)
        assert (code, said in text, file.exists()) == (2, True, False)
    code, _ = run("cursor", "--write", "--file", str(file), "--region", "EU", "--toolsets", "runs, files")
    entry = json.loads(file.read_text())["mcpServers"]["extend"]
    assert (code, entry["env"]["EXTEND_REGION"], entry["args"][-1]) == (0, "eu", "runs,files")
    # What is given now wins over what the file has; the key stays.
    entry["env"]["EXTEND_API_KEY"] = "sk_mine"
    file.write_text(json.dumps({"mcpServers": {"extend": entry}}))
    run("cursor", "--write", "--file", str(file), "--region", "us2", "--yes")
    env = json.loads(file.read_text())["mcpServers"]["extend"]["env"]
    assert env == {"EXTEND_REGION": "us2", "EXTEND_API_KEY": "sk_mine"}


def test_claude_codes_own_command_is_shown_too() -> None:
    text = CliRunner().invoke(main, ["install", "claude-code", "--region", "eu", "--read-only"]).stderr
    assert 'claude mcp add extend --env EXTEND_REGION=eu --env EXTEND_API_KEY="$EXTEND_API_KEY" -- ' in text
    assert text.rstrip().endswith("--read-only")


def test_the_clone_is_not_taken_for_a_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clone = Path(__file__).parents[2]
    monkeypatch.chdir(clone)
    code, text = run("claude-code", "--write")
    assert (code, "this folder is the clone" in text, (clone / ".mcp.json").exists()) == (1, True, False)
    monkeypatch.chdir(tmp_path)
    code, text = run("claude-code", "--write")
    assert (code, "Restart Claude Code" in text, (tmp_path / ".mcp.json").exists()) == (0, True, True)


def test_the_old_name_works_and_says_that_it_is_old() -> None:
    old = CliRunner().invoke(main, ["manifests", "cursor", "--published", "--toolsets", "runs"])
    new = CliRunner().invoke(main, ["install", "cursor", "--published", "--toolsets", "runs"])
    assert (old.exit_code, old.stdout) == (0, new.stdout)
    assert "`extend-mcp manifests` is now `extend-mcp install`" in old.stderr
    assert old.stderr.endswith(new.stderr)
    help_text = CliRunner().invoke(main, ["--help"]).output
    assert "install" in help_text
    assert "manifests" not in help_text


def test_an_entry_of_extend_s_own_server_is_not_replaced_unasked(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    for entry in (
        {"command": "npx", "args": ["-y", "@extend-ai/mcp"], "env": {"EXTEND_API_KEY": "sk_canary"}},
        {"command": "uvx", "args": ["extend-mcp"], "env": {"EXTEND_ENVIRONMENT": "production"}},
        {"url": "https://mcp.extend.ai/mcp"},
    ):
        before = json.dumps({"mcpServers": {"extend": entry}})
        file.write_text(before)
        for flags in ((), ("--yes",)):
            code, text = run("cursor", "--write", "--file", str(file), *flags)
            assert (code, "starts another server" in text, "Rename that entry" in text) == (1, True, True)
            assert "canary" not in text
            assert file.read_text() == before
