"""Hostile texts in every field of every answer of the API: none reaches a model unmarked, active or unseen."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from mcp.client.client import Client
from mcp_types import CallToolResult

from tests.harness import Box, Person, example, text_of
from tests.robustness.hostile_texts import (
    CANARY,
    Item,
    Rewrite,
    codes_poisoned,
    corpus,
    faults_of,
    rewriting,
    strings_of,
    texts_poisoned,
)

pytestmark = pytest.mark.thorough

SCENARIO = "empty"

CORPUS = corpus()
ITEMS = pytest.mark.parametrize("item", CORPUS, ids=[item.name.replace(" ", "-") for item in CORPUS])

Call = Callable[..., Awaitable[dict[str, Any]]]

_IN_WORDS = frozenset({"content", "waits_for", "summary", "plan", "details", "cause", "next_step"})
"""Structured fields that hold lines of ours, in which text from outside is marked as in the text."""


def test_the_corpus_is_one() -> None:
    assert len(CORPUS) >= 30
    assert len({item.name for item in CORPUS}) == len(CORPUS)
    assert all(CANARY in item.text for item in CORPUS)


@ITEMS
def test_the_judge_sees_each_item_where_it_comes_through_as_it_is(item: Item) -> None:
    assert faults_of(f"File: {item.text} (PDF)", item, marked=True)
    seen = item.text.replace("\u200b", "")
    assert all(part in item.text or part in seen for part in item.gone)


def check(where: str, item: Item, texts: list[str], fields: Any = None) -> None:
    """Fail with everything that is wrong with an answer."""
    faults = [fault for text in texts for fault in faults_of(text, item, marked=True)]
    faults += [fault for text in strings_of(fields) for fault in faults_of(text, item, marked=False)]
    faults += [fault for text in _in_words(fields) for fault in faults_of(text, item, marked=True)]
    assert not faults, f"{where}: {faults[:5]}"


def _in_words(value: Any, name: str = "") -> list[str]:
    if isinstance(value, dict):
        # A plan that is no lines is a plan's facts.
        return [text for key, item in value.items() for text in _in_words(item, key)]
    if isinstance(value, list):
        return [text for item in value for text in _in_words(item, name)]
    return [value] if isinstance(value, str) and name in _IN_WORDS else []


def check_answer(tool: str, item: Item, result: CallToolResult) -> None:
    texts = [text_of(result)]
    links = [block.model_dump(mode="json") for block in result.content if block.type != "text"]
    check(tool, item, texts, {"facts": result.structured_content or {}, "links": links})


def load(box: Box) -> dict[str, str]:
    """Runs of each kind that a tool looks for, by what they are."""
    made = {
        "done": "PROCESSED",
        "twin": "PROCESSED",
        "moving": "PROCESSING",
        "more": "PROCESSING",
        "failed": "FAILED",
        "alike": "FAILED",
        "waiting": "NEEDS_REVIEW",
        "rejected": "REJECTED",
    }
    for name, status in made.items():
        run = copy.deepcopy(example("workflow_run.allsteps"))
        run |= {"id": f"workflow_run_hostile{name:0<14}", "status": status, "rejectionNote": "no", "reviewed": True}
        run |= {"reviewedByUser": "ana", "metadata": {"customer": "Acme"}, "batchId": "batch_hostile00000001"}
        if status == "FAILED":
            run |= {"failureReason": "DOCUMENT_PROCESSOR_ERROR", "failureMessage": "it broke"}
            run["stepRuns"][0] |= {"status": "FAILED"}
            child = run["stepRuns"][0]["result"]["parseRun"]
            child |= {"status": "FAILED", "failureMessage": "bad", "failureReason": "X"}
        if status == "PROCESSING":
            run["stepRuns"][-1] |= {"status": "PROCESSING", "result": None}
        made[name] = box.load(run)
    return made


STEPS = [
    {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
    {"name": "Parse", "type": "PARSE", "next": []},
]


async def reading(call: Call, runs: dict[str, str], workflow: str) -> None:
    """Call every tool that only reads, in each of its forms."""
    await call("list_workflows")
    for form in ("graph", "mermaid", "json"):
        await call("get_workflow", workflow=workflow, form=form)
    await call("list_workflow_versions", workflow=workflow)
    await call("get_workflow_version", workflow=workflow)
    await call("list_runs")
    await call("list_runs", status="FAILED")
    for run in runs.values():
        for detail in ("concise", "full"):
            await call("get_workflow_run", run_id=run, detail=detail)
    for step in range(1, len(example("workflow_run.allsteps")["stepRuns"]) + 1):
        for detail in ("concise", "full"):
            await call("get_step_result", run_id=runs["done"], step=str(step), detail=detail)
    await call("get_step_result", run_id=runs["done"], step="1", field="no.such.part")
    await call("get_step_result", run_id=runs["done"], step="no such step")
    await call("wait_for_run", run_ids=[runs["done"]])
    await call("wait_for_run", run_ids=[runs["done"], runs["failed"], runs["waiting"]])
    for group in ("workflow", "version", "status", "failure_reason", "failing_step", "file_type"):
        await call("summarize_runs", group_by=group)
    await call("summarize_runs", group_by="metadata", metadata_key="customer")
    await call("explain_failure", run_id=runs["failed"])
    await call("review_queue")
    await call("compare_runs", first=runs["done"], second=runs["twin"])
    await call("list_files")
    await call("list_webhook_endpoints")
    await call("list_webhook_subscriptions")


async def changing(call: Call, runs: dict[str, str], workflow: str) -> None:
    """Call every tool that writes."""
    await call("update_workflow", workflow=workflow, name="Other")
    await call("update_workflow", workflow=workflow, steps=STEPS)
    await call("deploy_workflow_version", workflow=workflow)
    await call("run_workflow", workflow=workflow, text="a")
    await call("run_workflow_batch", workflow=workflow, inputs=[{"text": "a"}])
    await call("update_workflow_run", run_id=runs["done"], metadata={"a": 1})
    await call("cancel_workflow_run", run_id=runs["moving"])
    await call("cancel_workflow_run", run_id=runs["done"])
    await call("cancel_runs", run_ids=[runs["more"]])
    await call("rerun_workflow_runs", run_ids=[runs["failed"]])
    await call("delete_workflow_run", run_id=runs["twin"])
    file = (await call("upload_file", text="a", name="a.txt"))["id"]
    await call("get_file", file_id=file, text=True, download_url=True)
    await call("delete_file", file_id=file)
    endpoint = (await call("create_webhook_endpoint", url="https://hooks.example/x", name="Ops", events=[]))["id"]
    await call("update_webhook_endpoint", endpoint_id=endpoint, status="disabled")
    events = ["workflow_run.failed"]
    await call("create_webhook_subscription", endpoint_id=endpoint, resource_id=workflow, events=events)
    listed = await call("list_webhook_subscriptions", endpoint_id=endpoint)
    subscription = listed["subscriptions"][0]["subscription_id"]
    await call("list_webhook_endpoints", endpoint_id=endpoint)
    await call("list_webhook_subscriptions", subscription_id=subscription)
    await call("update_webhook_subscription", subscription_id=subscription, events=["workflow_run.completed"])
    await call("delete_webhook_subscription", subscription_id=subscription)
    await call("delete_webhook_endpoint", endpoint_id=endpoint)


class Tour:
    """Calls tools and checks each answer."""

    def __init__(self, client: Client, item: Item) -> None:
        self._client = client
        self._item = item
        self.called: set[str] = set()
        self.canaries = 0

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, check its answer, and return its facts, or nothing where it is an error."""
        result = await self._client.call_tool(tool, arguments)
        self.called.add(tool)
        self.canaries += CANARY in text_of(result)
        assert "failed inside extend-mcp" not in text_of(result), tool
        assert "wrong arguments" not in text_of(result), text_of(result)
        check_answer(f"{tool} {arguments}", self._item, result)
        return result.structured_content or {}


