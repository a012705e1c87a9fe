"""run_workflow and run_workflow_batch: what is sent, what is kept secret, and what is refused before sending."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Box, facts_of, serving, text_of

FILES = ["https://files.example/front.pdf", "https://files.example/back.pdf"]


def sent(box: Box, path: str = "/workflow_runs") -> list[dict[str, Any]]:
    return [each["body"] for each in box.requests("POST") if each["path"] == path]


async def test_everything_that_is_given_is_sent(box: Box) -> None:
    workflow = box.workflow()
    arguments = {
        "workflow": "Invoice Processing",
        "file_url": "https://files.example/a.pdf",
        "file_name": "a.pdf",
        "version": "2",
        "metadata": {"customer": "Kestrel", "note": None},
        "priority": 5,
        "outputs": [{"processor_id": "ex_1", "output": {"value": {"total": None}}}],
        "secrets": {"erp": "canary-1"},
    }
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("run_workflow", arguments))
    assert facts["outcome"] == "started"
    assert sent(box) == [
        {
            "workflow": {"id": workflow, "version": "2"},
            "file": {"url": "https://files.example/a.pdf", "name": "a.pdf"},
            "outputs": [{"processorId": "ex_1", "output": {"value": {"total": None}}}],
            "priority": 5,
            "metadata": {"customer": "Kestrel", "note": None},
            "secrets": {"erp": "[secret]"},
        }
    ]


async def test_a_package_is_one_run_of_urls_and_ids(box: Box) -> None:
    file = box.api("POST", "/files/upload", files={"file": ("a.pdf", b"x")})["id"]
    async with serving(box) as client:
        facts = facts_of(
            await client.call_tool("run_workflow", {"workflow": "Invoice Processing", "package": [FILES[0], file]})
        )
        run = facts_of(await client.call_tool("get_workflow_run", {"run_id": facts["run_id"]}))
    assert sent(box)[0]["package"] == {"files": [{"url": FILES[0]}, {"id": file}]}
    assert len(run["files"]) == 2


async def test_a_batch_is_followed_by_its_id(box: Box) -> None:
    inputs = [{"file": FILES[0], "metadata": {"row": 1}}, {"text": "total: 7", "name": "n.txt"}]
    async with serving(box) as client:
        result = await client.call_tool(
            "run_workflow_batch", {"workflow": "Invoice Processing", "inputs": inputs, "priority": 90}
        )
        facts = facts_of(result)
        listed = facts_of(await client.call_tool("list_runs", {"batch": facts["batch_id"]}))
        waited = facts_of(await client.call_tool("wait_for_run", {"batch": facts["batch_id"], "seconds": 600}))
    assert facts["outcome"] == "started"
    assert "wait_for_run" in text_of(result)
    assert len(listed["runs"]) == 2
    assert waited["total"] == 2
    [body] = sent(box, "/workflow_runs/batch")
    assert body["inputs"] == [
        {"file": {"url": FILES[0]}, "metadata": {"row": 1}},
        {"file": {"text": "total: 7", "name": "n.txt"}},
    ]


async def test_a_batch_of_a_thousand_goes_and_one_more_does_not(box: Box) -> None:
    async with serving(box, unasked_files=1000) as client:
        call = {"workflow": "Invoice Processing", "inputs": [{"text": str(number)} for number in range(1000)]}
        facts = facts_of(await client.call_tool("run_workflow_batch", call))
        call["inputs"] = [*call["inputs"], {"text": "x"}]  # type: ignore[misc]
        refused = await client.call_tool("run_workflow_batch", call)
    assert facts["outcome"] == "started"
    assert refused.is_error
    assert len(sent(box, "/workflow_runs/batch")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of"),
        ({"text": "a", "file_id": "file_1"}, "exactly one of"),
        ({"package": FILES[:1]}, "package"),
        ({"package": [FILES[0], FILES[0]]}, "given twice"),
        ({"package": FILES, "outputs": [{"processor_id": "ex_1", "output": {}}]}, "outputs cannot be combined"),
        ({"file_url": "file:///etc/passwd"}, "file_url"),
        ({"file_url": "not a url"}, "file_url"),
        ({"file_id": "file_1", "file_name": "x.pdf"}, "file_name"),
        ({"text": "a", "outputs": [{"processor": "x"}]}, "outputs"),
        ({"text": "a", "priority": 0}, "priority"),
        ({"text": "a", "secrets": "canary-1"}, "secrets"),
    ],
)
async def test_what_cannot_be_sent_is_refused_with_the_argument_s_name(
    box: Box, arguments: dict[str, Any], message: str
) -> None:
    async with serving(box) as client:
        result = await client.call_tool("run_workflow", {"workflow": box.workflow(), **arguments})
    assert result.is_error
    assert message in text_of(result)
    assert "canary" not in text_of(result)
    assert sent(box) == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "inputs"),
        ([{"file": FILES[0]}, {}], "inputs[1]"),
        ([{"file": FILES[0], "text": "a"}], "inputs[0]"),
        ([{"file": "no such thing"}], "inputs[0].file"),
        ([{"text": "a", "secret": "canary-1"}], "inputs"),
    ],
)
async def test_a_bad_batch_sends_nothing(box: Box, inputs: list[dict[str, Any]], message: str) -> None:
    async with serving(box) as client:
        result = await client.call_tool("run_workflow_batch", {"workflow": box.workflow(), "inputs": inputs})
    assert result.is_error
    assert message in text_of(result)
    assert "canary" not in text_of(result)
    assert sent(box, "/workflow_runs/batch") == []


SECRET = "canary-5d1f"


@pytest.mark.parametrize(
    "fault",
    [
        None,
        {"status": 400},
        {"status": 500},
        {"drop": True, "after": True},
        {"text": f"echo {SECRET[:3]}", "status": 502},
    ],
    ids=["none", "400", "500", "lost answer", "html"],
)
async def test_secrets_are_in_no_answer_and_no_log(
    box: Box, fault: dict[str, Any] | None, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    texts: list[str] = []
    for tool, more in (
        ("run_workflow", {"text": "a", "secrets": {"token": SECRET, "deep": {"er": [SECRET]}}}),
        ("run_workflow_batch", {"inputs": [{"text": "a", "secrets": {"token": SECRET}}]}),
    ):
        if fault:
            path = "/workflow_runs/batch" if tool.endswith("batch") else "/workflow_runs"
            box.fault(method="POST", path=path, **fault)
        async with serving(box, log="DEBUG") as client:
            result = await client.call_tool(tool, {"workflow": box.workflow(), **more})
            texts.append(text_of(result) + str(result.structured_content))
            listed = await client.call_tool("list_runs", {})
            newest = facts_of(listed)["runs"][0]["run_id"]
            texts.append(text_of(await client.call_tool("get_workflow_run", {"run_id": newest, "detail": "full"})))
    out, err = capfd.readouterr()
    assert len(box.requests("POST")) == 2, "a create is never sent twice"
    for seen in (*texts, caplog.text, out, err):
        assert SECRET not in seen


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True, "after": True}, {"truncate": 2}])
async def test_a_batch_without_a_clear_answer_is_looked_for_and_not_sent_again(box: Box, fault: dict[str, Any]) -> None:
    box.fault(method="POST", path="/workflow_runs/batch", **fault)
    async with serving(box) as client:
        inputs = [{"text": "a"}, {"text": "b"}]
        facts = facts_of(await client.call_tool("run_workflow_batch", {"workflow": box.workflow(), "inputs": inputs}))
    assert facts["outcome"] == "unknown"
    assert len(box.requests("POST")) == 1
    acted = "status" not in fault
    batches = {run["batchId"] for run in box.api("GET", "/workflow_runs", params={"maxPageSize": 2})["data"]}
    assert any(str(batch) in str(facts) for batch in batches) == acted


@pytest.mark.parametrize("by", ["id", "url", "text"])
async def test_a_lost_run_is_matched_by_its_file(box: Box, by: str) -> None:
    workflow = box.workflow()
    mine, other = (
        box.api("POST", "/files/upload", files={"file": (name, b"%PDF-1.7")})["id"]
        for name in ("mine.pdf", "other.pdf")
    )
    box.api("POST", "/workflow_runs", json={"workflow": {"id": workflow}, "file": {"id": other}})
    given: dict[str, Any] = {
        "id": {"file_id": mine},
        "url": {"file_url": "https://files.example/a/my%20file.pdf?x=1"},
        "text": {"text": "a", "file_name": "note.txt"},
    }[by]
    box.fault(method="POST", path="/workflow_runs", drop=True)
    async with serving(box) as client:
        nothing = facts_of(await client.call_tool("run_workflow", {"workflow": workflow, **given}))
        assert (nothing["outcome"], nothing["candidates"]) == ("unknown", [])
        box.fault(method="POST", path="/workflow_runs", drop=True, after=True)
        found = facts_of(await client.call_tool("run_workflow", {"workflow": workflow, **given}))
    newest = box.api("GET", "/workflow_runs", params={"maxPageSize": 1, "sortBy": "createdAt"})["data"][0]
    assert newest["files"][0]["id"] != other
    assert found["candidates"] == [newest["id"]]


@pytest.mark.parametrize("tool", ["run_workflow", "run_workflow_batch"])
async def test_a_version_is_a_number_newest_draft_or_an_id(box: Box, tool: str) -> None:
    workflow = box.workflow()
    second = next(
        each["id"] for each in box.api("GET", f"/workflows/{workflow}/versions")["data"] if each["version"] == "2"
    )
    more: dict[str, Any] = {"text": "a"} if tool == "run_workflow" else {"inputs": [{"text": "a"}]}
    async with serving(box) as client:
        for given in ("2", 2, second, "draft", "newest"):
            await client.call_tool(tool, {"workflow": workflow, "version": given, **more})
        unknown = await client.call_tool(tool, {"workflow": workflow, "version": "workflow_version_other", **more})
    bodies = [request["body"] for request in box.requests("POST")]
    assert [body["workflow"].get("version") for body in bodies] == ["2", "2", "2", "draft", None]
    assert unknown.is_error
    assert "has no version" in text_of(unknown)
