"""cancel_runs: a plan first, exactly its runs after, every run accounted for whatever happens meanwhile."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from tests.harness import ERAS, Box, Mode, Person, example_run, facts_of, serving, text_of


def batch_of(box: Box, count: int, status: str = "PROCESSING") -> list[str]:
    """A batch of runs that stay as they are until they are cancelled."""
    ids = []
    for number in range(count):
        run = example_run(f"workflow_run_bulk{number:017d}", status)
        run["batchId"] = "batch_bulk001"
        run["stepRuns"] = []
        ids.append(box.load(run))
    return ids


def posts(box: Box) -> list[str]:
    return [each["path"].split("/")[2] for each in box.requests("POST") if each["path"].endswith("/cancel")]


def every_post_follows_a_read_of_its_run(box: Box) -> None:
    last: dict[str, str] = {}
    for request in box.requests():
        parts = request["path"].split("/")
        if len(parts) == 3 and request["method"] == "GET" and request["status"] == 200:
            last[parts[2]] = "read"
        elif len(parts) == 4:
            assert last.get(parts[2]) == "read", f"{parts[2]} was sent a cancel without a fresh read"
            last[parts[2]] = "sent"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_person_agrees_to_a_batch_and_exactly_it_is_cancelled(box: Box, mode: Mode) -> None:
    ids = batch_of(box, 12)
    other = box.load(example_run("workflow_run_notInTheBatch0001", "PROCESSING"))
    done = box.load({**example_run("workflow_run_doneInTheBatch001", "PROCESSED"), "batchId": "batch_bulk001"})
    box.forget()
    person = Person()
    async with serving(box, mode=mode, person=person) as client:
        facts = facts_of(await client.call_tool("cancel_runs", {"batch": "batch_bulk001", "reason": "wrong folder"}))
    assert facts["outcome"] == "done"
    assert facts["counts"] == {"cancelled": 12}
    assert facts["skipped"] == {"already PROCESSED": 1}
    [question] = person.asked
    for part in (
        "Cancel 12 workflow runs?",
        "Invoices.pdf",
        "Oldest",
        "Credits",
        "1 already PROCESSED",
        "wrong folder",
    ):
        assert part in question
    assert sorted(posts(box)) == sorted(ids)
    assert other not in posts(box)
    assert done not in posts(box)
    every_post_follows_a_read_of_its_run(box)


async def test_a_filter_says_which_unfinished_runs_it_leaves_out(box: Box) -> None:
    async with serving(box) as client:
        result = await client.call_tool("cancel_runs", {"workflow": "Loan Packet Review"})
    assert "Left out: 1 waiting for review, 1 already CANCELLING" in text_of(result)
    assert facts_of(result)["planned"] == 2


@pytest.mark.parametrize("mode", ERAS)
async def test_a_no_sends_nothing(box: Box, mode: Mode) -> None:
    batch_of(box, 3)
    async with serving(box, mode=mode, person=Person("decline")) as client:
        facts = facts_of(await client.call_tool("cancel_runs", {"batch": "batch_bulk001"}))
    assert facts["outcome"] == "declined"
    assert posts(box) == []


@pytest.mark.parametrize("mode", ERAS)
async def test_without_a_person_a_plan_and_a_token_come_first(box: Box, mode: Mode) -> None:
    ids = batch_of(box, 3)
    async with serving(box, mode=mode) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
        assert plan["outcome"] == "confirmation_required"
        assert plan["planned"] == 3
        assert len(plan["confirmation_token"]) < 600
        assert posts(box) == []
        token = {"confirmation_token": plan["confirmation_token"]}
        done = facts_of(await client.call_tool("cancel_runs", token))
        again = facts_of(await client.call_tool("cancel_runs", token))
    assert done["counts"] == {"cancelled": 3}
    assert again["counts"] == {"cancelled": 3}
    assert sorted(posts(box)) == sorted(ids), "a finished plan is reported again, not run again"


async def test_a_run_that_joins_the_filter_later_is_not_in_the_plan(box: Box) -> None:
    ids = batch_of(box, 2)
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"file_name_contains": "Invoices"}))
        planned = plan["planned"]
        late = box.load(example_run("workflow_run_lateForThePlan001", "PROCESSING"))
        facts = facts_of(await client.call_tool("cancel_runs", {"confirmation_token": plan["confirmation_token"]}))
    assert planned == 2
    assert sorted(posts(box)) == sorted(ids)
    assert late not in {result["run_id"] for result in facts["results"]}


async def test_two_hundred_runs_with_races_refusals_and_dropped_connections(box: Box) -> None:
    ids = batch_of(box, 200)
    async with serving(box, requests_per_second=10) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"batch": "batch_bulk001"}))
        assert plan["planned"] == 200
        # Meanwhile some finish before their turn, some at the moment their cancel arrives.
        for run_id in ids[5:25]:
            box.finish(run_id, "PROCESSED", before_cancel=False)
        for run_id in ids[30:35]:
            box.finish(run_id, "FAILED", before_cancel=True)
        for run_id in ids[40:50]:
            box.fault(method="POST", path=f"/workflow_runs/{run_id}/cancel", status=429, headers={"Retry-After": "1"})
        dropped = ids[60:63]
        for run_id in dropped[:2]:
            box.fault(method="POST", path=f"/workflow_runs/{run_id}/cancel", drop=True)
        box.fault(method="POST", path=f"/workflow_runs/{dropped[2]}/cancel", drop=True, after=True)
        box.forget()
        token = plan["confirmation_token"]
        calls = 0
        while True:
            facts = facts_of(await client.call_tool("cancel_runs", {"confirmation_token": token}))
            calls += 1
            every_post_follows_a_read_of_its_run(box)
            if facts["outcome"] == "done":
                break
            assert facts["outcome"] == "partial"
            token = facts["confirmation_token"]
            # Refusals for rate slow down what follows, so it takes more calls than without.
            assert calls < 12
    outcome = {result["run_id"]: result["outcome"] for result in facts["results"]}
    assert set(outcome) == set(ids), "every run is accounted for"
    assert {outcome[run_id] for run_id in ids[5:25]} == {"finished_first"}
    assert {outcome[run_id] for run_id in ids[30:35]} == {"finished_first"}
    rest = set(ids) - set(ids[5:25]) - set(ids[30:35])
    assert Counter(outcome[run_id] for run_id in rest) in ({"cancelled": 175}, {"cancelled": 174, "cancelling": 1})
    box.advance(60)
    statuses = {run["id"]: run["status"] for run in box.state()["runs"]}
    assert {statuses[run_id] for run_id in rest} == {"CANCELLED"}
    sent = Counter(posts(box))
    assert set(sent) <= set(ids)
    assert not set(sent) & set(ids[5:25]), "what had finished was sent nothing"
    assert all(sent[run_id] == 2 for run_id in ids[40:50]), "a refusal for rate is tried again after a read"
    assert all(sent[run_id] == 2 for run_id in dropped[:2])
    assert sent[dropped[2]] == 1, "what took effect unseen is found by looking"


@pytest.mark.parametrize("stop_after", [0, 1, 3, 7, 11, 15, 19, 23])
async def test_an_interruption_at_any_point_and_a_second_call_end_in_the_same_state(box: Box, stop_after: int) -> None:
    ids = batch_of(box, 10)
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"batch": "batch_bulk001"}))
        arguments = {"confirmation_token": plan["confirmation_token"]}
        box.forget()
        with anyio.CancelScope() as scope:

            async def watch() -> None:
                while len(box.requests()) < stop_after:
                    await anyio.sleep(0)
                scope.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                await client.call_tool("cancel_runs", arguments)
                group.cancel_scope.cancel()
        for _ in range(20):
            facts = facts_of(await client.call_tool("cancel_runs", arguments))
            if facts["outcome"] == "done":
                break
            # The call that was cut off may still be releasing the plan.
            assert facts["outcome"] in ("busy", "partial")
            await anyio.sleep(0.01)
    assert facts["outcome"] == "done"
    assert set(facts["counts"]) <= {"cancelled", "cancelling"}
    box.advance(60)
    statuses = {run["id"]: run["status"] for run in box.state()["runs"]}
    assert {statuses[run_id] for run_id in ids} == {"CANCELLED"}
    every_post_follows_a_read_of_its_run(box)
    assert set(posts(box)) == set(ids)


async def test_more_than_the_operator_allows_is_refused(box: Box) -> None:
    batch_of(box, 6)
    async with serving(box, bulk_runs=5) as client:
        facts = facts_of(await client.call_tool("cancel_runs", {"batch": "batch_bulk001"}))
    assert facts["outcome"] == "refused"
    assert "5" in facts["message"]
    assert posts(box) == []


async def test_what_cannot_be_cancelled_is_told_by_its_why(box: Box) -> None:
    ids = [
        box.load(example_run(f"workflow_run_resting{number:014d}", status))
        for number, status in enumerate(["PROCESSED", "FAILED", "NEEDS_REVIEW", "CANCELLING", "TOMORROWS"])
    ]
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("cancel_runs", {"run_ids": [*ids, "workflow_run_nowhere00000000001"]}))
    assert facts["outcome"] == "nothing_to_do"
    assert sum(facts["skipped"].values()) == 6
    assert facts["skipped"]["waiting for review"] == 1
    assert facts["skipped"]["not found"] == 1
    assert posts(box) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"run_ids": ["workflow_run_a000000000000000001"], "batch": "batch_a"},
        {"batch": "batch_a", "status": "PENDING"},
    ],
)
async def test_the_runs_must_be_named_in_one_way(box: Box, arguments: dict[str, Any]) -> None:
    async with serving(box) as client:
        result = await client.call_tool("cancel_runs", arguments)
    assert result.is_error
    assert box.requests() == []


@pytest.mark.parametrize("token", ["", "nonsense", "a" * 500])
async def test_a_token_that_is_none_of_ours_cancels_nothing(box: Box, token: str) -> None:
    batch_of(box, 2)
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("cancel_runs", {"confirmation_token": token}))
    assert (facts["outcome"], facts["next_step"]) == ("refused", "Make the first call again, with the runs.")
    why = "it is no confirmation token" if token else "the plan is no longer kept"
    assert f"names no plan: {why}" in facts["message"]
    assert posts(box) == []


async def test_a_token_of_another_action_is_none(box: Box) -> None:
    [run_id] = batch_of(box, 1)
    async with serving(box) as client:
        one = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": run_id}))
        facts = facts_of(
            await client.call_tool(
                "cancel_runs", {"run_ids": [run_id], "confirmation_token": one["confirmation_token"]}
            )
        )
    assert facts["outcome"] == "confirmation_required"
    assert posts(box) == []


async def test_two_calls_at_once_do_not_act_twice(box: Box) -> None:
    ids = batch_of(box, 8)
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"batch": "batch_bulk001"}))
        assert "Reason given" not in "".join(plan["plan"])
        outcomes: list[str] = []

        async def call() -> None:
            arguments = {"confirmation_token": plan["confirmation_token"]}
            facts = facts_of(await client.call_tool("cancel_runs", arguments))
            outcomes.append(facts["outcome"])
            if facts["outcome"] == "busy":
                assert facts["next_step"] == "Make the same call again in a few seconds."

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(call)
    assert Counter(posts(box)) == Counter(ids)
    assert outcomes.count("done") >= 1
    every_post_follows_a_read_of_its_run(box)


async def test_the_answer_about_many_keeps_its_budget_and_names_what_went_otherwise_first(box: Box) -> None:
    ids = batch_of(box, 150)
    async with serving(box, confirmation="trusted", answer_chars=3000) as client:
        box.finish(ids[70], "FAILED", before_cancel=True)
        result = await client.call_tool("cancel_runs", {"batch": "batch_bulk001"})
    facts, text = facts_of(result), text_of(result)
    assert len(text) <= 3000
    assert len(facts["results"]) == 150
    assert text.splitlines()[1].startswith(f"{ids[70]} · finished_first")


async def test_what_could_not_be_read_is_counted_apart_from_what_is_gone(box: Box) -> None:
    ids = batch_of(box, 5)
    for run_id, status in zip(ids, (404, 404, 400, 400), strict=False):
        box.fault(method="GET", path=f"/workflow_runs/{run_id}", status=status)
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
    assert (facts["planned"], facts["skipped"]) == (1, {"not found": 2, "could not be read": 2})


@pytest.mark.parametrize("status", ["PROCESSING", "PROCESSED"])
async def test_what_the_operator_s_bound_or_the_time_leaves_out_is_said(box: Box, status: str) -> None:
    ids = batch_of(box, 130, status)
    async with serving(box, summary_runs=100) as client:
        bounded = facts_of(await client.call_tool("cancel_runs", {"batch": "batch_bulk001"}))
    async with serving(box, requests_per_second=2) as client:
        late = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
    for facts, why in (
        (bounded, "only the newest 100 runs were read (the operator's bound)."),
        (late, "runs were not looked at: time was up."),
    ):
        if status == "PROCESSED":
            begin = "No run here can be cancelled: only PENDING and PROCESSING ones can. "
            assert facts["message"].startswith(begin)
            assert f"{why} In all" in facts["message"] or f"{why} Nothing" in facts["message"]
            assert (facts["planned"], facts["skipped"].keys()) == (0, {"already PROCESSED"})
        else:
            [said] = [line for line in facts["plan"] if line.startswith("INCOMPLETE: ")]
            assert said.endswith(why)
    if status == "PROCESSING":
        left = 130 - late["planned"]
        assert f"INCOMPLETE: {left} runs were not looked at: time was up." in late["plan"]


async def test_runs_are_planned_the_oldest_first_and_those_of_one_moment_by_id(box: Box) -> None:
    ids = batch_of(box, 3)
    for run_id, moment in zip(
        ids, ("2026-02-09T08:00:02Z", "2026-02-09T08:00:01Z", "2026-02-09T08:00:01Z"), strict=True
    ):
        box.sandbox.record(run_id).run["initialRunAt"] = moment
    async with serving(box, confirmation="trusted") as client:
        await client.call_tool("cancel_runs", {"batch": "batch_bulk001"})
    reads = [each["path"].split("/")[-1] for each in box.requests("GET") if each["path"].count("/") == 2]
    assert list(dict.fromkeys(reads))[:3] == [ids[1], ids[2], ids[0]]
