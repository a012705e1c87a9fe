import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import anyio
import httpx
import pytest

from extend_mcp.sandbox import SandboxSettings
from extend_mcp.sandbox.sandbox_server import running_sandbox, serve
from tests.sandbox.kit import HEADERS, make_sandbox

PROGRAM = """
import asyncio, sys
from extend_mcp.sandbox import Sandbox, SandboxSettings
from extend_mcp.sandbox.sandbox_server import serve

def ready(base_url):
    sys.stdout.write(base_url + "\\n")
    sys.stdout.flush()

asyncio.run(serve(Sandbox(SandboxSettings(scenario="empty")), on_ready=ready))
sys.stdout.write("ended\\n")
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        yield started
        started.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(process: subprocess.Popen[str], sent: signal.Signals) -> None:
    assert process.stdout
    base_url = process.stdout.readline().strip()
    with httpx.Client(headers=HEADERS, trust_env=False, verify=False) as client:
        assert client.get(f"{base_url}/workflow_runs").status_code == 200
        process.send_signal(sent)
        assert process.wait(timeout=10) == 0
    assert process.communicate() == ("ended\n", "")


async def test_it_serves_once_it_reports_ready_and_ends_when_cancelled() -> None:
    ready: list[str] = []
    listening = anyio.Event()

    def on_ready(base_url: str) -> None:
        ready.append(base_url)
        listening.set()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: serve(make_sandbox(), on_ready=on_ready))
        with anyio.fail_after(5):
            await listening.wait()
        async with httpx.AsyncClient(headers=HEADERS, trust_env=False, verify=False) as client:
            assert (await client.get(f"{ready[0]}/workflow_runs")).status_code == 200
            group.cancel_scope.cancel()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{ready[0]}/workflow_runs", trust_env=False, verify=False)


async def test_a_used_port_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match=r"[Aa]ddress"):
        await serve(make_sandbox(), port=taken.getsockname()[1])


def test_a_running_sandbox_can_be_controlled_in_process_and_ends_with_its_block() -> None:
    with running_sandbox(SandboxSettings(scenario="empty")) as running:
        running.sandbox.load_run({"id": "workflow_run_here", "status": "PROCESSED"})
        response = httpx.get(
            f"{running.base_url}/workflow_runs/workflow_run_here", headers=HEADERS, trust_env=False, verify=False
        )
        assert response.json() == {"id": "workflow_run_here", "status": "PROCESSED"}
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.base_url, trust_env=False, verify=False)
