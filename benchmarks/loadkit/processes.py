"""The processes under load: started on free ports of this machine, measured through /proc, always ended."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent
PROGRAM = [sys.executable, "-m", "extend_mcp"]
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 30.0


def clean_environment(**given: str) -> dict[str, str]:
    """The machine's own variables and the ``given`` ones."""
    # Settings of whoever runs this must not steer a server, nothing may leave the machine through a proxy, and a
    # process that may not keep its bytecode would compile everything again at each start.
    return given | {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EXTEND_")
        and not name.lower().endswith("_proxy")
        and name != "PYTHONDONTWRITEBYTECODE"
        and name not in given
    }


class Child:
    """One process, from `start` until the end of the `with` block.

    Args:
        command: what to run.
        environment: variables it gets beside the machine's own.
    """

    def __init__(self, command: list[str], **environment: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=clean_environment(**environment),
            cwd=BENCHMARKS.parent,
        )
        self._proc = Path("/proc") / str(self._process.pid)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def first_line(self) -> str:
        """The first line it writes to stdout.

        Raises:
            RuntimeError: it ended without one, or is silent for 30 seconds.
        """
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        line = self._process.stdout.readline().decode().strip() if ready else ""
        if not line:
            raise self._failure("wrote nothing")
        return line

    def wait_for_port(self, port: int) -> None:
        """Return as soon as it accepts connections at ``port``.

        Raises:
            RuntimeError: it ended, or does not listen after 30 seconds.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._failure("ended")
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise self._failure("does not listen")

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far, in user and kernel mode."""
        # The second field is the program's name in parentheses, which may hold spaces.
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mb(self) -> float:
        """Memory that it holds in RAM, in megabytes of 2**20 bytes."""
        return resident_mb(self._process.pid)

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 2000))
        return self._errors.read().decode(errors="replace").strip()

    def _failure(self, what: str) -> RuntimeError:
        return RuntimeError(f"{self._process.args!r} {what}: {self.last_words()}")


def resident_mb(pid: int) -> float:
    """Memory that a process holds in RAM, in megabytes of 2**20 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def start_sandbox(scenario: str = "default") -> tuple[Child, str]:
    """Extend's API on this machine, and its base URL."""
    child = Child([*PROGRAM, "sandbox", "--port", "0", "--speed", "1", "--scenario", scenario])
    try:
        return child, child.first_line()
    except BaseException:
        child.__exit__()
        raise


def start_server(command: list[str], port: int, base_url: str) -> Child:
    """A server under test, listening at ``port``, its calls going to ``base_url``."""
    child = Child(command, EXTEND_BASE_URL=base_url, EXTEND_API_KEY="x", EXTEND_MCP_REQUESTS_PER_SECOND="1000")
    try:
        child.wait_for_port(port)
    except BaseException:
        child.__exit__()
        raise
    return child


def start_ours(port: int, base_url: str) -> Child:
    """extend-mcp over HTTP."""
    command = [*PROGRAM, "serve", "--transport", "http", "--host", "127.0.0.1", "--port", str(port)]
    return start_server(command, port, base_url)


def start_bare(port: int, base_url: str, answers: str) -> Child:
    """The baseline, whose ``answers`` are whole or brief."""
    command = [sys.executable, str(BENCHMARKS / "bare_http_server.py"), str(port), answers]
    return start_server(command, port, base_url)
