"""The toolset incidents: what became of failures, and what was processed twice."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from extend_mcp.runs.times import format_instant
from tests.harness import ERAS, Box, Mode, example, facts_of, serving, text_of

SCENARIO = "empty"


def load(box: Box, name: str, file: str, status: str, minutes_ago: float, **given: Any) -> str:
    """Load a run of a file; a failed one fails in the step Parse."""
    run = copy.deepcopy(example("workflow_run.allsteps"))
    run_id = f"workflow_run_{name}".ljust(34, "0")
    created = box.now() - timedelta(minutes=minutes_ago)
    run |= {"id": run_id, "status": status, "initialRunAt": format_instant(created), "batchId": given.get("batch")}
    run |= {"metadata": given.get("metadata", {}), "usage": {"credits": 3, "totalCredits": 3}}
    run["files"] = [{**run["files"][0], "id": f"file_{file}", "name": f"{file}.pdf"}]
    run["workflow"] |= {"id": given.get("workflow", "workflow_A"), "name": "A"}
    if status == "FAILED":
        reason = given.get("reason", "INTERNAL_ERROR")
        run |= {"failureReason": reason, "failureMessage": "it broke"}
        run["stepRuns"] = [
            {**run["stepRuns"][0], "status": "FAILED", "result": {"parseRun": {"failureReason": reason}}}
        ]
    box.load(run)
    box.sandbox.record(run_id).created_at = created
    return run_id


async def ask(box: Box, tool: str, **arguments: Any) -> tuple[dict[str, Any], str]:
    settings = {name: arguments.pop(name) for name in ("mode", "history", "detail_runs") if name in arguments}
    async with serving(box, toolsets=["incidents"], **settings) as client:
        result = await client.call_tool(tool, {"created_since": "1h", **arguments})
    return facts_of(result), text_of(result)


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("history", ["memory", "off"])
async def test_each_failed_document_is_counted_once_by_what_became_of_it(box: Box, mode: Mode, history: str) -> None:
    load(box, "good1", "good", "FAILED", 50)
    load(box, "good2", "good", "FAILED", 45)
    load(box, "good3", "good", "PROCESSED", 40)
    load(box, "running1", "running", "FAILED", 50)
    load(box, "running2", "running", "NEEDS_REVIEW", 10)
    load(box, "again1", "again", "FAILED", 50, reason="OUT_OF_CREDITS")
    again = load(box, "again2", "again", "FAILED", 20, reason="OUT_OF_CREDITS")
    # A good run before the failure, of another workflow, or outside the window, resolves nothing.
    load(box, "never0", "never", "PROCESSED", 55)
    never = load(box, "never1", "never", "FAILED", 50)
    load(box, "other", "never", "PROCESSED", 40, workflow=box.workflow())
    load(box, "old", "old", "FAILED", 90)
    # A corrected file, joined by the mark of the run that failed with it.
    load(box, "fixed1", "broken", "FAILED", 50)
    fixed = load(box, "fixed2", "corrected", "FAILED", 30, metadata={"rerunOf": "workflow_run_fixed1".ljust(34, "0")})
    facts, text = await ask(box, "list_open_failures", mode=mode, history=history)
    assert {name: facts[name] for name in ("failed_runs", "documents", "resolved", "running", "never_rerun")} == {
        "failed_runs": 8,
        "documents": 5,
        "resolved": 1,
        "running": 1,
        "never_rerun": 1,
    }
    assert (facts["failed_again"], facts["open"], facts["complete"]) == (2, 3, True)
    assert facts["open_run_ids"] == [never, fixed, again]
    assert "- 2 INTERNAL_ERROR in «parse», 1 of them rerun without success, since " in text
    assert "- 1 OUT_OF_CREDITS in «parse»" in text


async def test_filters_apply_to_the_failure_and_not_to_its_rerun(box: Box) -> None:
    load(box, "a", "a", "FAILED", 50, reason="OCR_ERROR", metadata={"customer": "acme"})
    load(box, "b", "a", "PROCESSED", 20)
    mine = load(box, "c", "c", "FAILED", 40, reason="OCR_ERROR", metadata={"customer": "acme"})
    load(box, "d", "d", "FAILED", 40, reason="OCR_ERROR")
    filters = {"failure_reason": "OCR_ERROR", "metadata": {"customer": "acme"}, "created_before": "30m"}
    facts, _ = await ask(box, "list_open_failures", **filters)
    assert (facts["documents"], facts["resolved"]) == (2, 1)
    assert facts["open_run_ids"] == [mine]


async def test_what_was_not_looked_into_is_said(box: Box) -> None:
    for number in range(4):
        load(box, f"n{number}", f"n{number}", "FAILED", 10 + number)
    facts, text = await ask(box, "list_open_failures", detail_runs=1)
    assert (facts["open"], facts["complete"]) == (4, True)
    assert "- 3 not read, since " in text
    facts, text = await ask(box, "list_open_failures", detail_runs=1, failing_step="parse")
    assert (facts["open"], facts["complete"]) == (1, False)
    assert "INCOMPLETE: 3 failed runs were not looked into and are not counted; ask again" in text
    async with serving(box, toolsets=["incidents"]) as client:
        assert (await client.call_tool("list_open_failures", {})).is_error


@pytest.mark.parametrize("history", ["memory", "off"])
async def test_files_processed_twice_are_named_with_what_they_cost_and_reruns_left_out(box: Box, history: str) -> None:
    first = load(box, "a1", "a", "PROCESSED", 50)
    second = load(box, "a2", "a", "PROCESSED", 40)
    third = load(box, "a3", "a", "PROCESSED", 30)
    # By another workflow, after a failure, and on purpose.
    load(box, "b1", "b", "PROCESSED", 50)
    load(box, "b2", "b", "PROCESSED", 40, workflow=box.workflow())
    load(box, "c1", "c", "FAILED", 50)
    load(box, "c2", "c", "PROCESSED", 40)
    done = load(box, "d1", "d", "PROCESSED", 50)
    load(box, "d2", "d", "PROCESSED", 40, metadata={"rerunOf": done})
    for file in ("x", "y"):
        load(box, f"{file}1", file, "PROCESSED", 30, batch="batch_one")
        load(box, f"{file}2", file, "PROCESSED", 20, batch="batch_two")
    facts, text = await ask(box, "list_done_twice", history=history)
    assert (facts["files"], facts["runs_too_many"], facts["credits_again"], facts["intended_reruns"]) == (3, 4, 12.0, 1)
    assert facts["repeats"][0]["run_ids"] == [first, second, third]
    assert "2 of them because batch batch_one was run again as batch_two." in text
    assert f"«a.pdf» · «A» · {first}, {second}, {third} · 10m · 6" in text
    assert "x.pdf" not in text
    nothing, text = await ask(box, "list_done_twice", workflow=box.workflow(), history=history)
    assert nothing["files"] == 0
    assert "No file was processed more than once" in text
