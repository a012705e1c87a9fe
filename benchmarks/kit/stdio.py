"""Call a server over stdio at next to no cost: raw JSON lines, written and read."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from kit.processes import BENCHMARKS, clean_environment, resident_mb

_HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


def is_error(message: bytes) -> bool:
    """Return whether a response is an error, without parsing a long one: that would cost more than the call."""
    return (len(message) < 20_000 and b'"isError":true' in message) or b'"result"' not in message[:300]


class StdioServer:
    """A server as a child process after the handshake, until the end of the `with` block.

    Args:
        command: the command to run.
        environment: variables it gets in addition to the machine's own.

    Attributes:
        begun: when the process was started, by `time.perf_counter`.
    """

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._sent = 0
        self.begun = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=clean_environment(**environment),
            cwd=BENCHMARKS.parent,
        )
        self._ask("initialize", _HANDSHAKE)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __enter__(self) -> StdioServer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def tools(self) -> list[dict[str, Any]]:
        """Return the tools it lists."""
        tools: list[dict[str, Any]] = self.answer(self._ask("tools/list", {}))["tools"]
        return tools

    def ready(self, at_once: int) -> None:
        """Do nothing: one pipe carries any number of calls."""

    def call(self, tool: str, arguments: dict[str, Any]) -> bytes:
        """Call a tool and return the line with the answer, as it came."""
        return self._ask("tools/call", {"name": tool, "arguments": arguments})

    def burst(self, calls: Sequence[tuple[str, dict[str, Any]]], at_once: int) -> float:
        """Make all calls with ``at_once`` under way, and return the seconds it took.

        Raises:
            RuntimeError: an answer was an error.
        """
        waiting = iter(calls)
        begun = time.perf_counter()
        under_way, wrong = 0, b""
        for tool, arguments in waiting:
            self._send("tools/call", {"name": tool, "arguments": arguments})
            under_way += 1
            if under_way == at_once:
                break
        while under_way:
            line = self._read()
            wrong = wrong or (line if is_error(line) else b"")
            under_way -= 1
            for tool, arguments in waiting:
                self._send("tools/call", {"name": tool, "arguments": arguments})
                under_way += 1
                break
        seconds = time.perf_counter() - begun
        # Raised at the end, when no response is pending that the next call would read.
        if wrong:
            self.answer(wrong)
        return seconds

    def answer(self, line: bytes) -> dict[str, Any]:
        """Return the result in a line.

        Raises:
            RuntimeError: it is an error.
        """
        message = json.loads(line)
        result: dict[str, Any] | None = message.get("result")
        if result is None or result.get("isError"):
            raise RuntimeError(f"{self._process.args!r} answered {line[:500]!r}")
        return result

    def resident_mb(self) -> float:
        """Return its memory in RAM, in megabytes of 2**20 bytes."""
        return resident_mb(self._process.pid)

    def _ask(self, method: str, params: dict[str, Any]) -> bytes:
        self._send(method, params)
        return self._read()

    def _send(self, method: str, params: dict[str, Any]) -> None:
        self._sent += 1
        self._write({"jsonrpc": "2.0", "id": self._sent, "method": method, "params": params})

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def _read(self) -> bytes:
        assert self._process.stdout
        for line in self._process.stdout:
            # A notification has no id; in a response it is near the beginning.
            if b'"id":' in line[:100]:
                return line
        self._errors.seek(0)
        raise RuntimeError(f"{self._process.args!r} ended: {self._errors.read().decode(errors='replace')[-2000:]}")
