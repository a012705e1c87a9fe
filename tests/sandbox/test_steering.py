"""The control routes over a socket, as a person or a test in any language would use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import SandboxClock
from extend_mcp.sandbox.serve import running_sandbox
from tests.harness import example
from tests.sandbox.kit import HEADERS


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with (
        running_sandbox(clock=SandboxClock(speed=0)) as running,
        httpx.Client(base_url=running.base_url, headers=HEADERS, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("name", ["workflow_run", "workflow_run.allsteps"])
def test_a_loaded_run_comes_back_exactly_and_does_not_move(http: httpx.Client, name: str) -> None:
    run = example(name)
    loaded = http.post("/_sandbox/runs", json=run)
    assert loaded.json() == {"id": run["id"], "status": run["status"]}
    http.post("/_sandbox/clock", json={"advanceSeconds": 86_400})
    assert http.get(f"/workflow_runs/{run['id']}").json() == run
    assert run["id"] in {each["id"] for each in http.get("/workflow_runs?maxPageSize=100").json()["data"]}


def test_a_loaded_run_may_be_of_a_form_nobody_knows(http: httpx.Client) -> None:
    odd: dict[str, Any] = {
        "id": "workflow_run_odd",
        "status": "DREAMING",
        "stepRuns": [{"stepType": "FLY", "x": [None]}],
    }
    assert http.post("/_sandbox/runs", json=odd).status_code == 200
    assert http.get("/workflow_runs/workflow_run_odd").json() == odd
    assert http.post("/workflow_runs/workflow_run_odd/cancel").status_code == 400


def test_a_loaded_run_moves_after_a_cancel_or_when_it_is_live(http: httpx.Client) -> None:
    run = {**example("workflow_run.allsteps"), "status": "PROCESSING"}
    http.post("/_sandbox/runs", json=run)
    assert http.post(f"/workflow_runs/{run['id']}/cancel", json={}).json()["status"] == "CANCELLING"
    http.post("/_sandbox/clock", json={"advanceSeconds": 1.9})
    assert http.get(f"/workflow_runs/{run['id']}").json()["status"] == "CANCELLING"
    http.post("/_sandbox/clock", json={"advanceSeconds": 0.2})
    assert http.get(f"/workflow_runs/{run['id']}").json()["status"] == "CANCELLED"
    http.post("/_sandbox/runs", params={"live": "true"}, json=run)
    http.post("/_sandbox/clock", json={"advanceSeconds": 600})
    assert http.get(f"/workflow_runs/{run['id']}").json()["status"] == "PROCESSED"


def test_requests_are_kept_in_order_and_can_be_forgotten(http: httpx.Client) -> None:
    http.get("/workflow_runs", params={"status": "FAILED", "maxPageSize": 1})
    http.post("/workflow_runs/workflow_run_nowhere/cancel")
    http.get("/workflows", headers={"Authorization": ""})
    seen = http.get("/_sandbox/requests").json()["requests"]
    assert [(each["method"], each["path"], each["query"], each["status"]) for each in seen] == [
        ("GET", "/workflow_runs", {"status": "FAILED", "maxPageSize": "1"}, 200),
        ("POST", "/workflow_runs/workflow_run_nowhere/cancel", {}, 404),
        ("GET", "/workflows", {}, 401),
    ]
    assert all(each["at"].endswith("Z") for each in seen)
    http.delete("/_sandbox/requests")
    assert http.get("/_sandbox/requests").json() == {"requests": []}


@pytest.mark.parametrize(("decision", "ended"), [("approve", {"PROCESSED", "NEEDS_REVIEW"}), ("reject", {"REJECTED"})])
def test_a_review_decides_what_becomes_of_a_run(http: httpx.Client, decision: str, ended: set[str]) -> None:
    waiting = http.get("/workflow_runs", params={"status": "NEEDS_REVIEW"}).json()["data"][0]["id"]
    answer = http.post(f"/_sandbox/runs/{waiting}/review", json={"decision": decision, "note": "seen"})
    assert answer.status_code == 200
    http.post("/_sandbox/clock", json={"advanceSeconds": 3600})
    run = http.get(f"/workflow_runs/{waiting}").json()
    assert run["status"] in ended
    assert run["reviewed"] is True
    assert run["rejectionNote"] == ("seen" if decision == "reject" else None)
    again = http.post(f"/_sandbox/runs/{waiting}/review", json={"decision": "reject"})
    assert again.status_code == (400 if run["status"] != "NEEDS_REVIEW" else 200)


def test_faults_strike_as_often_as_ordered_and_only_where_they_match(http: httpx.Client) -> None:
    http.post("/_sandbox/faults", json={"method": "GET", "path": "/workflow_runs/*", "times": 2, "status": 503})
    assert http.get("/workflow_runs").status_code == 200
    assert [http.get("/workflow_runs/workflow_run_x").status_code for _ in range(3)] == [503, 503, 404]
    http.post("/_sandbox/faults", json={"method": "GET", "path": "/workflows", "times": 9, "text": "<html>"})
    assert http.get("/workflows").text == "<html>"
    http.delete("/_sandbox/faults")
    assert http.get("/workflows").json()["object"] == "list"
    assert http.post("/_sandbox/faults", json={"path": "/x"}).status_code == 400


def test_a_fault_may_bring_its_own_body_and_headers(http: httpx.Client) -> None:
    fault = {"path": "/workflows", "status": 429, "body": {"error": "slow down"}, "headers": {"Retry-After": "7"}}
    http.post("/_sandbox/faults", json=fault)
    answer = http.get("/workflows")
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (429, {"error": "slow down"}, "7")


def test_a_dropped_request_did_nothing_and_a_dropped_answer_did_it_all(http: httpx.Client) -> None:
    run = {**example("workflow_run.allsteps"), "status": "PROCESSING"}
    path = f"/workflow_runs/{run['id']}"
    http.post("/_sandbox/runs", json=run)
    http.post("/_sandbox/faults", json={"method": "POST", "path": f"{path}/cancel", "drop": True})
    with pytest.raises(httpx.TransportError):
        http.post(f"{path}/cancel")
    assert http.get(path).json()["status"] == "PROCESSING"
    http.post("/_sandbox/faults", json={"method": "POST", "path": f"{path}/cancel", "drop": True, "after": True})
    with pytest.raises(httpx.TransportError):
        http.post(f"{path}/cancel")
    assert http.get(path).json()["status"] == "CANCELLING"
    dropped = [each for each in http.get("/_sandbox/requests").json()["requests"] if each["method"] == "POST"]
    assert dropped[0]["status"] is None


def test_a_truncated_answer_ends_before_it_is_whole(http: httpx.Client) -> None:
    http.post("/_sandbox/faults", json={"path": "/workflows", "truncate": 25})
    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/workflows")
