"""Kept runs say the same as the account, after whatever happened to it between two questions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
from mcp.client.client import Client
from mcp.server.subscriptions import InMemorySubscriptionBus
from pydantic import SecretStr

from extend_mcp.accounts import Account
from extend_mcp.callers import Histories
from extend_mcp.sandbox.engine.run_engine import NotPossibleError
from extend_mcp.settings import Settings
from tests.harness import Box, Person, facts_of, serving, text_of
from tests.hosting import Host

ONLY_KEPT = {"as_of", "deletions_seen_until", "stuck"}
"""Fields of a summary that only kept runs allow."""


@pytest.fixture
def many(host: Host) -> Iterator[Box]:
    """A sandbox with 10,000 runs that a test may change."""
    with host.room("large") as running:
        yield Box(running.base_url, running.sandbox)


@pytest.fixture
def paged(box: Box) -> Box:
    """A sandbox whose 50 runs are read in five pages."""
    box.sandbox.settings = replace(box.sandbox.settings, max_page_size=10)
    return box


def when(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["createdAt"].replace("Z", "+00:00"))


def counted(box: Box, group: str = "workflowId") -> dict[str, Any]:
    runs = box.state()["runs"]
    groups = {key: [run for run in runs if run[group] == key] for key in {run[group] for run in runs}}
    return {
        "runs": len(runs),
        "statuses": Counter(run["status"] for run in runs),
        "groups": {key: (len(each), sum(run["status"] == "FAILED" for run in each)) for key, each in groups.items()},
    }


async def asked(client: Client, **arguments: Any) -> dict[str, Any]:
    facts = facts_of(await client.call_tool("summarize_runs", arguments))
    assert facts["complete"] is True
    return {
        "runs": facts["runs"],
        "statuses": facts["statuses"],
        "groups": {group["id"]: (group["runs"], group["failed"]) for group in facts["groups"]},
    }


async def test_the_first_question_costs_few_requests_and_the_next_ones_fewer(large: Box) -> None:
    async with serving(large) as client:
        assert await asked(client) == counted(large)
        assert len(large.requests()) <= 15
        for group_by in ("status", "version"):
            large.forget()
            await client.call_tool("summarize_runs", {"group_by": group_by})
            assert len(large.requests()) <= 2


@pytest.mark.parametrize("group_by", ["status", "version", "file_type", "workflow"])
async def test_the_answer_is_the_same_without_history(box: Box, group_by: str) -> None:
    async with serving(box) as client, serving(box, history="off") as plain:
        await client.call_tool("summarize_runs", {})
        kept = facts_of(await client.call_tool("summarize_runs", {"group_by": group_by}))
        asked_again = facts_of(await plain.call_tool("summarize_runs", {"group_by": group_by}))
    only_kept = dict.fromkeys(ONLY_KEPT)
    assert {**kept, **only_kept} == {**asked_again, **only_kept}


async def test_figures_equal_the_account_after_500_random_changes(box: Box) -> None:
    chance = random.Random(7)
    async with serving(box, person=Person(), toolsets="all") as client:
        assert await asked(client) == counted(box)
        for _ in range(5):
            for _ in range(100):
                await change(box, client, chance)
            box.forget()
            assert await asked(client) == counted(box)
            assert len(box.requests()) <= 2
            since = f"{chance.randint(1, 40)}h"
            facts = facts_of(await client.call_tool("summarize_runs", {"created_since": since, "status": "FAILED"}))
            edge = box.now() - timedelta(hours=int(since[:-1]))
            recent = [run for run in box.state()["runs"] if run["status"] == "FAILED" and when(run) >= edge]
            assert facts["runs"] == len(recent)
            await metadata_is_right(box, client, chance)


@pytest.mark.thorough
async def test_every_grouping_equals_an_independent_count_after_500_random_changes(box: Box) -> None:
    chance = random.Random(11)
    async with serving(box, person=Person(), toolsets="all") as client:
        for _ in range(5):
            for _ in range(100):
                await change(box, client, chance)
            runs = [record.run | {"createdAt": record.created_at} for record in box.sandbox.store]
            failed = [run for run in runs if run["status"] == "FAILED"]
            zone = ZoneInfo(chance.choice(["UTC", "Asia/Tokyo", "America/St_Johns"]))
            await grouped(client, "workflow,day", zone, runs, workflow_day)
            await grouped(client, "hour", zone, runs, hour)
            await grouped(client, "failure_reason", zone, failed, lambda run, _: (cause(run)[1] or "no reason given",))
            await grouped(client, "failing_step", zone, failed, lambda run, _: failing_step(run))
            await grouped(client, "reviewer", zone, runs, lambda run, _: (run["reviewedByUser"] or "not reviewed",))
            by_customer = ("metadata", {"metadata_key": "customer"})
            await grouped(
                client, *by_customer, zone, runs, lambda run, _: (run["metadata"].get("customer", "(not set)"),)
            )
            box.forget()
            facts = facts_of(await client.call_tool("summarize_runs", {"group_by": "failure_reason"}))
            assert len(box.requests()) == 1
            assert facts["complete"]


async def grouped(client: Client, group_by: str, *given: Any) -> None:
    """Compare one grouping with a plain count."""
    *more, zone, runs, key = given
    arguments = {"group_by": group_by, "time_zone": str(zone), **(more[0] if more else {})}
    facts = facts_of(await client.call_tool("summarize_runs", arguments))
    found: Counter[tuple[str, ...]] = Counter()
    for group in facts["groups"]:
        names = (group["group"], group["second_group"]) if "second_group" in group else (group["group"],)
        found[(names[0][:13],) if group_by == "hour" else names] += group["runs"]
    assert (facts["complete"], facts.get("groups_left_out", 0)) == (True, 0)
    assert found == Counter(key(run, zone) for run in runs)


def hour(run: dict[str, Any], zone: ZoneInfo) -> tuple[str]:
    return (f"{run['createdAt'].astimezone(zone):%Y-%m-%dT%H}",)


def workflow_day(run: dict[str, Any], zone: ZoneInfo) -> tuple[str, str]:
    return run["workflow"]["name"], f"{run['createdAt'].astimezone(zone):%Y-%m-%d}"


def customer(run: dict[str, Any], _: ZoneInfo) -> tuple[str]:
    return (run["metadata"].get("customer", "(not set)"),)


def failing_step(run: dict[str, Any]) -> tuple[str]:
    step, _ = cause(run)
    return (f"{run['workflow']['name']}: {step}" if step else "before any step",)


def cause(run: dict[str, Any]) -> tuple[str, str]:
    """The failing step and the reason, from the wire."""
    for step in run["stepRuns"]:
        for child in (step["result"] or {}).values():
            if isinstance(child, dict) and child.get("status") == "FAILED":
                return step["step"]["name"], child.get("failureReason") or ""
        if step["status"] == "FAILED":
            return step["step"]["name"], run.get("failureReason") or ""
    return "", run.get("failureReason") or ""


async def metadata_is_right(box: Box, client: Client, chance: random.Random) -> None:
    metadata = {record.id: record.run["metadata"] for record in box.sandbox.store}
    wanted = chance.choice([each["customer"] for each in metadata.values() if "customer" in each])
    facts = facts_of(await client.call_tool("find_runs", {"metadata": {"customer": wanted}, "limit": 100}))
    assert facts["complete"] is True
    assert {row["run_id"] for row in facts["runs"]} == {
        run_id for run_id, each in metadata.items() if each.get("customer") == wanted
    }


async def change(box: Box, client: Client, chance: random.Random) -> None:
    runs = [record.brief for record in box.sandbox.store]
    run = chance.choice(runs)
    what = chance.choice((0, 0, 0, 1, 2, 3, 4, 5, 6))
    if what == 0:
        file = {"text": "some text", "name": f"{chance.random()}.pdf"}
        box.api("POST", "/workflow_runs", json={"workflow": {"id": run["workflow"]["id"]}, "file": file})
    elif what == 1:
        box.api("POST", f"/workflow_runs/{run['id']}", json={"metadata": {"customer": str(chance.random())}})
    elif what == 2:
        waiting = [each for each in runs if each["status"] in ("PENDING", "PROCESSING")]
        if waiting:
            # Its time may have come since it was last looked at.
            with suppress(NotPossibleError):
                box.finish(chance.choice(waiting)["id"], chance.choice(["PROCESSED", "FAILED"]), before_cancel=False)
    elif what == 3:
        waiting = [each for each in runs if each["status"] == "NEEDS_REVIEW"]
        if waiting:
            box.sandbox.review(chance.choice(waiting)["id"], chance.choice(["approve", "reject"]))
    elif what == 4:
        over = [each for each in runs if each["status"] in ("PROCESSED", "FAILED")]
        if over:
            arguments = {"run_id": chance.choice(over)["id"]}
            assert not (await client.call_tool("delete_workflow_run", arguments)).is_error
    elif what == 5:
        # Somebody else deletes it, and a look at it shows that.
        box.api("DELETE", f"/workflow_runs/{run['id']}")
        assert (await client.call_tool("get_workflow_run", {"run_id": run["id"]})).is_error
    else:
        box.advance(chance.random() * 30)


async def test_deletions_by_others_are_seen_after_a_day_and_until_then_the_answer_says_so(box: Box) -> None:
    async with serving(box) as client:
        await asked(client)
        runs = box.state()["runs"]
        gone = runs[17]["id"]
        box.api("DELETE", f"/workflow_runs/{gone}")
        box.advance(3600)
        result = await client.call_tool("summarize_runs", {})
        assert facts_of(result)["runs"] == len(runs)
        assert "somebody else deleted since" in text_of(result)
        box.advance(24 * 3600)
        assert await asked(client) == counted(box)


async def test_much_that_changed_is_read_in_large_pages(many: Box) -> None:
    async with serving(many) as client:
        await asked(client)
        many.advance(300)
        for run in many.state()["runs"][:900]:
            with many.sandbox.lock:
                many.sandbox.record(run["id"]).updated_at = many.now()
                many.sandbox.record(run["id"]).run["status"] = "FAILED"
        many.forget()
        assert await asked(client) == counted(many)
        assert len(many.requests()) == 2


async def test_a_size_that_the_api_refuses_is_asked_for_once(box: Box) -> None:
    box.sandbox.settings = replace(box.sandbox.settings, max_page_size=100, clamp_page_size=False)
    async with serving(box) as client:
        assert await asked(client) == counted(box)
        sizes = Counter(each["query"]["maxPageSize"] for each in box.requests())
    assert sizes == {"1": 1, "1000": 1, "100": 1}


async def test_a_question_that_a_bound_cut_short_goes_deeper_the_next_time(large: Box) -> None:
    async with serving(large, summary_runs=400) as client:
        depths = []
        for _ in range(3):
            facts = facts_of(await client.call_tool("summarize_runs", {}))
            depths.append((facts["runs"], facts["complete"]))
    assert [complete for _, complete in depths] == [False, False, True]
    assert depths[0][0] < depths[1][0] < depths[2][0] == 10_000


async def test_a_narrow_question_does_not_read_the_whole_account(large: Box) -> None:
    async with serving(large) as client:
        arguments = {"status": "REJECTED", "workflow": large.workflow()}
        first = facts_of(await client.call_tool("summarize_runs", arguments))
        assert len(large.requests()) <= 4
        await asked(client)
        large.forget()
        second = facts_of(await client.call_tool("summarize_runs", arguments))
    assert first.keys() == second.keys() - ONLY_KEPT
    assert first["runs"] == second["runs"]


async def test_a_key_that_was_revoked_gets_nothing_from_the_kept_runs(box: Box) -> None:
    async with serving(box) as client:
        await asked(client)
        box.fault(method="GET", path="/workflow_runs", times=9, status=401)
        assert (await client.call_tool("summarize_runs", {})).is_error


@pytest.mark.parametrize("fault", [{"status": 500}, {"truncate": 10}])
async def test_a_page_that_cannot_be_read_is_read_by_the_next_question(large: Box, fault: dict[str, Any]) -> None:
    async with serving(large) as client:
        reads = 0

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            nonlocal reads
            reads += 1
            if reads == 3:
                large.fault(method="GET", path="/workflow_runs", times=50, **fault)

        facts = facts_of(await client.call_tool("summarize_runs", {}, progress_callback=on_progress))
        assert facts["complete"] is False
        assert "reading stopped after" in facts["missing"][0]
        assert 3000 <= facts["runs"] + 1 <= 6000
        large.sandbox.faults.clear()
        large.forget()
        assert await asked(client) == counted(large)
        assert len(large.requests()) <= 8


async def test_a_deadline_ends_the_reading_and_the_next_question_reads_on(large: Box) -> None:
    async with serving(large, requests_per_second=1, summary_runs=100_000) as client:
        large.sandbox.settings = replace(large.sandbox.settings, max_page_size=100)
        try:
            facts = facts_of(await client.call_tool("summarize_runs", {}))
            assert "time was up after" in facts["missing"][0]
            deeper = facts_of(await client.call_tool("summarize_runs", {}))
        finally:
            large.sandbox.settings = replace(large.sandbox.settings, max_page_size=1000)
    assert 4500 <= facts["runs"] <= 5200
    assert deeper["runs"] >= 1.9 * facts["runs"]


async def test_two_questions_at_once_share_one_pass(paged: Box) -> None:
    answers: list[dict[str, Any]] = []
    async with serving(paged) as client:

        async def ask() -> None:
            answers.append(await asked(client))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
    assert answers == [counted(paged)] * 3
    assert 5 <= len(paged.requests()) <= 8


async def test_two_servers_share_a_file(paged: Box, tmp_path: Path) -> None:
    path = str(tmp_path / "runs.db")
    async with serving(paged, history=path) as one, serving(paged, history=path) as other:
        assert await asked(one) == counted(paged)
        paged.forget()
        assert await asked(other) == counted(paged)
        assert len(paged.requests()) == 1
    async with serving(paged, history=path, key="sk_test_somebody_else") as stranger:
        paged.forget()
        assert await asked(stranger) == counted(paged)
        assert len(paged.requests()) >= 5


async def test_a_file_that_cannot_be_used_costs_only_the_keeping(
    box: Box, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(box, history=str(tmp_path / "no" / "such" / "folder")) as client:
        assert await asked(client) == counted(box)
    assert "kept in memory" in caplog.text


async def test_a_list_in_another_order_is_not_kept(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    everything = box.api("GET", "/workflow_runs", params={"maxPageSize": 1000})["data"]
    shuffled = sorted(everything, key=lambda run: run["id"])
    for _ in range(3):
        box.fault(method="GET", path="/workflow_runs", status=200, body={"object": "list", "data": shuffled})
    async with serving(box) as client:
        facts = facts_of(await client.call_tool("summarize_runs", {}))
    assert facts["runs"] == len(everything)
    assert "as_of" not in facts
    assert "not kept" in caplog.text


async def test_without_a_key_nothing_is_kept(box: Box) -> None:
    histories = Histories(Settings.model_validate({"base_url": box.base_url}), _NoClock(), InMemorySubscriptionBus())
    assert await histories.of(Account(None)) is None
    assert await histories.of(Account(SecretStr("sk_x"))) is not None
    await histories.aclose()


class _NoClock:
    def now(self) -> Any:
        raise AssertionError

    def monotonic(self) -> float:
        raise AssertionError

    async def sleep(self, seconds: float) -> None:
        raise AssertionError