def workflow_of(box: Box) -> str:
    made: str = box.api("POST", "/workflows", json={"name": "Hostile", "steps": STEPS})["id"]
    box.api("POST", f"/workflows/{made}/versions", json={"name": "one"})
    return made


@ITEMS
async def test_no_tool_lets_a_text_through(box: Box, item: Item) -> None:
    runs, workflow = load(box), workflow_of(box)
    person = Person()
    async with rewriting(box, texts_poisoned(item.text), person=person) as client:
        tour = Tour(client, item)
        await tour("create_workflow", name="Mine", steps=STEPS)
        await reading(tour, runs, workflow)
        await changing(tour, runs, workflow)
        assert tour.called == {tool.name for tool in (await client.list_tools()).tools}
    # Otherwise it would pass for showing nothing at all.
    assert tour.canaries > 30
    assert person.asked
    check("questions", item, person.asked)


@ITEMS
async def test_no_reading_tool_lets_a_code_through(box: Box, item: Item) -> None:
    runs, workflow = load(box), workflow_of(box)
    async with rewriting(box, codes_poisoned(item.text)) as client:
        tour = Tour(client, item)
        del runs["failed"]
        await reading_codes(tour, runs, workflow)
    assert tour.canaries > 20


async def reading_codes(call: Call, runs: dict[str, str], workflow: str) -> None:
    await call("list_workflows")
    await call("get_workflow", workflow=workflow)
    await call("list_workflow_versions", workflow=workflow)
    await call("list_runs")
    for run in runs.values():
        for detail in ("concise", "full"):
            await call("get_workflow_run", run_id=run, detail=detail)
    for step in range(1, len(example("workflow_run.allsteps")["stepRuns"]) + 1):
        for detail in ("concise", "full"):
            await call("get_step_result", run_id=runs["done"], step=str(step), detail=detail)
    await call("wait_for_run", run_ids=[runs["done"]])
    await call("wait_for_run", run_ids=[runs["done"], runs["waiting"]])
    for group in ("workflow", "version", "status", "file_type"):
        await call("summarize_runs", group_by=group)
    await call("review_queue")
    await call("compare_runs", first=runs["done"], second=runs["twin"])
    await call("list_files")


