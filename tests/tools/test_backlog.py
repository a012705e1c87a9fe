"""review_queue in groups, by age, and with its inflow and outflow, compared with the sandbox's own account."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from extend_mcp.runs.times import format_instant
from tests.harness import ERAS, Box, Mode, facts_of, serving, text_of


async def test_ages_groups_and_flow_are_those_of_the_account(large: Box) -> None:
    with large.sandbox.lock:
        runs = [record.summary() for record in large.sandbox.store.runs.values()]
    now = large.now()
    waiting = [run for run in runs if run["status"] == "NEEDS_REVIEW"]
    async with serving(large) as client:
        workflows = await client.call_tool("review_queue", {"group_by": "workflow", "flow_since": "7d"})
        old = facts_of(await client.call_tool("review_queue", {"older_than": "10d", "limit": 1}))
        asked = len(large.requests())
        await client.call_tool("review_queue", {"group_by": "workflow"})
        assert len(large.requests()) - asked <= 3
    facts = facts_of(workflows)
    assert {row["group"]: row["runs"] for row in facts["groups"]} == Counter(run["workflow"]["name"] for run in waiting)
    begin = format_instant(now - timedelta(days=7))
    reviewed = [run for run in runs if (run["reviewedAt"] or "") >= begin]
    created = [run for run in runs if run["initialRunAt"] >= begin]
    sent = [run for run in created if run["reviewedAt"] or run["status"] == "NEEDS_REVIEW"]
    assert (facts["flow"]["sent"], facts["flow"]["reviewed"]) == (len(sent), len(reviewed))
    assert {row["group"]: row["reviewed"] for row in facts["groups"]} == Counter(
        run["workflow"]["name"] for run in reviewed
    )
    assert f"{len(sent):,} of the runs created then were sent to review" in text_of(workflows)
    assert old["total"] == sum(run["updatedAt"] < format_instant(now - timedelta(days=10)) for run in waiting)
    assert old["complete"]


@pytest.mark.parametrize("mode", ERAS)
async def test_the_queue_is_grouped_by_the_checks_that_sent_runs_there(box: Box, mode: Mode) -> None:
    async with serving(box, mode=mode) as client:
        rows = facts_of(await client.call_tool("review_queue", {}))["runs"]
        result = await client.call_tool("review_queue", {"group_by": "check"})
        wrong = await client.call_tool("review_queue", {"older_than": "soon"})
    counts = Counter(f'"{check["check"]}" in step "{check["step"]}"' for row in rows for check in row["checks"])
    groups = facts_of(result)["groups"]
    assert {group["group"]: group["runs"] for group in groups} == counts
    assert groups[0]["oldest_run_id"] == rows[0]["run_id"]
    assert facts_of(result)["runs"] == []
    assert 'older_than="24h"' in text_of(wrong)
