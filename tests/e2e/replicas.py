"""Several replicas of the server as real processes, with the Redis and the Extend (a sandbox) that they share."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
from mcp.client.client import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.streamable_http import streamable_http_client

from tests.harness import Mode, Person, example_run
from tests.redis_server import RunningRedis, running_redis

ROOT = Path(__file__).parents[2]
LIMITED = str(Path(__file__).parent / "limited.py")

KEY = "sk_canary_of_all_replicas"
TOKEN = "emcp_canary_token_of_anna_0123456789"
WEBHOOK_SECRET = "wss_canary_of_the_endpoint"
STATE_KEY = "canary-state-key-" + "k" * 32
SECRETS = (KEY, TOKEN, WEBHOOK_SECRET, STATE_KEY)

_START_SECONDS = 30.0
_END_SECONDS = 15.0


class Child:
    """One of our processes, which prints a line when it is ready.

    Args:
        folder: where its output goes; its own.
        arguments: what Python gets.
        ready: finds its address in its output.
        environment: its variables, added to those of this process that are not Extend's.
    """

    def __init__(self, folder: Path, arguments: list[str], ready: str, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.url = ""
        self._arguments = arguments
        self._ready = re.compile(ready)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def port(self) -> int:
        """The address it listens on."""
        return int(self.url.rpartition(":")[2])

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def errors(self) -> str:
        """All that it has written to stderr, over all its starts."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("stderr.*")))

    def start(self) -> None:
        """Start it; it is not ready yet."""
        self._starts += 1
        self.url = ""
        own = {name: value for name, value in os.environ.items() if not name.startswith("EXTEND_")}
        command = [sys.executable, *self._arguments]
        with self._output("stdout").open("wb") as out, self._output("stderr").open("wb") as err:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**own, **self._environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def await_ready(self) -> None:
        """Wait for its word; real time is the only clock that another process has."""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self.alive:
            said = self._output("stdout").read_text() + self._output("stderr").read_text()
            if found := self._ready.search(said):
                self.url = found[1]
                return
            time.sleep(0.02)
        raise AssertionError(f"not ready: {self.errors}")

    def kill(self) -> None:
        """End it at once, as a crash of its machine would."""
        self.process.kill()
        self.process.wait(_END_SECONDS)

    def ask_to_end(self) -> None:
        """Send it SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop it until the block ends, as when its machine is moved."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def await_end(self) -> int:
        """Wait until it has ended; its status."""
        return self.process.wait(_END_SECONDS)

    def _output(self, name: str) -> Path:
        return self.folder / f"{name}.{self._starts}"


class Replica(Child):
    """One server process."""

    @property
    def audit(self) -> list[dict[str, Any]]:
        """Its audit lines."""
        path = self.folder / "audit"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def outcomes(self, tool: str, **target: str) -> list[str]:
        """Return the outcomes of a tool's calls here."""
        return [line["outcome"] for line in self.audit if line["tool"] == tool and target.items() <= line.items()]

    def forget(self) -> None:
        """Empty its audit file."""
        (self.folder / "audit").write_text("")

    async def calls(self) -> int:
        """Return how many calls it is answering at the moment."""
        async with _plain() as http:
            count: int = (await http.get(f"{self.url}/readyz")).json()["calls"]
            return count

    async def deliver(self, event: dict[str, Any]) -> str:
        """Send it an event as Extend would, signed; what it says of it."""
        body = json.dumps(event).encode()
        now = str(int(time.time()))
        signature = hmac.new(WEBHOOK_SECRET.encode(), f"v0:{now}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {"x-extend-request-timestamp": now, "x-extend-request-signature": signature}
        async with _plain() as http:
            reply = await http.post(f"{self.url}/webhooks/extend", content=body, headers=headers)
        said: str = reply.raise_for_status().json()["status"]
        return said


class Extend(Child):
    """The sandbox as a process. Its clock runs, but a run that was loaded moves only on request."""

    def load(self, run_id: str, status: str, **fields: Any) -> str:
        """Load a run; its id."""
        self._steer("POST", "runs", {**example_run(run_id, status), **fields})
        return run_id

    async def failed_runs(self, count: int) -> list[str]:
        """Start runs whose files cannot be read, and wait until they have failed; their ids."""
        ids = []
        async with _plain() as http:
            http.headers = httpx.Headers({"Authorization": "Bearer someone", "x-extend-api-version": "2026-02-09"})
            workflow = (await http.get(f"{self.url}/workflows")).json()["data"][0]["id"]
            for number in range(count):
                body = {"workflow": {"id": workflow}, "file": {"text": "Hello", "name": f"corrupt-{number}.pdf"}}
                ids.append((await http.post(f"{self.url}/workflow_runs", json=body)).raise_for_status().json()["id"])
            with anyio.fail_after(20):
                for run_id in ids:
                    while (await http.get(f"{self.url}/workflow_runs/{run_id}")).json()["status"] != "FAILED":
                        await anyio.sleep(0.01)
        return ids

    def fault(self, method: str, path: str, **fault: Any) -> None:
        """Order a fault."""
        self._steer("POST", "faults", {"method": method, "path": path, **fault})

    def finish(self, run_id: str, status: str) -> None:
        """Let a run end."""
        self._steer("POST", f"runs/{run_id}/finish", {"status": status})

    def forget(self) -> None:
        """Forget faults and received requests."""
        self._steer("DELETE", "faults")
        self._steer("DELETE", "requests")

    async def requests(self, method: str, path: str = "") -> list[dict[str, Any]]:
        """The requests received with this method and path, a run of which may be left out with ``*``."""
        pattern = re.escape(path).replace(r"\*", "[^/]+")
        async with _plain() as http:
            found = (await http.get(f"{self.url}/_sandbox/requests")).json()["requests"]
        return [each for each in found if each["method"] == method and re.fullmatch(pattern, each["path"])]

    async def await_requests(self, count: int, method: str, path: str) -> list[dict[str, Any]]:
        """Wait until so many such requests have arrived."""
        with anyio.fail_after(20):
            while len(found := await self.requests(method, path)) < count:
                await anyio.sleep(0.01)
        return found

    def _steer(self, method: str, path: str, body: Any = None) -> None:
        with httpx.Client(trust_env=False, verify=False) as http:
            http.request(method, f"{self.url}/_sandbox/{path}", json=body).raise_for_status()


class Fleet:
    """Replicas and what they share.

    Attributes:
        extend: the sandbox that replaces Extend.
        redis: the Redis.
        replicas: the servers.
    """

    def __init__(self, folder: Path, redis: RunningRedis, extend: Extend, count: int, *, stateless: bool) -> None:
        self.extend = extend
        self.redis = redis
        tokens = folder / "tokens.json"
        tokens.write_text(
            json.dumps({"tokens": [{"name": "anna", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}]})
        )
        shared = {
            "EXTEND_API_KEY": KEY,
            "EXTEND_BASE_URL": extend.url,
            "EXTEND_MCP_AUTH": f"token:{tokens}",
            "EXTEND_MCP_STATELESS": str(stateless).lower(),
            "EXTEND_MCP_STATE_KEYS": STATE_KEY,
            "EXTEND_MCP_REDIS_URL": redis.url,
            "EXTEND_MCP_WEBHOOK_SECRETS": WEBHOOK_SECRET,
            "EXTEND_MCP_REQUESTS_PER_SECOND": "1000",
        }
        self.replicas = [
            Replica(
                folder / f"replica{number}",
                # Another test follows a cancel to its end.
                [LIMITED, '{"drain_seconds": 1, "follow_seconds": 1}', "serve", "--transport", "http", "--port", "0"],
                r"serves (http://127\.0\.0\.1:\d+)/mcp\n",
                {**shared, "EXTEND_MCP_AUDIT": str(folder / f"replica{number}" / "audit")},
            )
            for number in range(count)
        ]

    @property
    def ports(self) -> list[int]:
        """The addresses that the replicas listen on."""
        return [replica.port for replica in self.replicas]

    def at(self, port: int) -> Replica:
        """The replica that listens there."""
        return next(replica for replica in self.replicas if replica.port == port)

    def refresh(self) -> None:
        """Start what does not run, and forget what was."""
        down = [replica for replica in self.replicas if not replica.alive]
        for replica in down:
            replica.start()
        for replica in down:
            replica.await_ready()
        for replica in self.replicas:
            replica.forget()
        self.extend.forget()

    def check(self) -> None:
        """Fail where a server crashed inside or wrote a secret down."""
        for replica in self.replicas:
            assert "Traceback" not in replica.errors, replica.errors
            written = replica.errors + json.dumps(replica.audit)
            assert not [secret for secret in SECRETS if secret in written]

    def end(self) -> None:
        """Stop every replica, and check that each exits cleanly."""
        running = [replica for replica in self.replicas if replica.alive]
        for replica in running:
            replica.ask_to_end()
        assert [replica.await_end() for replica in running] == [0] * len(running)


@contextmanager
def fleet(folder: Path, count: int, *, stateless: bool) -> Iterator[Fleet]:
    """Replicas that run until the block ends; whatever happens, no process stays."""
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis())
        extend = Extend(
            folder / "extend",
            ["-m", "extend_mcp", "sandbox", "--scenario", "empty", "--speed", "1000"],
            r"(http://127\.0\.0\.1:\d+)\n",
            {},
        )
        stack.callback(end_for_sure, extend)
        extend.start()
        extend.await_ready()
        made = Fleet(folder, redis, extend, count, stateless=stateless)
        for replica in made.replicas:
            stack.callback(end_for_sure, replica)
        made.refresh()
        yield made
        made.end()
        made.check()


@asynccontextmanager
async def connected(
    url: str,
    *,
    bearer: str = TOKEN,
    mode: Mode = "auto",
    person: Person | None = None,
    on_message: MessageHandlerFnT | None = None,
) -> AsyncIterator[Client]:
    """The SDK's client, as the caller whom the tokens file names or with another credential."""
    headers = {"Authorization": f"Bearer {bearer}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False, verify=False) as http,
        Client(
            streamable_http_client(f"{url}/mcp", http_client=http),
            mode=mode,
            elicitation_callback=person.answer if person else None,
            message_handler=on_message,
        ) as client,
    ):
        yield client


def run_event(run_id: str, kind: str = "workflow_run.completed", event_id: str | None = None) -> dict[str, Any]:
    """An event of a run, as Extend words it."""
    return {
        "eventId": event_id or f"evt_{uuid.uuid4().hex}",
        "eventType": kind,
        "payload": {"object": "workflow_run", "id": run_id},
    }


def _plain() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, verify=False, timeout=20)


def end_for_sure(child: Child) -> None:
    """Kill a process that still runs."""
    if child.alive:
        child.kill()
