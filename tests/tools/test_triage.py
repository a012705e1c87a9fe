"""Compare explain_failure, review_queue and compare_runs with what the sandbox holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.harness import Box, example_run, facts_of, serving, text_of


async def ask(box: Box, tool: str, settings: dict[str, Any] | None = None, **arguments: Any) -> Any:
    async with serving(box, **(settings or {})) as client:
        return await client.call_tool(tool, arguments)


def cause(box: Box, run_id: str) -> tuple[str, str]:
    """The failing step and its reason, as the sandbox has it."""
    run = box.sandbox.record(run_id).run
    for step in run["stepRuns"]:
        for child in (step["result"] or {}).values():
            if isinstance(child, dict) and child.get("status") == "FAILED":
                return step["step"]["name"], child["failureReason"]
    return "", run["failureReason"]


async def test_runs_that_failed_alike_are_counted_and_others_not(large: Box) -> None:
    failed = [run for run in large.state()["runs"] if run["status"] == "FAILED"]
    run = failed[-1]
    facts = facts_of(await ask(large, "explain_failure", {"detail_runs": 1000}, run_id=run["id"], created_since="30d"))
    same_workflow = [each for each in failed if each["workflowId"] == run["workflowId"]]
    alike = {each["id"] for each in same_workflow if cause(large, each["id"])[1] == cause(large, run["id"])[1]}
    same_step = {each for each in alike if cause(large, each) == cause(large, run["id"])}
    arguments = {"workflow": run["workflowId"], "created_since": "30d", "group_by": "failure_reason"}
    summary = facts_of(await ask(large, "summarize_runs", {"detail_runs": 1000}, **arguments))
    assert {each["group"]: each["runs"] for each in summary["groups"]}[facts["reason"]] == len(alike)
    alike, same_step = alike - {run["id"]}, same_step - {run["id"]}
    assert (facts["step"], facts["reason"]) == cause(large, run["id"])
    assert facts["failed_in_window"] == len(same_workflow)
    assert facts["looked_into"] == len(same_workflow)
    assert facts["alike"] == len(alike)
    assert facts["alike_in_same_step"] == len(same_step)
    assert set(facts["alike_run_ids"]) <= alike
    assert "missing" not in facts
    good = large.sandbox.record(facts["last_good_run_id"]).run
    assert good["status"] == "PROCESSED"
    assert good["workflow"]["id"] == run["workflowId"]
    assert good["initialRunAt"] < large.sandbox.record(run["id"]).run["initialRunAt"]


async def test_a_bound_on_details_is_told(large: Box) -> None:
    run = next(run for run in reversed(large.state()["runs"]) if run["status"] == "FAILED")
    large.fault(path="/parse_runs", status=403, times=9)
    result = await ask(large, "explain_failure", {"detail_runs": 3}, run_id=run["id"], created_since="30d")
    assert "INCOMPLETE: 3 of" in text_of(result)
    assert facts_of(result)["looked_into"] == 4


@pytest.mark.parametrize(
    ("name", "reason", "helps"),
    [
        ("locked.pdf", "PASSWORD_PROTECTED_FILE", "will not help"),
        ("corrupt.pdf", "CORRUPT_FILE", "will not help"),
        ("unreachable.pdf", "UNABLE_TO_DOWNLOAD_FILE", "will not help"),
    ],
)
async def test_whether_a_retry_helps_is_said(box: Box, name: str, reason: str, helps: str) -> None:
    body = {"workflow": {"id": box.workflow()}, "file": {"url": f"https://files.example/{name}"}}
    run = box.api("POST", "/workflow_runs", json=body)["id"]
    box.advance(60)
    facts = facts_of(await ask(box, "explain_failure", run_id=run))
    assert facts["reason"] == reason
    assert helps in facts["retry"]
    assert "next_step" not in facts


async def test_what_differs_from_the_last_good_run_is_named(box: Box) -> None:
    box.load({**example_run("workflow_run_good000000000000001", "PROCESSED"), "initialRunAt": "2026-02-09T08:00:00Z"})
    bad = example_run("workflow_run_bad0000000000000001", "FAILED")
    bad["initialRunAt"] = "2026-02-10T08:00:00Z"
    bad["failureReason"] = "INTERNAL_ERROR"
    bad["workflowVersion"] = {**bad["workflowVersion"], "version": "9"}
    bad["files"] = [{**bad["files"][0], "type": "IMG", "metadata": {"pageCount": 99}}]
    bad["stepRuns"] = []
    box.load(bad)
    facts = facts_of(await ask(box, "explain_failure", run_id=bad["id"]))
    assert facts["last_good_run_id"] == "workflow_run_good000000000000001"
    assert {each["of"]: each["second"] for each in facts["differences"]} == {
        "version": "9",
        "file type": "IMG",
    }
    assert "rerun_workflow_runs" in facts["next_step"]


async def test_runs_that_succeeded_since_are_named(box: Box) -> None:
    runs = {run["file"]: run for run in box.state()["runs"]}
    later = max(
        (run for run in box.state()["runs"] if run["status"] == "PROCESSED"), key=lambda run: str(run["createdAt"])
    )
    facts = facts_of(await ask(box, "explain_failure", run_id=runs["acme-tooling-5562.pdf"]["id"]))
    # Credits are the account's, so a run of any workflow shows that they are back.
    assert facts["later_good_run_id"] == later["id"] != runs["acme-tooling-5562.pdf"]["workflowId"]
    assert facts["retry"] == "running it again may help: other runs were processed since"
    assert (facts["alike"], facts["alike_in_same_step"]) == (1, 0)
    loan = await ask(box, "explain_failure", run_id=runs["alvarez-mortgage-packet.pdf"]["id"])
    assert "later_good_run_id" not in facts_of(loan)
    assert "Since then no run of this workflow was processed." in text_of(loan)


async def test_a_step_without_its_child_run_is_explained_by_the_list_of_them(box: Box) -> None:
    box.sandbox.settings = replace(box.sandbox.settings, failed_steps_have_results=False)
    run_id = next(run["id"] for run in box.state()["runs"] if "5562" in (run["file"] or ""))
    seen = box.api("GET", f"/workflow_runs/{run_id}")
    assert [step["result"] for step in seen["stepRuns"] if step["status"] == "FAILED"] == [None]
    text = text_of(await ask(box, "get_workflow_run", run_id=run_id))
    assert "Failed in step «Extract invoice»: OUT_OF_CREDITS «The organization has used up its credits.»" in text
    facts = facts_of(await ask(box, "explain_failure", run_id=run_id))
    assert (facts["step"], facts["reason"]) == ("Extract invoice", "OUT_OF_CREDITS")
    asked = [each for each in box.requests() if each["path"] == "/extract_runs"]
    assert asked[0]["query"]["sourceId"] == run_id
    # Without the lists of child runs the run itself is the answer.
    box.fault(method="GET", path="/extract_runs", status=403)
    assert "DOCUMENT_PROCESSOR_ERROR" in text_of(await ask(box, "get_workflow_run", run_id=run_id))


async def test_a_run_that_did_not_fail_is_not_explained_as_one(box: Box) -> None:
    runs = box.state()["runs"]
    result = await ask(box, "explain_failure", run_id=next(run["id"] for run in runs if run["status"] == "PROCESSED"))
    assert result.is_error
    assert "nothing in it failed" in text_of(result)
    rejected = next(run["id"] for run in runs if "lease-contract" in run["file"])
    text = text_of(await ask(box, "explain_failure", run_id=rejected))
    assert "nothing in it failed. Rejected by «dana.whitfield@meridian.example» at 2" in text
    assert "«A term of 120 months needs the board.»" in text


async def test_the_queue_is_whole_oldest_first_with_causes_and_links(box: Box) -> None:
    result = await ask(box, "review_queue")
    facts = facts_of(result)
    waiting = sorted(
        (run for run in box.state()["runs"] if run["status"] == "NEEDS_REVIEW"), key=lambda run: run["createdAt"]
    )
    assert [row["run_id"] for row in facts["runs"]] == [run["id"] for run in waiting]
    assert facts["total"] == len(waiting)
    assert sum(facts["by_workflow"].values()) == len(waiting)
    assert all(row["checks"] for row in facts["runs"])
    # Every check that failed, with the values that failed it, as the sandbox has them.
    for row in facts["runs"]:
        steps = box.sandbox.record(row["run_id"]).run["stepRuns"]
        results = [step["result"] for step in steps if step["result"]]
        failed = [
            each for one in results for each in [*one.get("rules", []), *one.get("blocks", [])] if not each["valid"]
        ]
        assert {check["check"] for check in row["checks"]} == {each["name"] for each in failed}
        assert {each["reasoning"] for each in failed if "reasoning" in each} <= {
            each["error"] for each in row["checks"]
        }
    [total, line] = facts["runs"][0]["checks"]
    values = box.sandbox.record(facts["runs"][0]["run_id"]).run["stepRuns"][2]["result"]["extractRun"]["output"][
        "value"
    ]
    assert total["values"] == {name: str(values[name]) for name in ("subtotal", "tax", "total")}
    [place] = {int(path.partition("[")[2].partition("]")[0]) for path in line["values"]}
    assert line["values"][f"line_items[{place}].amount"] == str(values["line_items"][place]["amount"])
    assert all(row["dashboard_url"].startswith("https://dashboard.extend.ai/") for row in facts["runs"])
    assert "cannot approve" in text_of(result)


async def test_a_check_that_no_step_names_is_inferred_from_the_graph(box: Box) -> None:
    run_id = next(run["id"] for run in box.state()["runs"] if "northwind-2202" in run["file"])
    step = box.sandbox.record(run_id).run["stepRuns"][3]
    step["result"] = None
    facts = facts_of(await ask(box, "review_queue", workflow="Invoice Processing"))
    row = next(row for row in facts["runs"] if row["run_id"] == run_id)
    expected = {"step": "Check totals", "error": "fail", "inferred": True, "review_step": "Review totals"}
    assert row["checks"] == [expected]
    assert "probably step «Check totals» (inferred" in text_of(await ask(box, "get_workflow_run", run_id=run_id))


async def test_facts_that_hardly_change_are_read_once_in_a_while(box: Box) -> None:
    runs = {run["file"]: run["id"] for run in box.state()["runs"]}

    def asked() -> list[int]:
        paths = [request["path"] for request in box.requests()]
        done = [each for each in box.requests() if each["query"].get("status") == "PROCESSED"]
        return [sum("/versions/" in path for path in paths), len(done)]

    async with serving(box) as client:
        for file in ("northwind-2202-review.pdf", "northwind-2203-review.pdf", *["kestrel-it-9914.pdf"] * 2):
            facts_of(await client.call_tool("get_workflow_run", {"run_id": runs[file]}))
        assert asked() == [1, 1]
        # Time passes for the server only while it waits.
        await client.call_tool("wait_for_run", {"run_ids": [runs["fleet-lease-agreement.pdf"]], "seconds": 90})
        facts_of(await client.call_tool("get_workflow_run", {"run_id": runs["kestrel-it-9914.pdf"]}))
    assert asked() == [1, 2]


async def test_a_run_that_moves_is_compared_with_its_like(box: Box) -> None:
    runs = {run["file"]: run["id"] for run in box.state()["runs"]}
    text = text_of(await ask(box, "get_workflow_run", run_id=runs["kestrel-it-9914.pdf"]))
    assert "so far" in text
    assert "Usual for this workflow: 1m 55s, 95% within 2m 24s (11 processed runs); this one is within that" in text
    record = box.sandbox.record(runs["kestrel-it-9914.pdf"])
    assert record.step_started_at
    assert (
        f"Waits for: step «Classify document» (PROCESSING), since {record.step_started_at:%Y-%m-%dT%H:%M:%SZ}" in text
    )
    cancelling = text_of(await ask(box, "get_workflow_run", run_id=runs["archive-reprocess-2019.pdf"]))
    assert "the cancel to take effect, requested some time between" in cancelling
    assert f"and {box.now() - timedelta(minutes=4):%Y-%m-%dT%H:%M:%SZ} (4m ago)" in cancelling


async def test_a_long_queue_shows_the_oldest_and_counts_all(large: Box) -> None:
    facts = facts_of(await ask(large, "review_queue", limit=5))
    waiting = [run for run in large.state()["runs"] if run["status"] == "NEEDS_REVIEW"]
    assert facts["total"] == len(waiting)
    assert facts["shown"] == 5
    assert [row["run_id"] for row in facts["runs"]] == [run["id"] for run in waiting[:5]]
    assert len([each for each in large.requests() if each["path"].startswith("/workflow_runs/")]) == 5


async def test_two_runs_differ_where_they_do(box: Box) -> None:
    one = example_run("workflow_run_first00000000000001", "PROCESSED")
    other = example_run("workflow_run_second0000000000001", "PROCESSED")
    extract = next(step for step in other["stepRuns"] if step["stepType"] == "EXTRACT")
    output = extract["result"]["extractRun"]["output"]
    path = next(key for key, value in output["value"].items() if isinstance(value, str))
    before = output["value"][path]
    output["value"][path] = "something else"
    classify = next(step for step in other["stepRuns"] if step["stepType"] == "CLASSIFY")
    classify["result"]["classifyRun"]["output"]["type"] = "letter"
    box.load(one)
    box.load(other)
    facts = facts_of(await ask(box, "compare_runs", first=one["id"], second=other["id"]))
    assert facts["runs"] == []
    [step] = facts["steps"]
    assert "type letter" in step["second"]
    [field] = [each for each in facts["extracted"] if each["of"].endswith(path)]
    assert (field["first"], field["second"]) == (str(before), "something else")
    assert field["first_confidence"] is not None
    assert facts["same_fields"] > 0
    assert len(facts["extracted"]) == 1


async def test_a_side_without_values_is_one_line(box: Box) -> None:
    runs = {run["file"]: run["id"] for run in box.state()["runs"]}
    good, failed = runs["northwind-2201.pdf"], runs["acme-tooling-5562.pdf"]
    result = await ask(box, "compare_runs", first=good, second=failed)
    text = text_of(result)
    assert "Extracted fields: the second run has none; the other has 21 fields" in text
    assert "INV-" not in text
    assert facts_of(result)["extracted"] == []
    # The cause, not the run's own wrapper around it.
    assert "«failure»: none -> «OUT_OF_CREDITS, in step Extract invoice»" in text
    moving = text_of(await ask(box, "compare_runs", first=good, second=runs["kestrel-it-9914.pdf"]))
    assert "so far»" in moving


async def test_runs_of_different_workflows_are_not_compared(box: Box) -> None:
    runs = box.state()["runs"]
    one = runs[0]
    other = next(run for run in runs if run["workflowId"] != one["workflowId"])
    result = await ask(box, "compare_runs", first=one["id"], second=other["id"])
    assert result.is_error
    same = await ask(box, "compare_runs", first=one["id"], second=one["id"])
    assert same.is_error


async def test_comparing_every_pair_of_a_workflow_keeps_the_budget(box: Box) -> None:
    runs = [run for run in box.state()["runs"] if run["status"] in ("PROCESSED", "FAILED")][:14]
    for one in runs:
        for other in runs:
            if one["id"] < other["id"] and one["workflowId"] == other["workflowId"]:
                text = text_of(await ask(box, "compare_runs", first=one["id"], second=other["id"]))
                assert len(text) <= 8000


async def test_a_window_of_failures_is_grouped_by_cause_with_ids(large: Box) -> None:
    recent = [
        run
        for run in large.state()["runs"]
        if run["status"] == "FAILED" and large.now() - datetime.fromisoformat(run["createdAt"]) <= timedelta(days=7)
    ]
    names = {each["id"]: each["name"] for each in large.state()["workflows"]}
    causes = {run["id"]: (*cause(large, run["id"]), names[run["workflowId"]]) for run in recent}
    expected = Counter(causes.values())
    async with serving(large) as client:
        result = await client.call_tool("explain_failure", {})
        facts = facts_of(result)
        assert facts["failed_in_window"] == facts["looked_into"] == len(recent)
        shown = {(each.get("step", ""), each["reason"], each["workflow"]): each["runs"] for each in facts["causes"]}
        assert shown == dict(expected.most_common(len(shown)))
        assert facts.get("causes_left_out", 0) == len(expected) - len(shown)
        first = facts["causes"][0]
        assert first["runs"] == max(expected.values())
        assert f"{first['runs'] - 2:,} more" in text_of(result)
        key = (first.get("step", ""), first["reason"], first["workflow"])
        newest = [run["id"] for run in reversed(recent) if causes[run["id"]] == key]
        assert first["run_ids"] == newest[:10]
        # The facts are kept: another question reads no run.
        workflow = names[recent[0]["workflowId"]]
        large.forget()
        facts = facts_of(await client.call_tool("explain_failure", {"workflow": workflow}))
        assert facts["failed_in_window"] == facts["looked_into"] == sum(key[2] == workflow for key in causes.values())
        assert not [each for each in large.requests() if each["path"].startswith("/workflow_runs/")]


async def test_a_window_without_failures_says_so_and_one_that_a_bound_cut_too(box: Box) -> None:
    async with serving(box, detail_runs=1) as client:
        nothing = await client.call_tool("explain_failure", {"created_since": "1s"})
        assert text_of(nothing).startswith("0 runs failed (FAILED, created since")
        cut = facts_of(await client.call_tool("explain_failure", {"created_since": "30d"}))
        assert cut["looked_into"] == 1 < cut["failed_in_window"]
        assert "ask again to read more" in cut["missing"][0]
        both = await client.call_tool("explain_failure", {"run_id": "workflow_run_1", "workflow": "Claims"})
        assert both.is_error
