"""Measure the memory that a real server process takes for a question about many runs."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mcp.client.client import Client

from tests.e2e.test_eras import ROOT, await_port
from tests.harness import KEY, Box, facts_of

STATUS = Path("/proc/self/status")
MEGABYTE = 1024


def kilobytes(pid: int, name: str) -> int:
    """A figure of a process: VmRSS (now) or VmHWM (its peak), in KiB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


@pytest.mark.thorough
@pytest.mark.skipif(not STATUS.exists(), reason="the peak of another process is read from /proc")
async def test_ten_thousand_runs_are_summarized_in_bounded_memory(large: Box) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EXTEND_")},
        "EXTEND_API_KEY": KEY,
        "EXTEND_BASE_URL": large.base_url,
        # How fast is another test's matter, on a clock that need not be waited for.
        "EXTEND_MCP_REQUESTS_PER_SECOND": "1000",
    }
    command = [sys.executable, "-m", "extend_mcp", "serve", "--transport", "http", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            await_port(port)
            async with Client(f"http://127.0.0.1:{port}/mcp") as client:
                await client.call_tool("list_runs", {"page_size": 1})
                idle = kilobytes(process.pid, "VmRSS")
                facts = facts_of(await client.call_tool("summarize_runs", {"group_by": "failure_reason"}))
                peak = kilobytes(process.pid, "VmHWM")
        finally:
            process.terminate()
            process.wait(10)
    assert facts["runs"] == 10_000
    assert peak - idle < 150 * MEGABYTE, f"{(peak - idle) / MEGABYTE:.0f} MB above the idle server"
