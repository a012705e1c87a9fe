"""Extend's own Python SDK as judge of the sandbox, over a socket.

Its methods are lenient (nearly anything passes), so every raw answer also goes through the strict form of its
models: ``model_validate`` raises on missing or mistyped fields.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import SandboxClock
from extend_mcp.sandbox.faults import Fault
from extend_mcp.sandbox.serve import RunningSandbox, running_sandbox

with warnings.catch_warnings():
    # The SDK's own modules warn on import; that is not ours to fail on.
    warnings.simplefilter("ignore")
    import extend_ai
    from extend_ai import Extend

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


class Judge:
    """The SDK, and the raw answer of the last call it made."""

    def __init__(self, running: RunningSandbox) -> None:
        self.raw: Any = None
        self._http = httpx.Client(event_hooks={"response": [self._keep]}, trust_env=False)
        self.sandbox = running.sandbox
        self.sdk = Extend(token="sk_contract", base_url=running.base_url, httpx_client=self._http)

    def _keep(self, response: httpx.Response) -> None:
        response.read()
        self.raw = response.json()

    def run(self, call: Callable[[], Any]) -> Any:
        """Make a call that answers with a run, judge the raw answer strictly, and return what the SDK made of it."""
        found = call()
        extend_ai.WorkflowRun.model_validate(self.raw)
        assert len(found.step_runs) == len(self.raw["stepRuns"])
        # The SDK loses a step run whose type it does not know: it becomes None.
        assert None not in found.step_runs
        return found

    def list(self, **query: Any) -> list[Any]:
        """Read a list to its end, page by page."""
        seen: list[Any] = []
        token: str | None = None
        while True:
            page = self.sdk.workflow_runs.list(**query, **({"next_page_token": token} if token else {}))
            extend_ai.WorkflowRunsListResponse.model_validate(self.raw)
            for summary in self.raw["data"]:
                extend_ai.WorkflowRunSummary.model_validate(summary)
                assert not {"metadata", "stepRuns", "failureReason", "reviewed"} & set(summary)
            seen += page.data
            token = page.next_page_token
            if token is None:
                return seen

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def judge() -> Iterator[Judge]:
    with running_sandbox(clock=SandboxClock(speed=0)) as running:
        judge = Judge(running)
        yield judge
        judge.close()


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


def test_workflows_are_listed(judge: Judge) -> None:
    page = judge.sdk.workflows.list(max_page_size=2)
    assert len(page.data) == 2
    assert page.next_page_token
    for summary in judge.raw["data"]:
        extend_ai.WorkflowSummary.model_validate(summary)


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
    told = body if isinstance(body, dict) else body.model_dump(by_alias=True)
    assert {key: told[key] for key in judge.raw} == judge.raw
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
