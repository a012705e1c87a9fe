"""Stop real processes: soon, with status 0 or the signal's, without a traceback; idle, and in a call."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import KEY, Box
from tests.http.calls import CALL, HEADERS
from tests.robustness.holding_proxy import HoldingProxy, holding_proxy

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
LIMITED = Path(__file__).parent / "limited.py"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("EXTEND_", "OTEL_"))}
SCENARIO = "empty"
# The promise is one second; a machine that also runs other tests gets twice that, a crowded one in proportion.
SOON = max(2.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))
SIGNALS = [signal.SIGINT, signal.SIGTERM]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}
CALL_OF_OLD = {**CALL, "params": {"name": "list_runs", "arguments": {}}}


@pytest.fixture
def proxy(box: Box) -> Iterator[HoldingProxy]:
    with holding_proxy(box.sandbox.app) as proxy:
        yield proxy


class Running:
    """A server process and what it wrote to stderr."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.errors = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def url(self) -> str:
        """Return the address it serves on, once it prints it."""
        until = time.monotonic() + 20
        while not (found := re.search(rb"serves (http://\S+)/mcp", self.errors)):
            assert self.process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        return found[1].decode()

    def ends(self, *statuses: int) -> None:
        """It ends soon, with one of these statuses, and says nothing of it."""
        begun = time.monotonic()
        status = self.process.wait(20)
        spent = time.monotonic() - begun
        self._reader.join(5)
        assert status in statuses, self.errors.decode()
        assert spent < SOON
        assert b"Traceback" not in self.errors
        assert re.sub(rb"extend-mcp serves .*\n", b"", self.errors) == b""

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.errors += line


@contextmanager
def running(proxy: HoldingProxy, transport: str, **limits: float) -> Iterator[Running]:
    variables = {"EXTEND_API_KEY": KEY, "EXTEND_BASE_URL": proxy.base_url}
    program = [str(LIMITED), json.dumps(limits)] if limits else ["-m", "extend_mcp"]
    command = [sys.executable, *program, "serve", "--transport", transport, "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=CLEAN | variables, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def write(server: Running, *messages: dict[str, Any]) -> None:
    assert server.process.stdin
    for message in messages:
        server.process.stdin.write(json.dumps(message).encode() + b"\n")
    server.process.stdin.flush()


def read(server: Running) -> dict[str, Any]:
    assert server.process.stdout
    answer: dict[str, Any] = json.loads(server.process.stdout.readline())
    return answer


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a call"])
@pytest.mark.parametrize("way", [*SIGNALS, None], ids=["SIGINT", "SIGTERM", "closed stdin"])
def test_stdio(proxy: HoldingProxy, box: Box, busy: bool, way: signal.Signals | None) -> None:
    with running(proxy, "stdio") as server:
        write(server, INITIALIZE)
        assert read(server)["id"] == 0
        if busy:
            proxy.again(hold=1)
            write(server, {"jsonrpc": "2.0", "method": "notifications/initialized"}, CALL_OF_OLD)
            assert proxy.held.wait(10)
        if way is not None:
            server.process.send_signal(way)
        else:
            assert server.process.stdin
            server.process.stdin.close()
        server.ends(-way if way else 0)
        assert server.process.stdout
        # A call that is broken off may get an error, and nothing else.
        assert all("error" in json.loads(line) for line in server.process.stdout)
        assert proxy.left.wait(10) is True if busy else not proxy.seen
    assert box.requests() == []


@pytest.mark.parametrize(("transport", "number"), [("http", signal.SIGTERM), ("sse", signal.SIGINT)])
def test_http_and_sse_idle_but_with_a_stream_open(proxy: HoldingProxy, transport: str, number: signal.Signals) -> None:
    with running(proxy, transport) as server, httpx.Client(base_url=server.url(), trust_env=False) as client:
        if transport == "sse":
            with client.stream("GET", "/sse") as stream:
                assert b"endpoint" in next(stream.iter_bytes())
                server.process.send_signal(number)
                server.ends(0)
        else:
            assert client.post("/mcp", json=CALL, headers=HEADERS).status_code == 200
            server.process.send_signal(number)
            server.ends(0)


@pytest.mark.parametrize(("transport", "number"), [("http", signal.SIGINT), ("sse", signal.SIGTERM)])
def test_in_a_call_it_is_answered_first(proxy: HoldingProxy, transport: str, number: signal.Signals) -> None:
    proxy.again(hold=1)
    with running(proxy, transport) as server, calling(server.url()) as answers:
        assert proxy.held.wait(10)
        server.process.send_signal(number)
        # Time enough to break off a call, if that were what it does.
        assert not proxy.left.wait(0.3)
        proxy.let.set()
        server.ends(0)
    (answer,) = answers
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == 200
    assert '"isError":true' not in answer.text


@pytest.mark.parametrize(("transport", "number"), [("http", signal.SIGTERM), ("sse", signal.SIGINT)])
def test_a_second_signal_does_not_wait_for_the_call(
    proxy: HoldingProxy, transport: str, number: signal.Signals, box: Box
) -> None:
    proxy.again(hold=1)
    with running(proxy, transport) as server, calling(server.url()) as answers:
        assert proxy.held.wait(10)
        server.process.send_signal(number)
        assert not proxy.left.wait(0.2)
        server.process.send_signal(number)
        server.ends(0)
        assert proxy.left.wait(10)
    (answer,) = answers
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == 503
    assert answer.headers["x-request-id"]
    assert "unclear" in answer.json()["error"]["message"]
    assert box.requests() == []


def test_a_call_that_outlasts_the_longest_wait_is_broken_off(proxy: HoldingProxy, box: Box) -> None:
    proxy.again(hold=1)
    with running(proxy, "http", shutdown_seconds=1) as server, calling(server.url()) as answers:
        assert proxy.held.wait(10)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(1 + 2 * SOON) == 0
        assert proxy.left.wait(10)
    assert b"Traceback" not in server.errors
    (answer,) = answers
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == 503
    assert answer.headers["x-request-id"]
    assert box.requests() == []


@contextmanager
def calling(url: str) -> Iterator[list[httpx.Response | httpx.HTTPError]]:
    """One call under way in a thread, and what becomes of it."""
    answers: list[httpx.Response | httpx.HTTPError] = []

    def call() -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            try:
                answers.append(client.post(f"{url}/mcp", json=CALL, headers=HEADERS))
            except httpx.HTTPError as error:
                answers.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    yield answers
    thread.join(20)
    assert answers
