"""Real processes over stdio, read line by line: stdout carries protocol messages and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.calls import default_tools, is_read_only

HERE = Path(__file__).parent
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("EXTEND_")}
ROOT = HERE.parent.parent


class RawClient:
    """Speaks JSON-RPC by hand and keeps every line that came."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._next = 0
        self.lines: list[str] = []

    def send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return its answer; requests of the server are not expected."""
        self._next += 1
        self.send({"id": self._next, "method": method, "params": params})
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line)
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == self._next:
                return answer
        raise AssertionError(f"the server ended before it answered {method}")

    def handshake(self) -> dict[str, Any]:
        answer = self.ask(
            "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "raw", "version": "1"}
        )
        self.send({"method": "notifications/initialized"})
        return answer

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = self.ask("tools/call", name=name, arguments=arguments)["result"]
        return result


@contextmanager
def started(*command: str, **environment: str) -> Iterator[tuple[RawClient, subprocess.Popen[str]]]:
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=CLEAN | environment,
        cwd=ROOT,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            yield RawClient(process), process
        finally:
            process.kill()


def finish(client: RawClient, process: subprocess.Popen[str]) -> str:
    """Close stdin, wait for the end, and return what stderr held. Every stdout line must be JSON-RPC."""
    rest, errors = process.communicate(timeout=20)
    for line in [*client.lines, *rest.splitlines()]:
        assert json.loads(line)["jsonrpc"] == "2.0"
    assert process.returncode == 0
    return errors


def test_the_bare_command_serves_on_stdio_and_closing_stdin_ends_it() -> None:
    with started("-m", "extend_mcp", "--sandbox") as (client, process):
        assert client.handshake()["result"]["serverInfo"]["name"] == "extend-mcp"
        tools = client.ask("tools/list")["result"]["tools"]
        assert [tool["name"] for tool in tools] == default_tools()
        listed = client.call("list_runs", page_size=3)
        assert len(listed["structuredContent"]["runs"]) == 3
        wrong = client.call("get_workflow_run", run_id="nonsense")
        assert wrong["isError"] is True
        assert finish(client, process) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_at_once_without_a_traceback(number: signal.Signals) -> None:
    with started("-m", "extend_mcp", "--sandbox") as (client, process):
        client.handshake()
        process.send_signal(number)
        assert process.wait(5) == -number
        assert process.stderr
        assert process.stderr.read() == ""


def test_without_a_key_the_server_starts_and_lists_its_tools() -> None:
    with started("-m", "extend_mcp", EXTEND_API_KEY="${EXTEND_API_KEY}") as (client, process):
        client.handshake()
        assert [tool["name"] for tool in client.ask("tools/list")["result"]["tools"]] == default_tools()
        answer = client.call("list_runs")
        assert answer["isError"] is True
        assert "EXTEND_API_KEY" in answer["content"][0]["text"]
        assert "Traceback" not in finish(client, process)


def test_read_only_leaves_out_what_writes() -> None:
    with started("-m", "extend_mcp", "serve", "--sandbox", "--read-only") as (client, process):
        client.handshake()
        names = [tool["name"] for tool in client.ask("tools/list")["result"]["tools"]]
        assert names == [tool for tool in default_tools() if is_read_only(tool)]
        refused = client.ask("tools/call", name="cancel_workflow_run", arguments={"run_id": "workflow_run_1"})
        assert refused.get("error") or refused["result"]["isError"]
        finish(client, process)


def test_a_tool_that_prints_and_crashes_puts_nothing_on_stdout_and_its_text_does_not_reach_the_model() -> None:
    with started(str(HERE / "noisy_server.py"), EXTEND_API_KEY="sk_key_canary", PYTHONPATH=str(ROOT)) as (
        client,
        process,
    ):
        client.handshake()
        answer = client.call("list_runs")
        assert answer["isError"] is True
        text = answer["content"][0]["text"]
        assert "failed inside extend-mcp" in text
        assert "canary" not in "".join(client.lines)
        changing = client.call("cancel_workflow_run", run_id="workflow_run_xKm9pNv3qWsY_jL2tR5Dh")
        assert "unclear whether anything was changed" in changing["content"][0]["text"]
        errors = finish(client, process)
    assert "noise on stdout" in errors
    assert "RuntimeError" in errors
    assert "sk_key_canary" not in errors


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"EXTEND_REGION": "mars"}, "EXTEND_REGION"),
        ({"EXTEND_BASE_URL": "not a url sk_canary"}, "EXTEND_BASE_URL"),
        ({"EXTEND_MCP_STATE_KEYS": "short_sk_canary"}, "EXTEND_MCP_STATE_KEYS"),
        ({"EXTEND_BASE_URL": "http://user:sk_canary@127.0.0.1"}, "EXTEND_BASE_URL: must not contain credentials"),
        ({"EXTEND_WORKSPACE_ID": "ws canary"}, "EXTEND_WORKSPACE_ID: must be"),
        ({"EXTEND_BASE_URL": "http://canary.example"}, "EXTEND_BASE_URL: the API key would cross"),
    ],
)
def test_unusable_settings_are_named_without_their_values(environment: dict[str, str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "extend_mcp", "serve"],
        env=CLEAN | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "canary" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
