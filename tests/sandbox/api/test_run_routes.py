import json
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from tests.sandbox.kit import client_of, create, get, make_sandbox, workflow_id

URL = {"url": "https://files.example/a.pdf"}


@pytest.fixture
def sandbox() -> Sandbox:
    # These tests need no runs, and loading the default scenario would take most of their time.
    return make_sandbox(scenario="empty")


async def refusal(api: httpx.AsyncClient, sandbox: Sandbox, **fields: Any) -> tuple[int, str]:
    body = {"workflow": {"id": workflow_id(sandbox)}, "file": URL} | fields
    before = len(sandbox.store.runs)
    response = await api.post("/workflow_runs", json={key: value for key, value in body.items() if value is not ...})
    assert len(sandbox.store.runs) == before
    return response.status_code, response.json()["message"].rpartition("; Path: ")[2]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"workflow": ...}, "workflow"),
        ({"workflow": "workflow_1"}, "workflow"),
        ({"workflow": {}}, "workflow.id"),
        ({"workflow": {"id": 5}}, "workflow.id"),
        ({"file": ...}, "file"),
        ({"file": URL, "package": {"files": [URL, URL]}}, "file"),
        ({"file": {}}, "file"),
        ({"file": "https://files.example/a.pdf"}, "file"),
        ({"file": URL | {"text": "x"}}, "file"),
        ({"file": {"base64": "aGk="}}, "file"),
        ({"file": {"url": "ftp://files.example/a.pdf"}}, "file.url"),
        ({"file": {"url": "https://"}}, "file.url"),
        ({"file": {"url": "https://[::1"}}, "file.url"),
        ({"file": {"url": 7}}, "file.url"),
        ({"file": {"text": ""}}, "file.text"),
        ({"file": URL | {"name": ""}}, "file.name"),
        ({"file": URL | {"settings": "x"}}, "file.settings"),
        ({"file": URL | {"settings": {"password": 1}}}, "file.settings.password"),
        ({"file": ..., "package": {}}, "package.files"),
        ({"file": ..., "package": {"files": [URL]}}, "package.files"),
        ({"file": ..., "package": {"files": [URL, URL]}}, "package.files"),
        ({"file": ..., "package": {"files": [{"url": f"https://x.example/{n}"} for n in range(51)]}}, "package.files"),
        ({"file": ..., "package": {"files": [URL, {"text": "x"}]}}, "package.files.1"),
        ({"priority": 0}, "priority"),
        ({"priority": 101}, "priority"),
        ({"priority": 1.0}, "priority"),
        ({"priority": True}, "priority"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"k": "x" * 10_300}}, "metadata"),
        ({"metadata": {"extend:usage_tags": "prod"}}, "metadata.extend:usage_tags"),
        ({"secrets": "s3cret"}, "secrets"),
        ({"outputs": {}}, "outputs"),
        ({"outputs": [{"output": {}}]}, "outputs.0.processorId"),
        ({"outputs": [{"processorId": "ex_1"}]}, "outputs.0.output"),
    ],
)
async def test_a_wrong_field_is_refused_with_its_path(
    sandbox: Sandbox, api: httpx.AsyncClient, fields: dict[str, Any], path: str
) -> None:
    assert await refusal(api, sandbox, **fields) == (400, path)


