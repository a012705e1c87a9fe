"""Start processes on free ports of this machine, measure them through /proc, and always stop them."""

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
    """Return the machine's own variables and the ``given`` ones."""
    # The caller's own settings must not configure a server, no request may use a proxy, and without bytecode files
    # each start would compile everything again.
    return given | {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EXTEND_")
        and not name.lower().endswith("_proxy")
        and name != "PYTHONDONTWRITEBYTECODE"
        and name not in given
    }


class Child:
    """One process, until the end of the `with` block.

    Args:
        command: what to run.
        environment: variables it gets in addition to the machine's own.
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
        """Return the first line it writes to stdout.

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
        """Return the processor time used so far, in user and kernel mode."""
        # The second field is the program's name in parentheses, which may hold spaces.
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mb(self) -> float:
        """Return its memory in RAM, in megabytes of 2**20 bytes."""
        return resident_mb(self._process.pid)

    def errors(self) -> str:
        """Return everything it wrote to stderr so far."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()

    def exit_status(self) -> int | None:
        """Return its exit status, or None while it runs."""
        return self._process.poll()

    def _failure(self, what: str) -> RuntimeError:
        return RuntimeError(f"{self._process.args!r} {what}: {self.errors()[-2000:]}")


def resident_mb(pid: int) -> float:
    """Return the memory of a process in RAM, in megabytes of 2**20 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def start_sandbox(scenario: str = "default") -> tuple[Child, str]:
    """Start Extend's API on this machine; return it with its base URL."""
    child = Child([*PROGRAM, "sandbox", "--port", "0", "--speed", "1", "--scenario", scenario])
    try:
        return child, child.first_line()
    except BaseException:
        child.__exit__()
        raise
