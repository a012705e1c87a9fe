from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from extend_mcp.sandbox import Sandbox
from extend_mcp.sandbox.api.list_query import list_body, page_of, read_list_query
from extend_mcp.sandbox.engine.validation import ApiError
from extend_mcp.sandbox.engine.wire import RUN_STATUSES, read_timestamp
from extend_mcp.sandbox.sandbox_settings import SandboxSettings
from tests.sandbox.kit import client_of, make_sandbox, workflow_id

PLAIN = SandboxSettings()


async def pages(api: httpx.AsyncClient, path: str = "/workflow_runs", **query: Any) -> list[list[dict[str, Any]]]:
    found, token = [], None
    while True:
        response = await api.get(path, params=query | ({"nextPageToken": token} if token else {}))
        assert response.status_code == 200, response.text
        assert response.json()["object"] == "list"
        found.append(response.json()["data"])
        token = response.json().get("nextPageToken")
        if token is None:
            return found


async def listed(api: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    return [run for page in await pages(api, **query) for run in page]


@given(
    moments=st.lists(st.datetimes(), max_size=40),
    size=st.integers(1, 12),
    descending=st.booleans(),
)
def test_pages_hold_every_item_once_and_in_order(moments: list[Any], size: int, descending: bool) -> None:
    items = [(moment, f"id{number}") for number, moment in enumerate(moments)]
    query: dict[str, str] = {"maxPageSize": str(size), "sortDir": "desc" if descending else "asc"}
    seen: list[Any] = []
    while True:
        wanted = read_list_query(query, (), PLAIN, scope="things")
        page, token = page_of(items, lambda item: item, wanted, PLAIN)
        assert len(page) <= size
        seen += page
        if token is None:
            break
        query["nextPageToken"] = token
    assert seen == sorted(items, reverse=descending)


@settings(max_examples=60)
@given(data=st.data())
def test_a_mangled_token_is_refused(data: st.DataObject) -> None:
    items = [(datetime(2026, 11, day, tzinfo=timezone.utc), f"id{day}") for day in range(1, 20)]
    first = read_list_query({"maxPageSize": "5"}, (), PLAIN, scope="things")
    token = page_of(items, lambda item: item, first, PLAIN)[1]
    assert token
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("Aa0+/=:-"))
    mangled = token[:place] + letter + token[place + 1 :]
    wanted = read_list_query({"nextPageToken": mangled}, (), PLAIN, scope="things")
    assume(mangled != token)
    with pytest.raises(ApiError, match="Path: nextPageToken"):
        page_of(items, lambda item: item, wanted, PLAIN)


@pytest.mark.parametrize("token", ["", "x", "::", "MTIz:MTIz", "\u00e9", "0" * 5000])
async def test_an_invented_token_is_refused(api: httpx.AsyncClient, token: str) -> None:
    response = await api.get("/workflow_runs", params={"nextPageToken": token})
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_REQUEST")


async def test_a_token_needs_url_encoding(api: httpx.AsyncClient) -> None:
    token = (await api.get("/workflow_runs", params={"maxPageSize": 1})).json()["nextPageToken"]
    assert ":" in token
    assert "=" in token


@pytest.mark.parametrize(
    "changed",
    [{"status": "FAILED"}, {"fileNameContains": "a"}, {"sortBy": "createdAt"}, {"sortDir": "asc"}, {"batchId": "b"}],
)
async def test_a_token_is_bound_to_filters_and_order(api: httpx.AsyncClient, changed: dict[str, str]) -> None:
    token = (await api.get("/workflow_runs", params={"maxPageSize": 3})).json()["nextPageToken"]
    response = await api.get("/workflow_runs", params={"nextPageToken": token} | changed)
    assert response.status_code == 400
    assert "Path: nextPageToken" in response.json()["message"]
    assert (await api.get("/workflow_runs", params={"nextPageToken": token, "maxPageSize": 7})).status_code == 200


async def test_a_token_of_another_list_is_refused(api: httpx.AsyncClient) -> None:
    token = (await api.get("/workflows", params={"maxPageSize": 1})).json()["nextPageToken"]
    assert (await api.get("/workflow_runs", params={"nextPageToken": token})).status_code == 400


