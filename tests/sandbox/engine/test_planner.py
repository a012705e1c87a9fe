"""Test that runs of definitions made through the API follow the routes of their steps."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from extend_mcp.sandbox import Sandbox
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.planner import plan_steps
from extend_mcp.sandbox.engine.run_plan import StepMoment
from extend_mcp.sandbox.engine.seeded_random import IdMaker
from extend_mcp.sandbox.engine.store import FileInput
from extend_mcp.workflows.check import find_faults
from tests.sandbox.kit import get
from tests.workflows.definitions import graphs

Step = dict[str, Any]
BEGIN: list[Step] = [
    {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
]


def parse(to: str) -> Step:
    return {"name": "Parse", "type": "PARSE", "next": [{"step": to}]}


def extract(name: str, *to: str) -> Step:
    config = {"extractorConfig": {"schema": {"type": "object", "properties": {"iban": {"type": "string"}}}}}
    return {"name": name, "type": "EXTRACT", "config": config, "next": [{"step": each} for each in to]}


def kinds(*names: str) -> list[Step]:
    return [{"id": name, "type": f"{name} type", "description": name} for name in names]


async def run(
    sandbox: Sandbox, api: httpx.AsyncClient, steps: list[Step], file: str = "plain.pdf"
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Run a definition on a file: the run at its end, and its step runs as (name, file name)."""
    made = await api.post("/workflows", json={"name": "W", "steps": [*BEGIN, *steps]})
    assert made.status_code == 200, made.text
    body = {"workflow": {"id": made.json()["id"]}, "file": {"url": f"https://files.example/{file}"}}
    started = (await api.post("/workflow_runs", json=body)).json()
    sandbox.advance(600)
    ended = await get(api, started["id"])
    return ended, [(step["step"]["name"], step["files"][0]["name"]) for step in ended["stepRuns"]]


@pytest.mark.parametrize(
    ("file", "way"),
    [
        ("a-bill.pdf", ["Parse", "Sort", "Bill"]),
        ("a-letter.pdf", ["Parse", "Sort", "Letter"]),
        ("nothing.pdf", ["Parse", "Sort", "Bill"]),
        ("other.pdf", ["Parse", "Sort"]),
    ],
)
async def test_a_classification_chooses(sandbox: Sandbox, api: httpx.AsyncClient, file: str, way: list[str]) -> None:
    steps = [
        parse("Sort"),
        {
            "name": "Sort",
            "type": "CLASSIFY",
            "config": {"classifierConfig": {"classifications": kinds("bill", "letter", "other")}},
            "next": [
                {"step": "Bill", "classificationId": "bill"},
                {"step": "Letter", "classificationId": "letter"},
            ],
        },
        extract("Bill"),
        extract("Letter"),
    ]
    ended, taken = await run(sandbox, api, steps, file)
    assert [name for name, _ in taken] == way
    assert ended["status"] == "PROCESSED"
    chosen = ended["stepRuns"][1]["result"]["classifyRun"]["output"]
    assert chosen["type"] == f"{chosen['id']} type"


@pytest.mark.parametrize(("file", "branch"), [("big.pdf", "big"), ("otherwise.pdf", None), ("x.pdf", "small")])
async def test_a_router_chooses_a_branch_or_otherwise(
    sandbox: Sandbox, api: httpx.AsyncClient, file: str, branch: str | None
) -> None:
    steps = [
        parse("Route"),
        {
            "name": "Route",
            "type": "ROUTER",
            "config": {"branches": [{"id": "small", "name": "Small"}, {"id": "big", "name": "Big"}]},
            "next": [
                {"step": "Read", "branchId": "small"},
                {"step": "Read", "branchId": "big"},
                {"step": "Other", "branchId": "otherwise"},
            ],
        },
        extract("Read"),
        extract("Other"),
    ]
    ended, taken = await run(sandbox, api, steps, file)
    matched = ended["stepRuns"][1]["result"]["matchedBranch"]
    assert (matched["id"] if matched else None) == branch
    assert taken[-1][0] == ("Read" if branch else "Other")


