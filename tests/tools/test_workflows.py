"""Reading workflows and versions: by id or name, as a graph, a diagram or JSON, page by page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.harness import Box, facts_of, serving, text_of

SCENARIO = "empty"


async def test_the_list_pages_with_one_token_and_nothing_else(box: Box) -> None:
    for number in range(6):
        box.api("POST", "/workflows", json={"name": f"W{number}"})
    known = {each["id"] for each in box.state()["workflows"]}
    seen: list[str] = []
    arguments: dict[str, Any] = {"page_size": 3, "sort_by": "updatedAt", "sort_dir": "asc"}
    async with serving(box) as client:
        while True:
            facts = facts_of(await client.call_tool("list_workflows", arguments))
            seen += [row["workflow_id"] for row in facts["workflows"]]
            if facts["complete"]:
                break
            arguments = {"page_token": facts["next_page_token"]}
        both = await client.call_tool("list_workflows", {"page_token": "x", "page_size": 5})
    assert len(seen) == len(known)
    assert set(seen) == known
    assert both.is_error


@pytest.mark.parametrize("by", ["id", "name"])
async def test_the_graph_names_every_step_with_its_routing(box: Box, by: str) -> None:
    workflow = box.workflow("Loan Packet Review")
    async with serving(box) as client:
        reference = workflow if by == "id" else "loan packet review"
        result = await client.call_tool("get_workflow", {"workflow": reference})
    facts, text = facts_of(result), text_of(result)
    steps = box.api("GET", f"/workflows/{workflow}")["draftVersion"]["steps"]
    assert facts["workflow_id"] == workflow
    assert facts["version"] == "draft"
    for step in steps:
        assert f"«{step['name']}»" in text
        assert step["type"] in text
    assert "cls_bank_statement" in text
    assert len(text) < 3000


async def test_mermaid_is_one_diagram_with_every_edge(box: Box) -> None:
    workflow = box.workflow()
    async with serving(box) as client:
        text = text_of(await client.call_tool("get_workflow", {"workflow": workflow, "form": "mermaid"}))
    steps = box.api("GET", f"/workflows/{workflow}")["draftVersion"]["steps"]
    assert text.count("flowchart") == 1
    assert text.count("-->") == sum(len(step.get("next") or []) for step in steps)


async def test_the_json_form_is_the_definition_itself(box: Box) -> None:
    workflow = box.workflow("Loan Packet Review")
    parts: list[str] = []
    page = 1
    async with serving(box, answer_chars=2000) as client:
        while True:
            result = await client.call_tool("get_workflow", {"workflow": workflow, "form": "json", "page": page})
            facts = facts_of(result)
            parts += [line.removeprefix("| ") for line in text_of(result).splitlines() if line.startswith("| ")]
            if page >= facts.get("pages", 1):
                break
            page += 1
    assert page > 1
    steps = box.api("GET", f"/workflows/{workflow}")["draftVersion"]["steps"]
    assert [json.loads(part) for part in parts] == steps


async def test_no_form_loses_the_rest_of_a_very_long_step(box: Box) -> None:
    prompt = "".join(f"<{number}>" for number in range(3000))
    block = {"blockType": "semantic", "name": "b", "semantic": {"promptText": prompt}}
    steps = [
        {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
        {"name": "Parse", "type": "PARSE", "next": [{"step": "Ask"}]},
        {"name": "Ask", "type": "VALIDATION", "config": {"blocks": [block]}},
    ]
    made = box.api("POST", "/workflows", json={"name": "Long", "steps": steps})
    seen, page = "", 1
    async with serving(box, answer_chars=2000) as client:
        while True:
            result = await client.call_tool("get_workflow", {"workflow": made["id"], "form": "json", "page": page})
            seen += text_of(result)
            assert len(text_of(result)) <= 2100
            if page >= facts_of(result).get("pages", 1):
                break
            page += 1
    assert all(f"<{number}>" in seen.replace("\n| ", "") for number in (0, 1500, 2999))


@pytest.mark.parametrize(
    ("version", "expected"), [("1", "1"), (2, "2"), ("newest", "3"), ("draft", "draft"), (None, "3"), ("id", "2")]
)
async def test_a_version_by_number_word_or_id(box: Box, version: Any, expected: str) -> None:
    workflow = box.workflow()
    if version == "id":
        listed = box.api("GET", f"/workflows/{workflow}/versions")["data"]
        version = next(each["id"] for each in listed if each["version"] == "2")
        box.forget()
    async with serving(box) as client:
        arguments = {"workflow": workflow, **({"version": version} if version is not None else {})}
        facts = facts_of(await client.call_tool("get_workflow_version", arguments))
    assert facts["version"] == expected
    assert len([each for each in box.requests("GET") if "/versions" in each["path"]]) == 1, "one request, no list"


@pytest.mark.parametrize("version", ["9", "workflow_version_of_no_workflow1"])
async def test_an_unknown_version_lists_what_there_is(box: Box, version: str) -> None:
    async with serving(box) as client:
        result = await client.call_tool("get_workflow_version", {"workflow": "Invoice Processing", "version": version})
    assert result.is_error
    text = text_of(result)
    assert all(f"«{name}»" in text for name in ("1", "2", "3", "draft"))


async def test_of_an_unpublished_workflow_the_draft_is_shown_which_its_runs_use(box: Box) -> None:
    made = box.api("POST", "/workflows", json={"name": "New"})
    async with serving(box) as client:
        result = await client.call_tool("get_workflow_version", {"workflow": made["id"]})
    assert facts_of(result)["version"] == "draft"
    assert "version draft" in text_of(result)


@pytest.mark.parametrize(
    "tool", ["get_workflow", "list_workflow_versions", "get_workflow_version", "run_workflow", "run_workflow_batch"]
)
async def test_an_ambiguous_name_lists_the_candidates_and_nothing_is_done(box: Box, tool: str) -> None:
    ids = [box.api("POST", "/workflows", json={"name": "Twin"})["id"] for _ in range(2)]
    box.forget()
    more = {"run_workflow": {"text": "a"}, "run_workflow_batch": {"inputs": [{"text": "a"}]}}.get(tool, {})
    async with serving(box) as client:
        result = await client.call_tool(tool, {"workflow": "Twin", **more})
    assert result.is_error
    assert all(each in text_of(result) for each in ids)
    assert box.requests("POST") == []


@pytest.mark.parametrize("tool", ["get_workflow", "list_workflow_versions", "get_workflow_version"])
async def test_an_unknown_workflow_is_said_to_be_so(box: Box, tool: str) -> None:
    async with serving(box) as client:
        by_id = await client.call_tool(tool, {"workflow": "workflow_nowhere0000000000"})
        by_name = await client.call_tool(tool, {"workflow": "No such workflow"})
    assert by_id.is_error
    assert by_name.is_error
    assert "Invoice Processing" in text_of(by_name), "names what there is"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Caf\u00e9 intake", "Cafe\u0301 intake"),
        ("Cafe\u0301 intake", "CAF\u00c9 INTAKE"),
        ("Bills \u200bof\u00a0 lading", "Bills of lading"),
        ("Orders <b>", "orders < b>"),
        ("Orders \u00abA\u00bb", 'Orders "A"'),
        ("Invoices", "\u00abInvoices\u00bb"),
    ],
)
async def test_a_name_is_accepted_as_it_is_and_as_answers_show_it(box: Box, name: str, given: str) -> None:
    made = box.api("POST", "/workflows", json={"name": name})["id"]
    async with serving(box) as client:
        for each in (name, given):
            assert facts_of(await client.call_tool("get_workflow", {"workflow": each}))["workflow_id"] == made


async def test_the_exact_name_wins_over_one_that_is_shown_alike(box: Box) -> None:
    ids = {name: box.api("POST", "/workflows", json={"name": name})["id"] for name in ("Twin", "Twin\u200b", "twin")}
    async with serving(box) as client:
        for name, made in ids.items():
            assert facts_of(await client.call_tool("get_workflow", {"workflow": name}))["workflow_id"] == made
        unclear = await client.call_tool("get_workflow", {"workflow": "TWIN"})
    assert unclear.is_error
    assert all(made in text_of(unclear) for made in ids.values())
