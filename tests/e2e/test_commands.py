"""The commands as a person runs them."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

from extend_mcp.cli import main
from tests.harness import Box

ROOT = Path(__file__).parent.parent.parent
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("EXTEND_")}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "extend_mcp", *arguments],
        env=CLEAN | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=40,
        stdin=subprocess.DEVNULL,
    )


@contextmanager
def sandbox(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with subprocess.Popen(
        [sys.executable, "-m", "extend_mcp", "sandbox", *options],
        env=CLEAN,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def test_the_demo_tells_its_story_and_ends_well() -> None:
    begun = time.monotonic()
    ended = run("demo")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    # Its promise is ten seconds; a machine that also runs other tests gets twice that.
    assert time.monotonic() - begun < 20
    story = [
        "What is running?",
        "list_runs(status='PROCESSING')",
        "Why did this one fail?",
        "FAILED: finished with a failure",
        "already_finished",
        "Nothing was sent.",
        "[the server asks a person]",
        "cancelled: The run was PROCESSING and is now CANCELLED.",
        "CANCELLED: cancelled",
        "Demo complete: every step behaved as expected.",
    ]
    position = 0
    for part in story:
        position = ended.stdout.index(part, position)
    assert ended.stderr == ""


@pytest.mark.thorough
def test_the_demo_fails_where_a_step_goes_otherwise() -> None:
    ended = run("demo", EXTEND_MCP_READ_ONLY="true")
    assert ended.returncode == 1
    assert "The demo failed: MCPError: Unknown tool" in ended.stdout
    assert ended.stderr == ""


def test_the_sandbox_prints_its_address_first_and_ends_on_sigterm() -> None:
    with sandbox("--port", "0") as (address, process):
        assert address.startswith("http://127.0.0.1:")
        assert httpx.get(f"{address}/_sandbox/state", trust_env=False).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in (0, -signal.SIGTERM)
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_an_unknown_scenario_is_refused_in_a_line() -> None:
    ended = run("sandbox", "--scenario", "nothing")
    assert ended.returncode == 2
    assert "nothing" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_doctor_finds_a_good_configuration_good(box: Box) -> None:
    ended = run("doctor", EXTEND_API_KEY="sk_canary", EXTEND_BASE_URL=box.base_url)
    assert ended.returncode == 0, ended.stdout
    assert "All good" in ended.stdout
    assert "canary" not in ended.stdout + ended.stderr
    assert run("doctor", "--sandbox").returncode == 0


def test_the_doctor_ends_with_an_error_where_something_is_wrong() -> None:
    ended = run("doctor")
    assert ended.returncode == 1
    assert "EXTEND_API_KEY is not set" in ended.stdout


def test_a_mistyped_command_names_the_nearest() -> None:
    result = CliRunner().invoke(main, ["docter"])
    assert (result.exit_code, "No such command 'docter'. Did you mean 'doctor'?" in result.output) == (2, True)


def test_every_command_and_option_has_help_and_none_is_cut() -> None:
    commands = ["demo", "doctor", "history", "install", "report", "sandbox", "serve", "token"]
    for flag in ("-h", "--help"):
        page = CliRunner().invoke(main, [flag]).output
        assert re.findall(r"^  (\w+)  +\w", page.partition("Commands:")[2], re.MULTILINE) == commands
    for name in commands:
        result = CliRunner().invoke(main, [name, "-h"])
        assert result.exit_code == 0
        # The usage of a group of commands has an ellipsis, which cuts nothing.
        assert "..." not in (result.output + page).replace("[ARGS]...", "")
        command = main.get_command(click.Context(main), name)
        assert command
        assert [each.name for each in command.params if isinstance(each, click.Option) and not each.help] == []


def test_the_bare_command_on_a_terminal_says_what_it_waits_for() -> None:
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "extend_mcp"], env=CLEAN, cwd=ROOT, stdin=inside, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(inside)
        assert process.stderr
        assert "waiting for an MCP client on stdin" in process.stderr.readline()
        process.kill()
    os.close(terminal)


def test_http_is_served_to_this_machine_only() -> None:
    ended = run("serve", "--transport", "http", "--host", "0.0.0.0")
    assert ended.returncode == 1
    assert "EXTEND_MCP_HOST is not a loopback address and EXTEND_MCP_AUTH is none" in ended.stderr


@pytest.mark.thorough
def test_a_token_is_shown_once_and_its_entry_holds_only_its_hash(tmp_path: Path) -> None:
    made = run("token", "ops-bot")
    token = made.stdout.strip()
    entry = json.loads(made.stderr[made.stderr.index("{") :])
    assert token.startswith("emcp_")
    assert token not in made.stderr
    assert entry == {"name": "ops-bot", "sha256": hashlib.sha256(token.encode()).hexdigest()}
    file = tmp_path / "tokens.json"
    added = run("token", "bot", "--read-only", "--append", str(file))
    (entry,) = json.loads(file.read_text())["tokens"]
    assert entry == {
        "name": "bot",
        "sha256": hashlib.sha256(added.stdout.strip().encode()).hexdigest(),
        "read_only": True,
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("token", "bot", "--append", str(file)).stdout == ""
    refused = run("token", "two words")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
