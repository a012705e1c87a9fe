"""The official SDK judges files."""

from __future__ import annotations

import httpx
import pytest

from extend_mcp.sandbox import SandboxSettings
from extend_mcp.sandbox.sandbox_server import running_sandbox
from tests.contract.judge import Judge, extend_ai


def test_every_file_of_the_scenario_passes(judge: Judge) -> None:
    files = judge.every(extend_ai.FileSummary, judge.sdk.files.list)
    assert {file["id"] for file in files} == set(judge.sandbox.store.files)
    assert any("parentFileId" in file for file in files)
    parsed = 0
    for file in files:
        judge.strictly(
            extend_ai.File,
            lambda file=file: judge.sdk.files.retrieve(file["id"], raw_text=True, markdown=True, html=True),  # type: ignore[misc]
        )
        parsed += "contents" in judge.raw
        assert judge.raw["presignedUrl"].startswith(judge.base_url)
    assert parsed > 10


def test_a_file_is_uploaded_run_read_and_deleted(judge: Judge) -> None:
    content = b"Invoice\ntotal: 7.25"
    made = judge.strictly(
        extend_ai.File, lambda: judge.sdk.files.upload(file=("note.txt", content, "text/plain"), password="canary")
    )
    assert "presignedUrl" not in judge.raw
    workflow = judge.sandbox.state()["workflows"][0]["id"]
    judge.run(lambda: judge.sdk.workflow_runs.create(workflow={"id": workflow}, file={"id": made.id}))
    judge.sandbox.advance(300)
    file = judge.strictly(extend_ai.File, lambda: judge.sdk.files.retrieve(made.id, raw_text=True))
    assert file.contents.raw_text == content.decode()
    assert httpx.get(judge.raw["presignedUrl"], trust_env=False, verify=False).content == content
    assert [each["id"] for each in judge.every(extend_ai.FileSummary, _named(judge, "NOTE.t"))] == [made.id]
    deleted = judge.strictly(extend_ai.FilesDeleteResponse, lambda: judge.sdk.files.delete(made.id))
    assert deleted.id == made.id
    with pytest.raises(extend_ai.NotFoundError):
        judge.sdk.files.retrieve(made.id)


def test_a_conversion_to_pdf(judge: Judge) -> None:
    judge.strictly(extend_ai.File, lambda: judge.sdk.files.upload(file=("a.png", b"x"), convert_to_pdf=True))
    assert judge.raw["type"] == "PDF"


def test_the_list_in_both_directions(judge: Judge) -> None:
    def ids(direction: str) -> list[str]:
        return [
            file["id"]
            for file in judge.every(
                extend_ai.FileSummary, lambda **page: judge.sdk.files.list(sort_dir=direction, **page)
            )
        ]

    assert ids("asc") == list(reversed(ids("desc")))


def _named(judge: Judge, part: str):  # type: ignore[no-untyped-def]
    return lambda **page: judge.sdk.files.list(name_contains=part, **page)


def test_a_file_of_a_newer_parser_has_no_contents() -> None:
    with running_sandbox(settings=SandboxSettings(stores_text=False)) as running:
        judge = Judge(running)
        try:
            for file in judge.every(extend_ai.FileSummary, judge.sdk.files.list):
                found = judge.strictly(
                    extend_ai.File,
                    lambda file=file: judge.sdk.files.retrieve(file["id"], raw_text=True, markdown=True, html=True),  # type: ignore[misc]
                )
                assert found.contents is None
                assert "contents" not in judge.raw
        finally:
            judge.close()
