"""Resources and completions: the same views as the tools', by URI; ids and names as a person types."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from tests.harness import ERAS, KEY, Box, Mode, example_run, serving

RUN = "workflow_run_resourceMe00000001"


async def read(client: Client, uri: str) -> str:
    [contents] = (await client.read_resource(uri)).contents
    text: str = contents.text  # type: ignore[union-attr]
    return text


@pytest.mark.parametrize("mode", ERAS)
async def test_every_template_and_resource_is_listed_with_what_it_is_for(box: Box, mode: Mode) -> None:
    async with serving(box, mode=mode) as client:
        templates = (await client.list_resource_templates()).resource_templates
        resources = (await client.list_resources()).resources
    assert {template.uri_template for template in templates} == {
        "extend://workflow-runs/{run_id}",
        "extend://workflow-runs/{run_id}/steps/{step}",
        "extend://workflows/{workflow_id}",
        "extend://batches/{batch_id}",
    }
    assert [str(resource.uri) for resource in resources] == ["extend://account"]
    for each in [*templates, *resources]:
        assert each.title
        assert each.description
        assert each.mime_type == "text/plain"
        assert each.annotations
        assert each.annotations.priority


@pytest.mark.parametrize("mode", ERAS)
async def test_a_run_its_steps_and_its_batch_are_read_by_uri(box: Box, mode: Mode) -> None:
    run = example_run(RUN, "PROCESSED")
    box.load({**run, "batchId": "batch_res0001"})
    async with serving(box, mode=mode) as client:
        text = await read(client, f"extend://workflow-runs/{RUN}")
        assert "PROCESSED" in text
        for step in run["stepRuns"]:
            assert step["step"]["name"] in text
        for named in ("1", "EXTRACT", run["stepRuns"][2]["id"]):
            assert RUN in await read(client, f"extend://workflow-runs/{RUN}/steps/{named}")
        assert RUN in await read(client, "extend://batches/batch_res0001")
        workflow = box.workflow()
        assert "Extract invoice" in await read(client, f"extend://workflows/{workflow}")


async def test_a_step_is_whole_however_long(box: Box) -> None:
    run = max(box.state()["runs"], key=lambda run: len(str(box.sandbox.record(run["id"]).run)))
    whole = box.sandbox.record(run["id"]).run
    async with serving(box, answer_chars=2000) as client:
        text = await read(client, f"extend://workflow-runs/{run['id']}/steps/Parse")
    chunks = whole["stepRuns"][0]["result"]["parseRun"]["output"]["chunks"]
    assert len(text) > 10_000
    assert chunks[0]["content"].splitlines()[0].lstrip("# ") in text


async def test_the_account_is_told_without_secrets(box: Box) -> None:
    async with serving(box, workspace_id="ws_1", read_only=True) as client:
        text = await read(client, "extend://account")
    assert KEY not in text
    assert "API key: set" in text
    assert "reading only" in text
    assert "ws_1" in text


@pytest.mark.parametrize(
    "uri",
    [
        "extend://workflow-runs/workflow_run_nowhere00000000001",
        "extend://workflow-runs/nonsense",
        "extend://workflows/workflow_nowhere00000000001",
        "extend://workflows/Invoice%20Processing",
        "extend://batches/nonsense",
        "extend://workflow-runs/workflow_run_a/steps/../../account",
        "extend://nothing",
    ],
)
async def test_what_is_not_there_is_an_error_in_words(box: Box, uri: str) -> None:
    async with serving(box) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
    assert len(str(refused.value)) < 400


async def test_a_step_that_is_not_there_lists_those_that_are(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSED"))
    async with serving(box) as client:
        with pytest.raises(MCPError, match="The run has no step"):
            await client.read_resource(f"extend://workflow-runs/{RUN}/steps/99")


async def test_a_failing_api_is_told_with_what_to_do(box: Box) -> None:
    box.fault(method="GET", path="/workflow_runs/*", status=401, times=9)
    async with serving(box) as client:
        with pytest.raises(MCPError, match=r"EXTEND_API_KEY|API key"):
            await client.read_resource(f"extend://workflow-runs/{RUN}")


def template(uri: str) -> ResourceTemplateReference:
    return ResourceTemplateReference(type="ref/resource", uri=uri)


async def complete(client: Client, ref: Any, name: str, value: str) -> list[str]:
    return (await client.complete(ref, {"name": name, "value": value})).completion.values


@pytest.mark.parametrize("mode", ERAS)
async def test_ids_and_names_complete_from_recent_runs(box: Box, mode: Mode) -> None:
    runs = box.state()["runs"]
    run_ref = template("extend://workflow-runs/{run_id}")
    prompt_ref = PromptReference(type="ref/prompt", name="investigate_run")
    async with serving(box, mode=mode) as client:
        everything = await complete(client, run_ref, "run_id", "")
        typed = runs[0]["id"][:20]
        beginning = await complete(client, prompt_ref, "run_id", typed)
        by_status = await complete(client, prompt_ref, "run_id", "needs_review")
        by_file = await complete(client, prompt_ref, "run_id", "fleet-lease")
        batches = await complete(client, template("extend://batches/{batch_id}"), "batch_id", "b")
        release = PromptReference(type="ref/prompt", name="release_a_workflow_version")
        names = await complete(client, release, "workflow", "loan")
        ids = await complete(client, template("extend://workflows/{workflow_id}"), "workflow_id", "loan")
        nothing = await complete(client, prompt_ref, "reason", "x")
    assert set(everything) == {run["id"] for run in runs}
    assert runs[0]["id"] in beginning
    assert all(each.startswith(typed) for each in beginning)
    assert set(by_status) == {run["id"] for run in runs if run["status"] == "NEEDS_REVIEW"}
    assert len(by_file) == 1
    assert set(batches) == set(box.state()["batches"])
    assert names == ["Loan Packet Review"]
    assert ids == [box.workflow("Loan Packet Review")]
    assert nothing == []
    assert len(box.requests()) == 2, "the second completion comes from what the first one read"


async def test_a_completion_is_clean_and_short_enough_to_show(box: Box) -> None:
    long, odd = (
        box.api("POST", "/workflows", json={"name": name})["id"]
        for name in ("odd " * 50 + "name", "odd\u200b ![x](https://evil.test)")
    )
    box.api("POST", "/workflows", json={"name": "odd name"})
    release = PromptReference(type="ref/prompt", name="release_a_workflow_version")
    async with serving(box) as client:
        assert set(await complete(client, release, "workflow", "odd")) == {long, odd, "odd name"}


async def test_completions_are_read_again_after_half_a_minute_and_survive_failures(box: Box) -> None:
    ref = PromptReference(type="ref/prompt", name="investigate_run")
    moving = box.load(example_run("workflow_run_neverEnding00000001", "PROCESSING"))
    box.load(example_run(RUN, "PROCESSED"))
    async with serving(box) as client:
        await complete(client, ref, "run_id", "")
        later = box.load(example_run("workflow_run_cameLater000000001", "PROCESSED"))
        assert later not in await complete(client, ref, "run_id", "")
        # Waiting turns the clock that the completions look at.
        await client.call_tool("wait_for_run", {"run_ids": [moving], "seconds": 60})
        assert later in await complete(client, ref, "run_id", "")
        await client.call_tool("wait_for_run", {"run_ids": [moving], "seconds": 60})
        box.fault(method="GET", path="/workflow_runs", status=401, times=5)
        assert await complete(client, ref, "run_id", "") == []


async def test_without_a_key_there_is_nothing_to_complete(box: Box) -> None:
    ref = PromptReference(type="ref/prompt", name="investigate_run")
    async with serving(box, key=None) as client:
        assert await complete(client, ref, "run_id", "") == []


@pytest.mark.parametrize("mode", ERAS)
async def test_an_answer_that_shows_a_part_links_to_the_whole(box: Box, mode: Mode) -> None:
    run = max(box.state()["runs"], key=lambda run: len(str(box.sandbox.record(run["id"]).run)))
    async with serving(box, mode=mode, answer_chars=2000) as client:
        long = await client.call_tool("get_step_result", {"run_id": run["id"], "step": "Parse"})
        [link] = [block for block in long.content if block.type == "resource_link"]
        assert link.mime_type == "text/plain"
        whole = await read(client, link.uri)
        assert link.size == len(whole.encode())
        short = await client.call_tool("get_step_result", {"run_id": run["id"], "step": "Parse", "field": "metrics"})
    assert len(whole) > 5 * 2000
    assert all(block.type == "text" for block in short.content)


@pytest.mark.parametrize(
    ("version", "links"), [("2024-11-05", 0), ("2025-03-26", 0), ("2025-06-18", 1), ("2025-11-25", 1)]
)
async def test_links_are_left_out_where_the_protocol_has_none(
    box: Box, version: str, links: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.client.session.LATEST_HANDSHAKE_VERSION", version)
    run = max(box.state()["runs"], key=lambda run: len(str(box.sandbox.record(run["id"]).run)))
    async with serving(box, mode="legacy", answer_chars=2000) as client:
        assert client.protocol_version == version
        long = await client.call_tool("get_step_result", {"run_id": run["id"], "step": "Parse"})
    assert not long.is_error
    assert [block.type for block in long.content] == ["text", *["resource_link"] * links]
