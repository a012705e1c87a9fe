"""Runs of the past are listed without their steps, which are made when a run is read. Both must agree."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.store import RunRecord
from tests.sandbox.kit import client_of, get, ids_of, make_sandbox


@pytest.fixture(scope="module", params=["large", "incident"])
def many(request: pytest.FixtureRequest) -> Sandbox:
    return make_sandbox(scenario=request.param)


@pytest.fixture
async def many_api(many: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(many) as client:
        yield client


def sample(sandbox: Sandbox) -> list[RunRecord]:
    """Every 60th run, and five of each status."""
    records = [record for record in sandbox.store if record.make]
    chosen = {record.id: record for record in records[::60]}
    for status in wire.RUN_STATUSES:
        chosen |= {record.id: record for record in [each for each in records if each.status == status][:5]}
    return list(chosen.values())


def children(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [child for step in run["stepRuns"] for child in wire.child_runs(step["result"])]


async def test_a_list_makes_no_run_and_few_are_kept(many: Sandbox, many_api: httpx.AsyncClient) -> None:
    many.store.made.clear()
    page = (await many_api.get("/workflow_runs", params={"maxPageSize": 1000})).json()
    many.state()
    assert len(page["data"]) == 1000
    assert many.store.made == {}
    for each in page["data"][:50]:
        await get(many_api, each["id"])
    assert 0 < len(many.store.made) < 50


def test_lists_and_runs_agree(many: Sandbox) -> None:
    for record in sample(many):
        run = record.run
        assert wire.run_summary(run, record.created_at, record.updated_at) == record.summary(), record.id
        assert run["usage"] == record.brief["usage"] or run["usage"]["credits"] == sum(
            (child.get("usage") or {"credits": 0})["credits"] for child in children(run)
        )
        assert run["metadata"] == record.brief["metadata"]
        assert record.created_at < record.updated_at <= many.started_at


def test_every_document_that_a_person_looked_at_has_a_check_that_failed(many: Sandbox) -> None:
    looked_at = [record for record in many.store if record.make and record.status in ("NEEDS_REVIEW", "REJECTED")]
    assert len(looked_at) > 100
    assert [record.make().status for record in looked_at if record.make] == [record.status for record in looked_at]


def test_a_run_is_made_the_same_each_time(many: Sandbox) -> None:
    for record in sample(many)[:20]:
        many.store.made.clear()
        first = record.run
        many.store.made.clear()
        assert record.run is not first
        assert record.run == first


def test_steps_are_those_of_the_version_with_chunks_for_each_page(many: Sandbox) -> None:
    for record in sample(many):
        run = record.run
        workflow = many.store.workflows[run["workflow"]["id"]]
        defined = {step["name"] for step in workflow.steps[run["workflowVersion"]["id"]]}
        named = [step["step"]["name"] for step in run["stepRuns"]]
        assert {name for name in named if not name.startswith("Extract ")} <= defined
        assert named[0] == "Parse"
        parsed = run["stepRuns"][0]["result"]["parseRun"]
        if parsed["status"] == "PROCESSED":
            assert len(parsed["output"]["chunks"]) == run["files"][0]["metadata"]["pageCount"]
            assert all(chunk["content"] for chunk in parsed["output"]["chunks"])
        if run["status"] == "PROCESSED":
            # The last step may be a check that a person approved.
            assert {step["status"] for step in run["stepRuns"]} == {"PROCESSED"}
            assert len(named) >= 4


def test_reviews_and_failures_say_why(many: Sandbox) -> None:
    for record in sample(many):
        run = record.run
        assert (run["reviewedAt"] is not None) == (run["reviewedByUser"] is not None) == run["reviewed"]
        if run["status"] in ("NEEDS_REVIEW", "REJECTED"):
            result = run["stepRuns"][-1]["result"]
            assert result.get("allPassed", result.get("valid")) is False
        if run["status"] == "REJECTED":
            assert run["rejectionNote"]
            assert run["reviewedByUser"].endswith("@meridian.example")
            assert run["reviewedAt"] == run["endTime"]
        if run["status"] == "FAILED":
            (failed,) = [step for step in run["stepRuns"] if step["status"] == "FAILED"]
            assert wire.child_runs(failed["result"])[0]["failureReason"]
            assert run["failureReason"]
        if run["status"] == "CANCELLED":
            assert "CANCELLED" in {step["status"] for step in run["stepRuns"]}


async def test_a_past_run_can_be_changed(many: Sandbox, many_api: httpx.AsyncClient) -> None:
    done, waiting = ids_of(many, "PROCESSED")[7], ids_of(many, "NEEDS_REVIEW")[3]
    before = await get(many_api, done)
    changed = (await many_api.post(f"/workflow_runs/{done}", json={"metadata": {"seen": True}})).json()
    assert changed == before | {"metadata": before["metadata"] | {"seen": True}}
    assert await get(many_api, done) == changed
    assert (await many_api.post(f"/workflow_runs/{done}/cancel")).status_code == 400
    many.review(waiting, "approve")
    many.advance(120)
    approved = await get(many_api, waiting)
    assert (approved["status"], approved["reviewedByUser"]) == ("PROCESSED", "reviewer@sandbox.example")
    assert {step["status"] for step in approved["stepRuns"]} == {"PROCESSED"}


async def test_what_is_inside_a_past_run_is_found(many: Sandbox, many_api: httpx.AsyncClient) -> None:
    run = many.store.runs[ids_of(many, "PROCESSED")[500]].run
    kinds = {child["object"]: child for child in children(run)}
    assert "parse_run" in kinds
    many.store.made.clear()
    for kind, child in kinds.items():
        assert (await many_api.get(f"/{kind}s/{child['id']}")).json() == child
        listed = (await many_api.get(f"/{kind}s", params={"source": "WORKFLOW_RUN", "sourceId": run["id"]})).json()
        assert child["id"] in {each["id"] for each in listed["data"]}
    # Few runs were made to find them.
    assert len(many.store.made) < 3
    contents = (await many_api.get(f"/files/{run['files'][0]['id']}", params={"rawText": "true"})).json()["contents"]
    assert run["stepRuns"][0]["result"]["parseRun"]["output"]["chunks"][0]["content"] in str(
        contents.get("rawText") or contents["sheets"][0]["rawText"]
    )
