"""`extend-mcp install CLIENT --write` on prepared files: each gets what it should, and nothing is ever lost."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import tomlkit

from extend_mcp.client_config import command as writing
from extend_mcp.client_config.clients import CLIENTS, KEY, Client, Launch

LAUNCH = Launch("/opt/bin/extend-mcp")
CURSOR, VSCODE, CODEX = (CLIENTS[name] for name in ("cursor", "vscode", "codex"))
ENTRY = CURSOR.entry(LAUNCH)

COMMENTED = """\
// My servers.
{
  "mcpServers": {
    "files": { "command": "npx", "args": ["-y", "files"] }, // do not touch
    /* "old": {}, */
  },
}
"""
OTHERS = '{"theme": "dark", "mcpServers": {"a": {"command": "a"}, "b": {"url": "https://b.example/mcp"}}}\n'
OLD = """\
{
  "mcpServers": {
    "extend": { "command": "python", "args": ["-m", "extend_mcp"], "env": { "EXTEND_API_KEY": "sk_canary" } },
    "files": { "command": "npx" }
  }
}
"""
CODEX_COMMENTED = """\
# How I like it
model = "gpt-5"  # the good one

[mcp_servers.files]
command = "npx" # with node
args = ["-y", "files"]

[profiles.fast]
model = "small"
"""
CODEX_OLD = """\
[mcp_servers.extend] # mine
command = "python"
args = ["-m", "extend_mcp"]
cwd = "/tmp"

[mcp_servers.extend.env]
EXTEND_API_KEY = "sk_canary"