async def test_outputs_cannot_be_combined_with_a_package(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    known = [(await create(api, sandbox, name))["files"][0]["id"] for name in ("a.pdf", "b.pdf")]
    package = {"files": [{"id": each} for each in known]}
    outputs = [{"processorId": "ex_1", "output": {"value": {}}}]
    assert await refusal(api, sandbox, file=..., package=package, outputs=outputs) == (400, "outputs")


async def test_only_known_workflows_and_versions_run(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    assert await refusal(api, sandbox, workflow={"id": "workflow_none"}) == (404, "Workflow not found")
    mine = workflow_id(sandbox)
    assert await refusal(api, sandbox, workflow={"id": mine, "version": "9"}) == (400, "workflow.version")
    newest = await create(api, sandbox)
    draft = await create(api, sandbox, workflow={"id": mine, "version": "draft"})
    assert (newest["workflowVersion"]["version"], draft["workflowVersion"]["version"]) == ("3", "draft")


@pytest.mark.parametrize("status", [400, 404])
async def test_an_unknown_file_id_is_refused(status: int) -> None:
    sandbox = make_sandbox(unknown_file_status=status)
    async with client_of(sandbox) as api:
        assert await refusal(api, sandbox, file={"id": "file_none"}) == (status, "file.id")


async def test_validation_may_return_422() -> None:
    sandbox = make_sandbox(validation_status=422)
    async with client_of(sandbox) as api:
        assert await refusal(api, sandbox, priority=0) == (422, "priority")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":NaN}', b"\xff", b"[" * 100_000])
async def test_a_body_must_be_a_json_object(api: httpx.AsyncClient, body: bytes) -> None:
    response = await api.post("/workflow_runs", content=body)
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ({"url": "https://files.example/in/May%20invoice.pdf?sig=1"}, "May invoice.pdf"),
        ({"url": "https://files.example/", "name": "named.pdf"}, "named.pdf"),
        ({"url": "https://files.example"}, "document.pdf"),
        ({"text": "Total: 5"}, "input.txt"),
    ],
)
async def test_the_file_gets_its_name(
    sandbox: Sandbox, api: httpx.AsyncClient, file: dict[str, str], name: str
) -> None:
    assert (await create(api, sandbox, file=file))["files"][0]["name"] == name


async def test_a_known_file_is_used_again(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    (known,) = (await create(api, sandbox))["files"]
    assert (await create(api, sandbox, file={"id": known["id"]}))["files"] == [known]


async def test_a_package_becomes_one_run(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    files = [{"url": f"https://files.example/{number}.pdf"} for number in range(50)]
    body = {"workflow": {"id": workflow_id(sandbox)}, "package": {"files": files}}
    run = (await api.post("/workflow_runs", json=body)).json()
    assert len(run["files"]) == 50
    sandbox.advance(3600)
    done = await get(api, run["id"])
    assert done["status"] == "PROCESSED"
    parsed = [step["files"][0]["id"] for step in done["stepRuns"] if step["stepType"] == "PARSE"]
    assert parsed == [file["id"] for file in run["files"]]


async def test_metadata_is_kept_and_tags_are_cleaned(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    metadata = {"k": {"nested": [1, None]}, "extend:usage_tags": ["a b!", "c_d-1"]}
    run = await create(api, sandbox, metadata=metadata)
    assert run["metadata"] == {"k": {"nested": [1, None]}, "extend:usage_tags": ["ab", "c_d-1"]}
    assert (await create(api, sandbox))["metadata"] == {}


async def test_metadata_may_have_up_to_ten_kilobytes(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    room = 10 * 1024 - len('{"k":""}')
    assert await create(api, sandbox, metadata={"k": "x" * room})
    assert await refusal(api, sandbox, metadata={"k": "x" * (room + 1)}) == (400, "metadata")
    assert await refusal(api, sandbox, metadata={"k": "\u00e9" * (room // 2 + 1)}) == (400, "metadata")


async def test_a_lone_surrogate_in_a_name_breaks_nothing(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    body = {"workflow": {"id": workflow_id(sandbox)}, "file": {"text": "\ud800", "name": "\ud800.txt"}}
    response = await api.post("/workflow_runs", content=json.dumps(body | {"metadata": {"k": "\ud800"}}))
    assert response.status_code == 200
    sandbox.advance(600)
    assert (await get(api, response.json()["id"]))["status"] == "PROCESSED"


async def test_secrets_and_passwords_are_never_shown(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    file = URL | {"settings": {"password": "hunter2-file"}}
    run_id = (await create(api, sandbox, file=file, secrets={"erp": "hunter2-erp"}, priority=1))["id"]
    sandbox.advance(600)
    for path in (f"/workflow_runs/{run_id}", "/workflow_runs", "/_sandbox/state", "/_sandbox/requests"):
        assert "hunter2" not in (await api.get(path)).text
