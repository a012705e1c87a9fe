"""upload_file, get_file, list_files: where content may come from, what is checked, what is never shown."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools import local_file
from extend_mcp.tools.local_file import check_content, decode_content, read_local
from extend_mcp.views.untrusted import clean
from tests.harness import Box, facts_of, serving, text_of
from tests.robustness.hostile_texts import rewriting

PDF = b"%PDF-1.7\n"


async def upload(box: Box, settings: dict[str, Any] | None = None, **arguments: Any) -> Any:
    async with serving(box, toolsets="files", **(settings or {})) as client:
        return await client.call_tool("upload_file", arguments)


async def test_text_is_uploaded_and_its_id_starts_a_run(box: Box) -> None:
    facts = facts_of(await upload(box, text="total: 5", name="note.txt"))
    assert facts["outcome"] == "done"
    stored = box.api("GET", f"/files/{facts['id']}")
    assert (stored["name"], stored["type"]) == ("note.txt", "TXT")
    assert facts["id"] in facts["next_step"]


async def test_bytes_are_uploaded_as_they_are(box: Box) -> None:
    content = base64.b64encode(PDF + bytes(range(256))).decode()
    facts = facts_of(await upload(box, content_base64=content, name="a.pdf", password="canary-pw"))
    assert facts["outcome"] == "done"
    assert "canary-pw" not in str(facts)


async def test_a_path_under_an_allowed_folder_is_read(box: Box, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.pdf").write_bytes(PDF)
    for path in ("inner/a.pdf", str(tmp_path / "inner" / "a.pdf")):
        facts = facts_of(await upload(box, {"file_roots": [tmp_path]}, path=path))
        assert facts["outcome"] == "done"
    names = [each["name"] for each in box.api("GET", "/files", params={"maxPageSize": 2})["data"]]
    assert names == ["a.pdf", "a.pdf"]


async def test_no_way_leads_out_of_the_allowed_folders(box: Box, tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.pdf").write_bytes(PDF)
    (inside / "link.pdf").symlink_to(outside / "secret.pdf")
    (inside / "folder").symlink_to(outside)
    (tmp_path / "in-and-more").mkdir()
    (tmp_path / "in-and-more" / "secret.pdf").write_bytes(PDF)
    texts = []
    for path in (
        "link.pdf",
        "folder/secret.pdf",
        "../out/secret.pdf",
        str(outside / "secret.pdf"),
        "../in-and-more/secret.pdf",
        "../out/nothing.pdf",
        "\x00",
        ".",
    ):
        result = await upload(box, {"file_roots": [inside]}, path=path)
        assert result.is_error, path
        texts.append(text_of(result))
    assert len(set(texts)) == 1, "a path outside gives the same error whether it exists or not"
    assert box.requests() == []


async def test_paths_are_off_unless_folders_are_named(box: Box, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    result = await upload(box, path=str(tmp_path / "a.pdf"))
    assert result.is_error
    assert "EXTEND_MCP_FILE_ROOTS" in text_of(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one"),
        ({"text": "a", "path": "b"}, "exactly one"),
        ({"content_base64": "AAAA"}, "name"),
        ({"content_base64": "not base64!", "name": "a.pdf"}, "not base64"),
        ({"text": "a", "name": "a.exe"}, "extension"),
        ({"text": "a", "name": "noextension"}, "extension"),
        ({"text": "MZ", "name": "a.pdf"}, "does not begin like a .pdf"),
        ({"content_base64": "AAAA", "name": "a.png"}, "does not begin like a .png"),
        ({"text": "a" * 1_000_001, "name": "a.txt"}, "too long; at most 1,000,000 bytes"),
        ({"path": "long.txt"}, "too long; at most 1,000,000 bytes"),
    ],
)
async def test_what_cannot_be_uploaded_is_refused_before_sending(
    box: Box, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    (tmp_path / "long.txt").write_text("a" * 1_000_001)
    result = await upload(box, {"upload_bytes": 1_000_000, "file_roots": str(tmp_path)}, **arguments)
    assert result.is_error
    assert message in text_of(result)
    assert box.requests() == []


async def test_progress_tells_the_bytes_sent(box: Box) -> None:
    reports: list[tuple[float, float | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total))

    async with serving(box, toolsets="files") as client:
        content = base64.b64encode(PDF + b"x" * 900_000).decode()
        result = await client.call_tool(
            "upload_file", {"content_base64": content, "name": "a.pdf"}, progress_callback=on_progress
        )
    assert facts_of(result)["outcome"] == "done"
    assert len(reports) >= 3
    assert [sent for sent, _ in reports] == sorted(sent for sent, _ in reports)
    assert reports[-1][0] == reports[-1][1]


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True, "after": True}, {"truncate": 4}])
async def test_an_unclear_upload_is_not_repeated(box: Box, fault: dict[str, Any]) -> None:
    box.fault(method="POST", path="/files/upload", **fault)
    facts = facts_of(await upload(box, text="a", name="a.txt"))
    assert facts["outcome"] == "unknown"
    assert "list_files" in facts["next_step"]
    assert len(box.requests("POST")) == 1


async def test_a_file_is_shown_with_text_or_url_only_when_asked(box: Box) -> None:
    run = next(run for run in box.state()["runs"] if run["status"] == "PROCESSED")
    file = box.api("GET", f"/workflow_runs/{run['id']}")["files"][0]["id"]
    async with serving(box, toolsets="files") as client:
        plain = text_of(await client.call_tool("get_file", {"file_id": file}))
        with_text = facts_of(await client.call_tool("get_file", {"file_id": file, "text": True}))
        with_url = facts_of(await client.call_tool("get_file", {"file_id": file, "download_url": True}))
    assert "signature=" not in plain
    assert "content" in with_text
    assert "signature=" in with_url["download_url"]


async def test_the_text_of_a_file_comes_in_pages_without_loss(box: Box) -> None:
    lines = [f"line {number} of the contract" for number in range(400)]
    made = box.api("POST", "/files/upload", files={"file": ("long.txt", "\n".join(lines).encode())})
    box.api("POST", "/workflow_runs", json={"workflow": {"id": box.workflow()}, "file": {"id": made["id"]}})
    box.advance(600)
    seen, page = "", 1
    async with serving(box, toolsets="files", answer_chars=2000) as client:
        while True:
            facts = facts_of(await client.call_tool("get_file", {"file_id": made["id"], "text": True, "page": page}))
            seen += facts["content"]
            if page >= facts["text_pages"]:
                break
            page += 1
    assert page > 3
    assert all(line in seen for line in lines)


async def test_the_list_filters_and_pages(box: Box) -> None:
    for number in range(5):
        box.api("POST", "/files/upload", files={"file": (f"zebra {number}.pdf", b"x")})
        box.advance(1)
    async with serving(box, toolsets="files") as client:
        seen: list[str] = []
        arguments: dict[str, Any] = {"name_contains": "Zebra", "page_size": 2, "sort_dir": "asc"}
        while True:
            facts = facts_of(await client.call_tool("list_files", arguments))
            seen += [row["name"] for row in facts["files"]]
            if facts["complete"]:
                break
            arguments = {"page_token": facts["next_page_token"]}
    assert seen == [f"zebra {number}.pdf" for number in range(5)]


@given(st.binary(max_size=300))
def test_bytes_survive_base64_with_any_line_breaks(content: bytes) -> None:
    text = base64.encodebytes(content).decode().replace("\n", "\r\n")
    assert decode_content(text) == content


@given(st.text(max_size=40), st.binary(max_size=20))
def test_any_name_and_content_is_a_type_or_a_refusal(name: str, content: bytes) -> None:
    try:
        said = check_content(name, content, 1000)
    except CallRefusedError as refusal:
        said = f"/{refusal}"
    assert "/" in said
    assert len(said) < 400


@given(st.text(max_size=40))
def test_any_path_is_refused_or_under_the_root(path: str) -> None:
    with pytest.raises(CallRefusedError):
        read_local(path, [Path("/nonexistent")], 10)


@pytest.mark.parametrize("swapped", ["inner/a.pdf", "inner", "."])
def test_a_link_put_in_place_after_the_check_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    root, outside = tmp_path / "in", tmp_path / "out"
    for folder in (root, outside):
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "a.pdf").write_bytes(PDF + folder.name.encode())
    assert read_local("inner/a.pdf", [root], 100) == ("a.pdf", PDF + b"in")
    locate = local_file.locate

    def locate_and_swap(*given: Any) -> Any:
        found = locate(*given)
        target = root / swapped
        target.rename(tmp_path / "moved")
        target.symlink_to(outside / swapped)
        return found

    monkeypatch.setattr(local_file, "locate", locate_and_swap)
    with pytest.raises(CallRefusedError, match="cannot be read"):
        read_local("inner/a.pdf", [root], 100)


@pytest.mark.parametrize("contents", [None, {}, {"pages": []}, {"pages": [{"pageNumber": 1}], "rawText": ""}])
async def test_a_file_without_stored_text_is_said_to_have_none(box: Box, contents: Any) -> None:
    file = {"object": "file", "id": "file_1", "name": "a.pdf", "metadata": {}, "contents": contents}
    box.fault(method="GET", path="/files/file_1", status=200, body=file)
    async with serving(box, toolsets="all") as client:
        text = text_of(await client.call_tool("get_file", {"file_id": "file_1", "text": True}))
    assert "This file has no stored text; read it through a parse step" in text
    assert "get_step_result" in text


async def test_other_calls_are_answered_while_a_text_of_ten_million_characters_is_cleaned(box: Box) -> None:
    def long(request: httpx.Request, document: Any) -> Any:
        return {**document, "contents": {"rawText": "Überweisung [1] née 12,50 € "[:25] * 400_000}}

    file = box.api("POST", "/files/upload", files={"file": ("a.txt", b"a")})["id"]
    gaps: list[float] = []
    async with rewriting(box, long) as client, anyio.create_task_group() as group:

        async def tick() -> None:
            while True:
                before = time.perf_counter()
                await client.list_prompts()
                gaps.append(time.perf_counter() - before)

        group.start_soon(tick)
        result = await client.call_tool("get_file", {"file_id": file, "text": True})
        group.cancel_scope.cancel()
    assert "Überweisung" in text_of(result)
    whole = time.perf_counter()
    clean("Überweisung [1] née 12,50 € "[:25] * 400_000)
    whole = time.perf_counter() - whole
    assert max(gaps) < whole / 2
