"""What the sandbox's tests share: a fixed start, the headers of a proper request, and short ways to common calls."""

from typing import Any

import httpx

from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings

START = 1_795_514_400.0
"""2026-11-24T10:00:00Z: the time that does not pass in these tests."""

HEADERS = {"Authorization": "Bearer sk_test", "x-extend-api-version": "2026-02-09"}


def still_clock() -> SandboxClock:
    """A clock that moves only by `advance`."""
    return SandboxClock(source=lambda: START)


def make_sandbox(**settings: Any) -> Sandbox:
    """A sandbox whose time stands still."""
    return Sandbox(SandboxSettings(**settings), still_clock())


def client_of(sandbox: Sandbox) -> httpx.AsyncClient:
    """A client that talks to the sandbox in this process."""
    transport = httpx.ASGITransport(sandbox.app)
    return httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=HEADERS)


def workflow_id(sandbox: Sandbox, name: str = "Invoice Processing") -> str:
    """The id of a workflow of the scenario."""
    return next(workflow.id for workflow in sandbox.store.workflows.values() if workflow.summary["name"] == name)


def ids_of(sandbox: Sandbox, status: str) -> list[str]:
    """The ids of the runs in a status."""
    return [record.id for record in sandbox.store if record.status == status]


async def create(api: httpx.AsyncClient, sandbox: Sandbox, name: str = "a.pdf", **fields: Any) -> dict[str, Any]:
    """Start a run through the API."""
    file = {"url": "https://files.example/x", "name": name}
    body = {"workflow": {"id": workflow_id(sandbox)}, "file": file, **fields}
    answer = await api.post("/workflow_runs", json=body)
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def get(api: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    """Read a run through the API."""
    answer = await api.get(f"/workflow_runs/{run_id}")
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    return run
