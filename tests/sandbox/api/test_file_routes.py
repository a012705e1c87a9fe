import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from tests.sandbox.kit import client_of, create, make_sandbox


async def upload(api: httpx.AsyncClient, name: str, content: bytes, **query: str) -> dict[str, object]:
    response = await api.post("/files/upload", files={"file": (name, content)}, params=query)
    assert response.status_code == 200, response.text
    file: dict[str, object] = response.json()
    return file


async def test_an_upload_is_a_file_that_runs_can_process(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    file = await upload(api, "note.txt", b"vendor_name: Kestrel\nTotal: 41.50")
    assert file["type"] == "TXT"
    assert "presignedUrl" not in file
    run = await create(api, sandbox, file={"id": file["id"]})
    assert run["files"] == [file]
    sandbox.advance(300)
    found = (await api.get(f"/workflow_runs/{run['id']}")).json()
    extract = next(step["result"]["extractRun"] for step in found["stepRuns"] if step["stepType"] == "EXTRACT")
    assert extract["output"]["value"]["total"] == 41.5


async def test_contents_are_returned_if_parsed_and_requested(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    file = await upload(api, "note.pdf", b"%PDF-1.7")
    path = f"/files/{file['id']}"
    assert "contents" not in (await api.get(path, params={"rawText": "true"})).json()
    await create(api, sandbox, file={"id": file["id"]})
    sandbox.advance(300)
    assert "contents" not in (await api.get(path)).json()
    contents = (await api.get(path, params={"rawText": "true", "markdown": "true"})).json()["contents"]
    assert len(contents["pages"]) == file["metadata"]["pageCount"]  # type: ignore[index]
    assert contents["pages"][0]["markdown"].startswith("# Invoice")
    assert contents["rawText"].startswith(contents["pages"][0]["markdown"])


@pytest.mark.parametrize(
    ("name", "query", "kind"),
    [
        ("a.docx", {}, "PDF"),
        ("a.pptx", {}, "PDF"),
        ("a.png", {}, "IMG"),
        ("a.png", {"convertToPdf": "true"}, "PDF"),
        ("a.xlsx", {}, "EXCEL"),
        ("a.unknown", {}, None),
    ],
)
async def test_the_type_follows_the_name(
    api: httpx.AsyncClient, name: str, query: dict[str, str], kind: str | None
) -> None:
    assert (await upload(api, name, b"x", **query)).get("type") == kind


async def test_the_presigned_url_serves_the_bytes_for_fifteen_minutes(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    file = await upload(api, "a.bin", b"\x00\xff")
    url = (await api.get(f"/files/{file['id']}")).json()["presignedUrl"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)) as anyone:
        assert (await anyone.get(url)).content == b"\x00\xff"
        assert (await anyone.get(url.replace("signature=", "signature=0"))).status_code == 403
        later = url.replace("expires=", "expires=9")
        assert (await anyone.get(later)).status_code == 403
        sandbox.advance(15 * 60 + 1)
        assert (await anyone.get(url)).status_code == 403


async def test_a_deleted_file_is_gone_but_its_runs_stay(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    file = await upload(api, "a.pdf", b"x")
    run = await create(api, sandbox, file={"id": file["id"]})
    assert (await api.delete(f"/files/{file['id']}")).json() == {"id": file["id"]}
    assert (await api.get(f"/files/{file['id']}")).status_code == 404
    assert (await api.delete(f"/files/{file['id']}")).status_code == 404
    assert (await api.get(f"/workflow_runs/{run['id']}")).json()["files"] == [file]
    body = {"workflow": {"id": run["workflow"]["id"]}, "file": {"id": file["id"]}}
    assert (await api.post("/workflow_runs", json=body)).status_code == 404


async def test_the_list_is_filtered_sorted_and_paged(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    made = []
    for number in range(5):
        made.append((await upload(api, f"Zebra {number}.pdf", b"x"))["id"])
        sandbox.advance(1)
    seen, token = [], None
    while True:
        query = {
            "nameContains": "zebra",
            "sortDir": "asc",
            "maxPageSize": "2",
            **({"nextPageToken": token} if token else {}),
        }
        page = (await api.get("/files", params=query)).json()
        seen += [file["id"] for file in page["data"]]
        token = page.get("nextPageToken")
        if token is None:
            break
    assert seen == made


async def test_the_parts_of_a_split_are_files(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    files = (await api.get("/files", params={"maxPageSize": "100", "nameContains": "packet"})).json()["data"]
    parts = [file for file in files if "parentFileId" in file]
    assert parts
    for part in parts[:3]:
        parent = (await api.get(f"/files/{part['parentFileId']}")).json()
        assert part["metadata"]["parentSplit"]["endPage"] <= parent["metadata"]["pageCount"]


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"file": "x"}},
        {"files": {"other": ("a.pdf", b"x")}},
        {"data": {"file": "text"}, "files": {"x": ("a", b"")}},
        {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
    ],
)
async def test_an_invalid_upload_is_refused(api: httpx.AsyncClient, request_: dict[str, object]) -> None:
    response = await api.post("/files/upload", **request_)  # type: ignore[arg-type]
    assert response.status_code == 400
    assert response.json()["code"] == "INVALID_REQUEST"


async def test_a_file_above_the_limit_is_refused() -> None:
    async with client_of(make_sandbox(largest_upload_bytes=10)) as api:
        response = await api.post("/files/upload", files={"file": ("a.pdf", b"x" * 11)})
    assert response.status_code == 400
    assert "FILE_SIZE_TOO_LARGE" in response.json()["message"]


async def test_the_password_of_an_upload_is_nowhere(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    response = await api.post("/files/upload", files={"file": ("a.pdf", b"x")}, data={"password": "canary-1"})
    log = (await api.get("/_sandbox/requests")).text
    assert "canary-1" not in response.text + log
