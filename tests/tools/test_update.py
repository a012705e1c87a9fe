"""update_workflow_run and delete_workflow_run, beyond what every guarded write has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Box, Person, example_run, facts_of, serving, text_of

SCENARIO = "empty"

RUN = "workflow_run_changeMe0000000001"


async def update(box: Box, **arguments: Any) -> Any:
    async with serving(box) as client:
        return await client.call_tool("update_workflow_run", {"run_id": RUN, **arguments})


async def test_metadata_is_merged_and_shown_before_and_after(box: Box) -> None:
    box.load({**example_run(RUN, "PROCESSED"), "metadata": {"team": "ap", "stage": "old"}})
    result = await update(box, metadata={"stage": "new", "ticket": 7}, name="March")
    facts, text = facts_of(result), text_of(result)
    assert facts["outcome"] == "done"
    assert "old" in text
    assert "new" in text
    assert "ticket" in text
    assert "«March»" in text
    [sent] = box.requests("POST")
    assert sent["body"] == {"name": "March", "metadata": {"stage": "new", "ticket": 7}}
    assert box.api("GET", f"/workflow_runs/{RUN}")["metadata"] == {"team": "ap", "stage": "new", "ticket": 7}


async def test_nothing_to_change_is_refused(box: Box) -> None:
    result = await update(box)
    assert result.is_error
    assert box.requests() == []


async def test_metadata_above_ten_kilobytes_is_told_by_extend_s_own_words(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSED"))
    result = await update(box, metadata={"big": "x" * 11_000})
    assert result.is_error
    assert "metadata" in text_of(result)
    assert len(text_of(result)) < 1000


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True, "after": True}, {"truncate": 5}])
async def test_an_unclear_update_is_said_to_be_so(box: Box, fault: dict[str, Any]) -> None:
    box.load(example_run(RUN, "PROCESSED"))
    box.fault(method="POST", path=f"/workflow_runs/{RUN}", **fault)
    facts = facts_of(await update(box, metadata={"a": 1}))
    assert facts["outcome"] == "unknown"
    assert len(box.requests("POST")) == 1


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "CANCELLING"])
async def test_a_run_that_moves_is_not_deleted(box: Box, status: str) -> None:
    box.load(example_run(RUN, status))
    person = Person()
    async with serving(box, person=person) as client:
        facts = facts_of(await client.call_tool("delete_workflow_run", {"run_id": RUN}))
    assert facts["outcome"] == "refused"
    assert "Cancel it or wait" in facts["message"]
    assert person.asked == []
    assert box.requests("DELETE") == []


@pytest.mark.parametrize("status", ["PROCESSED", "FAILED", "REJECTED", "CANCELLED", "NEEDS_REVIEW"])
async def test_a_run_at_rest_is_deleted_after_a_yes(box: Box, status: str) -> None:
    box.load(example_run(RUN, status))
    async with serving(box, person=Person()) as client:
        facts = facts_of(await client.call_tool("delete_workflow_run", {"run_id": RUN}))
        again = await client.call_tool("get_workflow_run", {"run_id": RUN})
    assert facts["outcome"] == "done"
    assert again.is_error
