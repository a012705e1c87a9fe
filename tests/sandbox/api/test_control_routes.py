import copy
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from tests.sandbox.kit import create, get, ids_of

EXAMPLES = Path(__file__).parents[2] / "data"
ODD = {
    "id": "workflow_run_odd",
    "status": "PAUSED_BY_MOON",
    "stepRuns": [{"stepType": "TELEPATHY", "status": "PROCESSED"}, None, 5],
    "files": None,
    "workflow": "not an object",
    "usage": 3,
    "newField": {"deep": [1.5, 1e300, -0.0, True, None, "\u202e\ud800"]},
    "metadata": {"big": 12345678901234567890},
}


def example(name: str) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    return run


async def load(api: httpx.AsyncClient, run: dict[str, Any], query: str = "") -> dict[str, Any]:
    response = await api.post(f"/_sandbox/runs{query}", content=json.dumps(run))
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


@pytest.mark.parametrize(
    "run", [example("workflow_run.json"), example("workflow_run.allsteps.json"), ODD], ids=["plain", "allsteps", "odd"]
)
async def test_a_loaded_run_comes_back_exactly_as_given(
    sandbox: Sandbox, api: httpx.AsyncClient, run: dict[str, Any]
) -> None:
    assert await load(api, run) == {"id": run["id"], "status": run["status"]}
    sandbox.advance(3600)
    assert json.dumps(await get(api, run["id"])) == json.dumps(run)
    listed = (await api.get("/workflow_runs", params={"maxPageSize": 100})).json()["data"]
    summary = next(each for each in listed if each["id"] == run["id"])
    assert summary["status"] == run["status"]
    assert {"createdAt", "updatedAt"} <= set(summary)
    state = (await api.get("/_sandbox/state")).json()
    assert run["id"] in [each["id"] for each in state["runs"]]


async def test_times_of_a_loaded_run_come_from_the_run(api: httpx.AsyncClient) -> None:
    run = example("workflow_run.allsteps.json") | {"endTime": "2026-02-10T10:09:00.000Z"}
    await load(api, run)
    found = (await api.get("/workflow_runs", params={"sortDir": "asc", "maxPageSize": 1})).json()["data"][0]
    assert (found["createdAt"], found["updatedAt"]) == (run["initialRunAt"], run["endTime"])


