"""The server as a child process, as an IDE starts it, with the SDK's client of either protocol."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.harness import ERAS, KEY, Box, Mode, Person, example_run, facts_of, text_of
from tests.hosting import Host

ROOT = Path(__file__).parent.parent.parent
RUN = "workflow_run_overStdio000000001"
VERSIONS = {"auto": "2026-07-28", "legacy": "2025-11-25"}


@pytest.fixture
def box(host: Host) -> Iterator[Box]:
    """Return a sandbox whose clock runs fast: the server follows a cancel in real time."""
    with host.room("empty", speed=20) as running:
        yield Box(running.base_url, running.sandbox)


LIMITED = Path(__file__).parent / "limited.py"


def child(box: Box, *, limits: dict[str, float] | None = None, **environment: str) -> StdioServerParameters:
    """Start a server as a child process, with other limits than its own where they are given."""
    program = [str(LIMITED), json.dumps(limits), "serve"] if limits else ["-m", "extend_mcp"]
    return StdioServerParameters(
        command=sys.executable,
        args=program,
        cwd=str(ROOT),
        env={
            "EXTEND_API_KEY": KEY,
            "EXTEND_BASE_URL": box.base_url,
            # The SDK hands its child few variables.
            "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"],
            **environment,
        },
    )


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("person", [Person("decline"), None], ids=["asked", "cannot be asked"])
async def test_a_cancel_through_a_real_process(box: Box, mode: Mode, person: Person | None) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    someone = Person(person.action) if person else None
    async with Client(child(box), mode=mode, elicitation_callback=someone.answer if someone else None) as client:
        assert client.protocol_version == VERSIONS[mode]
        arguments: dict[str, Any] = {"run_id": RUN}
        first = facts_of(await client.call_tool("cancel_workflow_run", arguments))
        assert box.requests("POST") == []
        if someone:
            assert first["outcome"] == "declined"
            someone.action = "accept"
        else:
            assert first["outcome"] == "confirmation_required"
            arguments["confirmation_token"] = first["confirmation_token"]
        facts = facts_of(await client.call_tool("cancel_workflow_run", arguments))
    assert facts["outcome"] == "cancelled"
    assert [request["status"] for request in box.requests("POST")] == [200]


@pytest.mark.thorough
async def test_replicas_that_share_keys_take_each_other_s_tokens_and_others_do_not(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    shared = {"EXTEND_MCP_STATE_KEYS": "a" * 40}
    async with Client(child(box, **shared)) as first:
        plan = facts_of(await first.call_tool("cancel_workflow_run", {"run_id": RUN}))
    arguments = {"run_id": RUN, "confirmation_token": plan["confirmation_token"]}
    for stranger in (
        {"EXTEND_MCP_STATE_KEYS": "b" * 40},
        {**shared, "EXTEND_API_KEY": "sk_another_account"},
        {**shared, "EXTEND_WORKSPACE_ID": "ws_other"},
    ):
        async with Client(child(box, **stranger)) as other:
            refused = facts_of(await other.call_tool("cancel_workflow_run", arguments))
            assert refused["outcome"] == "confirmation_required"
    assert box.requests("POST") == []
    async with Client(child(box, **shared)) as second:
        assert facts_of(await second.call_tool("cancel_workflow_run", arguments))["outcome"] == "cancelled"


async def test_streamable_http_serves_the_same_tools_on_loopback(box: Box) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "extend_mcp", "serve", "--sandbox", "--transport", "http", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            await_port(port)
            for mode in ERAS:
                async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
                    assert client.protocol_version == VERSIONS[mode]
                    assert "runs" in text_of(await client.call_tool("list_runs", {"page_size": 2}))
        finally:
            process.terminate()
            process.wait(10)


def await_port(port: int) -> None:
    """Wait until one of our processes listens; real time is the only clock that another process has."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not listen in time")
