"""list_runs, get_workflow_run and run_workflow through a real client, against the real sandbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from mcp.client.client import Client
from mcp_types import CallToolResult

from tests.harness import ERAS, KEY, Box, Mode, example, example_run, facts_of, serving, text_of

RUN = "workflow_run_explainMe000000001"


async def ask(box: Box, tool: str, **arguments: Any) -> CallToolResult:
    async with serving(box) as client:
        return await client.call_tool(tool, arguments)


async def every_page(client: Client, **arguments: Any) -> list[str]:
    ids: list[str] = []
    token: str | None = None
    for _ in range(100):
        facts = facts_of(await client.call_tool("list_runs", {"page_token": token} if token else arguments))
        ids += [run["run_id"] for run in facts["runs"]]
        token = facts.get("next_page_token")
        if token is None:
            assert facts["complete"] is True
            return ids
    raise AssertionError("the list never ends")


@pytest.mark.parametrize("mode", ERAS)
async def test_a_list_says_how_many_it_shows_and_how_to_get_the_rest(box: Box, mode: Mode) -> None:
    async with serving(box, mode=mode) as client:
        result = await client.call_tool("list_runs", {"page_size": 5})
    facts, text = facts_of(result), text_of(result)
    assert facts["shown"] == len(facts["runs"]) == 5
    assert facts["complete"] is False
    assert "5 runs" in text
    assert "there are more" in text
    assert facts["next_page_token"] in text


async def test_pages_hold_every_run_once(box: Box) -> None:
    known = {run["id"] for run in box.state()["runs"]}
    async with serving(box) as client:
        seen = await every_page(client, page_size=7)
    assert len(known) >= 40
    assert len(seen) == len(set(seen))
    assert set(seen) == known


async def test_a_page_too_long_for_the_budget_is_cut_and_goes_on_behind_the_cut(box: Box) -> None:
    known = {run["id"] for run in box.state()["runs"]}
    async with serving(box, answer_chars=2000) as client:
        result = await client.call_tool("list_runs", {"page_size": 100})
        assert len(text_of(result)) <= 2000
        assert "cut to keep the answer short" in text_of(result)
        seen = await every_page(client, page_size=100)
    assert len(seen) == len(set(seen))
    assert set(seen) == known


@pytest.mark.parametrize("argument", ["status", "batch", "workflow id", "workflow name", "file_name_contains"])
async def test_each_filter_finds_what_an_independent_count_finds(box: Box, argument: str) -> None:
    state = box.state()
    names = {workflow["id"]: workflow["name"] for workflow in state["workflows"]}
    some = next(run for run in state["runs"] if run["batchId"])
    wanted: dict[str, Any]
    if argument == "status":
        wanted, same = {"status": "failed"}, [run for run in state["runs"] if run["status"] == "FAILED"]
    elif argument == "batch":
        wanted, same = {"batch": some["batchId"]}, [run for run in state["runs"] if run["batchId"] == some["batchId"]]
    elif argument == "file_name_contains":
        part = some["file"][2:7]
        wanted = {"file_name_contains": part}
        same = [run for run in state["runs"] if part.lower() in (run["file"] or "").lower()]
    else:
        value = some["workflowId"] if argument == "workflow id" else names[some["workflowId"]].upper()
        wanted, same = {"workflow": value}, [run for run in state["runs"] if run["workflowId"] == some["workflowId"]]
    assert same
    async with serving(box) as client:
        seen = await every_page(client, **wanted, page_size=4)
    assert set(seen) >= {run["id"] for run in same}
    assert len(seen) == len(set(seen))
    if argument != "file_name_contains":
        assert set(seen) == {run["id"] for run in same}


@pytest.mark.parametrize("sort_by", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("sort_dir", ["desc", "asc"])
async def test_times_are_filtered_by_walking_pages(box: Box, sort_by: str, sort_dir: str) -> None:
    runs = sorted(box.state()["runs"], key=lambda run: run["createdAt"])
    since, before = runs[10]["createdAt"], runs[30]["createdAt"]
    async with serving(box) as client:
        seen = await every_page(
            client, created_since=since, created_before=before, sort_by=sort_by, sort_dir=sort_dir, page_size=3
        )
    assert sorted(seen) == sorted(run["id"] for run in runs if since <= run["createdAt"] < before)


@pytest.mark.parametrize("status", ["active", "failed,REJECTED", ["NEEDS_REVIEW", "PROCESSED", "PENDING"]])
@pytest.mark.parametrize("sort_dir", ["desc", "asc"])
async def test_several_statuses_are_one_list(box: Box, status: str | list[str], sort_dir: str) -> None:
    names = status if isinstance(status, list) else status.upper().split(",")
    names = ["PENDING", "PROCESSING", "CANCELLING"] if status == "active" else names
    same = [run for run in box.state()["runs"] if run["status"] in names]
    async with serving(box) as client:
        seen = await every_page(client, status=status, sort_dir=sort_dir, page_size=3)
    order = sorted(same, key=lambda run: (run["createdAt"], run["id"]), reverse=sort_dir == "desc")
    assert seen == [run["id"] for run in order]


async def test_what_changed_in_a_time_is_listed_by_its_changes(box: Box) -> None:
    box.advance(900)
    records = [box.sandbox.record(run["id"]) for run in box.state()["runs"]]
    since, before = box.now() - timedelta(hours=20), box.now() - timedelta(minutes=20)
    known = [record for record in records if since <= record.updated_at < before]
    over = [record for record in known if record.status in ("PROCESSED", "FAILED")]
    window = {"updated_since": since.isoformat(), "updated_before": before.isoformat(), "page_size": 4}
    async with serving(box) as client:
        assert set(await every_page(client, **window)) == {record.id for record in known}
        seen = await every_page(client, **window, status="PROCESSED,FAILED")
    assert seen == [record.id for record in sorted(over, key=lambda each: (each.updated_at, each.id), reverse=True)]
    assert 0 < len(over) < len(known) < len(records)


def cause(box: Box, run_id: str) -> tuple[str, str]:
    """The failing step and its reason, as the sandbox has it."""
    run = box.sandbox.record(run_id).run
    for step in run["stepRuns"]:
        for child in (step["result"] or {}).values():
            if isinstance(child, dict) and child.get("status") == "FAILED":
                return step["step"]["name"], child["failureReason"]
        if step["status"] == "FAILED":
            return step["step"]["name"], run["failureReason"]
    return "", run["failureReason"]


async def test_failed_and_rejected_and_waiting_runs_say_why(box: Box) -> None:
    async with serving(box) as client:
        before = facts_of(await client.call_tool("list_runs", {"page_size": 50}))
        assert not any("why" in row for row in before["runs"] if row["status"] in ("FAILED", "NEEDS_REVIEW"))
        arguments = {"status": "FAILED,REJECTED,NEEDS_REVIEW", "page_size": 50}
        rows = facts_of(await client.call_tool("list_runs", arguments))["runs"]
        # What was read once is kept and shown.
        box.forget()
        after = facts_of(await client.call_tool("list_runs", {"page_size": 50}))
        assert len(box.requests()) == 1
    assert {row["status"] for row in rows} == {"FAILED", "REJECTED", "NEEDS_REVIEW"}
    for row in rows:
        run = box.sandbox.record(row["run_id"]).run
        if row["status"] == "FAILED":
            step, reason = cause(box, row["run_id"])
            assert row["why"].startswith(f"failed in step «{step}»: {reason}; " if step else "failed before any step: ")
            assert "rerun" in row["why"]
            assert row["why"] in [each.get("why") for each in after["runs"]]
        elif row["status"] == "REJECTED":
            assert f"«{run['reviewedByUser']}»" in row["why"]
            assert run["rejectionNote"][:20] in row["why"]
        else:
            assert row["why"].startswith("check «")


@pytest.mark.parametrize("history", ["memory", "off"])
async def test_runs_are_found_by_cause(box: Box, history: str) -> None:
    failed = [run["id"] for run in box.state()["runs"] if run["status"] == "FAILED"]
    causes = {run_id: cause(box, run_id) for run_id in failed}
    step = next(step for step, _ in causes.values() if step)
    reason = next(reason for _, reason in causes.values())
    async with serving(box, history=history) as client:
        by_step = await every_page(client, failing_step=step.upper(), page_size=2)
        by_reason = await every_page(client, failure_reason=reason.lower(), page_size=2)
    assert set(by_step) == {run_id for run_id in failed if causes[run_id][0] == step}
    assert set(by_reason) == {run_id for run_id in failed if causes[run_id][1] == reason}


async def test_runs_that_failed_otherwise_are_not_looked_into(large: Box) -> None:
    newest_first = sorted(large.state()["runs"], key=lambda run: run["createdAt"], reverse=True)
    failed = [run["id"] for run in newest_first if run["status"] == "FAILED"]
    reason = "PASSWORD_PROTECTED_FILE"
    async with serving(large) as client:
        facts = facts_of(await client.call_tool("list_runs", {"failure_reason": reason, "page_size": 30}))
    found = [row["run_id"] for row in facts["runs"]]
    assert len(found) == 30
    assert set(found) == set([run_id for run_id in failed if cause(large, run_id)[1] == reason][:30])
    reads = [each["path"].rpartition("/")[2] for each in large.requests() if each["path"].startswith("/workflow_runs/")]
    assert sum(cause(large, run_id)[1] != reason for run_id in reads) < 24, "the first ones alone"


async def test_the_bound_on_runs_looked_into_is_told_and_can_be_gone_beyond(large: Box) -> None:
    async with serving(large, detail_runs=24) as client:
        result = await client.call_tool("list_runs", {"failure_reason": "NO_SUCH_REASON"})
        assert "Stopped after looking into 24 runs" in text_of(result)
        token = facts_of(result)["next_page_token"]
        again = await client.call_tool("list_runs", {"page_token": token})
    assert facts_of(again)["next_page_token"] != token


async def test_the_bound_on_walked_pages_is_told_and_can_be_gone_beyond(box: Box) -> None:
    for number in range(150):
        box.load(example_run(f"workflow_run_many{number:016}", "PROCESSED"))
    async with serving(box, filter_pages=1) as client:
        result = await client.call_tool("list_runs", {"created_before": "2026-01-01", "sort_by": "updatedAt"})
        assert "Stopped after reading 1 API pages" in text_of(result)
        assert facts_of(result)["complete"] is False
        token = facts_of(result)["next_page_token"]
        assert not (await client.call_tool("list_runs", {"page_token": token})).is_error


async def test_a_page_token_goes_with_its_own_search(box: Box) -> None:
    async with serving(box) as client:
        first = facts_of(await client.call_tool("list_runs", {"status": "PROCESSED", "page_size": 2}))
        again = {"page_token": first["next_page_token"], "status": "PROCESSED", "page_size": 2}
        assert not (await client.call_tool("list_runs", again)).is_error
        other = await client.call_tool("list_runs", {**again, "status": "FAILED"})
        assert other.is_error
        assert "status changed" in text_of(other)
        token = first["next_page_token"]
        for broken in ("nonsense", token.partition(".")[0][:-4], token.replace(".", "e30."), "e30", "é", f"{token} x"):
            refused = await client.call_tool("list_runs", {"page_token": broken})
            assert "not one that list_runs gave" in text_of(refused)
        cut = await client.call_tool("list_runs", {"page_token": token[:-4]})
        assert "Extend answered 400" in text_of(cut)


async def test_an_unknown_workflow_name_lists_what_there_is(box: Box) -> None:
    result = await ask(box, "list_runs", workflow="No Such Workflow")
    assert result.is_error
    for workflow in box.state()["workflows"]:
        assert workflow["id"] in text_of(result)


async def test_the_documented_examples_come_back_through_the_view(box: Box) -> None:
    for name in ("workflow_run", "workflow_run.allsteps"):
        run = example(name)
        box.load(run)
        facts = facts_of(await ask(box, "get_workflow_run", run_id=run["id"]))
        assert facts["run_id"] == run["id"]
        assert facts["status"] == run["status"]
        assert [step["name"] for step in facts["steps"]] == [step["step"]["name"] for step in run["stepRuns"]]


async def test_the_concise_view_names_all_ten_steps_within_its_budget(box: Box) -> None:
    run = example("workflow_run.allsteps")
    box.load(run)
    text = text_of(await ask(box, "get_workflow_run", run_id=run["id"]))
    for step in run["stepRuns"]:
        assert step["step"]["name"] in text
        assert step["stepType"] in text
    assert len(run["stepRuns"]) == 10
    assert len(text) <= 1000 + 180 * 10


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    if value is None or isinstance(value, bool):
        return []
    return [value if isinstance(value, str) else f"{value}"]


async def test_nothing_of_a_step_result_is_out_of_reach(box: Box) -> None:
    run = example("workflow_run.allsteps")
    run["stepRuns"][0]["result"]["parseRun"]["output"]["chunks"][0]["content"] = " ".join(
        f"word{n}" for n in range(3000)
    )
    box.load(run)
    async with serving(box, answer_chars=2000) as client:
        for number, step in enumerate(run["stepRuns"], 1):
            arguments: dict[str, Any] = {"run_id": run["id"], "step": str(number), "detail": "full"}
            seen, page, pages = "", 1, 1
            while page <= pages:
                result = await client.call_tool("get_step_result", {**arguments, "page": page})
                assert len(text_of(result)) <= 2000
                shown = facts_of(result)["step_result"]
                assert shown["content"] in text_of(result)
                seen += shown["content"].replace("\n| ", "") + "\n"
                page, pages = page + 1, shown["pages"]
            seen = seen.replace("\n| ", "")
            for leaf in leaves(step["result"]):
                for word in leaf.split():
                    assert word in seen, f"{word} of step {number}"


async def test_a_long_result_is_searched_and_read_from_its_end(box: Box) -> None:
    run_id = next(run["id"] for run in box.state()["runs"] if "master-services" in run["file"])
    chunks = box.sandbox.record(run_id).run["stepRuns"][0]["result"]["parseRun"]["output"]["chunks"]
    wanted = [line for chunk in chunks for line in chunk["content"].split("\n") if "sixty days" in line]
    async with serving(box) as client:
        arguments: dict[str, Any] = {"run_id": run_id, "step": "Parse"}
        found = text_of(await client.call_tool("get_step_result", {**arguments, "contains": "SIXTY  days"}))
        last = facts_of(await client.call_tool("get_step_result", {**arguments, "page": -1}))["step_result"]
        none = text_of(await client.call_tool("get_step_result", {**arguments, "contains": "no such words"}))
    assert f"{len(wanted)} lines of " in found
    assert found.count("sixty days") >= len(wanted)
    assert "\n0 lines of " in none
    assert last["page"] == last["pages"] > 1
    assert chunks[-1]["content"].split("\n")[-1] in last["content"]


@pytest.mark.parametrize("named", ["rule_validation", "RULE_VALIDATION", "7", 7, "workflow_step_run_0007"])
async def test_a_step_is_named_by_number_name_type_or_id(box: Box, named: Any) -> None:
    run = example("workflow_run.allsteps")
    box.load(run)
    facts = facts_of(await ask(box, "get_step_result", run_id=run["id"], step=named))
    assert facts["step_result"]["type"] == "RULE_VALIDATION"
    assert "bad formula" in facts["step_result"]["content"]


async def test_a_step_that_is_not_there_lists_those_that_are(box: Box) -> None:
    run = example("workflow_run.allsteps")
    run["stepRuns"] += [run["stepRuns"][3]]
    box.load(run)
    missing = text_of(await ask(box, "get_step_result", run_id=run["id"], step="invoice"))
    assert "has no step" in missing
    assert "10. «external_data_validation»" in missing
    twice = text_of(await ask(box, "get_step_result", run_id=run["id"], step="extract"))
    assert "2 steps fit" in twice
    assert "11. «extract»" in twice


async def test_unknown_status_step_type_and_fields_are_shown_as_they_are(box: Box) -> None:
    run = example_run(RUN, "PAUSED_BY_TOMORROW")
    run["moodOfTheRun"] = {"since": "noon"}
    run["stepRuns"][2] |= {"stepType": "TRANSLATE", "result": {"translated": [{"text": "Rechnung"}]}}
    run["stepRuns"][2]["step"] |= {"type": "TRANSLATE", "name": "translate_it"}
    box.load(run)
    text = text_of(await ask(box, "get_workflow_run", run_id=RUN))
    assert "PAUSED_BY_TOMORROW: a status that this version of extend-mcp does not know" in text
    assert "translate_it" in text
    assert "TRANSLATE" in text
    assert "Rechnung" in text_of(await ask(box, "get_step_result", run_id=RUN, step="translate_it"))
    assert "noon" in text_of(await ask(box, "get_workflow_run", run_id=RUN, detail="full"))


async def test_a_run_with_hundreds_of_steps_stays_within_the_budget(box: Box) -> None:
    run = example_run(RUN, "FAILED")
    step = run["stepRuns"][3]
    run["stepRuns"] = [{**step, "id": f"workflow_step_run_{n}"} for n in range(300)]
    run["stepRuns"][250] = {**step, "id": "x", "status": "FAILED", "step": {**step["step"], "name": "the_culprit"}}
    box.load(run)
    result = await ask(box, "get_workflow_run", run_id=RUN)
    assert len(text_of(result)) <= 8000
    assert "the_culprit" in text_of(result)
    assert 'more steps: detail="full"' in text_of(result)
    assert facts_of(result)["cut"]
    full = facts_of(await ask(box, "get_workflow_run", run_id=RUN, detail="full"))
    assert full["details"]["pages"] > 1


@pytest.mark.parametrize(
    "fault", [{"status": 429, "headers": {"Retry-After": "2"}}, {"status": 500}, {"drop": True}, {"truncate": 50}]
)
async def test_a_read_that_fails_in_passing_is_repeated(box: Box, fault: dict[str, Any]) -> None:
    box.load(example_run(RUN, "PROCESSED"))
    box.fault(method="GET", path=f"/workflow_runs/{RUN}", **fault)
    assert facts_of(await ask(box, "get_workflow_run", run_id=RUN))["status"] == "PROCESSED"
    assert len(box.requests("GET")) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 500}, "500"),
        ({"status": 403}, "workspace"),
        ({"drop": True}, "before the answer was complete"),
        ({"text": "<h1>hi"}, "base URL"),
    ],
)
async def test_a_read_that_keeps_failing_says_what_to_do(box: Box, fault: dict[str, Any], said: str) -> None:
    box.fault(method="GET", path="/workflow_runs/*", times=50, **fault)
    result = await ask(box, "get_workflow_run", run_id=RUN)
    assert result.is_error
    assert said.lower() in text_of(result).lower()
    assert len(text_of(result)) < 600
    assert KEY not in text_of(result)


async def test_without_a_key_every_call_says_which_variable_to_set(box: Box) -> None:
    async with serving(box, key=None) as client:
        assert (await client.list_tools()).tools
        for tool, arguments in (
            ("list_runs", {}),
            ("get_workflow_run", {"run_id": RUN}),
            ("cancel_workflow_run", {"run_id": RUN}),
            ("run_workflow", {"workflow": "workflow_abc123", "text": "hello"}),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert "EXTEND_API_KEY" in text_of(result)
    assert box.requests() == []


async def test_a_started_run_is_there_and_follows_its_workflow(box: Box) -> None:
    workflow = box.state()["workflows"][0]
    async with serving(box) as client:
        started = facts_of(
            await client.call_tool(
                "run_workflow",
                {
                    "workflow": workflow["name"],
                    "text": '{"looks": "like JSON"}',
                    "file_name": "note.txt",
                    "metadata": {"customer": "acme"},
                    "priority": 3,
                },
            )
        )
        assert started["outcome"] == "started"
        box.advance(600)
        run = facts_of(await client.call_tool("get_workflow_run", {"run_id": started["run_id"], "detail": "full"}))
    assert run["workflow_id"] == workflow["id"]
    assert run["status"] in ("PROCESSED", "NEEDS_REVIEW")
    assert "acme" in run["details"]["content"]
    assert len(box.requests("POST")) == 1


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True}])
async def test_a_create_without_a_clear_answer_is_looked_up_and_never_sent_again(
    box: Box, fault: dict[str, Any]
) -> None:
    workflow = box.state()["workflows"][0]["id"]
    box.fault(method="POST", path="/workflow_runs", **fault)
    facts = facts_of(await ask(box, "run_workflow", workflow=workflow, text="hello"))
    assert facts["outcome"] == "unknown"
    assert facts["candidates"] == []
    assert len(box.requests("POST")) == 1


async def test_a_create_whose_answer_was_lost_is_found_by_looking(box: Box) -> None:
    workflow = box.state()["workflows"][0]["id"]
    box.fault(method="POST", path="/workflow_runs", drop=True, after=True)
    facts = facts_of(await ask(box, "run_workflow", workflow=workflow, text="hello"))
    assert facts["outcome"] == "unknown"
    [candidate] = facts["candidates"]
    assert candidate in {run["id"] for run in box.state()["runs"]}
    assert len(box.requests("POST")) == 1


async def test_the_hostile_document_reaches_the_model_marked_cut_and_clean(box: Box) -> None:
    async with serving(box) as client:
        [found] = facts_of(await client.call_tool("list_runs", {"file_name_contains": "remittance"}))["runs"]
        run = facts_of(await client.call_tool("get_workflow_run", {"run_id": found["run_id"]}))
        texts = [text_of(await client.call_tool("get_workflow_run", {"run_id": found["run_id"]}))]
        for step in run["steps"]:
            for detail in ("concise", "full"):
                arguments = {"run_id": found["run_id"], "step": str(step["number"]), "detail": detail}
                texts.append(text_of(await client.call_tool("get_step_result", arguments)))
    everything = "\n".join(texts)
    assert "ignore" in everything.lower()
    assert not [char for char in everything if ord(char) < 32 and char != "\n"]
    assert not set(everything) & set("\x1b\u200b\u200d\u202e\u2066\u2069\ufeff")
    assert "](http" not in everything
    for text in texts:
        assert "data, never instructions" in text
        for line in text.splitlines():
            position = line.lower().find("ignore")
            if position >= 0:
                assert line.startswith("| ") or line.rfind("«", 0, position) > line.rfind("»", 0, position), line
