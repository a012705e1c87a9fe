"""rerun_workflow_runs: the same work again, once, after a person's yes."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.harness import ERAS, Box, Mode, Person, facts_of, serving


def failed_batch(box: Box) -> list[str]:
    """The failed runs of a batch of the scenario that have a file of their own."""
    batch = next(run["batchId"] for run in box.state()["runs"] if run["batchId"] and run["status"] == "FAILED")
    return [run["id"] for run in box.state()["runs"] if run["batchId"] == batch and run["status"] == "FAILED"]


def started(box: Box) -> list[dict[str, Any]]:
    return [each["body"] for each in box.requests("POST") if each["path"] == "/workflow_runs"]


@pytest.mark.parametrize("mode", ERAS)
async def test_failed_runs_start_again_with_file_metadata_and_mark(box: Box, mode: Mode) -> None:
    ids = failed_batch(box)
    originals = {run_id: box.sandbox.record(run_id).run for run_id in ids}
    person = Person()
    async with serving(box, mode=mode, person=person) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids}))
    assert facts["outcome"] == "done"
    assert facts["counts"] == {"started": len(ids)}
    assert "charged credits again" in person.asked[0]
    bodies = {body["metadata"]["rerunOf"]: body for body in started(box)}
    assert set(bodies) == set(ids)
    for run_id, body in bodies.items():
        original = originals[run_id]
        assert body["workflow"] == {"id": original["workflow"]["id"]}
        assert body["file"] == {"id": original["files"][0]["id"]}
        assert body["metadata"] == {**original["metadata"], "rerunOf": run_id}


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_no_starts_nothing(box: Box, action: Any) -> None:
    async with serving(box, person=Person(action)) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": failed_batch(box)}))
    assert facts["outcome"] == "declined"
    assert started(box) == []


async def test_a_second_rerun_is_not_made_without_being_told(box: Box) -> None:
    ids = failed_batch(box)
    async with serving(box, confirmation="trusted") as client:
        first = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids[:2]}))
        second = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids}))
        third = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids}))
        told = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids[:1], "again": True}))
    assert first["counts"] == {"started": 2}
    assert second["planned"] == len(ids) - 2
    assert second["skipped"]["run again already"] == 2
    assert third["outcome"] == "nothing_to_do"
    assert ids[0] in third["message"]
    assert "again=true" in third["next_step"]
    assert told["counts"] == {"started": 1}
    assert len(started(box)) == len(ids) + 1


async def test_what_could_not_be_checked_for_reruns_is_said_before_anyone_agrees(box: Box) -> None:
    run = failed_batch(box)[0]
    async with serving(box, confirmation="trusted") as client:
        await client.call_tool("rerun_workflow_runs", {"run_ids": [run]})
    rerun = box.api("GET", "/workflow_runs", params={"maxPageSize": 1, "sortBy": "createdAt"})["data"][0]["id"]
    box.fault(method="GET", path=f"/workflow_runs/{rerun}", status=500, times=20)
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [run]}))
    assert facts["outcome"] == "confirmation_required"
    assert "INCOMPLETE: not all later runs could be checked" in "\n".join(facts["plan"])


async def test_a_batch_s_failed_runs_alone_are_repeated(box: Box) -> None:
    ids = failed_batch(box)
    batch = box.sandbox.record(ids[0]).run["batchId"]
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"batch": batch}))
    assert {result["run_id"] for result in facts["results"]} == set(ids)
    assert any("PROCESSED" in why for why in facts["skipped"])


async def test_the_same_version_on_request(box: Box) -> None:
    run = next(run for run in box.state()["runs"] if run["status"] == "FAILED")["id"]
    version = box.sandbox.record(run).run["workflowVersion"]["version"]
    async with serving(box, confirmation="trusted") as client:
        await client.call_tool("rerun_workflow_runs", {"run_ids": [run], "version": "same"})
    assert started(box)[0]["workflow"]["version"] == version


async def test_a_package_is_repeated_as_one(box: Box) -> None:
    files = [{"url": f"https://files.example/corrupt-{number}.pdf"} for number in range(3)]
    made = box.api("POST", "/workflow_runs", json={"workflow": {"id": box.workflow()}, "package": {"files": files}})
    box.advance(600)
    box.forget()
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [made["id"]]}))
    assert facts["counts"] == {"started": 1}
    assert started(box)[0]["package"] == {"files": [{"id": file["id"]} for file in made["files"]]}


@pytest.mark.parametrize("status", ["PROCESSED", "NEEDS_REVIEW", "PROCESSING"])
async def test_what_is_not_over_or_went_well_is_left_out(box: Box, status: str) -> None:
    run = next(run for run in box.state()["runs"] if run["status"] == status)["id"]
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [run]}))
    assert facts["outcome"] == "nothing_to_do"
    assert started(box) == []


async def test_what_has_no_file_any_more_is_refused(box: Box) -> None:
    gone, bare, good = failed_batch(box)[:3]
    box.sandbox.store.delete_file(box.sandbox.record(gone).run["files"][0]["id"])
    box.sandbox.record(bare).run["files"] = []
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [gone, bare, good]}))
    outcomes = {result["run_id"]: result["outcome"] for result in facts["results"]}
    assert outcomes == {gone: "refused", good: "started"}
    assert facts["skipped"] == {"without a known file or workflow": 1}


async def test_a_lost_answer_is_found_by_its_mark(box: Box) -> None:
    run = failed_batch(box)[0]
    box.fault(method="POST", path="/workflow_runs", drop=True, after=True)
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [run]}))
    assert facts["counts"] == {"started": 1}
    assert "found by looking" in facts["results"][0]["note"]
    assert len(started(box)) == 1


async def test_a_lost_request_is_never_sent_again_by_itself(box: Box) -> None:
    run = failed_batch(box)[0]
    box.fault(method="POST", path="/workflow_runs", drop=True)
    async with serving(box, confirmation="trusted") as client:
        first = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [run]}))
        token = first["confirmation_token"]
        second = facts_of(await client.call_tool("rerun_workflow_runs", {"confirmation_token": token}))
    assert first["outcome"] == "partial"
    assert second["counts"] == {"unknown": 1}
    assert len(box.requests("POST")) == 1


async def test_a_refusal_for_rate_is_waited_for(box: Box) -> None:
    ids = failed_batch(box)
    box.fault(method="POST", path="/workflow_runs", status=429, headers={"Retry-After": "2"}, times=2)
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids}))
    assert facts["counts"] == {"started": len(ids)}
    assert len(started(box)) == len(ids) + 2


async def test_runs_must_be_named(box: Box) -> None:
    async with serving(box) as client:
        assert (await client.call_tool("rerun_workflow_runs", {})).is_error
        both = {"run_ids": ["workflow_run_a000000000000000001"], "batch": "batch_a"}
        assert (await client.call_tool("rerun_workflow_runs", both)).is_error
    assert box.requests() == []


async def test_two_confirmed_plans_for_the_same_runs_start_each_run_once(box: Box) -> None:
    ids = failed_batch(box)
    async with serving(box) as client:
        plans = [facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids})) for _ in range(2)]
        done = [
            facts_of(await client.call_tool("rerun_workflow_runs", {"confirmation_token": plan["confirmation_token"]}))
            for plan in plans
        ]
    assert done[0]["counts"] == {"started": len(ids)}
    assert done[1]["counts"] == {"already_rerun": len(ids)}
    assert len(started(box)) == len(ids)


async def test_two_plans_carried_out_at_once_start_each_run_once(box: Box) -> None:
    ids = failed_batch(box)
    async with serving(box) as client:
        plans = [facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids})) for _ in range(2)]

        async def confirm(plan: dict[str, Any]) -> None:
            for _ in range(10):
                arguments = {"confirmation_token": plan["confirmation_token"]}
                if facts_of(await client.call_tool("rerun_workflow_runs", arguments))["outcome"] == "done":
                    return
            raise AssertionError("the plan was never finished")

        async with anyio.create_task_group() as group:
            for plan in plans:
                group.start_soon(confirm, plan)
    assert sorted(body["metadata"]["rerunOf"] for body in started(box)) == sorted(ids)


async def test_a_run_that_changed_since_the_plan_is_not_rerun(box: Box) -> None:
    run = failed_batch(box)[0]
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [run]}))
        box.sandbox.record(run).run["status"] = "PROCESSED"
        token = {"confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool("rerun_workflow_runs", token))
    assert facts["counts"] == {"changed": 1}
    assert started(box) == []


async def test_a_rerun_takes_a_version_s_number_or_id(box: Box) -> None:
    ids = failed_batch(box)
    workflow = box.sandbox.record(ids[0]).run["workflow"]["id"]
    first = next(
        each["id"] for each in box.api("GET", f"/workflows/{workflow}/versions")["data"] if each["version"] == "1"
    )
    person = Person()
    async with serving(box, person=person) as client:
        for given in ("1", first, "draft"):
            arguments = {"run_ids": ids[:1], "version": given, "again": True}
            assert facts_of(await client.call_tool("rerun_workflow_runs", arguments))["outcome"] == "done"
    assert [body["workflow"]["version"] for body in started(box)] == ["1", "1", "draft"]
    assert "with version 1?" in person.asked[0]
