"""The server as a child process, spoken to line by line, as no good client does."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness import KEY, Box

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("EXTEND_", "OTEL_"))}
ABSURD = 987654
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}


def request(method: Any, params: Any = None, number: Any = ABSURD) -> bytes:
    given = {} if params is None else {"params": params}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, **given}).encode()


def notice(method: str, params: Any = None) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}).encode()


class Line:
    """A server process, spoken to line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.errors = b""
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._number = 0
        for read in (self._read, self._read_errors):
            threading.Thread(target=read, daemon=True).start()

    def send(self, *lines: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"".join(line + b"\n" for line in lines))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._answers.get(timeout=20))
        assert answer["jsonrpc"] == "2.0"
        return answer

    def is_well(self) -> None:
        """A good call is answered, and by nothing else before."""
        self._number += 1
        self.send(request("tools/call", {"name": "list_runs", "arguments": {}}, self._number))
        answer = self.receive()
        assert answer["id"] == self._number
        assert answer["result"]["isError"] is False

    def close(self) -> int:
        """Close stdin, and return the exit code."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(10)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._answers.put(line)

    def _read_errors(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.errors += line


@contextmanager
def started(box: Box, **environment: str) -> Iterator[Line]:
    """The server with Extend at ``box``."""
    given = {
        "EXTEND_API_KEY": KEY,
        "EXTEND_BASE_URL": box.base_url,
        "EXTEND_MCP_REQUESTS_PER_SECOND": "1000",
        **environment,
    }
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "extend_mcp"], cwd=ROOT, env=CLEAN | given, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        try:
            yield Line(process)
        finally:
            process.kill()
