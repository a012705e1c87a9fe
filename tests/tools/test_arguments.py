"""Wrong arguments: refused before any request, explained by field, rule and example in a few lines."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from extend_mcp.callers import Ctx
from extend_mcp.tools.base import HOST_ARGUMENTS, Toolset
from extend_mcp.tools.runs_write import BatchItem, Override
from extend_mcp.tools.toolsets import READ_ONLY
from extend_mcp.views.document import View
from tests.calls import default_tools, is_read_only, tools
from tests.harness import ERAS, Box, Mode, serving, text_of

SCENARIO = "empty"

RUN = "workflow_run_xKm9pNv3qWsY_jL2tR5Dh"
TOOLS = tools()
REQUIRED: dict[str, Any] = {
    "run_id": RUN,
    "first": RUN,
    "second": RUN,
    "step": "1",
    "workflow": "workflow_abc123",
    "inputs": [{"file": "file_1"}],
    "name": "x",
    "file_id": "file_1",
    "url": "https://hooks.example.com/x",
    "events": ["workflow_run.failed"],
    "endpoint_id": "wh_1",
    "resource_id": "workflow_abc123",
    "subscription_id": "whsub_1",
}


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("get_workflow_run", {}, ["run_id: is required", "Example"]),
        ("get_workflow_run", {"run_id": "batch_7Ws31-F5"}, ["run_id", "list_runs(batch=...)"]),
        ("get_workflow_run", {"run_id": 5}, ["run_id", "valid string"]),
        ("get_workflow_run", {"run_id": RUN, "detail": "everything"}, ["detail", "'concise' or 'full'"]),
        ("get_workflow_run", {"run_id": RUN, "page": 0}, ["page", "1 or more, or -1"]),
        ("get_workflow_run", {"run_id": RUN, "page": "two"}, ["page", "integer"]),
        (
            "cancel_workflow_run",
            {"run_id": RUN, "confirmationToken": "x"},
            ["confirmationToken: not an argument"],
        ),
        ("cancel_workflow_run", {"run_id": RUN, "reason": ["x"]}, ["reason"]),
        ("list_runs", {"status": "BROKEN"}, ["status", "REJECTED, PROCESSED, FAILED"]),
        ("list_runs", {"created_since": "soon"}, ["created_since", '"24h"']),
        ("list_runs", {"page_size": 101}, ["page_size", "100"]),
        ("list_runs", {"created_since": "1h", "created_before": "2h"}, ["earlier than created_before"]),
        ("run_workflow", {"workflow": "workflow_abc123"}, ["exactly one of"]),
        ("run_workflow", {"workflow": "workflow_abc123", "text": "a", "file_id": "file_1"}, ["exactly one of"]),
        ("run_workflow", {"workflow": "workflow_abc123", "file_url": "ftp://x"}, ["file_url", "https"]),
        ("run_workflow", {"workflow": "workflow_abc123", "text": "a", "metadata": {"a": "x" * 11_000}}, ["10 KB"]),
        ("run_workflow", {"workflow": "workflow_abc123", "text": "a", "metadata": "not json"}, ["Example: metadata={"]),
        ("run_workflow", {"workflow": "workflow_abc123", "text": "a", "version": "latest"}, ["version"]),
    ],
)
async def test_a_wrong_argument_is_explained(
    box: Box, mode: Mode, tool: str, arguments: dict[str, Any], said: list[str]
) -> None:
    async with serving(box, mode=mode) as client:
        result = await client.call_tool(tool, arguments)
    text = text_of(result)
    assert result.is_error
    for part in said:
        assert part in text
    assert len(text) < 600
    assert "pydantic" not in text
    assert "validation error" not in text
    assert box.requests() == []


NESTED = [("inputs", BatchItem, {"file": "file_1"}), ("outputs", Override, {"processor_id": "ex_1", "output": {}})]


@pytest.mark.parametrize("name", TOOLS)
def test_null_means_not_given_for_every_optional_argument(name: str) -> None:
    tool = TOOLS[name]
    fields = tool.fn_metadata.arg_model.model_fields
    optional = {argument for argument, field in fields.items() if not field.is_required()}
    given = {argument: REQUIRED[argument] for argument in fields if argument not in optional}
    nulls = dict.fromkeys(optional)
    assert tool.validated({**given, **nulls}) == tool.validated(given)
    for argument in given:
        with pytest.raises(ValidationError):
            tool.validated({**given, argument: None})


@pytest.mark.parametrize(("argument", "model", "given"), NESTED)
def test_null_means_not_given_inside_a_list(argument: str, model: type[BaseModel], given: dict[str, Any]) -> None:
    optional = [name for name, field in model.model_fields.items() if not field.is_required() and name not in given]
    assert model.model_validate({**given, **dict.fromkeys(optional)}) == model.model_validate(given)


@pytest.mark.parametrize("mode", ERAS)
async def test_arguments_that_hosts_add_are_dropped_and_others_refused(box: Box, mode: Mode) -> None:
    added = {"wait_for_previous": True, "toolCallId": "1", "sessionId": "2", "action": "x", "chatInput": "y"}
    assert set(added) == HOST_ARGUMENTS
    async with serving(box, mode=mode) as client:
        assert not (await client.call_tool("list_runs", added)).is_error
        for similar in ("waitForPrevious", "tool_call_id", "session_id", "chat_input", "Action"):
            refused = await client.call_tool("list_runs", {similar: "1"})
            assert f"{similar}: not an argument" in text_of(refused)


def test_an_argument_of_a_tool_is_kept_whatever_hosts_call_theirs() -> None:
    async def act(action: str, ctx: Ctx) -> View:
        """Act."""
        raise NotImplementedError

    toolset = Toolset("test", "", ())
    toolset.tool(title="Act", annotations=READ_ONLY, scope="runs:read")(act)
    assert toolset._added[0].validated({"action": "go", "sessionId": "2"}) == {"action": "go"}


async def test_text_that_looks_like_json_stays_text_and_json_text_becomes_an_object(box: Box) -> None:
    workflow = box.state()["workflows"][0]["id"]
    async with serving(box) as client:
        arguments = {"workflow": workflow, "text": "[1, 2]", "metadata": '{"customer": "acme"}'}
        assert not (await client.call_tool("run_workflow", arguments)).is_error


async def test_many_faults_are_counted_not_listed(box: Box) -> None:
    async with serving(box) as client:
        result = await client.call_tool("list_runs", {f"wrong_{n}": n for n in range(9)})
    assert "and 4 more" in text_of(result)


async def test_lists_of_tools_by_read_only_and_toolset(box: Box) -> None:
    async with serving(box) as client:
        everything = (await client.list_tools()).tools
        prompts = (await client.list_prompts()).prompts
    async with serving(box, read_only=True) as client:
        reading = (await client.list_tools()).tools
        reading_prompts = (await client.list_prompts()).prompts
    offered = default_tools()
    assert [tool.name for tool in everything] == offered
    # tests/test_surface.py shows that these send only GET requests, and the others more.
    assert [tool.name for tool in reading] == [tool for tool in offered if is_read_only(tool)]
    changing = {"cancel_run_safely", "stop_a_bad_batch", "release_a_workflow_version"}
    assert {prompt.name for prompt in prompts} - {prompt.name for prompt in reading_prompts} == changing
    for tool in everything:
        assert tool.title
        assert tool.description
        assert tool.output_schema
        assert tool.annotations
        assert tool.annotations.read_only_hint is (tool in reading)
        assert tool.annotations.open_world_hint is True
    by_name = {tool.name: tool for tool in everything}
    cancel, start = by_name["cancel_workflow_run"], by_name["run_workflow"]
    assert cancel.annotations
    assert cancel.annotations.destructive_hint is True
    assert start.annotations
    assert start.annotations.destructive_hint is False
    assert start.annotations.idempotent_hint is False
