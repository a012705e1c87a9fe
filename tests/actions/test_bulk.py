"""Carry out a plan on many runs while another call, a deadline or the place where plans are kept gets in the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from extend_mcp.actions.sqlite_store import SqliteStore
from extend_mcp.actions.store import Plan, PlannedRun, StoreUnavailableError
from tests.actions.test_cancel_runs import batch_of, posts
from tests.harness import ERAS, Box, Mode, Person, facts_of, serving, text_of

SCENARIO = "empty"

PLAN_GONE = "the plan is no longer kept (plans are kept for an hour, and a server that keeps them in memory loses them)"


class Remote(SqliteStore):
    """A store that takes time to reach, as Redis does; it shows the test what was noted."""

    noted: set[str]

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        await anyio.lowlevel.checkpoint()
        self.noted.add(run.run_id)
        await super().save_run(plan, run)


@pytest.mark.parametrize("stop_after", [1, 15])
async def test_what_was_sent_is_noted_though_the_call_is_cut_short(box: Box, stop_after: int) -> None:
    ids, store = batch_of(box, 10), Remote()
    store.noted = set()
    async with serving(box, store=store) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
        box.forget()

        async def cut_short() -> None:
            while len(box.requests()) < stop_after:
                await anyio.sleep(0)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cut_short)
            await client.call_tool("cancel_runs", {"confirmation_token": plan["confirmation_token"]})
            group.cancel_scope.cancel()
    assert set(posts(box)) <= store.noted <= set(ids)


class Odd(SqliteStore):
    """A store in which something happens between two calls, or within one."""

    def __init__(self, happens: str = "") -> None:
        super().__init__()
        self.happens = happens

    def fail_where(self, happens: str) -> None:
        if self.happens == happens:
            raise StoreUnavailableError

    async def put(self, plan: Plan) -> None:
        self.fail_where("cannot be written")
        await super().put(plan)

    async def use(self, proposal_id: str) -> bool:
        self.fail_where("cannot note a use")
        return await super().use(proposal_id)

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        self.fail_where("cannot note an outcome")
        await super().save_run(plan, run)

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        kept = await super().get(plan_id, action=action, principal=principal, now=now)
        return None if self.happens == "the plan is gone" else kept

    @asynccontextmanager
    async def hold(self, plan: Plan) -> AsyncIterator[bool]:
        if self.happens == "the plan goes meanwhile":
            self.happens = "the plan is gone"
        async with super().hold(plan) as ours:
            yield ours and self.happens != "another call holds it"


async def test_a_plan_that_another_call_holds_is_left_to_it(box: Box) -> None:
    ids, store = batch_of(box, 2), Odd()
    async with serving(box, store=store) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"run_ids": [*ids, "workflow_run_gone"]}))
        store.happens = "another call holds it"
        token = {"confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool("cancel_runs", token))
        assert posts(box) == []
        store.happens = "the plan goes meanwhile"
        gone = facts_of(await client.call_tool("cancel_runs", token))
    assert facts == {
        "outcome": "busy",
        "request_sent": False,
        "message": "Another call is carrying out this plan right now. Nothing was sent.",
        "next_step": "Make the same call again in a few seconds.",
        "planned": 2,
        "skipped": {"not found": 1},
        "counts": {},
        "results": [],
    }
    assert gone == {
        "outcome": "refused",
        "request_sent": False,
        "message": f"The confirmation token names no plan: {PLAN_GONE}. Nothing was sent.",
        "next_step": "Make the first call again, with the runs.",
        "planned": 2,
        "skipped": {"not found": 1},
        "counts": {},
        "results": [],
    }
    assert posts(box) == []


async def test_a_token_whose_plan_is_gone_gives_a_new_plan_that_says_so(box: Box) -> None:
    ids, store = batch_of(box, 1), Odd()
    async with serving(box, store=store) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
        store.happens = "the plan is gone"
        token = {"confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids, **token}))
        other = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids, "confirmation_token": "nonsense"}))
    assert facts["message"] == (
        f"The confirmation token is not valid: {PLAN_GONE}. A person must agree first. Nothing was sent."
    )
    assert other["message"].startswith("The confirmation token is not valid: it is no confirmation token, was altered")
    assert other["message"].endswith(". A person must agree first. Nothing was sent.")
    assert (facts["outcome"], facts["plan"]) == (plan["outcome"], plan["plan"])


@pytest.mark.parametrize(("happens", "sent"), [("cannot be written", 0), ("cannot note an outcome", 1)])
async def test_where_plans_cannot_be_kept_nothing_more_is_sent(box: Box, happens: str, sent: int) -> None:
    async with serving(box, store=Odd(happens), confirmation="trusted") as client:
        result = await client.call_tool("cancel_runs", {"run_ids": batch_of(box, 1)})
    assert result.is_error
    assert text_of(result).endswith(
        "Plans cannot be read or kept at the moment, because the place where they are kept is out of reach. "
        "What was done before stays done, and nothing more is sent. Make the same call again in a minute."
    )
    assert len(posts(box)) == sent


async def test_as_many_as_the_operator_allows_go_and_one_more_does_not(box: Box) -> None:
    ids = batch_of(box, 3)
    async with serving(box, bulk_runs=2) as client:
        two, three = [facts_of(await client.call_tool("cancel_runs", {"run_ids": ids[:count]})) for count in (2, 3)]
    assert two["outcome"] == "confirmation_required"
    assert three == {
        "outcome": "refused",
        "request_sent": False,
        "message": "3 runs would be acted on; the operator allows 2 in one call. Nothing was sent.",
        "next_step": "Narrow the filters, or name the runs.",
        "planned": 0,
        "skipped": {},
        "counts": {},
        "results": [],
    }


async def test_when_time_is_up_the_rest_is_left_to_the_next_call(box: Box) -> None:
    ids, said = batch_of(box, 40), list[str]()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        said.append(str(message))

    async with serving(box, requests_per_second=1) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
        box.forget()
        token = {"confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool("cancel_runs", token, progress_callback=on_progress))
        first = Counter(each["outcome"] for each in facts["results"])
        left = first["not_done_yet"]
        assert 0 < left < 40
        assert facts["outcome"] == "partial"
        assert facts["message"] == (
            f"{left} of 40 planned runs are not done yet: time was up, or no clear answer came. "
            f"In all: {40 - left} cancelling, {left} not_done_yet."
        )
        assert facts["next_step"] == (
            "Call again with this confirmation token alone: it resumes with the rest, and asks nobody."
        )
        assert facts["request_sent"] is True
        done = [each["run_id"] for each in facts["results"] if each["outcome"] != "not_done_yet"]
        # Several are cancelled at once, so they may end in another order.
        assert [each.partition("; ")[0] for each in said] == [
            f"{place} of 40 runs done" for place in range(1, 41 - left)
        ]
        assert {each.partition("; ")[2] for each in said} == {f"{run_id} cancelling" for run_id in done}
        # Without an outcome yet, it is the status of the plan.
        assert {each["status"] for each in facts["results"] if each["outcome"] == "not_done_yet"} == {"PROCESSING"}
        while facts["outcome"] == "partial":
            token = {"confirmation_token": facts["confirmation_token"]}
            facts = facts_of(await client.call_tool("cancel_runs", token))
    assert facts["message"].startswith("40 planned runs done. In all: ")
    assert Counter(posts(box)) == Counter(ids)


async def test_a_run_without_a_clear_answer_is_not_done_yet_and_resumed_for_the_same_reason(
    box: Box, tmp_path: Path
) -> None:
    [run_id], said, log = batch_of(box, 1), list[str](), tmp_path / "audit.jsonl"

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        said.append(str(message))

    box.fault(method="POST", path=f"/workflow_runs/{run_id}/cancel", drop=True)
    async with serving(box, confirmation="trusted", audit=str(log)) as client:
        arguments = {"run_ids": [run_id], "reason": "wrong folder"}
        facts = facts_of(await client.call_tool("cancel_runs", arguments, progress_callback=on_progress))
        assert facts["outcome"] == "partial"
        for _ in range(2):
            box.fault(method="POST", path=f"/workflow_runs/{run_id}/cancel", drop=True)
            token = {"confirmation_token": facts["confirmation_token"]}
            facts = facts_of(await client.call_tool("cancel_runs", token))
            line = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
            assert (line["reason"], line["confirmed"]) == ("wrong folder", "token")
    assert said[-1] == f"0 of 1 runs done; {run_id} is not done yet"


@pytest.mark.parametrize("mode", ERAS)
async def test_the_token_of_the_rest_asks_nobody_again_and_that_of_a_plan_does_not_replace_a_person(
    box: Box, mode: Mode
) -> None:
    shared: dict[str, Any] = {"store": SqliteStore(), "state_keys": "k" * 32, "mode": mode}
    [run_id, *_] = ids = batch_of(box, 2)
    yes, no = Person(), Person("decline")
    async with serving(box, **shared) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
    async with serving(box, person=no, **shared) as client:
        token = {"confirmation_token": plan["confirmation_token"]}
        assert facts_of(await client.call_tool("cancel_runs", token))["outcome"] == "declined"
    assert (len(no.asked), posts(box)) == (1, [])
    box.fault(method="POST", path=f"/workflow_runs/{run_id}/cancel", drop=True)
    async with serving(box, person=yes, confirmation="person", **shared) as client:
        rest = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
        assert rest["outcome"] == "partial"
        token = {"confirmation_token": rest["confirmation_token"]}
        other = facts_of(await client.call_tool("rerun_workflow_runs", token))
        assert (other["outcome"], other["request_sent"]) == ("refused", False)
        assert "it is for another action, object or state than this call" in other["message"]
        assert facts_of(await client.call_tool("cancel_runs", token))["outcome"] == "done"
    assert len(yes.asked) == 1
    assert Counter(posts(box)) == Counter([*ids, run_id])
