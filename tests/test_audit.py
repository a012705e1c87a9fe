"""The audit: one line for each call that can write, and nothing in it that is not an id or an outcome."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.harness import ERAS, KEY, Box, Mode, Person, example_run, serving

SCENARIO = "empty"

RUN = "workflow_run_auditMe000000000001"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_confirmed_cancel_is_one_line_with_who_agreed(box: Box, log: Path, mode: Mode) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    async with serving(box, mode=mode, person=Person(), audit=str(log)) as client:
        await client.call_tool("get_workflow_run", {"run_id": RUN})
        await client.call_tool("cancel_workflow_run", {"run_id": RUN, "reason": "canary-reason"})
    *asked, last = lines(log)
    assert last == {
        "audit": 1,
        "at": last["at"],
        "who": "local",
        "tool": "cancel_workflow_run",
        "target": RUN,
        "outcome": "cancelled",
        "sent": True,
        "confirmed": "person",
        "verdict": "allowed",
    }
    # In the new protocol the call that asks and the call that brings the answer are two.
    assert [line["outcome"] for line in asked] == (["asked"] if mode == "auto" else [])
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for canary in ("canary-reason", "Invoices.pdf", KEY):
        assert canary not in log.read_text()


@pytest.mark.parametrize(
    ("person", "settings", "outcome", "confirmed"),
    [
        (Person("decline"), {}, "declined", None),
        (None, {}, "confirmation_required", None),
        (None, {"confirmation": "trusted"}, "cancelled", "trusted"),
    ],
)
async def test_each_way_of_confirming_is_told(
    box: Box, log: Path, person: Person | None, settings: dict[str, Any], outcome: str, confirmed: str | None
) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    async with serving(box, person=person, audit=str(log), **settings) as client:
        await client.call_tool("cancel_workflow_run", {"run_id": RUN})
    last = lines(log)[-1]
    assert (last["outcome"], last.get("confirmed")) == (outcome, confirmed)


async def test_a_token_is_told_and_bulk_counts_too(box: Box, log: Path) -> None:
    ids = [box.load(example_run(f"workflow_run_auditBulk0000000{n}", "PROCESSING")) for n in range(3)]
    async with serving(box, audit=str(log)) as client:
        plan = (await client.call_tool("cancel_runs", {"run_ids": ids})).structured_content
        assert plan
        await client.call_tool("cancel_runs", {"confirmation_token": plan["confirmation_token"]})
    first, second = lines(log)
    assert (first["outcome"], first.get("confirmed")) == ("confirmation_required", None)
    assert (second["outcome"], second["confirmed"], second["counts"]) == ("done", "token", {"cancelled": 3})
    assert plan["confirmation_token"] not in log.read_text()


async def test_starts_and_failures_are_told_without_what_was_given(box: Box, log: Path) -> None:
    async with serving(box, audit=str(log)) as client:
        given = {"workflow": "Invoice Processing", "text": "canary-text", "secrets": {"a": "canary-secret"}}
        started = (await client.call_tool("run_workflow", given)).structured_content
        box.fault(method="POST", path="/workflow_runs", status=403)
        await client.call_tool("run_workflow", given)
        await client.call_tool("run_workflow", {**given, "file_id": "file_1"})
        await client.call_tool("run_workflow", {"workflow": 5})
    assert started
    ok, refused, wrong = lines(log)
    assert (ok["outcome"], ok["target"]) == ("started", started["run_id"])
    assert refused["outcome"] == "PermissionDeniedError"
    assert refused["request_id"].startswith("req_")
    assert wrong["outcome"] == "refused"
    assert "canary" not in log.read_text()


async def test_a_call_that_is_cut_off_is_told(box: Box, log: Path) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    began = anyio.Event()

    async def hang() -> None:
        began.set()
        await anyio.sleep_forever()

    async with serving(box, sleep=hang, confirmation="trusted", audit=str(log)) as client:
        box.fault(method="POST", path=f"/workflow_runs/{RUN}/cancel", status=429, headers={"Retry-After": "5"})
        with anyio.CancelScope() as scope:

            async def cut() -> None:
                await began.wait()
                scope.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(cut)
                await client.call_tool("cancel_workflow_run", {"run_id": RUN})
        with anyio.fail_after(5):
            while not log.exists():
                await anyio.sleep(0)
    assert lines(log)[-1]["outcome"] == "interrupted"


async def test_it_is_off_unless_chosen_and_a_full_disk_fails_no_call(
    box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(box) as client:
        await client.call_tool("run_workflow", {"workflow": "Invoice Processing", "text": "a"})
    assert "audit" not in capsys.readouterr().err
    async with serving(box, audit=str(tmp_path / "no" / "such" / "folder")) as client:
        assert not (await client.call_tool("run_workflow", {"workflow": "Invoice Processing", "text": "a"})).is_error
    async with serving(box, audit="stderr") as client:
        await client.call_tool("run_workflow", {"workflow": "Invoice Processing", "text": "a"})
    assert '"tool":"run_workflow"' in capsys.readouterr().err
