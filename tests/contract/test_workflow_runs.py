"""The official SDK judges the sandbox's workflow runs, and its errors."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from extend_mcp.api.requests import CreateWorkflowRun, WorkflowTarget
from extend_mcp.runs.failures import retry_advice
from extend_mcp.sandbox.api.fault_injection import Fault
from tests.contract.judge import Judge, extend_ai
from tests.hosting import Host

STATUSES = ("PENDING", "PROCESSING", "NEEDS_REVIEW", "REJECTED", "PROCESSED", "FAILED", "CANCELLED", "CANCELLING")
STEP_TYPES = {
    "PARSE",
    "EXTRACT",
    "CLASSIFY",
    "SPLIT",
    "MERGE_EXTRACT",
    "CONDITIONAL_EXTRACT",
    "RULE_VALIDATION",
    "VALIDATION",
    "ROUTER",
    "EXTERNAL_DATA_VALIDATION",
}


def test_every_run_of_the_scenario_passes_and_all_statuses_and_step_types_are_there(judge: Judge) -> None:
    known = [run["id"] for run in judge.sandbox.state()["runs"]]
    assert len(known) >= 40
    statuses, types = set(), set()
    for run_id in known:
        run = judge.run(lambda run_id=run_id: judge.sdk.workflow_runs.retrieve(run_id))  # type: ignore[misc]
        assert run.id == run_id
        statuses.add(run.status)
        types |= {step["stepType"] for step in judge.raw["stepRuns"]}
        usage = judge.raw["usage"]
        if usage and usage.get("breakdown"):
            assert usage["credits"] == pytest.approx(sum(item["credits"] for item in usage["breakdown"]))
    assert statuses == set(STATUSES)
    assert types == STEP_TYPES


@pytest.mark.parametrize("scenario", [pytest.param("large", marks=pytest.mark.thorough), "incident"])
def test_runs_that_are_made_when_they_are_read_pass_too(host: Host, scenario: str) -> None:
    with host.room(scenario) as running:
        judge = Judge(running)
        listed = judge.sdk.workflow_runs.list(max_page_size=1000, sort_by="createdAt", sort_dir="asc").data
        for summary in judge.raw["data"]:
            extend_ai.WorkflowRunSummary.model_validate(summary)
        assert len(listed) == 1000
        by_status: dict[Any, list[Any]] = {}
        for record in running.sandbox.store:
            by_status.setdefault(record.status, []).append(record)
        for records in by_status.values():
            for record in records[:5]:
                run = judge.run(lambda record=record: judge.sdk.workflow_runs.retrieve(record.id))  # type: ignore[misc]
                assert run.status == record.status
                children = judge.sdk.parse_runs.list(source="WORKFLOW_RUN", source_id=record.id).data
                assert len(children) <= 1
        failed = judge.sdk.parse_runs.list(status="FAILED", max_page_size=5)
        assert {run.status for run in failed.data} == {"FAILED"}
        judge.close()


def test_pages_hold_every_run_once_in_order(judge: Judge) -> None:
    known = {run["id"] for run in judge.sandbox.state()["runs"]}
    for sort_by in ("createdAt", "updatedAt"):
        for sort_dir in ("asc", "desc"):
            seen = judge.list(max_page_size=7, sort_by=sort_by, sort_dir=sort_dir)
            assert len(seen) == len(known)
            assert {run.id for run in seen} == known
            times = [run.created_at if sort_by == "createdAt" else run.updated_at for run in seen]
            assert times == sorted(times, reverse=sort_dir == "desc")


@pytest.mark.parametrize("status", STATUSES)
def test_the_status_filter(judge: Judge, status: str) -> None:
    wanted = {run["id"] for run in judge.sandbox.state()["runs"] if run["status"] == status}
    assert wanted
    assert {run.id for run in judge.list(status=status, max_page_size=3)} == wanted


def test_the_other_filters_alone_and_together(judge: Judge) -> None:
    runs = judge.sandbox.state()["runs"]
    some = next(run for run in runs if run["batchId"])
    part = some["file"][:6]

    def wanted(keep: Callable[[dict[str, Any]], bool]) -> set[str]:
        return {run["id"] for run in runs if keep(run)}

    def found(**query: Any) -> set[str]:
        return {run.id for run in judge.list(**query)}

    assert found(workflow_id=some["workflowId"]) == wanted(lambda run: run["workflowId"] == some["workflowId"])
    assert found(batch_id=some["batchId"]) == wanted(lambda run: run["batchId"] == some["batchId"])
    assert some["id"] in found(file_name_contains=part)
    assert found(file_name_contains="no such file anywhere") == set()
    together = found(
        workflow_id=some["workflowId"], batch_id=some["batchId"], status=some["status"], file_name_contains=part
    )
    assert some["id"] in together
    assert together <= found(batch_id=some["batchId"]) & found(status=some["status"]) & found(file_name_contains=part)


@pytest.mark.parametrize(
    "file",
    [
        {"url": "https://files.example/invoices/a%20b.pdf", "name": "a b.pdf"},
        {"url": "https://files.example/c.pdf", "settings": {"password": "open sesame"}},
        {"text": "Invoice INV-1\nTotal 12.50", "name": "note.txt"},
        "known id",
    ],
    ids=["url", "url with password", "text", "id"],
)
def test_a_run_is_created_and_runs_to_its_end(judge: Judge, file: Any) -> None:
    workflow = judge.sandbox.state()["workflows"][0]["id"]
    some = judge.sandbox.state()["runs"][0]["id"]
    if file == "known id":
        judge.sdk.workflow_runs.retrieve(some)
        file = {"id": judge.raw["files"][0]["id"]}
    created = judge.run(
        lambda: judge.sdk.workflow_runs.create(
            workflow={"id": workflow}, file=file, priority=1, metadata={"k": "v"}, secrets={"token": "canary-secret"}
        )
    )
    assert created.status in ("PENDING", "PROCESSING")
    assert created.metadata == {"k": "v"}
    assert "canary-secret" not in str(judge.raw)
    assert "open sesame" not in str(judge.raw)
    for _ in range(40):
        judge.sandbox.advance(1)
        run = judge.run(lambda: judge.sdk.workflow_runs.retrieve(created.id))
    assert run.status in ("PROCESSED", "NEEDS_REVIEW")
    assert created.id in {each.id for each in judge.list(workflow_id=workflow)}


def test_a_cancel_goes_through_cancelling_to_cancelled(judge: Judge) -> None:
    running = [run["id"] for run in judge.sandbox.state()["runs"] if run["status"] in ("PROCESSING", "PENDING")]
    for run_id in running:
        accepted = judge.run(lambda run_id=run_id: judge.sdk.workflow_runs.cancel(run_id))  # type: ignore[misc]
        assert accepted.status == "CANCELLING"
    judge.sandbox.advance(10)
    for run_id in running:
        ended = judge.run(lambda run_id=run_id: judge.sdk.workflow_runs.retrieve(run_id))  # type: ignore[misc]
        assert ended.status == "CANCELLED"
        assert ended.end_time is not None


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("PENDING", "PROCESSING")])
def test_any_other_cancel_is_refused(judge: Judge, status: str) -> None:
    run_id = next(run["id"] for run in judge.sandbox.state()["runs"] if run["status"] == status)
    with pytest.raises(extend_ai.BadRequestError):
        judge.sdk.workflow_runs.cancel(run_id)
    assert (judge.raw["code"], judge.raw["retryable"]) == ("INVALID_REQUEST", False)
    assert status in judge.raw["message"]


def test_errors_are_the_sdk_s_own_kinds(judge: Judge) -> None:
    with pytest.raises(extend_ai.NotFoundError):
        judge.sdk.workflow_runs.retrieve("workflow_run_nowhere")
    assert set(judge.raw) >= {"code", "message", "retryable", "requestId"}
    with pytest.raises(extend_ai.BadRequestError):
        judge.sdk.workflow_runs.list(next_page_token="not a token")
    with pytest.raises(extend_ai.BadRequestError):
        judge.sdk.workflow_runs.create(workflow={"id": judge.sandbox.state()["workflows"][0]["id"]})
    with pytest.raises(extend_ai.NotFoundError):
        judge.sdk.workflow_runs.create(workflow={"id": "workflow_nowhere"}, file={"text": "a"})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, extend_ai.BadRequestError),
        (401, extend_ai.UnauthorizedError),
        (402, extend_ai.PaymentRequiredError),
        (403, extend_ai.ForbiddenError),
        (404, extend_ai.NotFoundError),
        (422, extend_ai.UnprocessableEntityError),
        (429, extend_ai.TooManyRequestsError),
        (500, extend_ai.InternalServerError),
    ],
)
def test_every_declared_status_is_an_exception_of_its_own(judge: Judge, status: int, kind: type[Exception]) -> None:
    judge.sandbox.faults.add(Fault(status=status))
    with pytest.raises(kind) as raised:
        judge.sdk.workflow_runs.list(request_options={"max_retries": 0})
    body = raised.value.body  # type: ignore[attr-defined]
    read = body if isinstance(body, dict) else body.model_dump(by_alias=True)
    assert {key: read[key] for key in judge.raw} == judge.raw
    assert judge.raw["retryable"] is (status in (429, 500))


def test_the_sdk_s_own_retries_get_past_a_passing_fault(judge: Judge) -> None:
    judge.sandbox.faults.add(Fault(status=429, headers={"Retry-After": "0"}))
    assert judge.list()
    assert [entry.status for entry in judge.sandbox.log][:2] == [429, 200]


def test_a_package_becomes_one_run_of_all_its_files(judge: Judge) -> None:
    files = [{"url": f"https://files.example/{name}.pdf"} for name in ("front", "back")]
    workflow = judge.sandbox.state()["workflows"][0]["id"]
    run = judge.run(lambda: judge.sdk.workflow_runs.create(workflow={"id": workflow}, package={"files": files}))
    assert [file.name for file in run.files] == ["front.pdf", "back.pdf"]


def test_an_output_override_replaces_what_the_extractor_found(judge: Judge) -> None:
    workflow = judge.sdk.workflows.list(sort_by="createdAt", sort_dir="desc").data[0].id
    extract = next(
        step["config"]["extractor"]["id"]
        for step in judge.sandbox.store.workflows[workflow].draft_steps
        if step["type"] == "EXTRACT"
    )
    output = {"value": {"total": 1.0}, "metadata": {}}
    run = judge.run(
        lambda: judge.sdk.workflow_runs.create(
            workflow={"id": workflow},
            file={"url": "https://files.example/a.pdf"},
            outputs=[{"processor_id": extract, "output": output}],
        )
    )
    judge.sandbox.advance(300)
    judge.run(lambda: judge.sdk.workflow_runs.retrieve(run.id))
    (found,) = (step["result"]["extractRun"] for step in judge.raw["stepRuns"] if step["stepType"] == "EXTRACT")
    assert found["output"] == output


def test_a_batch_is_followed_by_its_id(judge: Judge) -> None:
    workflow = judge.sandbox.state()["workflows"][0]["id"]
    inputs = [{"file": {"url": f"https://files.example/{n}.pdf"}, "metadata": {"n": n}} for n in range(5)]
    started = judge.strictly(
        extend_ai.WorkflowRunsCreateBatchResponse,
        lambda: judge.sdk.workflow_runs.create_batch(workflow={"id": workflow}, inputs=inputs, priority=90),
    )
    runs = judge.list(batch_id=started.batch_id, max_page_size=2)
    found = [judge.run(lambda run=run: judge.sdk.workflow_runs.retrieve(run.id)).metadata for run in runs]  # type: ignore[misc]
    assert sorted(entry["n"] for entry in found) == list(range(5))


def test_an_update_merges_metadata_and_incoming_keys_win(judge: Judge) -> None:
    workflow = judge.sandbox.state()["workflows"][0]["id"]
    run = judge.sdk.workflow_runs.create(workflow={"id": workflow}, file={"text": "a"}, metadata={"a": 1, "b": 2})
    changed = judge.run(lambda: judge.sdk.workflow_runs.update(run.id, name="New", metadata={"b": 3, "c": 4}))
    assert changed.metadata == {"a": 1, "b": 3, "c": 4}
    assert judge.run(lambda: judge.sdk.workflow_runs.retrieve(run.id)).metadata == changed.metadata


def test_a_deleted_run_is_gone(judge: Judge) -> None:
    run_id = judge.sandbox.state()["runs"][0]["id"]
    read = judge.strictly(extend_ai.WorkflowRunsDeleteResponse, lambda: judge.sdk.workflow_runs.delete(run_id))
    assert read.id == run_id
    with pytest.raises(extend_ai.NotFoundError):
        judge.sdk.workflow_runs.retrieve(run_id)
    assert run_id not in {run.id for run in judge.list()}


def test_a_page_has_ten_runs_unless_asked_for_up_to_a_thousand_the_latest_change_first(judge: Judge) -> None:
    total = len(judge.sandbox.state()["runs"])
    assert len(judge.sdk.workflow_runs.list().data) == 10
    changed = [run["updatedAt"] for run in judge.raw["data"]]
    assert changed == sorted(changed, reverse=True)
    assert len(judge.sdk.workflow_runs.list(max_page_size=1000).data) == total > 20


@pytest.mark.parametrize("priority", [1, 100, 0, 101])
def test_a_run_s_priority_is_from_1_to_100(judge: Judge, priority: int) -> None:
    workflow = judge.sandbox.state()["workflows"][0]["id"]

    def create() -> Any:
        return judge.sdk.workflow_runs.create(workflow={"id": workflow}, file={"text": "a"}, priority=priority)

    if priority in (1, 100):
        judge.run(create)
        return
    with pytest.raises(extend_ai.BadRequestError):
        create()
    with pytest.raises(ValidationError):
        CreateWorkflowRun(workflow=WorkflowTarget(id=workflow), priority=priority)


@pytest.mark.parametrize("model", [extend_ai.ExtractRun, extend_ai.ParseRun])
def test_every_failure_reason_that_the_sdk_names_has_advice(model: Any) -> None:
    source = inspect.getsource(sys.modules[model.__module__])
    reasons = re.findall(r"^    \* `([A-Z_]+)` - ", source, re.MULTILINE)
    assert len(reasons) >= 9
    unknown = retry_advice("A_REASON_OF_TOMORROW")
    assert [reason for reason in reasons if retry_advice(reason) == unknown] == []
