"""Start the processes of a soak: the sandbox, our server over HTTP, and our server over stdio."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from mcp.client.stdio import StdioServerParameters

from kit.processes import BENCHMARKS, Child, free_port, start_sandbox
from kit.sandbox import HEADERS

RUN_EVENTS = ["workflow_run.completed", "workflow_run.failed", "workflow_run.needs_review", "workflow_run.cancelled"]
TOKENS = {"anna": "soak-token-of-anna-0001", "watcher": "soak-token-of-watcher-02"}
"""Bearer tokens of the two callers. The first may do everything, the second only read."""

_WATCHED = str(Path(__file__).parent / "watched.py")
_SETTINGS = {
    # A script imports from its own folder, not from the working directory.
    "PYTHONPATH": str(BENCHMARKS.parent),
    "EXTEND_API_KEY": "soak",
    "EXTEND_MCP_TOOLSETS": "all",
    "EXTEND_MCP_REQUESTS_PER_SECOND": "200",
}


@dataclass(frozen=True)
class Fleet:
    """The running processes.

    Attributes:
        extend: base URL of the sandbox.
        url: base URL of our server.
        server: our server's process.
        endpoint: the webhook endpoint of our server, which no call may change.
        folder: where the watched processes write their readings.
    """

    extend: str
    url: str
    server: Child
    endpoint: str
    folder: Path

    def stdio(self) -> StdioServerParameters:
        """Return how to start our server over stdio."""
        environment = {**_SETTINGS, "EXTEND_BASE_URL": self.extend, "NO_PROXY": "*", "no_proxy": "*"}
        command = [_WATCHED, str(self.folder / "stdio"), "serve"]
        return StdioServerParameters(command=sys.executable, args=command, env=environment, cwd=BENCHMARKS.parent)


def api(extend: str) -> httpx.AsyncClient:
    """Return a client of the sandbox's API that uses no proxy."""
    return httpx.AsyncClient(base_url=extend, headers=HEADERS, timeout=10, trust_env=False)


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """Start sandbox and server, and stop both at the end of the block.

    Args:
        folder: an empty one, for tokens and readings.

    Raises:
        RuntimeError: one of them does not start.
    """
    sandbox, extend = start_sandbox()
    with sandbox:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        endpoint, secret = _endpoint(extend, f"{url}/webhooks/extend")
        tokens = folder / "tokens.json"
        tokens.write_text(json.dumps({"tokens": [_entry(name, token) for name, token in TOKENS.items()]}))
        command = [sys.executable, _WATCHED, str(folder / "http"), "serve", "--transport", "http", "--port", str(port)]
        server = Child(
            command,
            **_SETTINGS,
            EXTEND_BASE_URL=extend,
            EXTEND_MCP_AUTH=f"token:{tokens}",
            EXTEND_MCP_WEBHOOK_SECRETS=secret,
        )
        with server:
            server.wait_for_port(port)
            yield Fleet(extend, url, server, endpoint, folder)


def _entry(name: str, token: str) -> dict[str, Any]:
    return {
        "name": name,
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "api_key_env": "EXTEND_API_KEY",
        "read_only": name != "anna",
    }


def _endpoint(extend: str, url: str) -> tuple[str, str]:
    """Create an endpoint for events of every workflow's runs; return its id and signing secret."""
    with httpx.Client(base_url=extend, headers=HEADERS, timeout=10, trust_env=False) as client:

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = client.post(path, json=body).raise_for_status()
            made: dict[str, Any] = answer.json()
            return made

        body = {"url": url, "name": "soak", "enabledEvents": [], "apiVersion": HEADERS["x-extend-api-version"]}
        made = post("/webhook_endpoints", body)
        for workflow in client.get("/_sandbox/state").json()["workflows"]:
            subscription = {
                "webhookEndpointId": made["id"],
                "resourceType": "workflow",
                "resourceId": workflow["id"],
                "enabledEvents": RUN_EVENTS,
            }
            post("/webhook_subscriptions", subscription)
        return made["id"], made["signingSecret"]
