"""Prompts: fresh facts, the run attached, the guard steps in order; and of use even when nothing can be read."""

from __future__ import annotations

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, GetPromptResult, TextContent

from tests.harness import ERAS, Box, Mode, example_run, serving

RUN = "workflow_run_promptMe00000000001"


async def prompt(box: Box, name: str, mode: Mode = "auto", **arguments: str) -> GetPromptResult:
    async with serving(box, mode=mode) as client:
        return await client.get_prompt(name, arguments)


def words(result: GetPromptResult) -> str:
    return "\n".join(message.content.text for message in result.messages if isinstance(message.content, TextContent))


def in_order(text: str, *parts: str) -> None:
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_listed_prompt_says_what_its_arguments_are_and_which_are_required(box: Box, mode: Mode) -> None:
    async with serving(box, mode=mode) as client:
        listed = {each.name: each for each in (await client.list_prompts()).prompts}
    [run_id, reason] = listed["cancel_run_safely"].arguments or []
    assert (run_id.name, run_id.description, run_id.required) == ("run_id", "The run: id or dashboard URL", True)
    assert (reason.name, reason.description, reason.required) == ("reason", "Why it should not run", False)


@pytest.mark.parametrize("mode", ERAS)
async def test_the_guard_prompt_attaches_the_run_and_names_the_steps_in_order(box: Box, mode: Mode) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    url = f"https://dashboard.extend.ai/workflows/{RUN}"
    result = await prompt(box, "cancel_run_safely", mode, run_id=url, reason="wrong\nfile")
    text = words(result)
    in_order(text, f"get_workflow_run({RUN})", "PENDING and PROCESSING", "cancel_workflow_run", "shows CANCELLED")
    assert 'reason="wrong file"' in text
    # LangChain and LlamaIndex raise on anything but text.
    assert [message.content.type for message in result.messages] == ["text", "text"]
    attached, _, steps = text.partition("Cancel the Extend workflow run")
    assert RUN in attached
    assert "PROCESSING" in attached
    assert "https" not in steps
    assert box.requests("POST") == []


@pytest.mark.parametrize("name", ["cancel_run_safely", "investigate_run"])
async def test_a_run_that_cannot_be_read_leaves_the_steps(box: Box, name: str) -> None:
    result = await prompt(box, name, run_id=RUN)
    assert "could not be read" in words(result)
    assert "1." in words(result)


async def test_triage_brings_failures_by_reason(box: Box) -> None:
    text = words(await prompt(box, "triage_failures", since="7d"))
    assert "failure reason · failed" in text
    assert "PASSWORD_PROTECTED_FILE" in text
    in_order(text, "largest group", "explain_failure", "Report a table", "rerun_workflow_runs")


async def test_the_shift_report_brings_figures_and_the_queue(box: Box) -> None:
    text = words(await prompt(box, "shift_report", since="3d"))
    assert "workflow · runs" in text
    assert "waiting for review" in text
    in_order(text, "Two sentences", "What failed", "What waits", "next shift")


async def test_the_review_prompt_brings_the_queue_of_one_workflow(box: Box) -> None:
    text = words(await prompt(box, "clear_review_queue", workflow="Loan Packet Review"))
    assert "1 run waiting for review" in text
    assert "Never say that you approved" in text


async def test_the_batch_prompt_brings_its_states(box: Box) -> None:
    batch = box.state()["batches"][0]
    text = words(await prompt(box, "stop_a_bad_batch", batch_id=batch))
    assert "status · runs" in text
    in_order(text, "how many of its runs", f'cancel_runs(batch="{batch}")', "partial", "wait_for_run")


async def test_the_release_prompt_brings_the_difference_and_faults(box: Box) -> None:
    workflow = box.workflow()
    steps = [
        {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
        {"name": "Parse", "type": "PARSE", "next": [{"step": "Later"}]},
        {"name": "Later", "type": "EXTRACT"},
    ]
    box.api("POST", f"/workflows/{workflow}", json={"steps": steps})
    text = words(await prompt(box, "release_a_workflow_version", workflow="Invoice Processing"))
    assert "Difference from version 3, the newest published" in text
    assert "+ «Later»" in text
    assert "Extend may refuse it: steps.2.config" in text
    in_order(text, "Explain the difference", "Try the draft", "deploy_workflow_version", "watch")


@pytest.mark.parametrize("name", ["triage_failures", "shift_report", "clear_review_queue"])
async def test_facts_that_cannot_be_read_are_said_to_be_so(box: Box, name: str) -> None:
    box.fault(method="GET", path="*", status=401, times=50)
    text = words(await prompt(box, name))
    assert "could not be read" in text
    assert "1." in text


async def test_a_workflow_that_does_not_exist_is_said_in_the_prompt(box: Box) -> None:
    text = words(await prompt(box, "release_a_workflow_version", workflow="No such one"))
    assert "could not be read" in text


@pytest.mark.parametrize("blank", ["", "  "])
async def test_a_blank_argument_means_its_default(box: Box, blank: str) -> None:
    given = words(await prompt(box, "triage_failures", since=blank))
    assert "since 24h" in given
    assert "waiting for review" in words(await prompt(box, "clear_review_queue", workflow=blank))


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("no_such_prompt", {}, "Unknown prompt: «no_such_prompt»"),
        ("investigate_run", {}, "run_id: is required"),
        ("investigate_run", {"run_id": " "}, "run_id: is required"),
        ("investigate_run", {"run_id": "batch_1"}, "run_id: is not a workflow run id .* but a batch"),
        ("cancel_run_safely", {"run_id": "x"}, "run_id: must be a workflow run id"),
        ("stop_a_bad_batch", {"batch_id": RUN}, "batch_id: is not a batch id .* but a workflow run"),
        ("triage_failures", {"since": "soon"}, 'since: must be a span before now like "24h"'),
        ("shift_report", {"since": "24h", "until": "1h"}, "«until»: not an argument of shift_report. It takes: since"),
        ("shift_report", {"until": ""}, "«until»: not an argument"),
    ],
)
async def test_wrong_arguments_are_the_callers_error(
    box: Box, mode: Mode, name: str, arguments: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(box, mode=mode) as client:
        with pytest.raises(MCPError, match=said) as refused:
            await client.get_prompt(name, arguments)
    assert refused.value.error.code == INVALID_PARAMS
    assert not [record for record in caplog.records if record.exc_info]
    assert box.requests() == []


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("error", [ValueError("secret"), KeyError("secret")])
async def test_an_error_inside_a_prompt_is_internal_and_logged(
    box: Box, mode: Mode, error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("extend_mcp.prompts.run_resource", broken)
    async with serving(box, mode=mode) as client:
        with pytest.raises(MCPError, match="investigate_run failed inside extend-mcp") as failed:
            await client.get_prompt("investigate_run", {"run_id": RUN})
    assert failed.value.error.code == INTERNAL_ERROR
    assert "secret" not in str(failed.value)
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.exc_info
    assert record.exc_info[1] is error
