"""Every answer and question of each guarded write, as approved in tests/data/write_answers.txt.

python -m tests.actions.test_answers        writes the file; read its difference before committing it
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from mcp_types import ErrorData

from extend_mcp.sandbox.api.fault_injection import Fault
from tests.actions.test_cancel_runs import batch_of
from tests.actions.test_execute import CREATES, SETUPS, STEPS, Ready
from tests.harness import Box, Person, example_run, serving, text_of
from tests.hosting import Host, hosting

APPROVED = Path(__file__).parents[1] / "data" / "write_answers.txt"

_NOW = 1_770_717_600.0  # 2026-02-10T10:00:00Z
_CANCELLED = "workflow_run_cancelMe0000000001"
_BATCH = "batch_bulk001"


def _cancel(box: Box) -> Ready:
    box.load(example_run(_CANCELLED, "PROCESSING"))
    path = f"/workflow_runs/{_CANCELLED}"
    return Ready(
        "cancel_workflow_run",
        {"run_id": _CANCELLED, "reason": "wrong file"},
        "POST",
        f"{path}/cancel",
        (),
        lambda: box.finish(_CANCELLED, "PROCESSED", before_cancel=False),
    )


def _cancel_many(box: Box) -> Ready:
    ids = batch_of(box, 1)
    return Ready(
        "cancel_runs",
        {"batch": _BATCH, "reason": "wrong folder"},
        "POST",
        "/workflow_runs/*/cancel",
        (),
        lambda: box.finish(ids[0], "FAILED", before_cancel=False),
    )


def _cancel_named(box: Box) -> Ready:
    # One run that is cancelled: of several, a refusal would stop the others at any moment.
    [run_id] = batch_of(box, 1)
    box.load(example_run(_CANCELLED, "FAILED"))
    arguments = {"run_ids": [run_id, _CANCELLED, "workflow_run_gone1", "workflow_run_gone2"]}
    return Ready("cancel_runs", arguments, "POST", f"/workflow_runs/{run_id}/cancel", (), _nothing)


def _rerun(box: Box) -> Ready:
    run = {**example_run("workflow_run_failedMe000000001", "FAILED"), "batchId": _BATCH}
    run["workflow"] = {**run["workflow"], "id": box.workflow()}
    run["files"] = [box.api("POST", "/files/upload", files={"file": ("a.pdf", b"x")})]
    run_id = box.load(run)
    return Ready(
        "rerun_workflow_runs",
        {"run_ids": [run_id, "workflow_run_gone1", "workflow_run_gone2"], "priority": 9},
        "POST",
        "/workflow_runs",
        (),
        lambda: box.load({**run, "status": "REJECTED"}),
    )


def _start_batch(box: Box) -> Ready:
    inputs = [{"file": f"https://u{number}:p@{'ab'[number % 2]}.example/{number}.pdf?sig=1"} for number in range(20)]
    file = box.api("POST", "/files/upload", files={"file": ("a.pdf", b"x")})["id"]
    inputs += [{"text": "total 5"}, {"file": file}]
    arguments = {"workflow": "Invoice Processing", "inputs": inputs, "version": "2"}
    return Ready("run_workflow_batch", arguments, "POST", "/workflow_runs/batch", (), _nothing)


def _create(tool: str) -> Callable[[Box], Ready]:
    arguments, path = CREATES[tool]
    return lambda box: Ready(tool, arguments, "POST", f"*{path}", (), _nothing)


WRITES: dict[str, Callable[[Box], Ready]] = {
    **SETUPS,
    "create_webhook_endpoint": _create("create_webhook_endpoint"),
    "deploy_workflow_version with steps": _create("deploy_workflow_version"),
    "cancel_workflow_run": _cancel,
    "cancel_runs": _cancel_many,
    "cancel_runs by ids": _cancel_named,
    "rerun_workflow_runs": _rerun,
    "run_workflow_batch": _start_batch,
}


def _change_run(box: Box) -> Ready:
    box.load(example_run(_CANCELLED, "PROCESSED"))
    arguments = {"run_id": _CANCELLED, "name": "Bills", "metadata": {"team": "blue"}}
    return Ready("update_workflow_run", arguments, "POST", f"/workflow_runs/{_CANCELLED}", (), _nothing)


UNASKED: dict[str, Callable[[Box], Ready]] = {
    "update_workflow_run": _change_run,
    "create_workflow": lambda _: Ready(
        "create_workflow", {"name": "Bills", "steps": STEPS}, "POST", "/workflows", (), _nothing
    ),
    "upload_file": lambda _: Ready(
        "upload_file",
        {"name": "a.txt", "text": "total 5", "convert_to_pdf": True},
        "POST",
        "/files/upload",
        (),
        _nothing,
    ),
    "run_workflow": lambda _: Ready(
        "run_workflow",
        {"workflow": "Invoice Processing", "file_url": "https://files.example/a%20b.pdf"},
        "POST",
        "/workflow_runs",
        (),
        _nothing,
    ),
}
"""Writes about which nobody is asked."""

_PYTHON = {"blockType": "code", "code": {"language": "python", "code": "return True"}}
_READS = [{"name": f"Read {number}", "type": "EXTRACT"} for number in range(6)]
_ROUTES = {"branches": [{"id": "large", "name": "Large", "block": {**_PYTHON, "name": "large"}}]}
_ODD = [
    {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
    {"name": "Parse", "type": "PARSE", "next": [{"step": each["name"]} for each in _READS]},
    *_READS,
    {"name": "Check", "type": "VALIDATION", "config": {"blocks": [{**_PYTHON, "name": f"{n}"} for n in range(6)]}},
    {"name": "Route", "type": "ROUTER", "config": _ROUTES},
    {"name": "Split", "type": "ROUTER", "config": _ROUTES},
]
_ODDER = [
    *_ODD[:-2],
    {"name": "Route", "type": "ROUTER", "next": [{"step": each["name"], "branchId": "gone"} for each in _READS]},
    {"name": "Split", "type": "ROUTER", "config": {"branches": [{"id": "large"}, {"id": "small", "name": "Small"}]}},
]


def _odd_draft(box: Box, tool: str, **arguments: Any) -> Ready:
    """A write on a draft in which more is wrong than a question shows."""
    made = box.api("POST", "/workflows", json={"name": "Odd", "steps": _ODD})
    return Ready(tool, {"workflow": made["id"], **arguments}, "POST", f"/workflows/{made['id']}*", (), _nothing)


def _change_endpoint(box: Box) -> Ready:
    ready = SETUPS["update_webhook_endpoint"](box)
    arguments = {"name": "Night", "events": ["workflow.created", "workflow.deployed"], "status": "enabled"}
    return replace(ready, arguments={**ready.arguments, **arguments})


def _subscribe_again(box: Box) -> Ready:
    ready = SETUPS["create_webhook_subscription"](box)
    endpoint, workflow = ready.arguments["endpoint_id"], box.workflow()
    for kind, resource in (("workflow", workflow), ("workflow", box.workflow("Loan Packet Review"))):
        body = {"webhookEndpointId": endpoint, "resourceType": kind, "resourceId": resource}
        box.api("POST", "/webhook_subscriptions", json={**body, "enabledEvents": ["workflow_run.completed"]})
    return ready


def _delete_busy_endpoint(box: Box) -> Ready:
    ready = SETUPS["delete_webhook_endpoint"](box)
    body = {"webhookEndpointId": ready.arguments["endpoint_id"], "enabledEvents": ["workflow_run.completed"]}
    for number in range(101):
        workflow = box.api("POST", "/workflows", json={"name": f"W{number}", "steps": STEPS})["id"]
        box.api("POST", "/webhook_subscriptions", json={**body, "resourceType": "workflow", "resourceId": workflow})
    return ready


def _delete(status: str, **fields: Any) -> Callable[[Box], Ready]:
    def set_up(box: Box) -> Ready:
        box.load({**example_run(_CANCELLED, status), **fields})
        path = f"/workflow_runs/{_CANCELLED}"
        return Ready("delete_workflow_run", {"run_id": _CANCELLED}, "DELETE", path, (), _nothing)

    return set_up


def _cancel_package(box: Box) -> Ready:
    run = example_run(_CANCELLED, "PENDING")
    files = [*run["files"], {**run["files"][0], "id": "file_second", "name": "second.pdf"}]
    box.load({**run, "files": files, "initialRunAt": None, "usage": None})
    path = f"/workflow_runs/{_CANCELLED}/cancel"
    return Ready("cancel_workflow_run", {"run_id": _CANCELLED}, "POST", path, (), _nothing)


def _start_on_files(box: Box) -> Ready:
    files = [box.api("POST", "/files/upload", files={"file": (name, b"x")})["id"] for name in ("a.pdf", "b.pdf")]
    arguments = {"workflow": box.workflow(), "package": files, "version": "1", "priority": 3}
    return Ready("run_workflow", arguments, "POST", "/workflow_runs", (), _nothing)


def _start_on_many_hosts(box: Box) -> Ready:
    inputs = [{"file": f"https://{max(number - 9, 0)}.example/{number}.pdf"} for number in range(45)]
    return replace(_start_batch(box), arguments={"workflow": box.workflow(), "inputs": inputs})


MORE: dict[str, Callable[[Box], Ready]] = {
    "deploy_workflow_version of an odd draft": lambda box: _odd_draft(box, "deploy_workflow_version"),
    "update_workflow of an odd draft": lambda box: _odd_draft(box, "update_workflow", steps=_ODDER, name="Even"),
    "update_workflow's name": lambda box: _odd_draft(box, "update_workflow", name="Even"),
    "update_webhook_endpoint in every field": _change_endpoint,
    "create_webhook_endpoint without events": lambda box: replace(
        WRITES["create_webhook_endpoint"](box),
        arguments={"url": "https://hooks.example/x", "name": "Ops", "events": []},
    ),
    "delete_webhook_endpoint with many subscriptions": _delete_busy_endpoint,
    "create_webhook_subscription that is there": _subscribe_again,
    "delete_workflow_run that was reviewed": _delete(
        "REJECTED",
        reviewed=True,
        reviewedByUser="ana@example.com",
        reviewedAt="2026-02-10T09:00:00Z",
        files=[],
        usage=None,
    ),
    "delete_workflow_run that moves": _delete("PROCESSING"),
    "cancel_workflow_run of a package": _cancel_package,
    "run_workflow on text": lambda box: replace(
        UNASKED["run_workflow"](box), arguments={"workflow": "Invoice Processing", "text": "total 5"}
    ),
    "run_workflow on a package": _start_on_files,
    "run_workflow_batch from many hosts": _start_on_many_hosts,
}
"""Other forms of these writes: what a person reads, and what becomes of them after a yes."""

STATUSES = ("PENDING", "NEEDS_REVIEW", "CANCELLING", "PROCESSED", "FAILED", "REJECTED", "CANCELLED", "PAUSED_TOMORROW")


async def answers(host: Host, tool: str, folder: Path) -> str:
    """Return what a person and a model read, what Extend receives and what is audited, in every situation of a write.

    The audit log is in ``folder``, which must not hold one yet.
    """
    lines: list[str] = []
    questions: list[str] = []
    audit = folder / "audit.jsonl"
    common: dict[str, Any] = {"toolsets": "all", "audit": str(audit)}

    @asynccontextmanager
    async def scene(title: str) -> AsyncIterator[tuple[Box, Ready]]:
        with host.room("empty", source=lambda: _NOW) as running:
            running.sandbox.links.base_url = "http://sandbox.example"
            box = Box(running.base_url, running.sandbox)
            ready = {**WRITES, **UNASKED, **MORE}[tool](box)
            box.forget()
            lines.append(f"## {tool}: {title}")
            yield box, ready

    def note(box: Box, result: Any, person: Person | None = None, *, reads: bool = False) -> str:
        for question in person.asked if person else []:
            lines.extend(
                ["? (the same question)"] if question in questions else [f"? {line}" for line in question.splitlines()]
            )
            questions.append(question)
        assert "wrong arguments" not in text_of(result)
        if reads:
            # Of several at once, any may be first.
            paths = (f"{each['path']}?{urlencode(each['query'])}" for each in box.requests("GET"))
            lines.extend(f"< {count} x {path.rstrip('?')}" for path, count in sorted(Counter(paths).items()))
        # The sandbox may drop a connection before it has noted the body.
        requests = box.requests()
        for each in requests:
            body = json.dumps(each["body"]) if each["status"] == 200 else ""
            lines.extend([f"> {each['method']} {each['path']} {body}".rstrip()] if each["method"] != "GET" else [])
        box.forget()
        facts = result.structured_content or {}
        lines.extend(text_of(result).splitlines())
        short = {key: each for key, each in facts.items() if key not in _IN_TEXT}
        short["reads"] = sum(each["method"] == "GET" for each in requests)
        lines.append(f"= {json.dumps(short, sort_keys=True)}")
        if audit.exists():
            lines.extend(f"@ {_audited(line)}" for line in audit.read_text(encoding="utf-8").splitlines())
            audit.unlink()
        return str(facts.get("confirmation_token", ""))

    async def asked(
        title: str, person: Person, before: Callable[[Box, Ready], object] = lambda *_: None, *, reads: bool = False
    ) -> None:
        async with scene(title) as (box, ready):
            before(box, ready)
            box.forget()
            async with serving(box, person=person, label="Ops", **common) as client:
                note(box, await client.call_tool(ready.tool, ready.arguments), person, reads=reads)

    await asked("a person says yes", Person(), reads=True)
    if tool in MORE:
        await asked("the answer is lost", Person(), partial(_arm, FAULTS["the answer is lost"]), reads=True)
        return "\n".join(_steady(line) for line in lines)
    for title, fault in FAULTS.items():
        await asked(title, Person(), partial(_arm, fault), reads="lost" in title)
    await asked("what was to be read is gone", Person(), lambda box, _: box.fault(method="GET", status=404, times=9))
    if tool == "cancel_workflow_run":
        for status in STATUSES:
            await asked(status, Person(), lambda box, _, status=status: box.load(example_run(_CANCELLED, status)))
        for status in ("PROCESSED", "FAILED"):
            await asked(
                f"{status} before the cancel arrives",
                Person(),
                lambda box, _, status=status: box.finish(_CANCELLED, status, before_cancel=True),
            )
    if tool.startswith("cancel"):
        await asked("nothing can be read afterwards", Person(), _break_reads_after)
    await asked("the answer is lost, and nothing can be read afterwards", Person(), _lose_and_break_reads_after)
    if tool in UNASKED:
        return "\n".join(_steady(line) for line in lines)
    await asked("a person says no", Person("decline"))
    await asked("a person closes the question", Person("cancel"))
    await asked("a person does not tick the form", Person(confirm=False))
    for title, person in {
        "yes, and is asked during the call": Person(),
        "nothing, since the client fails": Absent(),
    }.items():
        async with (
            scene(f"a person says {title}") as (box, ready),
            serving(box, mode="legacy", person=person, label="Ops", **common) as client,
        ):
            note(box, await client.call_tool(ready.tool, ready.arguments), person)
    async with scene("it changes while a person thinks") as (box, ready):
        person = Person(meanwhile=lambda: (ready.alter(), box.forget()))
        async with serving(box, mode="legacy", person=person, **common) as client:
            note(box, await client.call_tool(ready.tool, ready.arguments), person)
    async with scene("it disappears while a person thinks") as (box, ready):
        person = Person(meanwhile=lambda: box.fault(method="GET", status=404, times=9))
        async with serving(box, mode="legacy", person=person, **common) as client:
            note(box, await client.call_tool(ready.tool, ready.arguments), person)
    async with (
        scene("nobody can be asked, and only a person may say yes") as (box, ready),
        serving(box, confirmation="person", **common) as client,
    ):
        note(box, await client.call_tool(ready.tool, ready.arguments))
    async with (
        scene("by token: a wrong one, the right one, and that again") as (box, ready),
        serving(box, **common) as client,
    ):
        token = note(box, await client.call_tool(ready.tool, ready.arguments))
        for given in ("nonsense", token, token):
            note(box, await client.call_tool(ready.tool, {**ready.arguments, "confirmation_token": given}))
    async with scene("by token: it changed since") as (box, ready), serving(box, **common) as client:
        token = note(box, await client.call_tool(ready.tool, ready.arguments))
        ready.alter()
        box.forget()
        note(box, await client.call_tool(ready.tool, {**ready.arguments, "confirmation_token": token}))
        box.advance(4000)
        note(box, await client.call_tool(ready.tool, {**ready.arguments, "confirmation_token": token}))
    return "\n".join(_steady(line) for line in lines)


FAULTS: dict[str, dict[str, Any]] = {
    "the answer is lost": {"drop": True, "after": True},
    "the request is lost": {"drop": True},
    "Extend refuses": {"status": 403},
    "Extend finds the request invalid": {"status": 400},
    "the target is gone by then": {"status": 404},
}


def _steady(line: str) -> str:
    """Leave out what differs between runs: what is sealed, secrets, and the ids of requests."""
    line = re.sub(r"\bv1\.[\w-]{40,}", "(sealed)", line)
    line = re.sub(r"\bwss_[\w-]+", "(a secret)", line)
    return re.sub(r"\breq_[\w-]+", "(a request id)", line)


class Absent(Person):
    """A person whom the client fails to ask."""

    async def answer(self, context: Any, params: Any) -> Any:
        self.asked.append(params.message)
        return ErrorData(code=-32603, message="nobody at the screen")


def _nothing() -> None:
    return None


def _arm(fault: dict[str, Any], box: Box, ready: Ready) -> None:
    box.fault(method=ready.method, path=ready.path, **fault)


def _break_reads_after(box: Box, ready: Ready) -> None:
    """Let every read fail once the request of the write has arrived."""
    faults = box.sandbox.faults
    take = faults.take

    def take_and_break(method: str, path: str) -> Fault | None:
        if method == ready.method and fnmatchcase(path, ready.path):
            box.fault(method="GET", status=403, times=999)
        return take(method, path)

    setattr(faults, "take", take_and_break)  # noqa: B010


def _lose_and_break_reads_after(box: Box, ready: Ready) -> None:
    _arm(FAULTS["the answer is lost"], box, ready)
    _break_reads_after(box, ready)


def _audited(line: str) -> str:
    """Write an audit line without what differs between runs or is the same in all."""
    known = {name: value for name, value in json.loads(line).items() if name not in _SAME}
    return json.dumps({**known, "request_ids": len(known.get("request_ids", ()))}, sort_keys=True)


_IN_TEXT = ("message", "next_step", "details", "plan", "confirmation_token", "note", "untrusted")

_SAME = ("audit", "at", "who", "tool", "account", "label")


@pytest.mark.parametrize("tool", [*WRITES, *UNASKED, *MORE])
async def test_the_answers_are_the_approved_ones(host: Host, tool: str, tmp_path: Path) -> None:
    approved = APPROVED.read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    assert await answers(host, tool, tmp_path) == next(
        (each for each in approved if each.startswith(f"## {tool}:")), ""
    )


if __name__ == "__main__":
    with hosting() as served, TemporaryDirectory() as temporary:
        every = [anyio.run(answers, served, each, Path(temporary)) for each in [*WRITES, *UNASKED, *MORE]]
    APPROVED.write_text("\n\n".join(every) + "\n", encoding="utf-8")
