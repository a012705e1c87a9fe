from datetime import timedelta
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from extend_mcp.sandbox.engine.wire import RUN_STATUSES, read_timestamp
from tests.sandbox.kit import client_of, create, get, ids_of, make_sandbox

LONG = 600


@pytest.fixture
def sandbox() -> Sandbox:
    # These tests need no runs, and loading the default scenario would take most of their time.
    return make_sandbox(scenario="empty")


async def summary_of(api: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    listed = (await api.get("/workflow_runs", params={"maxPageSize": 100})).json()["data"]
    return next(run for run in listed if run["id"] == run_id)


async def cancel(api: httpx.AsyncClient, run_id: str) -> httpx.Response:
    return await api.post(f"/workflow_runs/{run_id}/cancel")


async def test_a_run_goes_through_its_steps_one_by_one(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run = await create(api, sandbox)
    assert (run["status"], run["stepRuns"], run["startTime"], run["usage"]) == ("PENDING", [], None, None)
    seen: list[tuple[str, tuple[str, ...]]] = []
    while run["status"] in ("PENDING", "PROCESSING"):
        sandbox.advance(0.25)
        run = await get(api, run["id"])
        shape = (run["status"], tuple(step["status"] for step in run["stepRuns"]))
        if shape not in seen:
            seen.append(shape)
    done, current, ahead = "PROCESSED", "PROCESSING", "PENDING"
    assert seen == [
        ("PENDING", ()),
        *(("PROCESSING", (*[done] * step, current, *[ahead] * (step < 5))) for step in range(6)),
        ("PROCESSED", (done,) * 6),
    ]
    assert [step["stepType"] for step in run["stepRuns"]] == [
        "PARSE",
        "CLASSIFY",
        "EXTRACT",
        "RULE_VALIDATION",
        "EXTERNAL_DATA_VALIDATION",
        "ROUTER",
    ]
    assert run["initialRunAt"] < run["startTime"] < run["endTime"]


async def test_each_step_lasts_one_to_four_seconds(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run = await create(api, sandbox)
    sandbox.advance(LONG)
    run = await get(api, run["id"])
    started, ended = read_timestamp(run["startTime"]), read_timestamp(run["endTime"])
    assert started
    assert ended
    assert timedelta(seconds=6) <= ended - started <= timedelta(seconds=24)


async def test_transitions_have_their_own_time_however_late_the_run_is_read(
    sandbox: Sandbox, api: httpx.AsyncClient
) -> None:
    other = make_sandbox(scenario="empty")
    run, twin = await create(api, sandbox), None
    async with client_of(other) as other_api:
        twin = await create(other_api, other)
        sandbox.advance(LONG)
        for _ in range(LONG):
            other.advance(1)
        assert await get(api, run["id"]) == await get(other_api, twin["id"])


async def test_credits_add_up_while_the_run_continues(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run = await create(api, sandbox)
    totals = []
    while run["status"] != "PROCESSED":
        sandbox.advance(1)
        run = await get(api, run["id"])
        if run["usage"]:
            assert run["usage"]["credits"] == sum(item["credits"] for item in run["usage"]["breakdown"])
            totals.append(run["usage"]["credits"])
    assert totals == sorted(totals)
    assert [item["object"] for item in run["usage"]["breakdown"]] == ["parse_run", "classify_run", "extract_run"]


async def test_each_transition_changes_updated_at_of_the_summary(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run_id = (await create(api, sandbox))["id"]
    first = await summary_of(api, run_id)
    assert first["createdAt"] == first["updatedAt"]
    sandbox.advance(5)
    second = await summary_of(api, run_id)
    assert second["createdAt"] == first["createdAt"]
    assert second["updatedAt"] > first["updatedAt"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("locked.pdf", "PASSWORD_PROTECTED_FILE"),
        ("corrupt.pdf", "CORRUPT_FILE"),
        ("unreachable.pdf", "UNABLE_TO_DOWNLOAD_FILE"),
    ],
)
async def test_a_file_name_can_cause_a_failure(
    sandbox: Sandbox, api: httpx.AsyncClient, name: str, reason: str
) -> None:
    run = await create(api, sandbox, name)
    sandbox.advance(LONG)
    run = await get(api, run["id"])
    parse, ahead = run["stepRuns"]
    assert (run["status"], run["failureReason"]) == ("FAILED", "FAILED_TO_PROCESS_FILE")
    assert run["failureMessage"]
    assert (parse["status"], ahead["status"]) == ("FAILED", "CANCELLED")
    assert parse["result"]["parseRun"]["failureReason"] == reason
    assert run["usage"] is None


async def test_an_approved_run_continues_with_the_steps_after_the_review(
    sandbox: Sandbox, api: httpx.AsyncClient
) -> None:
    run = await create(api, sandbox, "review.pdf")
    sandbox.advance(LONG)
    run = await get(api, run["id"])
    rules = run["stepRuns"][-1]["result"]
    assert (run["status"], run["endTime"], rules["allPassed"]) == ("NEEDS_REVIEW", None, False)
    assert False in rules["rules"][1]["validArray"]
    sandbox.review(run["id"], "approve")
    run = await get(api, run["id"])
    assert (run["status"], run["reviewed"]) == ("PROCESSING", True)
    extracted = run["stepRuns"][2]["result"]["extractRun"]
    assert extracted["reviewed"] is True
    assert extracted["initialOutput"] == extracted["reviewedOutput"] == extracted["output"]
    sandbox.advance(LONG)
    run = await get(api, run["id"])
    assert (run["status"], len(run["stepRuns"])) == ("PROCESSED", 6)


async def test_a_rejected_run_ends_with_the_reviewers_note(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run = await create(api, sandbox, "review.pdf")
    sandbox.advance(LONG)
    sandbox.review(run["id"], "reject", "Wrong vendor")
    run = await get(api, run["id"])
    assert (run["status"], run["rejectionNote"], run["reviewed"]) == ("REJECTED", "Wrong vendor", True)
    assert run["reviewedByUser"] == "reviewer@sandbox.example"
    assert run["reviewedAt"] == run["endTime"]


@pytest.mark.parametrize("seconds_before", [0, 5])
@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_cancelled_run_passes_through_cancelling(
    sandbox: Sandbox, api: httpx.AsyncClient, seconds_before: float, body: bytes
) -> None:
    run_id = (await create(api, sandbox))["id"]
    sandbox.advance(seconds_before)
    response = await api.post(f"/workflow_runs/{run_id}/cancel", content=body)
    assert (response.status_code, response.json()["status"]) == (200, "CANCELLING")
    sandbox.advance(1.9)
    assert (await get(api, run_id))["status"] == "CANCELLING"
    sandbox.advance(0.2)
    run = await get(api, run_id)
    assert run["status"] == "CANCELLED"
    assert run["endTime"]
    assert not {step["status"] for step in run["stepRuns"]} - {"PROCESSED", "CANCELLED"}
    sandbox.advance(LONG)
    assert await get(api, run_id) == run


async def test_a_pending_run_may_be_cancelled_at_once(api: httpx.AsyncClient) -> None:
    sandbox = make_sandbox(scenario="empty", cancel_pending_directly=True)
    async with client_of(sandbox) as own:
        run = await create(own, sandbox)
        assert (await cancel(own, run["id"])).json()["status"] == "CANCELLED"
        running = await create(own, sandbox)
        sandbox.advance(2)
        assert (await cancel(own, running["id"])).json()["status"] == "CANCELLING"


@pytest.mark.parametrize("refusal", [400, 422])
@pytest.mark.parametrize("status", sorted(set(RUN_STATUSES) - {"PENDING", "PROCESSING"}))
async def test_other_runs_cannot_be_cancelled(status: str, refusal: int) -> None:
    sandbox = make_sandbox(cancel_refusal_status=refusal)
    run_id = ids_of(sandbox, status)[0]
    async with client_of(sandbox) as api:
        before = await get(api, run_id)
        response = await cancel(api, run_id)
        assert (response.status_code, response.json()["code"]) == (refusal, "INVALID_REQUEST")
        assert response.json()["retryable"] is False
        assert status in response.json()["message"]
        terminal = status in {"PROCESSED", "FAILED", "REJECTED", "CANCELLED"}
        assert ("terminal" in response.json()["message"]) is terminal
        assert await get(api, run_id) == before


async def test_a_body_that_is_not_an_object_cancels_nothing(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run_id = (await create(api, sandbox))["id"]
    for body in (b"[]", b'"x"', b"{", b"NaN"):
        assert (await api.post(f"/workflow_runs/{run_id}/cancel", content=body)).status_code == 400
    assert (await get(api, run_id))["status"] == "PENDING"


async def test_an_unknown_run_is_not_found(api: httpx.AsyncClient) -> None:
    for response in (await api.get("/workflow_runs/workflow_run_none"), await cancel(api, "workflow_run_none")):
        assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("status", ["PROCESSED", "FAILED"])
async def test_a_run_can_win_the_race_against_its_cancel(sandbox: Sandbox, api: httpx.AsyncClient, status: str) -> None:
    run_id = (await create(api, sandbox))["id"]
    sandbox.advance(4)
    sandbox.finish_run(run_id, status, before_cancel=True)
    assert (await get(api, run_id))["status"] == "PROCESSING"
    response = await cancel(api, run_id)
    assert response.status_code == 400
    assert status in response.json()["message"]
    assert (await get(api, run_id))["status"] == status


async def test_a_run_finished_early_has_all_its_results(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    run_id = (await create(api, sandbox))["id"]
    sandbox.finish_run(run_id, "PROCESSED")
    run = await get(api, run_id)
    assert (run["status"], run["startTime"]) == ("PROCESSED", run["endTime"])
    assert [step["result"] is not None for step in run["stepRuns"]] == [True] * 6


async def test_every_workflow_ends_in_processed(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    for workflow in sandbox.store.workflows.values():
        run = await create(api, sandbox, "contract.pdf", workflow={"id": workflow.id})
        sandbox.advance(LONG)
        assert (await get(api, run["id"]))["status"] == "PROCESSED", workflow.summary["name"]


async def test_runs_of_the_same_file_name_have_the_same_results(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    first, second = await create(api, sandbox, "same.pdf"), await create(api, sandbox, "same.pdf")
    third = await create(api, sandbox, "other.pdf")
    sandbox.advance(LONG)
    values = []
    for run in (first, second, third):
        extracted = (await get(api, run["id"]))["stepRuns"][2]["result"]["extractRun"]
        values.append(extracted["output"]["value"])
    assert values[0] == values[1] != values[2]


async def test_text_is_parsed_and_extracted_as_given(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    text = "Invoice number: A-77\nTotal: $1,250.50\nVendor name: Fjord & Sons"
    run = await create(api, sandbox, file={"text": text, "name": "mail.txt"})
    sandbox.advance(LONG)
    steps = (await get(api, run["id"]))["stepRuns"]
    assert steps[0]["result"]["parseRun"]["output"]["chunks"][0]["content"] == text
    values = steps[2]["result"]["extractRun"]["output"]["value"]
    assert (values["invoice_number"], values["total"], values["vendor_name"]) == ("A-77", 1250.5, "Fjord & Sons")