async def test_a_condition_routes_without_a_step_run(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    steps = [
        parse("If"),
        {
            "name": "If",
            "type": "CONDITIONAL",
            "config": {"conditions": [{"id": "yes", "type": "IF"}, {"id": "no", "type": "ELSE"}]},
            "next": [{"step": "A", "conditionId": "yes"}, {"step": "B", "conditionId": "no"}],
        },
        extract("A"),
        extract("B"),
    ]
    assert [name for name, _ in (await run(sandbox, api, steps, "no.pdf"))[1]] == ["Parse", "B"]


async def test_a_failed_check_waits_for_a_person_if_a_review_follows(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    steps = [
        parse("Check"),
        {
            "name": "Check",
            "type": "RULE_VALIDATION",
            "config": {"rules": [{"name": "total", "formula": "total > 0"}]},
            "next": [{"step": "Look", "result": "fail"}, {"step": "Last", "result": "pass"}],
        },
        {"name": "Look", "type": "HUMAN_REVIEW", "next": [{"step": "Last"}]},
        extract("Last"),
    ]
    ended, taken = await run(sandbox, api, steps, "review.pdf")
    assert ended["status"] == "NEEDS_REVIEW"
    assert [name for name, _ in taken] == ["Parse", "Check"]
    sandbox.review(ended["id"], "approve")
    sandbox.advance(60)
    assert (await get(api, ended["id"]))["status"] == "PROCESSED"
    passed, taken = await run(sandbox, api, steps, "fine.pdf")
    assert passed["status"] == "PROCESSED"
    assert [name for name, _ in taken] == ["Parse", "Check", "Last"]


async def test_the_parts_of_a_split_follow_their_routes_and_are_joined(
    sandbox: Sandbox, api: httpx.AsyncClient
) -> None:
    steps = [
        parse("Split"),
        {
            "name": "Split",
            "type": "SPLIT",
            "config": {"splitterConfig": {"splitClassifications": kinds("bill", "letter", "other")}},
            "next": [
                {"step": "Bill", "classificationId": "bill"},
                {"step": "Letter", "classificationId": "letter"},
            ],
        },
        extract("Bill", "Merge"),
        extract("Letter", "More"),
        extract("More", "Merge"),
        {"name": "Merge", "type": "MERGE_EXTRACT"},
    ]
    ended, taken = await run(sandbox, api, steps, "bill-and-letter-0001.pdf")
    whole = ended["files"][0]
    splits = ended["stepRuns"][1]["result"]["splitRun"]["output"]["splits"]
    assert [split["classificationId"] for split in splits] == ["bill", "letter"]
    assert splits[-1]["endPage"] == whole["metadata"]["pageCount"]
    assert [name for name, _ in taken] == ["Parse", "Split", "Bill", "Letter", "More", "Merge"]
    assert taken[-1] == ("Merge", whole["name"])
    by_name = dict(taken)
    assert by_name["Bill"] == splits[0]["name"]
    assert by_name["More"] == splits[1]["name"]
    for split in splits:
        file = (await api.get(f"/files/{split['fileId']}")).json()
        assert file["parentFileId"] == whole["id"]


async def test_a_cycle_ends_because_a_step_runs_once_per_file(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    steps = [
        parse("A"),
        extract("A", "Check"),
        {
            "name": "Check",
            "type": "RULE_VALIDATION",
            "config": {"rules": [{"name": "r", "formula": "a > 1"}]},
            "next": [{"step": "A", "result": "fail"}],
        },
    ]
    ended, taken = await run(sandbox, api, steps, "review.pdf")
    assert ended["status"] == "PROCESSED"
    assert [name for name, _ in taken] == ["Parse", "A", "Check"]


async def test_a_part_that_returns_to_its_split_is_not_split_again(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    steps = [
        parse("Split"),
        {
            "name": "Split",
            "type": "SPLIT",
            "config": {"splitterConfig": {"splitClassifications": kinds("bill", "letter")}},
            "next": [{"step": "Bill", "classificationId": "bill"}],
        },
        extract("Bill", "Check"),
        {
            "name": "Check",
            "type": "RULE_VALIDATION",
            "config": {"rules": [{"name": "r", "formula": "a > 1"}]},
            "next": [{"step": "Split", "result": "fail"}],
        },
    ]
    ended, taken = await run(sandbox, api, steps, "bill-and-letter-review-01.pdf")
    assert ended["status"] == "PROCESSED"
    assert [name for name, _ in taken] == ["Parse", "Split", "Bill", "Check"]


async def test_the_fields_of_a_schema_are_extracted(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    ended, _ = await run(sandbox, api, [parse("Read"), extract("Read")])
    output = ended["stepRuns"][1]["result"]["extractRun"]["output"]
    assert set(output["value"]) == {"iban"}
    assert set(output["metadata"]) == {"iban"}


async def test_a_saved_processor_is_named_in_the_result(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    config = {"extractor": {"id": "ex_mine", "version": "3"}}
    steps = [parse("Read"), {"name": "Read", "type": "EXTRACT", "config": config}]
    ended, _ = await run(sandbox, api, steps)
    found = ended["stepRuns"][1]["result"]["extractRun"]
    assert (found["extractor"]["id"], found["extractorVersion"]["version"]) == ("ex_mine", "3")


async def test_a_bad_file_fails_in_the_parse_step(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    ended, taken = await run(sandbox, api, [parse("Read"), extract("Read")], "corrupt.pdf")
    assert ended["status"] == "FAILED"
    assert ended["stepRuns"][0]["status"] == "FAILED"
    assert [name for name, _ in taken][:1] == ["Parse"]


@settings(max_examples=60)
@given(graphs(), st.sampled_from(["x.pdf", "y-review.pdf", "otherwise.pdf", "a.pdf"]))
def test_every_valid_draft_can_be_planned(steps: Any, name: str) -> None:
    assume(not find_faults(steps))
    now = datetime(2026, 11, 24, tzinfo=timezone.utc)
    ids = IdMaker(1)
    file = wire.file_summary(ids("file_"), name, 4, now)
    planned = plan_steps(steps, FileInput(file), ids, now)
    assert planned[0].step_type == "PARSE"
    taken = [(step.name, step.files[0]["id"]) for step in planned]
    assert len(set(taken)) == len(taken)
    assert {step.name for step in planned} <= {step["name"] for step in steps}
    for step in planned:
        moment = StepMoment(ids, step.files[0], now, now, None, None)
        json.dumps(step.build_result(moment))
