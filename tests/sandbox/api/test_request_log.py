import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from tests.sandbox.kit import HEADERS, client_of, make_sandbox


@pytest.fixture
def sandbox() -> Sandbox:
    # These tests need no runs, and loading the default scenario would take most of their time.
    return make_sandbox(scenario="empty")


async def ask(sandbox: Sandbox, headers: dict[str, str], path: str = "/workflow_runs") -> httpx.Response:
    async with client_of(sandbox) as client:
        client.headers = httpx.Headers(headers)
        return await client.get(path)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic abc", "sk_test"])
async def test_without_a_bearer_token_every_request_is_unauthorized(
    sandbox: Sandbox, authorization: str | None
) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "Authorization"}
    if authorization is not None:
        headers["Authorization"] = authorization
    response = await ask(sandbox, headers)
    assert response.status_code == 401
    assert response.json()["code"] == "UNAUTHORIZED"
    assert response.json()["retryable"] is False


@pytest.mark.parametrize("version", [None, "", "2025-04-21"])
async def test_only_one_api_version_is_served(sandbox: Sandbox, version: str | None) -> None:
    headers = {"Authorization": "Bearer sk_test"} | ({} if version is None else {"x-extend-api-version": version})
    response = await ask(sandbox, headers)
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_REQUEST")
    assert "x-extend-api-version" in response.json()["message"]


@pytest.mark.parametrize("status", [400, 403])
async def test_an_organization_key_needs_a_workspace(status: int) -> None:
    sandbox = make_sandbox(scenario="empty", workspace_required=True, workspace_missing_status=status)
    assert (await ask(sandbox, HEADERS)).status_code == status
    assert (await ask(sandbox, {**HEADERS, "X-Extend-Workspace-Id": "ws_1"})).status_code == 200


async def test_every_response_names_its_request(sandbox: Sandbox) -> None:
    fine, wrong = await ask(sandbox, HEADERS), await ask(sandbox, {})
    assert fine.headers["x-extend-request-id"].startswith("req_")
    assert wrong.headers["x-extend-request-id"] == wrong.json()["requestId"]
    assert fine.headers["x-extend-request-id"] != wrong.headers["x-extend-request-id"]


@pytest.mark.parametrize("path", ["/", "/nope", "/workflow_runs/", "/workflow_runs/x/y", "/v1/workflow_runs"])
async def test_an_unknown_route_is_not_found_in_the_documented_form(sandbox: Sandbox, path: str) -> None:
    response = await ask(sandbox, HEADERS, path)
    assert response.status_code == 404
    assert response.json() == {
        "code": "NOT_FOUND",
        "message": f"No such route: GET {path}",
        "retryable": False,
        "requestId": response.headers["x-extend-request-id"],
    }


async def test_a_wrong_method_is_refused_in_the_documented_form(api: httpx.AsyncClient) -> None:
    response = await api.put("/workflow_runs")
    assert response.status_code == 405
    assert set(response.json()) == {"code", "message", "retryable", "requestId"}
    assert "PUT /workflow_runs" in response.json()["message"]