async def test_loading_an_id_again_replaces_the_run_and_its_future(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run = example("workflow_run.json")
    await load(api, run, "?live=true")
    again = run | {"status": "NEEDS_REVIEW"}
    await load(api, again)
    sandbox.advance(3600)
    assert await get(api, run["id"]) == again


async def test_a_loaded_run_can_be_cancelled(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run = example("workflow_run.json")
    run["stepRuns"][0]["status"] = "PROCESSING"
    await load(api, run)
    assert (await api.post(f"/workflow_runs/{run['id']}/cancel")).json()["status"] == "CANCELLING"
    sandbox.advance(3)
    moved = await get(api, run["id"])
    assert (moved["status"], moved["stepRuns"][0]["status"]) == ("CANCELLED", "CANCELLED")
    assert run["stepRuns"][0]["status"] == "PROCESSING"


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING"])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_live_run_continues_to_processed(
    sandbox: Sandbox, api: httpx.AsyncClient, status: str, whole: bool
) -> None:
    run = copy.deepcopy(example("workflow_run.json")) | {"status": status}
    await load(api, run if whole else {"id": run["id"], "status": status}, "?live=true")
    assert (await get(api, run["id"]))["status"] == status
    sandbox.advance(60)
    moved = await get(api, run["id"])
    assert moved["status"] == "PROCESSED"
    assert [step["stepType"] for step in moved["stepRuns"]][-2:] == ["PARSE", "EXTRACT"]


async def test_a_live_run_that_is_cancelling_ends_cancelled(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    await load(api, {"id": "workflow_run_x", "status": "CANCELLING"}, "?live=true")
    sandbox.advance(60)
    assert (await get(api, "workflow_run_x"))["status"] == "CANCELLED"


@pytest.mark.parametrize(
    "body", ["", "[]", "{", "{}", '{"id":5}', '{"id":""}', '{"id":"a","x":NaN}', '{"id":"a","x":1e999}']
)
async def test_an_invalid_run_is_not_loaded(sandbox: Sandbox, api: httpx.AsyncClient, body: str) -> None:
    before = list(sandbox.store.runs)
    response = await api.post("/_sandbox/runs", content=body)
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_REQUEST")
    assert list(sandbox.store.runs) == before


async def test_the_clock_can_be_advanced(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run_id = (await create(api, sandbox))["id"]
    assert (await api.post("/_sandbox/clock", json={"advanceSeconds": 60.5})).json() == {
        "now": "2026-11-24T10:01:00.500Z"
    }
    assert (await get(api, run_id))["status"] == "PROCESSED"
    for wrong in (-1, "5", None, True, 1e300):
        assert (await api.post("/_sandbox/clock", json={"advanceSeconds": wrong})).status_code == 400
    assert (await api.get("/_sandbox/state")).json()["now"] == "2026-11-24T10:01:00.500Z"


async def test_only_the_control_route_decides_reviews(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    first, second, *_ = ids_of(sandbox, "NEEDS_REVIEW")
    approved = await api.post(f"/_sandbox/runs/{first}/review", json={"decision": "approve"})
    rejected = await api.post(f"/_sandbox/runs/{second}/review", json={"decision": "reject", "note": "No"})
    assert (approved.json(), rejected.json()) == (
        {"id": first, "status": "PROCESSING"},
        {"id": second, "status": "REJECTED"},
    )
    for wrong in ({"decision": "maybe"}, {"decision": "approve", "note": 5}, {"decision": "approve"}, None):
        assert (await api.post(f"/_sandbox/runs/{second}/review", json=wrong)).status_code == 400
    missing = await api.post("/_sandbox/runs/none/review", json={"decision": "approve"})
    assert missing.status_code == 404


async def test_a_run_can_be_finished(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run_id = ids_of(sandbox, "PROCESSING")[0]
    path = f"/_sandbox/runs/{run_id}/finish"
    early = await api.post(path, json={"status": "PROCESSED", "beforeCancel": True})
    assert early.json() == {"id": run_id, "status": "PROCESSING"}
    assert (await api.post(path, json={"status": "FAILED"})).json() == {"id": run_id, "status": "FAILED"}
    run = await get(api, run_id)
    assert (run["failureReason"], run["stepRuns"][0]["status"]) == ("INTERNAL_ERROR", "FAILED")
    assert (await api.post(path, json={"status": "PROCESSED"})).status_code == 400
    assert (await api.post(path, json={"status": "CANCELLED"})).status_code == 400


async def test_requests_are_logged_in_order_with_their_outcome(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    await api.get("/workflow_runs", params={"status": "FAILED", "fileNameContains": "a b"})
    await api.get("/workflow_runs/none")
    await api.get("/_sandbox/state")
    await api.post("/workflow_runs", content="{", headers={"Authorization": ""})
    logged = (await api.get("/_sandbox/requests")).json()["requests"]
    at = "2026-11-24T10:00:00.000Z"
    assert all(entry.pop("request_id").startswith("req_") for entry in logged)
    assert logged == [
        {
            "method": "GET",
            "path": "/workflow_runs",
            "query": {"status": "FAILED", "fileNameContains": "a b"},
            "at": at,
            "status": 200,
            "body": None,
        },
        {"method": "GET", "path": "/workflow_runs/none", "query": {}, "at": at, "status": 404, "body": None},
        {"method": "POST", "path": "/workflow_runs", "query": {}, "at": at, "status": 401, "body": None},
    ]
    assert (await api.delete("/_sandbox/requests")).json() == {"requests": []}
    assert (await api.get("/_sandbox/requests")).json() == {"requests": []}


async def test_state_lists_the_objects_of_the_account(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    api.headers.clear()
    state = (await api.get("/_sandbox/state")).json()
    assert (state["scenario"], state["seed"], state["speed"]) == ("default", 1, 1.0)
    assert sum(state["counts"].values()) == len(state["runs"]) == len(sandbox.store.runs)
    assert state["batches"] == sandbox.store.batches()
    assert {each["id"] for each in state["workflows"]} == set(sandbox.store.workflows)
    assert set(state["runs"][0]) == {"id", "status", "workflowId", "batchId", "file", "createdAt"}


async def test_an_unknown_control_route_is_not_found(api: httpx.AsyncClient) -> None:
    response = await api.get("/_sandbox/nope")
    assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")
