"""A real redis-server for tests: on a free port of this machine, nothing kept on disk, gone in the end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed (Debian: apt-get install redis-server)"
)

_LONGEST_START = 20.0
_TRIES = 5


class RunningRedis:
    """A server that a test can stop and start, always at the same address.

    Args:
        folder: Where it may write its log; its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Return the Redis URL it listens on."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers.

        Raises:
            RuntimeError: It ended at once, or does not answer.
        """
        for _ in range(_TRIES):
            port = self._port or _free_port()
            if self._run(port):
                self._port = port
                return
        raise RuntimeError(f"redis-server does not start: {self._log().read_text()}")

    def stop(self) -> None:
        """End it at once, as a crash would. Its data is lost."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _run(self, port: int) -> bool:
        options = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
        }
        command = ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", value))]
        with self._log().open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + _LONGEST_START
        while time.monotonic() < end and self._process.poll() is None:
            if _answers(port, self._process.pid):
                return True
            time.sleep(0.005)
        self.stop()
        return False

    def _log(self) -> Path:
        return self._folder / "redis.log"


@contextmanager
def running_redis() -> Iterator[RunningRedis]:
    """Run a server until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="extend-mcp-redis-") as folder:
        server = RunningRedis(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, pid: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
        # Another test's server may have taken the port a moment before.
        return answer.startswith(b"+PONG") and f"process_id:{pid}\r\n".encode() in answer
    return False
