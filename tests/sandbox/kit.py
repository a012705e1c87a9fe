"""Helpers of the sandbox's tests: a fixed start, valid headers and common calls."""

from typing import Any

import httpx

from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings

START = 1_795_514_400.0
"""2026-11-24T10:00:00Z, the fixed time of these tests."""

HEADERS = {"Authorization": "Bearer sk_test", "x-extend-api-version": "2026-02-09"}


def still_clock() -> SandboxClock:
    """Return a clock that only `advance` changes."""
    return SandboxClock(source=lambda: START)


def make_sandbox(**settings: Any) -> Sandbox:
    """Return a sandbox whose time does not pass."""
    return Sandbox(SandboxSettings(**settings), still_clock())


def client_of(sandbox: Sandbox) -> httpx.AsyncClient:
    """Return a client of a sandbox in this process."""
    transport = httpx.ASGITransport(sandbox.app)
    return httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=HEADERS)


def workflow_id(sandbox: Sandbox, name: str = "Invoice Processing") -> str:
    """Return the ID of a workflow of the scenario."""
    return next(workflow.id for workflow in sandbox.store.workflows.values() if workflow.summary["name"] == name)


def ids_of(sandbox: Sandbox, status: str) -> list[str]:
    """Return the IDs of the runs with a status."""
    return [record.id for record in sandbox.store if record.status == status]


async def create(api: httpx.AsyncClient, sandbox: Sandbox, name: str = "a.pdf", **fields: Any) -> dict[str, Any]:
    """Start a run through the API."""
    file = {"url": "https://files.example/x", "name": name}
    body = {"workflow": {"id": workflow_id(sandbox)}, "file": file, **fields}
    response = await api.post("/workflow_runs", json=body)
    assert response.status_code == 200, response.text
    run: dict[str, Any] = response.json()
    return run


async def get(api: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    """Read a run through the API."""
    response = await api.get(f"/workflow_runs/{run_id}")
    assert response.status_code == 200, response.text
    run: dict[str, Any] = response.json()
    return run


async def endpoint(api: httpx.AsyncClient, url: str = "https://hooks.example/x", **fields: Any) -> dict[str, Any]:
    """Create a webhook endpoint through the API."""
    body = {"url": url, "name": "Ops", "enabledEvents": [], "apiVersion": "2026-02-09", **fields}
    response = await api.post("/webhook_endpoints", json=body)
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


async def subscribe(api: httpx.AsyncClient, endpoint_id: str, resource: str, *events: str) -> dict[str, Any]:
    """Subscribe an endpoint to events of a workflow through the API."""
    body = {
        "webhookEndpointId": endpoint_id,
        "resourceType": "workflow",
        "resourceId": resource,
        "enabledEvents": list(events),
    }
    response = await api.post("/webhook_subscriptions", json=body)
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made