[mcp_servers.other]
command = "x"
"""


class Terminal(io.StringIO):
    """A person who types these lines."""

    def isatty(self) -> bool:
        return True


def put(file: Path, client: Client = CURSOR, *, yes: bool = False) -> None:
    writing.write(client, file.resolve(), LAUNCH, KEY, yes)


def backups(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.name}.bak-*"))


def assert_nothing_is_left_behind(folder: Path, *files: Path) -> None:
    assert sorted(folder.iterdir()) == sorted({*files, *(backup for file in files for backup in backups(file))})


def assert_kept(old: str, file: Path) -> None:
    """Every earlier line is still there, in its order, but for commas and blanks; the backup is the old file."""
    lines = iter(bare_lines(file.read_bytes().decode()))
    assert all(line in lines for line in bare_lines(old))
    [backup] = backups(file)
    assert backup.read_bytes() == old.encode()
    assert stat.S_IMODE(backup.stat().st_mode) == stat.S_IMODE(file.stat().st_mode)


def bare_lines(text: str) -> list[str]:
    return [line.strip() for line in text.removeprefix("\ufeff").replace(",", "").splitlines()]


@pytest.mark.parametrize("client", [CURSOR, VSCODE, CODEX], ids=lambda client: client.name)
def test_a_missing_file_in_a_missing_folder_is_made_and_only_its_owner_may_read_it(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "not" / "yet" / "settings"
    put(file, client)
    assert f"Created {file}. Restart {client.title} to load it." in capsys.readouterr().out
    text = file.read_text()
    document = tomlkit.parse(text).unwrap() if client is CODEX else json.loads(text)
    assert document == client.document(LAUNCH)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert_nothing_is_left_behind(file.parent, file)


@pytest.mark.parametrize("before", ["", "  \n", "{}", "{\n}\n"], ids=repr)
def test_an_empty_file_is_filled(before: str, tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(before)
    put(file)
    assert json.loads(file.read_text()) == {"mcpServers": {"extend": ENTRY}}
    assert [backup.read_text() for backup in backups(file)] == [before]


@pytest.mark.parametrize("before", [COMMENTED, OTHERS, "\ufeff" + COMMENTED.replace("\n", "\r\n")], ids=range(3))
def test_comments_other_servers_line_ends_and_layout_stay(before: str, tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(before.encode())
    file.chmod(0o640)
    put(file)
    after = file.read_bytes().decode()
    if before != OTHERS:
        assert_kept(before, file)
    for piece in ('"files": { "command": "npx", "args": ["-y", "files"] }', "// do not touch", '/* "old": {}, */'):
        assert (piece in after) == (piece in before)
    assert after.startswith("\ufeff") == before.startswith("\ufeff")
    assert after.count("\n") == after.count("\r\n") or "\r\n" not in before
    assert '"/opt/bin/extend-mcp"' in after
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    if before == OTHERS:
        assert json.loads(after) == {
            **json.loads(before),
            "mcpServers": {**json.loads(before)["mcpServers"], "extend": ENTRY},
        }


def test_toml_keeps_its_comments_and_tables(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(CODEX_COMMENTED)
    put(file, CODEX)
    assert_kept(CODEX_COMMENTED, file)
    document = tomlkit.parse(file.read_text()).unwrap()
    assert document["mcp_servers"]["extend"] == CODEX.entry(LAUNCH, KEY)
    assert document["profiles"] == {"fast": {"model": "small"}}


def test_an_old_entry_is_updated_only_after_a_yes_that_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(OLD)
    for answer in ("n\n", ""):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        with pytest.raises((click.ClickException, click.Abort)):
            put(file)
        assert file.read_text() == OLD
        assert_nothing_is_left_behind(tmp_path, file)
    shown = capsys.readouterr()
    assert "already has an entry for the server. These keys change: command, args." in shown.err
    assert "sk_canary" not in shown.out + shown.err

    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    put(file)
    after = json.loads(file.read_text())
    # The key that the user had filled in is still there.
    filled = {**ENTRY, "env": {"EXTEND_API_KEY": "sk_canary"}}
    assert after["mcpServers"] == {"extend": filled, "files": {"command": "npx"}}
    put(file)
    [backup] = backups(file)
    assert backup.read_text() == OLD


def test_an_old_entry_of_toml_is_updated_with_all_its_tables(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(CODEX_OLD)
    put(file, CODEX, yes=True)
    document = tomlkit.parse(file.read_text()).unwrap()
    mine = {"cwd": "/tmp", "env": {"EXTEND_API_KEY": "sk_canary"}}
    assert document["mcp_servers"] == {"extend": CODEX.entry(LAUNCH, KEY) | mine, "other": {"command": "x"}}
    assert "# mine" in file.read_text()


@pytest.mark.parametrize(
    "before",
    [
        'mcp_servers = { files = { command = "npx" } }\nmodel = "x"\n',
        'mcp_servers.files.command = "npx"\nmodel = "x"\n',
        '[mcp_servers]\n\n[mcp_servers.files]\ncommand = "npx"\n[mcp_servers.files.env]\nA = "1"',
        '[mcp_servers.extend.env]\nA = "1"\n',
        'mcp_servers.extend.command = "x"\n',
    ],
)
def test_however_toml_is_laid_out_nothing_of_it_is_lost(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is changed without changing anything else, or not changed."""
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    file = tmp_path / "config.toml"
    file.write_text(before)
    said = tomlkit.parse(before).unwrap()
    try:
        put(file, CODEX)
    except click.ClickException:
        assert before.startswith(("mcp_servers = {", "mcp_servers.files."))
        assert file.read_text() == before
        return
    old = said["mcp_servers"].get("extend", {})
    entry = {**old, **CODEX.entry(LAUNCH, KEY)}
    assert tomlkit.parse(file.read_text()).unwrap() == {**said, "mcp_servers": {**said["mcp_servers"], "extend": entry}}


