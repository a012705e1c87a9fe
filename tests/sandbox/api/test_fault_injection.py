import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from extend_mcp.sandbox.api.fault_injection import ConnectionDroppedError
from extend_mcp.sandbox.sandbox_server import RunningSandbox, running_sandbox
from tests.sandbox.kit import HEADERS, create, ids_of, still_clock


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with running_sandbox(clock=still_clock()) as served:
        yield served


@pytest.fixture
def http(running: RunningSandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.base_url, headers=HEADERS, timeout=5, trust_env=False, verify=False) as client:
        yield client
        client.delete("/_sandbox/faults")
        client.delete("/_sandbox/requests")


def order(http: httpx.Client, **fault: Any) -> None:
    response = http.post("/_sandbox/faults", json=fault)
    assert response.status_code == 200, response.text


def pending_run(http: httpx.Client, running: RunningSandbox) -> str:
    workflow = next(iter(running.sandbox.store.workflows))
    body = {"workflow": {"id": workflow}, "file": {"text": "Total: 5"}}
    run_id: str = http.post("/workflow_runs", json=body).json()["id"]
    return run_id


def status_of(http: httpx.Client, run_id: str) -> str:
    status: str = http.get(f"/workflow_runs/{run_id}").json()["status"]
    return status


def last_logged(http: httpx.Client) -> dict[str, Any]:
    logged: dict[str, Any] = http.get("/_sandbox/requests").json()["requests"][-1]
    return logged


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "INVALID_REQUEST", False),
        (402, "USAGE_BLOCKED", False),
        (403, "FORBIDDEN", False),
        (422, "INVALID_REQUEST", False),
        (429, "RATE_LIMIT_EXCEEDED", True),
        (500, "INTERNAL_ERROR", True),
        (503, "INTERNAL_ERROR", True),
    ],
)
def test_a_status_comes_with_the_documented_body(http: httpx.Client, status: int, code: str, retryable: bool) -> None:
    order(http, method="GET", path="/workflow_runs", status=status, headers={"Retry-After": "1"})
    response = http.get("/workflow_runs")
    assert (response.status_code, response.json()["code"], response.json()["retryable"]) == (status, code, retryable)
    assert response.json()["requestId"] == response.headers["x-extend-request-id"]
    assert response.headers["Retry-After"] == "1"
    assert http.get("/workflow_runs").status_code == 200


def test_a_status_may_have_its_own_body(http: httpx.Client) -> None:
    order(http, status=429, body={"error": "slow down"})
    assert http.get("/workflow_runs").json() == {"error": "slow down"}


def test_a_fault_applies_only_to_matching_requests_and_as_often_as_given(http: httpx.Client) -> None:
    order(http, method="post", path="/workflow_runs/*/cancel", status=500, times=2)
    assert http.get("/workflow_runs").status_code == 200
    assert http.post("/workflow_runs").status_code == 400
    assert [http.post(f"/workflow_runs/{each}/cancel").status_code for each in "abc"] == [500, 500, 404]


def test_a_path_with_brackets_is_not_a_pattern(http: httpx.Client) -> None:
    order(http, path="/workflow_runs/[a]", status=500)
    assert http.get("/workflow_runs/a").status_code == 404
    assert http.get("/workflow_runs/[a]").status_code == 500


def test_text_replaces_json(http: httpx.Client) -> None:
    order(http, path="/workflow_runs", text="<html>Bad gateway</html>", status=502)
    response = http.get("/workflow_runs")
    assert (response.status_code, response.text) == (502, "<html>Bad gateway</html>")
    order(http, path="/workflow_runs", text="not JSON")
    assert http.get("/workflow_runs").status_code == 200


def test_a_dropped_request_changes_nothing_and_has_no_status(http: httpx.Client, running: RunningSandbox) -> None:
    run_id = pending_run(http, running)
    order(http, method="POST", path=f"/workflow_runs/{run_id}/cancel", drop=True)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        http.post(f"/workflow_runs/{run_id}/cancel")
    assert last_logged(http)["status"] is None
    assert status_of(http, run_id) == "PENDING"


def test_a_request_can_be_dropped_after_it_was_performed(http: httpx.Client, running: RunningSandbox) -> None:
    run_id = pending_run(http, running)
    order(http, method="POST", path=f"/workflow_runs/{run_id}/cancel", drop=True, after=True)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        http.post(f"/workflow_runs/{run_id}/cancel")
    assert last_logged(http)["status"] is None
    assert status_of(http, run_id) == "CANCELLING"


@pytest.mark.parametrize("size", [0, 10])
def test_a_truncated_response_ends_after_its_operation(http: httpx.Client, running: RunningSandbox, size: int) -> None:
    run_id = pending_run(http, running)
    order(http, method="POST", path="*/cancel", truncate=size)
    received = b""
    with http.stream("POST", f"/workflow_runs/{run_id}/cancel") as response:
        assert response.status_code == 200
        assert int(response.headers["content-length"]) > size
        parts = response.iter_raw()
        if size:
            received = next(parts)
        with pytest.raises(httpx.RemoteProtocolError):
            next(parts)
    assert received == b'{"object":"workflow_run"'[:size]
    assert status_of(http, run_id) == "CANCELLING"


def test_a_delayed_response_comes_after_its_operation(http: httpx.Client, running: RunningSandbox) -> None:
    run_id = pending_run(http, running)
    order(http, method="POST", path="*/cancel", delaySeconds=0.3)
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"/workflow_runs/{run_id}/cancel", timeout=0.1)
    assert status_of(http, run_id) == "CANCELLING"
    order(http, method="GET", path="/workflows", delaySeconds=0.1)
    began = time.monotonic()
    assert http.get("/workflows").status_code == 200
    assert time.monotonic() - began >= 0.1


def test_faults_can_be_listed_and_cleared(http: httpx.Client) -> None:
    order(http, method="GET", path="/workflows", status=500, times=3)
    http.get("/workflows")
    assert http.get("/_sandbox/faults").json() == {
        "faults": [{"method": "GET", "path": "/workflows", "times": 2, "status": 500}]
    }
    assert http.delete("/_sandbox/faults").json() == {"faults": []}
    assert http.get("/workflows").status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        None,
        [],
        {},
        {"method": "GET"},
        {"status": "500"},
        {"status": 500, "times": 0},
        {"status": 99},
        {"drop": "yes"},
        {"drop": False},
        {"truncate": -1},
        {"truncate": True},
        {"text": 5},
        {"status": 500, "speling": 1},
    ],
)
def test_an_invalid_fault_is_refused(http: httpx.Client, fault: Any) -> None:
    assert http.post("/_sandbox/faults", json=fault).status_code == 400
    assert http.get("/_sandbox/faults").json() == {"faults": []}


@pytest.mark.parametrize("fault", [{"drop": True}, {"truncate": 3}])
async def test_without_a_socket_a_drop_is_an_exception(
    sandbox: Sandbox, api: httpx.AsyncClient, fault: dict[str, Any]
) -> None:
    await api.post("/_sandbox/faults", json=fault)
    with pytest.raises(ConnectionDroppedError):
        await api.get(f"/workflow_runs/{ids_of(sandbox, 'FAILED')[0]}")
    assert await create(api, sandbox)
