"""Prompts: fresh facts, the run attached, the guard steps in order; and of use even when nothing can be read."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, EmbeddedResource, GetPromptResult, TextContent

from tests.harness import ERAS, Box, Mode, example_run, serving

RUN = "workflow_run_promptMe00000000001"


async def prompt(box: Box, name: str, mode: Mode = "auto", **arguments: str) -> GetPromptResult:
    async with serving(box, mode=mode) as client:
        return await client.get_prompt(name, arguments)


def words(result: GetPromptResult) -> str:
    return "\n".join(message.content.text for message in result.messages if isinstance(message.content, TextContent))


def attached(result: GetPromptResult) -> list[Any]:
    return [message.content.resource for message in result.messages if isinstance(message.content, EmbeddedResource)]


def in_order(text: str, *parts: str) -> None:
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("mode", ERAS)
async def test_the_guard_prompt_attaches_the_run_and_names_the_steps_in_order(box: Box, mode: Mode) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    url = f"https://dashboard.extend.ai/workflows/{RUN}"
    result = await prompt(box, "cancel_run_safely", mode, run_id=url, reason="wrong\nfile")
    text = words(result)
    in_order(text, f"get_workflow_run({RUN})", "PENDING and PROCESSING", "cancel_workflow_run", "shows CANCELLED")
    assert 'reason="wrong file"' in text
    assert "https" not in text
    [resource] = attached(result)
    assert resource.uri == f"extend://workflow-runs/{RUN}"
    assert "PROCESSING" in resource.text
    assert box.requests("POST") == []


@pytest.mark.parametrize("name", ["cancel_run_safely", "investigate_run"])
async def test_what_is_no_run_id_asks_for_one(box: Box, name: str) -> None:
    result = await prompt(box, name, run_id="batch_1")
    assert "Ask for the run's id" in words(result)
    assert box.requests() == []


@pytest.mark.parametrize("name", ["cancel_run_safely", "investigate_run"])
async def test_a_run_that_cannot_be_read_leaves_the_steps(box: Box, name: str) -> None:
    result = await prompt(box, name, run_id=RUN)
    assert "could not be read" in words(result)
    assert "1." in words(result)
    assert attached(result) == []


async def test_triage_brings_failures_by_reason(box: Box) -> None:
    text = words(await prompt(box, "triage_failures", since="7d"))
    assert "failure reason · runs" in text
    assert "PASSWORD_PROTECTED_FILE" in text
    in_order(text, "largest group", "explain_failure", "Report a table", "rerun_workflow_runs")


async def test_the_shift_report_brings_figures_and_the_queue(box: Box) -> None:
    text = words(await prompt(box, "shift_report", since="3d"))
    assert "workflow · runs" in text
    assert "runs wait for review" in text
    in_order(text, "Two sentences", "What failed", "What waits", "next shift")


async def test_the_review_prompt_brings_the_queue_of_one_workflow(box: Box) -> None:
    text = words(await prompt(box, "clear_review_queue", workflow="Loan Packet Review"))
    assert "1 runs wait for review" in text
    assert "Never say that you approved" in text


async def test_the_batch_prompt_brings_its_states(box: Box) -> None:
    batch = box.state()["batches"][0]
    text = words(await prompt(box, "stop_a_bad_batch", batch_id=batch))
    assert "status · runs" in text
    in_order(text, "how many of its runs", f'cancel_runs(batch="{batch}")', "partial", "wait_for_run")
    assert "Ask for the batch id" in words(await prompt(box, "stop_a_bad_batch", batch_id=RUN))


async def test_the_release_prompt_brings_the_difference_and_faults(box: Box) -> None:
    workflow = box.workflow()
    steps = [
        {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
        {"name": "Parse", "type": "PARSE", "next": [{"step": "Later"}]},
        {"name": "Later", "type": "EXTRACT"},
    ]
    box.api("POST", f"/workflows/{workflow}", json={"steps": steps})
    text = words(await prompt(box, "release_a_workflow_version", workflow="Invoice Processing"))
    assert "against version 3" in text
    assert "+ «Later»" in text
    assert "FAULT: steps.2.config" in text
    in_order(text, "Explain the difference", "Try the draft", "deploy_workflow_version", "watch")


@pytest.mark.parametrize("name", ["triage_failures", "shift_report", "clear_review_queue"])
async def test_facts_that_cannot_be_read_are_said_to_be_so(box: Box, name: str) -> None:
    box.fault(method="GET", path="*", status=401, times=50)
    text = words(await prompt(box, name))
    assert "could not be read" in text
    assert "1." in text


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("triage_failures", {"since": "soon"}), ("release_a_workflow_version", {"workflow": "No such one"})],
)
async def test_wrong_arguments_are_explained_in_the_prompt(box: Box, name: str, arguments: dict[str, str]) -> None:
    assert "could not be read" in words(await prompt(box, name, **arguments))


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [("no_such_prompt", {}, "Unknown prompt: no_such_prompt"), ("investigate_run", {}, "run_id")],
)
async def test_a_prompt_that_is_not_there_or_lacks_an_argument_is_the_callers_error(
    box: Box, mode: Mode, name: str, arguments: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(box, mode=mode) as client:
        with pytest.raises(MCPError, match=said) as refused:
            await client.get_prompt(name, arguments)
    assert refused.value.error.code == INVALID_PARAMS
    assert not [record for record in caplog.records if record.exc_info]