@pytest.mark.parametrize("sort_by", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
async def test_runs_come_in_the_requested_order(api: httpx.AsyncClient, sort_by: str, sort_dir: str) -> None:
    runs = await listed(api, sortBy=sort_by, sortDir=sort_dir, maxPageSize=7)
    times = [read_timestamp(run[sort_by]) for run in runs]
    assert times == sorted(times, reverse=sort_dir == "desc")
    assert len({run["id"] for run in runs}) == len(runs) == 50


async def test_by_default_the_newest_change_comes_first(api: httpx.AsyncClient) -> None:
    first = (await pages(api))[0]
    assert len(first) == 10
    assert [run["updatedAt"] for run in first] == sorted((run["updatedAt"] for run in first), reverse=True)


@pytest.mark.parametrize("status", RUN_STATUSES)
async def test_filter_by_status(sandbox: Sandbox, api: httpx.AsyncClient, status: str) -> None:
    runs = await listed(api, status=status)
    assert {run["id"] for run in runs} == {record.id for record in sandbox.store if record.status == status}
    assert runs


async def test_filters_combine(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    batch = sandbox.store.batches()[0]
    workflow = workflow_id(sandbox)
    runs = await listed(api, batchId=batch, workflowId=workflow, status="PROCESSED", fileNameContains="BLUE-mesa")
    names = sorted(run["files"][0]["name"] for run in runs)
    assert names == ["blue-mesa-catering-august.pdf", "blue-mesa-catering-july.pdf"]
    assert await listed(api, batchId=batch, workflowId=workflow_id(sandbox, "Loan Packet Review")) == []


async def test_file_names_may_be_case_sensitive() -> None:
    async with client_of(make_sandbox(file_name_case_sensitive=True)) as api:
        assert await listed(api, fileNameContains="BLUE") == []
        assert await listed(api, fileNameContains="blue")


async def test_summaries_leave_out_what_only_the_run_has(api: httpx.AsyncClient) -> None:
    for run in await listed(api):
        assert not set(run) & {"metadata", "stepRuns", "failureReason", "failureMessage", "reviewed"}
        assert set(run["usage"] or {}) <= {"credits", "totalCredits"}


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("status=processed", "status"),
        ("status=", "status"),
        ("sortBy=name", "sortBy"),
        ("sortDir=up", "sortDir"),
        ("maxPageSize=0", "maxPageSize"),
        ("maxPageSize=-1", "maxPageSize"),
        ("maxPageSize=ten", "maxPageSize"),
        ("maxPageSize=1.5", "maxPageSize"),
        ("maxPageSize=%D9%A3", "maxPageSize"),
        ("maxPageSize=" + "9" * 5000, "maxPageSize"),
        ("status=FAILED&status=PENDING", "status"),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
async def test_a_wrong_query_is_refused_with_its_path(query: str, path: str, status: int) -> None:
    async with client_of(make_sandbox(scenario="empty", validation_status=status)) as api:
        response = await api.get(f"/workflow_runs?{query}")
        assert (response.status_code, response.json()["code"]) == (status, "INVALID_REQUEST")
        assert response.json()["message"].endswith(f"; Path: {path}")


async def test_an_unknown_parameter_is_ignored(api: httpx.AsyncClient) -> None:
    assert (await api.get("/workflow_runs?source=API")).status_code == 200


async def test_a_page_size_above_the_maximum_is_reduced_or_refused() -> None:
    async with client_of(make_sandbox(max_page_size=9)) as api:
        assert len((await pages(api, maxPageSize=50))[0]) == 9
    async with client_of(make_sandbox(max_page_size=9, clamp_page_size=False)) as api:
        assert (await api.get("/workflow_runs?maxPageSize=10")).status_code == 400
        assert (await api.get("/workflow_runs?maxPageSize=9")).status_code == 200


def test_the_last_page_has_no_token_or_a_null_one() -> None:
    assert list_body([], None, PLAIN) == {"object": "list", "data": []}
    with_null = SandboxSettings(null_last_page_token=True)
    assert list_body([], None, with_null) == {"object": "list", "data": [], "nextPageToken": None}


async def test_workflows_are_listed_page_by_page(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    found = await pages(api, "/workflows", maxPageSize=3)
    assert [len(page) for page in found] == [3, 1]
    assert {workflow["id"] for page in found for workflow in page} == set(sandbox.store.workflows)