@pytest.mark.parametrize("client", [CURSOR, VSCODE, CODEX], ids=lambda client: client.name)
def test_an_entry_that_is_there_already_changes_nothing(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings"
    put(file, client)
    before = file.stat()
    put(file, client)
    assert f"{file} was not changed. It already has this entry." in capsys.readouterr().out
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert_nothing_is_left_behind(tmp_path, file)


@pytest.mark.parametrize(
    ("client", "before", "said"),
    [
        (
            CURSOR,
            '{\n  "mcpServers": {\n',
            "Expecting property name enclosed in double quotes: line 3 column 1",
        ),
        (CURSOR, '{"mcpServers": []}', "mcpServers is not a table of servers"),
        (CURSOR, '{"mcpServers": {"extend": 1}}', "mcpServers.extend is not a table"),
        (CURSOR, "[" * 100_000, "maximum recursion depth exceeded"),
        (CURSOR, "[]", "the document is not an object"),
        (VSCODE, '{"inputs": {}}', "inputs is not a list"),
        (CODEX, "a = \n", "at line 1 col 4"),
        (CODEX, "mcp_servers = 3\n", "mcp_servers is not a table of servers"),
        (CURSOR, b"\xff\xfe{\x00}\x00", "invalid start byte"),
    ],
)
def test_a_broken_file_is_left_as_it_is(client: Client, before: str | bytes, said: str, tmp_path: Path) -> None:
    raw = before if isinstance(before, bytes) else before.encode()
    file = tmp_path / "settings"
    file.write_bytes(raw)
    with pytest.raises(click.ClickException) as problem:
        put(file, client)
    assert f"{file} was not changed, since it cannot be used: " in str(problem.value)
    assert said in str(problem.value)
    assert file.read_bytes() == raw
    assert_nothing_is_left_behind(tmp_path, file)


def test_a_read_only_file_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(OTHERS)
    file.chmod(0o444)
    with pytest.raises(click.ClickException, match="was not changed: it is read-only"):
        put(file)
    assert file.read_text() == OTHERS
    assert_nothing_is_left_behind(tmp_path, file)


def test_a_link_stays_a_link_and_what_it_leads_to_is_changed(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text(OTHERS)
    link = tmp_path / "mcp.json"
    link.symlink_to(real)
    put(link)
    assert link.is_symlink()
    assert json.loads(real.read_text())["mcpServers"]["extend"] == ENTRY
    assert [backup.read_text() for backup in backups(real)] == [OTHERS]


def test_what_another_program_writes_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(OTHERS)
    merge = writing.merge

    def meanwhile(*given: Any) -> Any:
        file.write_text('{"theirs": 1}')
        return merge(*given)

    monkeypatch.setattr(writing, "merge", meanwhile)
    with pytest.raises(click.ClickException, match="was not changed: another program changed it meanwhile"):
        put(file)
    assert file.read_text() == '{"theirs": 1}'


def test_a_backup_is_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    for number in range(3):
        file.write_text(f'{{"n": {number}}}')
        put(file)
    assert sorted(backup.read_text() for backup in backups(file)) == ['{"n": 0}', '{"n": 1}', '{"n": 2}']


def test_a_question_that_vscode_has_already_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    mine = '{"inputs": [{"type": "promptString", "id": "extend-api-key", "description": "Mine"}], "servers": {}}'
    file.write_text(mine)
    put(file, VSCODE)
    document = json.loads(file.read_text())
    assert document["inputs"] == json.loads(mine)["inputs"]
    assert list(document["servers"]) == ["extend"]


def test_what_a_user_put_into_the_entry_stays_and_what_a_remote_server_needs_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mcp.json"
    mine = {"env": {"EXTEND_API_KEY": "sk_mine", "EXTEND_REGION": "eu"}, "disabled": True, "alwaysAllow": ["list_runs"]}
    remote = {"type": "http", "url": "https://x.example/mcp", "headers": {"Authorization": "Bearer sk_mine"}}
    file.write_text(
        json.dumps({"mcpServers": {"extend": {**mine, **remote, "command": "old", "args": ["--read-only"]}}})
    )
    # It starts another server, which --yes does not replace.
    with pytest.raises(click.ClickException, match="Rename that entry"):
        put(file, yes=True)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    put(file)
    assert json.loads(file.read_text())["mcpServers"]["extend"] == {**ENTRY, **mine}
