"""Hostile texts in every field of every answer of the API: none reaches a model unmarked, active or unseen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from mcp.client.client import Client
from mcp_types import CallToolResult

from extend_mcp.runs.groups import GROUP_NAMES
from tests.calls import Needs, Objects, calls, first_calls, make_objects
from tests.harness import Box, Person, example, text_of
from tests.robustness.hostile_texts import (
    CANARY,
    Item,
    Rewrite,
    codes_poisoned,
    faults_of,
    hostile_texts,
    rewriting,
    strings_of,
    texts_poisoned,
)

pytestmark = pytest.mark.thorough

SCENARIO = "empty"

CORPUS = hostile_texts()
ITEMS = pytest.mark.parametrize("item", CORPUS, ids=[item.name.replace(" ", "-") for item in CORPUS])

Call = Callable[..., Awaitable[dict[str, Any]]]

_IN_WORDS = frozenset({"content", "waits_for", "summary", "plan", "details", "cause", "next_step"})
"""Structured fields that hold our own lines, in which text from outside is marked as in the text."""


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


RUNS = (Needs.DONE_RUN, Needs.FAILED_RUN, Needs.REVIEW_RUN, Needs.MOVING_RUN, Needs.OLD_RUN)


async def reading(call: Call, objects: Objects) -> None:
    """Call every tool that only reads, and those that show texts in each of their forms."""
    for example_call in calls(read_only=True):
        await call(example_call.tool, **example_call.on(objects))
    await call("get_step_result", run_id=objects[Needs.DONE_RUN], step="1", field="no.such.part")
    await call("get_step_result", run_id=objects[Needs.DONE_RUN], step="no such step")
    for group in set(GROUP_NAMES) - {"metadata"}:
        await call("summarize_runs", group_by=group)
    await call("summarize_runs", group_by="metadata", metadata_key="customer")
    await reading_runs(call, objects)


async def reading_runs(call: Call, objects: Objects) -> None:
    """Read a run of each status and each of its steps, in short and in full."""
    for detail in ("concise", "full"):
        for run in RUNS:
            await call("get_workflow_run", run_id=objects[run], detail=detail)
        for step in range(1, len(example("workflow_run.allsteps")["stepRuns"]) + 1):
            await call("get_step_result", run_id=objects[Needs.DONE_RUN], step=str(step), detail=detail)


async def changing(call: Call, objects: Objects) -> None:
    """Call every tool that writes."""
    for example_call in calls(read_only=False):
        await call(example_call.tool, **example_call.on(objects))
    await call("cancel_workflow_run", run_id=objects[Needs.DONE_RUN])


class Tour:
    """Calls tools and checks each answer."""

    def __init__(self, client: Client, item: Item) -> None:
        self._client = client
        self._item = item
        self.canaries = 0

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, check its answer, and return its facts, or nothing where it is an error."""
        result = await self._client.call_tool(tool, arguments)
        self.canaries += CANARY in text_of(result)
        assert "failed inside extend-mcp" not in text_of(result), tool
        assert "wrong arguments" not in text_of(result), text_of(result)
        check_answer(f"{tool} {arguments}", self._item, result)
        return result.structured_content or {}


@ITEMS
async def test_no_tool_lets_a_text_through(box: Box, item: Item) -> None:
    objects = make_objects(box)
    person = Person()
    async with rewriting(box, texts_poisoned(item.text), person=person) as client:
        tour = Tour(client, item)
        await reading(tour, objects)
        await changing(tour, objects)
    # Otherwise it would pass by showing nothing.
    assert tour.canaries > 30
    assert person.asked
    check("questions", item, person.asked)


@ITEMS
async def test_no_reading_tool_lets_a_code_through(box: Box, item: Item) -> None:
    objects = make_objects(box)
    async with rewriting(box, codes_poisoned(item.text)) as client:
        tour = Tour(client, item)
        for call in calls(read_only=True):
            # A download URL is shown exactly as Extend returned it.
            if "download_url" not in call.arguments:
                await tour(call.tool, **call.on(objects))
        for group in ("workflow", "version", "status", "file_type", "batch", "reviewer,day"):
            await tour("summarize_runs", group_by=group)
        await reading_runs(tour, objects)
    assert tour.canaries > 20


PROMPTS: list[tuple[str, Callable[[Objects], dict[str, str]]]] = [
    ("triage_failures", lambda objects: {"since": "7d"}),
    ("investigate_run", lambda objects: {"run_id": objects[Needs.FAILED_RUN]}),
    ("shift_report", lambda objects: {"since": "7d"}),
    ("clear_review_queue", lambda objects: {}),
    ("cancel_run_safely", lambda objects: {"run_id": objects[Needs.MOVING_RUN]}),
    ("stop_a_bad_batch", lambda objects: {"batch_id": objects[Needs.BATCH]}),
    ("release_a_workflow_version", lambda objects: {"workflow": objects[Needs.WORKFLOW]}),
]


async def read_all(client: Client, item: Item, objects: Objects) -> int:
    """Read every prompt and resource, check each, and return how many hold the hostile text."""
    texts: list[tuple[str, str]] = []
    for name, arguments in PROMPTS:
        for message in (await client.get_prompt(name, arguments(objects))).messages:
            part = message.content.model_dump(mode="json")
            texts.append((name, part["resource"]["text"] if part["type"] == "resource" else part["text"]))
    for uri in (
        *(f"extend://workflow-runs/{objects[run]}" for run in RUNS),
        *(f"extend://workflow-runs/{objects[Needs.DONE_RUN]}/steps/{step}" for step in range(1, 11)),
        f"extend://workflows/{objects[Needs.WORKFLOW]}",
        f"extend://batches/{objects[Needs.BATCH]}",
        "extend://account",
    ):
        texts += [(uri, part.text) for part in (await client.read_resource(uri)).contents if hasattr(part, "text")]
    for where, text in texts:
        check(where, item, [text])
    return sum(CANARY in text for _, text in texts)


@ITEMS
async def test_no_prompt_and_no_resource_lets_a_text_through(box: Box, item: Item) -> None:
    objects = make_objects(box)
    async with rewriting(box, texts_poisoned(item.text)) as client:
        assert {prompt.name for prompt in (await client.list_prompts()).prompts} == {name for name, _ in PROMPTS}
        assert await read_all(client, item, objects) > 15


def refusing(text: str) -> Rewrite:
    """The body of an error whose every field is ``text``."""
    return lambda request, document: {"error": {"code": text, "message": text, "requestId": text, "docUrl": text}}


@ITEMS
async def test_no_error_lets_a_text_through(box: Box, item: Item) -> None:
    objects = make_objects(box)
    box.fault(method="*", path="*", status=400, times=1000)
    # Where a person has to confirm, they do: the write itself meets the error.
    async with rewriting(box, refusing(item.text), person=Person()) as client:
        tour = Tour(client, item)
        for call in first_calls().values():
            await tour(call.tool, **call.on(objects))
        prompts = [await client.get_prompt(name, arguments(objects)) for name, arguments in PROMPTS]
    assert tour.canaries > 6
    texts = [
        message.content.text for prompt in prompts for message in prompt.messages if message.content.type == "text"
    ]
    check("prompts", item, texts)
