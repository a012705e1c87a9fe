"""EXTEND_MCP_LABEL: the operator's name for the account, wherever something is asked, planned, changed or recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extend_mcp.settings import Settings, SettingsError, load
from extend_mcp.tools.base import ACCOUNT_KEY
from tests.harness import ERAS, Box, Mode, Person, example_run, facts_of, serving, text_of

SCENARIO = "empty"

RUN = "workflow_run_ofProduction00000001"
OTHER = "workflow_run_ofProduction00000002"


@pytest.mark.parametrize("mode", ERAS)
async def test_two_entries_are_told_apart_at_a_glance(box: Box, mode: Mode, tmp_path: Path) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    log, person = tmp_path / "audit.jsonl", Person()
    async with serving(box, mode=mode, person=person, label="PRODUCTION (EU)", audit=str(log)) as client:
        cancelled = await client.call_tool("cancel_workflow_run", {"run_id": RUN})
        read = await client.call_tool("list_runs", {})
        account = str((await client.read_resource("extend://account")).contents)
        assert "(PRODUCTION (EU))" in str(client.server_info.title)
        assert "The account here is PRODUCTION (EU)." in str(client.instructions)
    assert person.asked[0].startswith(f"[PRODUCTION (EU)] Cancel workflow run {RUN}?\n")
    assert text_of(cancelled).startswith("[PRODUCTION (EU)] cancelled: ")
    assert facts_of(cancelled)["account"] == "PRODUCTION (EU)"
    assert (cancelled.meta or {})[ACCOUNT_KEY] == (read.meta or {})[ACCOUNT_KEY] == "PRODUCTION (EU)"
    assert "Account: PRODUCTION (EU)" in account
    assert {json.loads(line)["label"] for line in log.read_text().splitlines()} == {"PRODUCTION (EU)"}


@pytest.mark.parametrize(
    ("tool", "arguments"), [("cancel_workflow_run", {"run_id": RUN}), ("cancel_runs", {"run_ids": [RUN, OTHER]})]
)
async def test_a_plan_for_a_client_that_cannot_ask_names_the_account(
    box: Box, tool: str, arguments: dict[str, Any]
) -> None:
    for run in (RUN, OTHER):
        box.load(example_run(run, "PROCESSING"))
    async with serving(box, label="test") as client:
        plan = await client.call_tool(tool, arguments)
    assert text_of(plan).startswith("[test] confirmation_required: ")
    async with serving(box) as client:
        plan = await client.call_tool(tool, arguments)
    assert text_of(plan).startswith("confirmation_required: ")
    assert "account" not in facts_of(plan)
    assert ACCOUNT_KEY not in (plan.meta or {})


def test_a_label_is_one_short_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in ("a\nb", "«x»", "x" * 41, " ", "[x]"):
        monkeypatch.setenv("EXTEND_MCP_LABEL", fault)
        with pytest.raises(SettingsError, match="EXTEND_MCP_LABEL"):
            load(Settings)