PROMPTS: list[tuple[str, Callable[[dict[str, str], str], dict[str, str]]]] = [
    ("triage_failures", lambda runs, workflow: {"since": "7d"}),
    ("investigate_run", lambda runs, workflow: {"run_id": runs["failed"]}),
    ("shift_report", lambda runs, workflow: {"since": "7d"}),
    ("clear_review_queue", lambda runs, workflow: {}),
    ("cancel_run_safely", lambda runs, workflow: {"run_id": runs["moving"]}),
    ("stop_a_bad_batch", lambda runs, workflow: {"batch_id": "batch_hostile00000001"}),
    ("release_a_workflow_version", lambda runs, workflow: {"workflow": workflow}),
]


async def read_all(client: Client, item: Item, runs: dict[str, str], workflow: str) -> int:
    """Read every prompt and resource, check each, and return how many hold the hostile text."""
    texts: list[tuple[str, str]] = []
    for name, arguments in PROMPTS:
        for message in (await client.get_prompt(name, arguments(runs, workflow))).messages:
            part = message.content.model_dump(mode="json")
            texts.append((name, part["resource"]["text"] if part["type"] == "resource" else part["text"]))
    for uri in (
        *(f"extend://workflow-runs/{run}" for run in runs.values()),
        *(f"extend://workflow-runs/{runs['done']}/steps/{step}" for step in range(1, 11)),
        f"extend://workflows/{workflow}",
        "extend://batches/batch_hostile00000001",
        "extend://account",
    ):
        texts += [(uri, part.text) for part in (await client.read_resource(uri)).contents if hasattr(part, "text")]
    for where, text in texts:
        check(where, item, [text])
    return sum(CANARY in text for _, text in texts)


@ITEMS
async def test_no_prompt_and_no_resource_lets_a_text_through(box: Box, item: Item) -> None:
    runs, workflow = load(box), workflow_of(box)
    async with rewriting(box, texts_poisoned(item.text)) as client:
        assert {prompt.name for prompt in (await client.list_prompts()).prompts} == {name for name, _ in PROMPTS}
        assert await read_all(client, item, runs, workflow) > 15


def refusing(text: str) -> Rewrite:
    """The body of an error whose every field is ``text``."""
    return lambda request, document: {"error": {"code": text, "message": text, "requestId": text, "docUrl": text}}


@ITEMS
async def test_no_error_lets_a_text_through(box: Box, item: Item) -> None:
    runs, workflow = load(box), workflow_of(box)
    box.fault(method="*", path="*", status=400, times=1000)
    async with rewriting(box, refusing(item.text)) as client:
        tour = Tour(client, item)
        await tour("get_workflow_run", run_id=runs["done"])
        await tour("list_runs")
        await tour("summarize_runs")
        await tour("create_workflow", name="Mine")
        await tour("run_workflow", workflow=workflow, text="a")
        await tour("upload_file", text="a", name="a.txt")
        await tour("wait_for_run", run_ids=[runs["done"], runs["twin"]])
        await tour("cancel_workflow_run", run_id=runs["moving"])
        await tour("list_files")
        prompts = [await client.get_prompt(name, arguments(runs, workflow)) for name, arguments in PROMPTS]
    assert tour.canaries > 6
    texts = [
        message.content.text for prompt in prompts for message in prompt.messages if message.content.type == "text"
    ]
    check("prompts", item, texts)
