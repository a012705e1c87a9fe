"""Clients that start a process for each call, such as LangChain's get_tools(): what one proposes, the next confirms."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client

from tests.actions.test_rerun import failed_batch
from tests.e2e.test_eras import RUN, box, child
from tests.harness import Box, example_run, facts_of
from tests.hosting import Host

__all__ = ["box"]

ENDPOINT = {"url": "https://hooks.example/x", "name": "Ops", "events": ["workflow.created"]}

pytestmark = pytest.mark.thorough


class Processes:
    """Calls our server over stdio, in a new process for each call."""

    def __init__(self, box: Box, state: Path) -> None:
        self._box = box
        self._state = state

    async def call(self, tool: str, arguments: dict[str, Any], **environment: str) -> dict[str, Any]:
        given = {"XDG_STATE_HOME": str(self._state), "EXTEND_MCP_TOOLSETS": "all", **environment}
        async with Client(child(self._box, **given)) as client:
            return facts_of(await client.call_tool(tool, arguments))


@pytest.fixture
def processes(box: Box, tmp_path: Path) -> Processes:
    return Processes(box, tmp_path / "state")


async def test_a_cancel_is_proposed_by_one_process_and_confirmed_through_the_next(
    box: Box, processes: Processes
) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    plan = await processes.call("cancel_workflow_run", {"run_id": RUN, "reason": "sent twice"})
    assert plan["outcome"] == "confirmation_required"
    # The reason is in the token: the confirming call may leave it out.
    confirmed = {"run_id": RUN, "confirmation_token": plan["confirmation_token"]}
    assert (await processes.call("cancel_workflow_run", confirmed))["outcome"] == "cancelled"
    assert [request["status"] for request in box.requests("POST")] == [200]


async def test_another_reason_needs_another_yes(box: Box, processes: Processes) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    plan = await processes.call("cancel_workflow_run", {"run_id": RUN, "reason": "sent twice"})
    other = {"run_id": RUN, "reason": "another", "confirmation_token": plan["confirmation_token"]}
    assert (await processes.call("cancel_workflow_run", other))["outcome"] == "changed"
    assert box.requests("POST") == []


async def test_a_bulk_cancel_is_proposed_by_one_process_and_carried_out_once_by_others(
    box: Box, processes: Processes
) -> None:
    ids = [box.load(example_run(f"{RUN}{number}", "PROCESSING")) for number in range(3)]
    await carried_out_once(box, processes, "cancel_runs", ids, "cancelled")


async def test_a_rerun_is_proposed_by_one_process_and_carried_out_once_by_others(host: Host, tmp_path: Path) -> None:
    with host.room(speed=20) as running:
        box = Box(running.base_url, running.sandbox)
        ids = failed_batch(box)
        await carried_out_once(
            box, Processes(box, tmp_path), "rerun_workflow_runs", ids, "started", include_hopeless=True
        )


async def carried_out_once(
    box: Box, processes: Processes, tool: str, ids: list[str], outcome: str, **more: object
) -> None:
    plan = await processes.call(tool, {"run_ids": ids, **more})
    assert plan["outcome"] == "confirmation_required"
    token = {"confirmation_token": plan["confirmation_token"]}
    for _ in range(2):
        done = await processes.call(tool, token)
        assert done["outcome"] == "done"
        assert [result["outcome"] for result in done["results"]] == [outcome] * len(ids)
    assert len(box.requests("POST")) == len(ids)


async def test_a_third_process_cannot_use_the_yes_for_a_second_create(box: Box, processes: Processes) -> None:
    plan = await processes.call("create_webhook_endpoint", ENDPOINT)
    confirmed = {**ENDPOINT, "confirmation_token": plan["confirmation_token"]}
    outcomes = [(await processes.call("create_webhook_endpoint", confirmed))["outcome"] for _ in range(2)]
    assert outcomes == ["done", "refused"]
    assert len(box.requests("POST")) == 1


async def test_a_process_of_another_account_says_why_it_refuses_the_token(box: Box, processes: Processes) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    plan = await processes.call("cancel_workflow_run", {"run_id": RUN})
    confirmed = {"run_id": RUN, "confirmation_token": plan["confirmation_token"]}
    refused = await processes.call("cancel_workflow_run", confirmed, EXTEND_API_KEY="sk_another_account")
    assert refused["outcome"] == "confirmation_required"
    assert "another key (give every process the same EXTEND_API_KEY" in refused["message"]
    other = {"EXTEND_WORKSPACE_ID": "ws_other"}
    assert "another Extend account" in (await processes.call("cancel_workflow_run", confirmed, **other))["message"]
    assert box.requests("POST") == []


async def test_what_is_kept_is_its_owner_s_alone_and_unreadable(box: Box, processes: Processes, tmp_path: Path) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    await processes.call("cancel_runs", {"run_ids": [RUN]})
    folder = tmp_path / "state" / "extend-mcp"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    [file] = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = file.read_bytes()
    assert b"plan:" in kept
    assert b"workflow_run" not in kept
    assert b"cancel" not in kept


async def test_without_a_writable_folder_a_confirmation_counts_in_its_own_process_only(
    box: Box, processes: Processes, tmp_path: Path
) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    (tmp_path / "state").write_text("in the way")
    plan = await processes.call("cancel_workflow_run", {"run_id": RUN})
    confirmed = {"run_id": RUN, "confirmation_token": plan["confirmation_token"]}
    refused = await processes.call("cancel_workflow_run", confirmed)
    assert refused["outcome"] == "confirmation_required"
    async with Client(child(box, XDG_STATE_HOME=str(tmp_path / "state"))) as client:
        plan = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))
        confirmed = {"run_id": RUN, "confirmation_token": plan["confirmation_token"]}
        assert facts_of(await client.call_tool("cancel_workflow_run", confirmed))["outcome"] == "cancelled"
