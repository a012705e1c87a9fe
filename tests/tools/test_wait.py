"""wait_for_run: until the end, until the window closes, through failing looks, and stopped by its client."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest
from mcp_types import CallToolResult

from tests.harness import ERAS, Box, Mode, example_run, facts_of, serving, text_of

RUN = "workflow_run_waitForMe0000000001"


def moving(box: Box, run_id: str = RUN, status: str = "PROCESSING") -> str:
    """A run that never moves on its own."""
    run = example_run(run_id, status)
    return box.load(run)


def slow(box: Box) -> str:
    """A run that has just been started and takes 20 simulated minutes."""
    body = {"workflow": {"id": box.workflow()}, "file": {"url": "https://files.example/slow.pdf"}}
    run_id: str = box.api("POST", "/workflow_runs", json=body)["id"]
    record = box.sandbox.record(run_id)
    assert record.plan
    seconds = sum(step.seconds for step in record.plan.steps)
    record.plan = record.plan.paced(20 * 60 / seconds)
    return run_id


async def wait(box: Box, **arguments: Any) -> CallToolResult:
    async with serving(box) as client:
        return await client.call_tool("wait_for_run", arguments)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_run_of_twenty_minutes_is_waited_for_in_no_time(box: Box, mode: Mode) -> None:
    run_id = slow(box)
    reports: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, message))

    async with serving(box, mode=mode) as client:
        begun = time.perf_counter()
        result = await client.call_tool(
            "wait_for_run", {"run_ids": run_id, "seconds": 3600}, progress_callback=on_progress
        )
        took = time.perf_counter() - begun
    facts, text = facts_of(result), text_of(result)
    assert facts["outcome"] == "finished"
    assert facts["waited_seconds"] >= 20 * 60
    assert facts["runs"][0]["status"] == "PROCESSED"
    # Only the run's end brings its steps.
    assert "Steps (" in text
    assert [progress for progress, _ in reports] == sorted({progress for progress, _ in reports})
    # One message for each change, which names the run and its step; not one for each look.
    said = [str(message) for _, message in reports]
    assert len(said) == len(set(said)) <= 12
    assert all(run_id in message and "«slow.pdf»" in message for message in said)
    assert any("PROCESSING: running · 2 of 4 known steps done, now «Extract invoice»" in message for message in said)
    assert "PROCESSED" in said[-1]
    reads = [request for request in box.requests("GET") if request["path"].endswith(run_id)]
    # About every second for half a minute, then ever slower, at most every 30 seconds.
    assert 30 <= len(reads) <= 120
    assert took < 60, "a wait that sleeps for real"


async def test_a_window_that_closes_says_how_to_go_on(box: Box) -> None:
    result = await wait(box, run_ids=[moving(box)])
    facts, text = facts_of(result), text_of(result)
    assert facts["outcome"] == "still_running"
    assert 35 <= facts["waited_seconds"] <= 45
    assert f'wait_for_run(run_ids=["{RUN}"])' in facts["next_step"]
    assert "Steps (" not in text


@pytest.mark.parametrize("status", ["PROCESSED", "FAILED", "REJECTED", "CANCELLED", "NEEDS_REVIEW", "NEW_STATUS"])
async def test_what_goes_no_further_is_not_waited_for(box: Box, status: str) -> None:
    facts = facts_of(await wait(box, run_ids=[moving(box, status=status)]))
    assert facts["outcome"] == "finished"
    assert facts["waited_seconds"] == 0
    assert facts["counts"] == {status: 1}


async def test_several_runs_put_failures_first(box: Box) -> None:
    statuses = ("PROCESSED", "NEEDS_REVIEW", "FAILED", "CANCELLED")
    ids = [moving(box, f"workflow_run_severalOfThem00{index}", status) for index, status in enumerate(statuses)]
    facts = facts_of(await wait(box, run_ids=[*ids, "workflow_run_nowhereToBeFound01"]))
    assert [run["status"] for run in facts["runs"]] == ["FAILED", "NEEDS_REVIEW", "NOT_FOUND", "CANCELLED", "PROCESSED"]
    assert ids[2] in facts["next_step"]


async def test_progress_of_several_runs_names_those_that_changed(box: Box) -> None:
    runs = {run["file"]: run["id"] for run in box.state()["runs"]}
    ids = [runs[file] for file in ("kestrel-it-9914.pdf", "northwind-2202-review.pdf", "urgent-remittance.pdf")]
    said: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        said.append(str(message))

    async with serving(box) as client:
        result = await client.call_tool("wait_for_run", {"run_ids": ids, "seconds": 40}, progress_callback=on_progress)
    assert said[0].startswith("2 of 3 runs ended or need review; ")
    assert all(run_id in said[0] for run_id in ids)
    assert said[1].startswith(f"2 of 3 runs ended or need review; {ids[0]} · PROCESSING: running · ")
    assert ids[1] not in said[1]
    rows = {row["run_id"]: row for row in facts_of(result)["runs"]}
    assert rows[ids[0]]["step"]
    assert rows[ids[2]]["speaks_to_assistant"] is True
    assert "speaks_to_assistant" not in rows[ids[1]]


async def test_a_batch_is_rolled_up(box: Box) -> None:
    batch = box.state()["batches"][0]
    facts = facts_of(await wait(box, batch=batch))
    same = [run for run in box.state()["runs"] if run["batchId"] == batch]
    assert facts["total"] == len(same)
    assert sum(facts["counts"].values()) == len(same)
    assert facts["runs"][0]["status"] == "FAILED"
    assert facts["outcome"] == "finished"


async def test_one_failing_look_falls_back_to_the_state_seen_before(box: Box) -> None:
    run_id = moving(box)
    looks = 0

    def break_the_next_look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            box.fault(method="GET", path=f"/workflow_runs/{run_id}", status=500, times=4)

    async with serving(box, on_sleep=break_the_next_look) as client:
        facts = facts_of(await client.call_tool("wait_for_run", {"run_ids": [run_id], "seconds": 4}))
    assert facts["runs"][0]["status"] == "PROCESSING"
    assert facts["outcome"] == "still_running"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_surfaces_at_once(box: Box, status: int) -> None:
    run_id = moving(box)

    def refuse() -> None:
        box.fault(method="GET", status=status, times=100)

    async with serving(box, on_sleep=refuse) as client:
        result = await client.call_tool("wait_for_run", {"run_ids": [run_id], "seconds": 300})
    assert result.is_error
    assert str(status) in text_of(result)
    assert len(box.requests("GET")) <= 3


async def test_a_run_that_is_not_there_is_an_error(box: Box) -> None:
    result = await wait(box, run_ids=["workflow_run_nowhereToBeFound01"])
    assert result.is_error
    assert "404" in text_of(result)


async def test_either_runs_or_a_batch_must_be_given(box: Box) -> None:
    for arguments in ({}, {"run_ids": [RUN], "batch": "batch_7Ws31-F5"}):
        result = await wait(box, **arguments)
        assert result.is_error
        assert "Give either run_ids or batch" in text_of(result)
    assert not box.requests()


@pytest.mark.parametrize("mode", ERAS)
async def test_a_wait_cancelled_by_its_client_leaves_nothing_behind(box: Box, mode: Mode) -> None:
    run_id = moving(box)
    asleep = anyio.Event()

    class Asleep:
        """Time in which the second sleep never ends."""

        slept = 0

    async def hang() -> None:
        Asleep.slept += 1
        asleep.set()
        await anyio.sleep_forever()

    async with serving(box, mode=mode, before_sleep=hang) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "wait_for_run", {"run_ids": [run_id], "seconds": 600})
            with anyio.fail_after(10):
                await asleep.wait()
            group.cancel_scope.cancel()
        seen = len(box.requests())
        # The server serves on, and nothing of the wait is left in it.
        assert not (await client.call_tool("list_runs", {"page_size": 1})).is_error
        with anyio.fail_after(10):
            while any("wait_for_run" in repr(task) or "_watch" in repr(task) for task in _tasks()):
                await anyio.sleep(0)
        assert len(box.requests()) == seen + 1
    assert Asleep.slept == 1


def _tasks() -> list[Any]:
    import asyncio

    return [task.get_coro() for task in asyncio.all_tasks()]
