"""The image, built by its own commands and run as it will be: its user, a file system to read only, no capability."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests.deploy.image import Image, why_not

ROOT = Path(__file__).parents[2]
SITE = Path("opt/extend-mcp/lib")
MAX_MEGABYTES = 150

reason = why_not()


@pytest.mark.deploying
@pytest.mark.skipif(bool(reason), reason=reason)
async def test_the_image_holds_only_what_runs_and_serves_without_writing(tmp_path: Path) -> None:
    """One test: building takes most of its time."""
    image = Image(ROOT / "deploy" / "Dockerfile", ROOT, tmp_path)
    check_contents(image)

    port = free_port()
    chosen = {"EXTEND_MCP_SANDBOX": "true", "EXTEND_MCP_AUTH": "passthrough", "EXTEND_MCP_PORT": str(port)}
    log = tmp_path / "log"
    with image.container(output=log, **chosen) as process:
        await_health(image, process, log, **chosen)
        check_confinement(image, process)

        async with create_mcp_http_client(headers={"Authorization": "Bearer any-key"}) as http:
            transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)
            async with Client(transport) as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                runs = await client.call_tool("list_runs", {"page_size": 1})
        assert {"list_runs", "cancel_workflow_run"} <= names
        assert not runs.is_error

        assert list(Path(f"/proc/{process.pid}/root/tmp").iterdir()) == []
        process.terminate()
        assert process.wait(20) == 0, log.read_text()


def check_contents(image: Image) -> None:
    """Every file that the build put above the base image is of the environment, and none is superfluous."""
    files = image.files
    assert {path.parts[:2] for path in files} == {("opt", "extend-mcp")}
    # What an environment consists of, and nothing else.
    assert {path.parts[2] for path in files} <= {"bin", "etc", "include", "lib", "lib64", "pyvenv.cfg", "share"}
    own = [path for path in files if "extend_mcp" in path.parts]
    assert {path.suffix for path in own} == {".css", ".js", ".md", ".py", ".pyc", ".typed"}
    assert {path.parent.name for path in own if path.suffix == ".md"} == {"skills"}
    assert not [
        path for path in files if path.match("site-packages/tests/*") or path.match("site-packages/benchmarks/*")
    ]
    # No compiler, and nothing that installs.
    commands = {path.name for path in files if path.parent == Path("opt/extend-mcp/bin")}
    assert "extend-mcp" in commands
    assert not commands & {"pip", "pip3", "gcc", "cc", "c++", "ld", "make", "pytest"}
    assert not [path for path in files if "pip" in path.parts or "setuptools" in path.parts]
    # The extras: what replicas share, and spans.
    packages = {path.parts[path.parts.index("site-packages") + 1] for path in files if "site-packages" in path.parts}
    assert {"redis", "opentelemetry"} <= packages
    size = sum((image.layer / path).lstat().st_size for path in files)
    assert size < MAX_MEGABYTES * 1_000_000
    assert not [path for path in files if (image.layer / path).lstat().st_mode & 0o6000]


def check_confinement(image: Image, process: subprocess.Popen[bytes]) -> None:
    """The assumptions about the surroundings hold: otherwise the test would prove nothing."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "0" * 16
    assert status["NoNewPrivs"] == "1"
    mounts = [line.split() for line in Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()]
    assert [mount[5].split(",")[0] for mount in mounts if mount[4] == "/"] == ["ro"]
    for folder in ("/opt/extend-mcp", "/var/tmp"):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            image.execute(process, ["python", "-c", f"open('{folder}/x', 'w')"])
        assert "Read-only file system" in refused.value.stderr


def await_health(image: Image, process: subprocess.Popen[bytes], log: Path, **environment: str) -> None:
    """Wait until the image's own health check says yes; another process has no clock but the real one."""
    (check,) = image.stage.all("HEALTHCHECK")
    problem = "never tried"
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            image.execute(process, check.words, **environment)
        except subprocess.CalledProcessError as error:
            problem = error.stderr[-300:]
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"not healthy: {problem}\nexit status {process.poll()}, log:\n{log.read_text()[-3000:]}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
