"""rerun_workflow_runs: the same work again, once, after a person's yes."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from extend_mcp.actions.sqlite_store import SqliteStore
from extend_mcp.runs.times import format_instant
from tests.harness import ERAS, Box, Mode, Person, facts_of, serving


def failed_batch(box: Box) -> list[str]:
    """The failed runs of a batch of the scenario that have a file of their own."""
    batch = next(run["batchId"] for run in box.state()["runs"] if run["batchId"] and run["status"] == "FAILED")
    return [run["id"] for run in box.state()["runs"] if run["batchId"] == batch and run["status"] == "FAILED"]


def again(run_ids: list[str], **more: Any) -> dict[str, Any]:
    """The arguments of a rerun that leaves out no file that fails again."""
    return {"run_ids": run_ids, "include_hopeless": True, **more}


def started(box: Box) -> list[dict[str, Any]]:
    return [each["body"] for each in box.requests("POST") if each["path"] == "/workflow_runs"]


@pytest.mark.parametrize("mode", ERAS)
async def test_failed_runs_start_again_with_file_metadata_and_mark(box: Box, mode: Mode) -> None:
    ids = failed_batch(box)
    originals = {run_id: box.sandbox.record(run_id).run for run_id in ids}
    person = Person()
    async with serving(box, mode=mode, person=person) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again(ids)))
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
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again(failed_batch(box))))
    assert facts["outcome"] == "declined"
    assert started(box) == []


async def test_a_second_rerun_is_not_made_without_being_told(box: Box) -> None:
    ids = failed_batch(box)
    async with serving(box, confirmation="trusted") as client:
        first = facts_of(await client.call_tool("rerun_workflow_runs", again(ids[:2])))
        second = facts_of(await client.call_tool("rerun_workflow_runs", again(ids)))
        third = facts_of(await client.call_tool("rerun_workflow_runs", again(ids[:2])))
        fourth = facts_of(await client.call_tool("rerun_workflow_runs", again(ids[:1], again=True)))
    assert first["counts"] == {"started": 2}
    new = {box.sandbox.record(each["new_run_id"]).run["metadata"]["rerunOf"] for each in first["results"]}
    assert new == set(ids[:2])
    assert {each["new_status"] for each in first["results"]} == {"PENDING"}
    assert second["planned"] == len(ids) - 2
    assert second["skipped"]["already rerun"] == 2
    assert third["outcome"] == "nothing_to_do"
    # Both were started in the same moment; the message names one.
    assert any(run_id in third["message"] for run_id in ids[:2])
    assert " and 1 more." in third["message"]
    assert third["next_step"] == "again=true makes a second rerun."
    assert fourth["counts"] == {"started": 1}
    assert len(started(box)) == len(ids) + 1


async def test_progress_grows_from_the_reading_to_the_acting_and_names_each_run(box: Box) -> None:
    ids = failed_batch(box)[:2]
    seen: list[tuple[float, str]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, str(message)))

    async with serving(box, person=Person(), mode="legacy") as client:
        arguments = {"run_ids": ids, "include_hopeless": True}
        await client.call_tool("rerun_workflow_runs", arguments, progress_callback=on_progress)
    numbers = [number for number, _ in seen]
    assert numbers == sorted(set(numbers))
    assert {f"{run_id} started" for run_id in ids} == {said.partition("; ")[2] for _, said in seen if "done; " in said}


async def test_what_could_not_be_checked_for_reruns_is_said_before_anyone_agrees(box: Box) -> None:
    run = failed_batch(box)[0]
    async with serving(box, confirmation="trusted") as client:
        await client.call_tool("rerun_workflow_runs", again([run]))
    rerun = box.api("GET", "/workflow_runs", params={"maxPageSize": 1, "sortBy": "createdAt"})["data"][0]["id"]
    box.fault(method="GET", path=f"/workflow_runs/{rerun}", status=500, times=20)
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again([run])))
    assert facts["outcome"] == "confirmation_required"
    assert "INCOMPLETE: not all later runs could be checked" in "\n".join(facts["plan"])


async def test_a_batch_s_failed_runs_alone_are_repeated(box: Box) -> None:
    ids = failed_batch(box)
    batch = box.sandbox.record(ids[0]).run["batchId"]
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"batch": batch, "include_hopeless": True}))
    assert {result["run_id"] for result in facts["results"]} == set(ids)
    assert any("PROCESSED" in why for why in facts["skipped"])


async def test_the_same_version_on_request(box: Box) -> None:
    run = next(run for run in box.state()["runs"] if run["status"] == "FAILED")["id"]
    version = box.sandbox.record(run).run["workflowVersion"]["version"]
    async with serving(box, confirmation="trusted") as client:
        await client.call_tool("rerun_workflow_runs", again([run], version="same"))
    assert started(box)[0]["workflow"]["version"] == version


async def test_a_package_is_repeated_as_one(box: Box) -> None:
    files = [{"url": f"https://files.example/corrupt-{number}.pdf"} for number in range(3)]
    made = box.api("POST", "/workflow_runs", json={"workflow": {"id": box.workflow()}, "package": {"files": files}})
    box.advance(600)
    box.forget()
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again([made["id"]])))
    assert facts["counts"] == {"started": 1}
    assert started(box)[0]["package"] == {"files": [{"id": file["id"]} for file in made["files"]]}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("PROCESSED", "already PROCESSED"),
        ("NEEDS_REVIEW", "waiting for review"),
        ("PROCESSING", "PROCESSING"),
    ],
)
async def test_what_is_not_over_or_went_well_is_left_out(box: Box, status: str, why: str) -> None:
    runs = [run["id"] for run in box.state()["runs"] if run["status"] == status][:2]
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again(runs)))
    assert facts["outcome"] == "nothing_to_do"
    assert facts["skipped"] == {why: 2}
    assert started(box) == []


async def test_what_has_no_file_any_more_is_refused(box: Box) -> None:
    gone, bare, unnamed, good = failed_batch(box)[:4]
    box.sandbox.store.delete_file(box.sandbox.record(gone).run["files"][0]["id"])
    box.sandbox.record(bare).run["files"] = []
    package = box.sandbox.record(unnamed).run["files"]
    box.sandbox.record(unnamed).run["files"] = [*package, {**package[0], "id": ""}]
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again([gone, bare, unnamed, good])))
    outcomes = {result["run_id"]: result["outcome"] for result in facts["results"]}
    assert outcomes == {gone: "refused", good: "started"}
    assert facts["skipped"] == {"without a known file or workflow": 2}


async def test_what_could_not_be_read_is_counted_apart_from_what_is_gone(box: Box) -> None:
    ids = failed_batch(box)[:3]
    for run_id, status in zip(ids, (404, 404, 400), strict=True):
        box.fault(method="GET", path=f"/workflow_runs/{run_id}", status=status)
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again(ids)))
    assert facts["skipped"] == {"not found": 2, "could not be read": 1}


async def test_each_file_that_fails_again_is_counted(box: Box) -> None:
    ids = [run_id for run_id in failed_batch(box) if cause(box, run_id)[1] == "CORRUPT_FILE"]
    twin = copy.deepcopy(box.sandbox.record(ids[0]).run)
    ids.append(box.load({**twin, "id": "workflow_run_twin00000000000000000"}))
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": ids}))
    assert facts["skipped"] == {"CORRUPT_FILE: the file fails again": len(ids)}
    assert facts["next_step"] == "include_hopeless=true reruns files that fail again."


async def test_a_rerun_of_a_run_that_is_not_in_the_plan_leaves_nothing_out(box: Box) -> None:
    run_id = failed_batch(box)[0]
    later = copy.deepcopy(box.sandbox.record(run_id).run)
    created = format_instant(box.now() - timedelta(minutes=1))
    another = {"id": "workflow_run_another00000000000000", "initialRunAt": created, "status": "FAILED"}
    box.load({**later, **another, "metadata": {"rerunOf": "workflow_run_elsewhere"}})
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again([run_id])))
    assert facts["planned"] == 1
    assert "Rerun already" not in "\n".join(facts["plan"])


async def test_the_newest_of_several_reruns_is_named(box: Box) -> None:
    run_id = failed_batch(box)[0]
    whole = copy.deepcopy(box.sandbox.record(run_id).run)
    for minutes, name in ((3, "b"), (1, "a"), (2, "c")):
        created = format_instant(box.now() - timedelta(minutes=minutes))
        again_failed = {"id": f"workflow_run_{name * 20}", "initialRunAt": created, "metadata": {"rerunOf": run_id}}
        box.load({**whole, **again_failed})
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again([run_id])))
    assert f"Rerun already: {run_id} as workflow_run_{'a' * 20}." in facts["message"]


async def test_a_plan_for_two_workflows_names_no_version(box: Box) -> None:
    failed = [box.sandbox.record(run["id"]).run for run in box.state()["runs"] if run["status"] == "FAILED"]
    one_each = {run["workflow"]["id"]: run["id"] for run in failed}
    assert len(one_each) > 1
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again([*one_each.values()])))
    assert "with the latest published version? " in facts["plan"][0]


async def test_a_lost_answer_is_found_by_its_mark(box: Box) -> None:
    run = failed_batch(box)[0]
    box.fault(method="POST", path="/workflow_runs", drop=True, after=True)
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again([run])))
    assert facts["counts"] == {"started": 1}
    [result] = facts["results"]
    assert result["status"] == "FAILED"
    assert result["note"] == f"as {result['new_run_id']} (found by looking; its answer was lost)"
    assert len(started(box)) == 1


async def test_a_lost_request_is_never_sent_again_by_itself(box: Box) -> None:
    run = failed_batch(box)[0]
    box.fault(method="POST", path="/workflow_runs", drop=True)
    async with serving(box, confirmation="trusted") as client:
        first = facts_of(await client.call_tool("rerun_workflow_runs", again([run])))
        token = first["confirmation_token"]
        second = facts_of(await client.call_tool("rerun_workflow_runs", {"confirmation_token": token}))
    assert first["outcome"] == "partial"
    assert second["counts"] == {"unknown": 1}
    assert first["results"][0]["note"] == "The connection broke before the answer was complete"
    assert second["results"][0]["note"] == (
        f"sent once; look with list_runs before starting it again: {first['results'][0]['note']}"
    )
    assert len(box.requests("POST")) == 1


async def test_a_refusal_for_rate_is_waited_for(box: Box) -> None:
    ids = failed_batch(box)
    box.fault(method="POST", path="/workflow_runs", status=429, headers={"Retry-After": "2"}, times=2)
    began = box.now()
    async with serving(box, confirmation="trusted") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again(ids)))
    assert facts["counts"] == {"started": len(ids)}
    assert len(started(box)) == len(ids) + 2
    assert (box.now() - began).total_seconds() >= 4


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"run_ids": ["workflow_run_a000000000000000001"], "batch": "batch_a"},
        {"status": "PROCESSING"},
        {"status": "PROCESSED"},
        {"status": "PROCESSED", "include_processed": True, "version": "same"},
        {"file_name_contains": "a"},
    ],
)
async def test_what_cannot_be_meant_is_refused_before_reading(box: Box, arguments: dict[str, Any]) -> None:
    async with serving(box) as client:
        assert (await client.call_tool("rerun_workflow_runs", arguments)).is_error
    assert box.requests() == []


def cause(box: Box, run_id: str) -> tuple[str, str]:
    """The failing step and the reason of a run, from the sandbox."""
    run = box.sandbox.record(run_id).run
    for step in run["stepRuns"]:
        for child in (step["result"] or {}).values():
            if step["status"] == "FAILED" and isinstance(child, dict) and child.get("failureReason"):
                return step["step"]["name"], child["failureReason"]
    return next((step["step"]["name"] for step in run["stepRuns"] if step["status"] == "FAILED"), ""), run[
        "failureReason"
    ]


@pytest.mark.parametrize("history", ["memory", "off"])
@pytest.mark.parametrize(
    "filters",
    [
        {"failure_reason": "out_of_credits"},
        {"failing_step": "Merge extractions", "created_since": "3d"},
        {"workflow": "Insurance Claims Intake", "created_since": "3d", "workflow_version": "1"},
        {"metadata": {"customerId": "cust_0412"}, "status": "FAILED"},
    ],
)
async def test_a_filter_reruns_exactly_what_fits_it(box: Box, filters: dict[str, Any], history: str) -> None:
    box.sandbox.record(failed_batch(box)[0]).run["metadata"]["customerId"] = "cust_0412"
    wanted = set()
    for run in box.state()["runs"]:
        if run["status"] != "FAILED":
            continue
        whole, (step, reason) = box.sandbox.record(run["id"]).run, cause(box, run["id"])
        fits = [
            reason == filters.get("failure_reason", reason).upper(),
            step == filters.get("failing_step", step),
            whole["workflow"]["name"] == filters.get("workflow", whole["workflow"]["name"]),
            whole["workflowVersion"]["version"] == filters.get("workflow_version", whole["workflowVersion"]["version"]),
            all(whole["metadata"].get(key) == value for key, value in filters.get("metadata", {}).items()),
        ]
        if all(fits):
            wanted.add(run["id"])
    assert wanted
    async with serving(box, confirmation="trusted", history=history) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {**filters, "include_hopeless": True}))
    assert {result["run_id"] for result in facts["results"]} == wanted
    assert {body["metadata"]["rerunOf"] for body in started(box)} == wanted


async def test_a_plan_says_by_cause_whether_a_rerun_helps_and_what_it_costs(box: Box) -> None:
    async with serving(box) as client:
        arguments = {"workflow": "Invoice Processing", "created_since": "3d", "priority": 7}
        plan = "\n".join(facts_of(await client.call_tool("rerun_workflow_runs", arguments))["plan"])
    whole = [box.sandbox.record(run["id"]).run for run in box.state()["runs"]]
    invoices = [run for run in whole if run["workflow"]["name"] == "Invoice Processing"]
    newest = max(int(run["workflowVersion"]["version"]) for run in invoices)
    assert f"Rerun 2 workflow runs with the latest published version ({newest})? You will be charged" in plan
    assert "- 1 OUT_OF_CREDITS in «" in plan
    assert "the account is out of credits: top it up first; " in plan
    assert "1 CORRUPT_FILE: the file fails again" in plan
    assert "1 PASSWORD_PROTECTED_FILE: the file fails again" in plan
    assert "2 files, priority 7, usually " in plan
    assert "about 2s at 80 files a minute" in plan


async def test_what_was_processed_is_rerun_only_with_a_newer_version_and_a_warning(box: Box) -> None:
    done = next(run for run in box.state()["runs"] if run["status"] == "PROCESSED")
    arguments = {"run_ids": [done["id"]], "include_processed": True}
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", arguments))
        assert facts["outcome"] == "nothing_to_do"
        assert facts["skipped"] == {"PROCESSED with the newest version already": 1}
        workflow = box.sandbox.record(done["id"]).run["workflow"]["id"]
        box.api("POST", f"/workflows/{workflow}/versions", json={"name": "better"})
        without = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [done["id"]]}))
        assert without["skipped"] == {"already PROCESSED": 1}
        assert "include_processed=true" in without["next_step"]
        plan = facts_of(await client.call_tool("rerun_workflow_runs", arguments))
        token = {"confirmation_token": plan["confirmation_token"]}
        assert facts_of(await client.call_tool("rerun_workflow_runs", token))["counts"] == {"started": 1}
    assert "WARNING: 1 of them succeeded before." in plan["plan"][1]
    assert "webhooks" in plan["plan"][1]
    assert len(started(box)) == 1


async def test_a_file_that_went_well_since_is_left_out_and_one_that_failed_twice_is_rerun_once(box: Box) -> None:
    first, second = failed_batch(box)[:2]
    for run_id, status in ((first, "PROCESSED"), (second, "FAILED")):
        run = copy.deepcopy(box.sandbox.record(run_id).run)
        later = format_instant(box.now() - timedelta(minutes=1))
        run |= {"id": f"workflow_run_{status:a<21}", "status": status, "initialRunAt": later, "metadata": {}}
        box.load(run)
    async with serving(box, confirmation="trusted") as client:
        arguments = {"workflow": "Invoice Processing", "created_since": "3d", "include_hopeless": True}
        facts = facts_of(await client.call_tool("rerun_workflow_runs", arguments))
    assert facts["skipped"] == {"already rerun": 1, "same file as a later run": 1, "CANCELLED": 1}
    assert {first, second}.isdisjoint(body["metadata"]["rerunOf"] for body in started(box))
    assert "workflow_run_FAILEDaaaaaaaaaaaaaaa" in {body["metadata"]["rerunOf"] for body in started(box)}


async def test_a_bound_on_looking_into_runs_is_in_the_plan_and_a_second_call_goes_deeper(box: Box) -> None:
    failed = sum(run["status"] == "FAILED" for run in box.state()["runs"])
    async with serving(box, bulk_runs=failed - 1) as client:
        plans = []
        for _ in range(2):
            facts = facts_of(await client.call_tool("rerun_workflow_runs", {"failure_reason": "OUT_OF_CREDITS"}))
            plans.append("\n".join(facts["plan"]))
    said = f"INCOMPLETE: only the newest {failed - 1} of {failed} runs were looked into; make this call again to look"
    assert f"{said} into the others, in about 0s." in plans[0]
    assert "INCOMPLETE" not in plans[1]
    async with serving(box, bulk_runs=failed - 1, history="off") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"failure_reason": "OUT_OF_CREDITS"}))
    unkept = (
        f"INCOMPLETE: only the newest {failed - 1} of {failed} runs were looked into; the others are not in this plan."
    )
    assert unkept in facts["plan"]


async def test_a_run_whose_possible_rerun_was_not_read_in_time_is_left_out(box: Box) -> None:
    ids = failed_batch(box)
    async with serving(box, confirmation="trusted") as client:
        await client.call_tool("rerun_workflow_runs", again(ids[:2]))
    box.forget()
    async with serving(box, bulk_runs=1, history="off") as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again(ids[:2])))
    # Runs of other workflows cannot be reruns of these.
    lists = [each["query"] for each in box.requests("GET") if each["path"] == "/workflow_runs"]
    assert {each["workflowId"] for each in lists} == {box.sandbox.record(ids[0]).run["workflow"]["id"]}
    assert facts["outcome"] == "nothing_to_do"
    assert facts["skipped"] == {"already rerun": 1, "perhaps rerun already, which was not read in time": 1}
    assert " more." not in facts["message"]


async def test_a_rerun_that_another_makes_while_a_plan_is_read_is_not_made_twice(box: Box) -> None:
    ids = failed_batch(box)
    async with serving(box, confirmation="trusted") as client:
        await client.call_tool("rerun_workflow_runs", again(ids[1:]))
    box.forget()

    def another_reruns_the_first() -> None:
        # The runs were listed, and now those are read that may be reruns of them.
        listed = [each["path"] for each in box.requests("GET")].count("/workflow_runs")
        if listed == 2 and not box.requests("POST"):
            box.advance(60)
            whole = box.sandbox.record(ids[0]).run
            body = {"workflow": {"id": whole["workflow"]["id"]}, "file": {"id": whole["files"][0]["id"]}}
            box.api("POST", "/workflow_runs", json={**body, "metadata": {"rerunOf": ids[0]}})
            box.advance(60)

    async with serving(box, requests_per_second=1, on_sleep=another_reruns_the_first) as client:
        plan = facts_of(await client.call_tool("rerun_workflow_runs", again(ids)))
        token = {"confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool("rerun_workflow_runs", token))
    assert (plan["planned"], facts["counts"]) == (1, {"already_rerun": 1})
    assert len(started(box)) == 1


async def test_a_start_that_waits_for_the_rate_limit_when_the_call_is_cut_short_is_still_made(box: Box) -> None:
    ids = failed_batch(box)
    scope, is_planned = anyio.CancelScope(), anyio.Event()

    async def cut() -> None:
        # The list of newer runs is the last to be read, so what waits now is a start.
        if is_planned.is_set() and any(each["path"] == "/workflow_runs" for each in box.requests("GET")):
            scope.cancel()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()

    async with serving(box, requests_per_second=1, before_sleep=cut) as client:
        plan = facts_of(await client.call_tool("rerun_workflow_runs", again(ids)))
        token = {"confirmation_token": plan["confirmation_token"]}
        box.forget()
        is_planned.set()
        with scope:
            await client.call_tool("rerun_workflow_runs", token)
        while (facts := facts_of(await client.call_tool("rerun_workflow_runs", token)))["outcome"] != "done":
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert facts["counts"] == {"started": len(ids)}
    assert len(started(box)) == len(ids)


async def test_two_confirmed_plans_for_the_same_runs_start_each_run_once(box: Box) -> None:
    ids = failed_batch(box)
    async with serving(box) as client:
        plans = [facts_of(await client.call_tool("rerun_workflow_runs", again(ids))) for _ in range(2)]
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
        plans = [facts_of(await client.call_tool("rerun_workflow_runs", again(ids))) for _ in range(2)]

        async def confirm(plan: dict[str, Any]) -> None:
            for _ in range(100):
                arguments = {"confirmation_token": plan["confirmation_token"]}
                if facts_of(await client.call_tool("rerun_workflow_runs", arguments))["outcome"] == "done":
                    return
                # The other call may still hold a run that is open in this plan.
                await anyio.sleep(0.01)
            raise AssertionError("the plan was never finished")

        async with anyio.create_task_group() as group:
            for plan in plans:
                group.start_soon(confirm, plan)
    assert sorted(body["metadata"]["rerunOf"] for body in started(box)) == sorted(ids)


async def test_a_run_that_changed_since_the_plan_is_not_rerun(box: Box) -> None:
    run = failed_batch(box)[0]
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("rerun_workflow_runs", again([run])))
        box.sandbox.record(run).run["status"] = "PROCESSED"
        token = {"confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool("rerun_workflow_runs", token))
    assert facts["counts"] == {"changed": 1}
    assert facts["results"][0]["note"] == "it is not as it was in the plan"
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
            arguments = again(ids[:1], version=given, again=True)
            assert facts_of(await client.call_tool("rerun_workflow_runs", arguments))["outcome"] == "done"
    assert [body["workflow"]["version"] for body in started(box)] == ["1", "1", "draft"]
    assert "with version 1?" in person.asked[0]


async def test_usual_credits_are_said_of_the_runs_for_which_they_are_known(box: Box) -> None:
    [known] = [run_id for run_id in failed_batch(box) if cause(box, run_id)[1] == "OUT_OF_CREDITS"][:1]
    run = copy.deepcopy(box.sandbox.record(known).run)
    run |= {"id": "workflow_run_unknown000000000000000", "workflow": run["workflow"] | {"id": "workflow_new"}}
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("rerun_workflow_runs", {"run_ids": [known, box.load(run)]}))
    plan = "\n".join(facts["plan"])
    assert "credits for 1 of the runs (unknown for the others), about 2s at 80 files a minute" in plan


async def test_a_run_that_another_call_is_rerunning_is_left_to_it(box: Box) -> None:
    store, ids = SqliteStore(), failed_batch(box)[:2]
    async with serving(box, store=store) as client:
        plan = facts_of(await client.call_tool("rerun_workflow_runs", again(ids)))
        token = {"confirmation_token": plan["confirmation_token"]}
        async with store.lease(f"rerun {ids[0]}"):
            facts = facts_of(await client.call_tool("rerun_workflow_runs", token))
        assert facts["counts"] == {"started": 1, "not_done_yet": 1}
        notes = {each["run_id"]: each["note"] for each in facts["results"]}
        assert notes[ids[0]] == "another call is rerunning it right now"
        assert facts_of(await client.call_tool("rerun_workflow_runs", token))["counts"] == {"started": 2}
    assert sorted(body["metadata"]["rerunOf"] for body in started(box)) == sorted(ids)


async def test_nothing_is_started_where_too_many_newer_runs_hide_a_rerun(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    [run_id] = failed_batch(box)[:1]
    whole = copy.deepcopy(box.sandbox.record(run_id).run)
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("rerun_workflow_runs", again([run_id])))
        token = {"confirmation_token": plan["confirmation_token"]}
        box.advance(60)
        for number in range(200):
            newer = {"id": f"workflow_run_newer{number:016}", "initialRunAt": format_instant(box.now())}
            box.load({**whole, **newer, "files": [], "status": "PROCESSED"})
        monkeypatch.setattr("extend_mcp.actions.rerun._MOST_PAGES", 2)
        facts = facts_of(await client.call_tool("rerun_workflow_runs", token))
        assert facts["counts"] == {"not_done_yet": 1}
        assert facts["results"][0]["note"] == "too many runs were created since this plan was made: make a new one"
        assert started(box) == []
        monkeypatch.setattr("extend_mcp.actions.rerun._MOST_PAGES", 3)
        assert facts_of(await client.call_tool("rerun_workflow_runs", token))["counts"] == {"started": 1}


@pytest.mark.parametrize(("status", "outcome"), [(402, "refused"), (429, "not_done_yet"), (401, None)])
async def test_a_refusal_that_passes_leaves_the_run_to_the_next_call(
    box: Box, status: int, outcome: str | None
) -> None:
    [run_id] = failed_batch(box)[:1]
    box.fault(method="POST", path="/workflow_runs", status=status, headers={"Retry-After": "60"}, times=9)
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("rerun_workflow_runs", again([run_id])))
        token = {"confirmation_token": plan["confirmation_token"]}
        result = await client.call_tool("rerun_workflow_runs", token)
        assert result.is_error == (outcome is None)
        assert len(box.requests("POST")) == 1
        if outcome:
            facts = facts_of(result)
            assert (facts["counts"], facts["request_sent"]) == ({outcome: 1}, outcome == "refused")
            assert f"Extend answered {status}" in facts["results"][0]["note"]
        box.sandbox.faults.clear()
        facts = facts_of(await client.call_tool("rerun_workflow_runs", token))
    assert facts["counts"] == {"refused" if outcome == "refused" else "started": 1}


async def test_runs_that_were_not_looked_at_in_time_are_said_to_be_missing(box: Box) -> None:
    ids = [run["id"] for run in box.state()["runs"] if run["status"] == "FAILED"]
    async with serving(box, requests_per_second=1) as client:
        asked = [*ids, *(f"workflow_run_gone{number:017}" for number in range(60))]
        facts = facts_of(await client.call_tool("rerun_workflow_runs", again(asked)))
    left = len(asked) - len(ids) - facts["skipped"]["not found"]
    assert left > 0
    assert f"INCOMPLETE: {left} runs were not looked at: time was up." in facts["plan"]
