"""The audit: one line for each call that can write, with ids, outcomes and the reason given, and nothing else.

And the tool that reads it.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import anyio
import pytest

from extend_mcp.audit import AuditScan
from tests.harness import ERAS, KEY, Box, Mode, Person, example_run, facts_of, serving, text_of

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
        await client.call_tool("cancel_workflow_run", {"run_id": RUN, "reason": "wrong\nvendor"})
    (sent,) = box.requests("POST")
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
        "account": last["account"],
        "reason": "wrong\nvendor",
        "request_ids": [sent["request_id"]],
        "verdict": "allowed",
    }
    # In the new protocol the call that asks and the call that brings the answer are two.
    assert [(line["outcome"], line["target"]) for line in asked] == ([("asked", RUN)] if mode == "auto" else [])
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for canary in ("Invoices.pdf", KEY):
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
        given = {"run_ids": ids, "reason": "all wrong"}
        plan = (await client.call_tool("cancel_runs", given)).structured_content
        assert plan
        await client.call_tool("cancel_runs", {"confirmation_token": plan["confirmation_token"]})
    first, second = lines(log)
    assert (first["outcome"], first.get("confirmed")) == ("confirmation_required", None)
    assert (first["runs"], first["reason"]) == ({"planned": ids}, "all wrong")
    assert (second["outcome"], second["confirmed"], second["counts"]) == ("done", "token", {"cancelled": 3})
    # The token alone brings the reason back.
    assert (sorted(second["runs"]["cancelled"]), second["reason"]) == (sorted(ids), "all wrong")
    assert sorted(second["request_ids"]) == sorted(sent["request_id"] for sent in box.requests("POST"))
    assert plan["confirmation_token"] not in log.read_text()


async def test_a_token_that_nobody_needed_is_no_confirmation(box: Box, log: Path) -> None:
    given = {"workflow": "Invoice Processing", "inputs": [{"text": "total: 1"}], "confirmation_token": "nonsense"}
    async with serving(box, audit=str(log)) as client:
        await client.call_tool("run_workflow_batch", given)
    [line] = lines(log)
    assert (line["outcome"], line.get("confirmed")) == ("started", None)


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
    assert refused["request_ids"] == [box.requests("POST")[-1]["request_id"]]
    assert wrong["outcome"] == "refused"
    assert "canary" not in log.read_text()


async def test_a_call_that_is_cut_off_is_told(box: Box, log: Path) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    began = anyio.Event()

    async def hang() -> None:
        began.set()
        await anyio.sleep_forever()

    async with serving(box, before_sleep=hang, confirmation="trusted", audit=str(log)) as client:
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


async def test_actions_are_listed_by_run_caller_and_time(box: Box, log: Path) -> None:
    ids = [box.load(example_run(f"workflow_run_auditList0000000{n}", "PROCESSING")) for n in range(3)]
    settings = {"toolsets": ["runs", "incidents"], "audit": str(log)}
    async with serving(box, confirmation="trusted", **settings) as client:

        async def actions(**given: Any) -> dict[str, Any]:
            return facts_of(await client.call_tool("list_actions", given))

        assert await actions() == {"actions": [], "complete": True, "note": ANY, "shown": 0, "untrusted": "reason"}
        await client.call_tool("cancel_runs", {"run_ids": ids[:2], "reason": "two \u00abmarks\u00bb"})
        box.advance(7200)
        await client.call_tool("cancel_workflow_run", {"run_id": ids[2]})
        with log.open("a") as file:
            # What another program left, another account's line, and a line that is only half written yet.
            other = {**lines(log)[-1], "account": "0" * 20, "reason": "canary-of-another-account"}
            file.write(f'[]\nnot JSON\n{{"audit": 1}}\n{json.dumps(other)}\n{{"audit": 1, "at": "20')
        single, many = (await actions())["actions"]
        assert (single["target"], single["outcome"], single["confirmed_by"]) == (ids[2], "cancelled", "trusted")
        assert (many["counts"], sorted(many["run_ids"])) == ({"cancelled": 2}, sorted(ids[:2]))
        assert many["reason"] == 'two "marks"'
        of_one = (await actions(run_id=ids[0]))["actions"]
        assert [(each["counts"], each["run_ids"]) for each in of_one] == [({"cancelled": 1}, [ids[0]])]
        assert (await actions(since="1h"))["actions"] == [single]
        assert (await actions(before="1h"))["actions"] == [many]
        assert (await actions(caller="local"))["shown"] == 2
        assert (await actions(caller="token:anna"))["shown"] == 0
        refused = await client.call_tool("list_actions", {"since": "1h", "before": "2h"})
        assert text_of(refused) == "since must be earlier than before."
        # A page token keeps its place while new lines arrive.
        page = await actions(page_size=1)
        log.write_text(log.read_text() + "\n")
        await client.call_tool("cancel_workflow_run", {"run_id": ids[2]})
        assert (page["actions"], (await actions())["shown"]) == ([single], 3)
        rest = await actions(page_token=page["next_page_token"])
        assert (rest["actions"], rest["complete"]) == ([many], True)
    async with serving(box, toolsets=["incidents"]) as client:
        answer = text_of(await client.call_tool("list_actions", {}))
    assert "INCOMPLETE: this server keeps no audit that it can read" in answer


def test_an_audit_is_read_backwards(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    made = [{"audit": 1, "at": f"{n:06}", "who": "w" * (n % 300), "tool": "t", "outcome": "o"} for n in range(9000)]
    file.write_text("".join(json.dumps(each) + "\n" for each in made))
    scan = AuditScan(file)
    read = list(scan.lines())
    assert ([line for _, line in read], scan.complete) == (made[::-1], True)
    place = read[4000][0]
    assert [line for _, line in AuditScan(file, end=place).lines()] == made[::-1][4001:]
    short = AuditScan(file, most_bytes=100_000)
    assert 100 < len(list(short.lines())) < len(made)
    assert not short.complete


async def test_a_rerun_is_found_by_the_run_that_it_started(box: Box, log: Path) -> None:
    file = box.api("POST", "/files/upload", files={"file": ("a.txt", b"a")})["id"]
    failed = example_run("workflow_run_auditRerun00000001", "FAILED")
    failed["files"][0]["id"] = file
    failed["workflow"]["id"] = box.workflow()
    box.load(failed)
    async with serving(box, confirmation="trusted", toolsets=["runs", "incidents"], audit=str(log)) as client:
        await client.call_tool("rerun_workflow_runs", {"run_ids": [failed["id"]]})
        (new,) = lines(log)[-1]["new_runs"]
        (action,) = facts_of(await client.call_tool("list_actions", {"run_id": new}))["actions"]
    assert (action["tool"], action["run_ids"], action["new_run_ids"]) == ("rerun_workflow_runs", [failed["id"]], [new])
    assert new in {run["id"] for run in box.state()["runs"]}
