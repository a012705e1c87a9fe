"""Tabulate operators' questions: the question, the calls that answer it, and the facts the answer must hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.harness import Box

Facts = dict[str, Any]
Call = tuple[str, Callable[[Box, list[Facts]], dict[str, Any]]]


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        asked: as an operator puts it.
        calls: tools with their arguments, made from the sandbox and the answers before.
        expects: the texts that the answers must hold.
        scenario: the sandbox's data.
    """

    asked: str
    calls: Sequence[Call]
    expects: Callable[[Box], Sequence[str]]
    scenario: str = "default"


def call(tool: str, **arguments: Any) -> Call:
    """A call whose arguments are known beforehand."""
    return tool, lambda box, before: arguments


def then(tool: str, make: Callable[[Box, list[Facts]], dict[str, Any]]) -> Call:
    """A call whose arguments come from an answer before, or from the sandbox."""
    return tool, make


def ids(box: Box, **wanted: str) -> list[str]:
    """Ids of the runs with these values in the sandbox's state."""
    return [run["id"] for run in box.state()["runs"] if all(run[key] == value for key, value in wanted.items())]


def run_of(box: Box, file: str) -> str:
    """The run of a file."""
    return next(run["id"] for run in box.state()["runs"] if file in (run["file"] or ""))


def whole(box: Box, run_id: str) -> dict[str, Any]:
    """A run as the API gives it."""
    run: dict[str, Any] = box.sandbox.record(run_id).run
    return run


def batch_of(box: Box, file: str) -> str:
    """The batch of a file's run."""
    return str(whole(box, run_of(box, file))["batchId"])


def first_run(box: Box, before: list[Facts]) -> str:
    """The first run of the list that was asked for just before."""
    found: str = before[-1]["runs"][0]["run_id"]
    return found


def reasons(box: Box) -> list[str]:
    """Rows of the large account's failure reasons."""
    counts: Counter[str] = Counter()
    for run_id in ids(box, status="FAILED"):
        counts[whole(box, run_id)["stepRuns"][0]["result"]["parseRun"]["failureReason"]] += 1
    return [f"«{reason}» · {count:,} ·" for reason, count in counts.items()]


def extracted(box: Box, file: str, field: str) -> str:
    """A field of a file's extraction."""
    steps = whole(box, run_of(box, file))["stepRuns"]
    found = next(step["result"]["extractRun"] for step in steps if step["stepType"] == "EXTRACT")
    return str(found["output"]["value"][field])


QUESTIONS = [
    Question(
        "What is running right now?",
        [call("list_runs", status="PROCESSING")],
        lambda box: ids(box, status="PROCESSING"),
    ),
    Question(
        "Why did last night's invoices fail?",
        [call("summarize_runs", workflow="Invoice Processing", created_since="36h", group_by="failure_reason")],
        # Shortly after 02:00 UTC the scenario's last whole night is more than a day ago.
        lambda box: [
            "«OUT_OF_CREDITS» · 2",
            "«CORRUPT_FILE» · 1",
            "«PASSWORD_PROTECTED_FILE» · 1",
            "«UNABLE_TO_DOWNLOAD_FILE» · 1",
        ],
    ),
    Question(
        "Which step breaks most often?",
        [call("summarize_runs", group_by="failing_step")],
        lambda box: ["«Invoice Processing: Parse» · 3"],
    ),
    Question(
        "What waits for review, and what sent it there?",
        [call("review_queue")],
        lambda box: [*ids(box, status="NEEDS_REVIEW"), "«Subtotal plus tax equals total» did not pass", "dashboard"],
    ),
    Question(
        "What has been waiting longest?",
        [call("summarize_runs", group_by="status")],
        lambda box: [
            f"Oldest NEEDS_REVIEW of all runs: {run_of(box, 'northwind-2202')}",
            "Oldest PENDING of all runs: ",
        ],
    ),
    Question(
        "Why did claim 3317 fail, and is it worth another try?",
        [
            call("list_runs", file_name_contains="3317"),
            then("explain_failure", lambda box, before: {"run_id": first_run(box, before)}),
        ],
        lambda box: ["«Validate coverage»", "INTERNAL_ERROR", "Running it again may help"],
    ),
    Question(
        "How is the nightly invoice batch doing?",
        [then("wait_for_run", lambda box, before: {"batch": batch_of(box, "northwind-2201"), "seconds": 1})],
        lambda box: ["5 FAILED", "2 NEEDS_REVIEW", run_of(box, "acme-tooling-5562")],
    ),
    Question(
        "What did today cost, by workflow?",
        [call("summarize_runs", created_since="24h")],
        lambda box: ["credits", "«Loan Packet Review»", "«Invoice Processing»"],
    ),
    Question(
        "Is it worse than the day before?",
        [call("summarize_runs", created_since="24h", group_by="status")],
        lambda box: ["Window before, ", " failed", "too few to compare"],
    ),
    Question(
        "Which runs were cancelled this week?",
        [call("list_runs", status="CANCELLED", created_since="7d")],
        lambda box: ids(box, status="CANCELLED"),
    ),
    Question(
        "Why was the lease contract rejected?",
        [
            call("list_runs", file_name_contains="lease-contract"),
            then("get_workflow_run", lambda box, before: {"run_id": first_run(box, before)}),
        ],
        lambda box: ["REJECTED", "A term of 120 months needs the board."],
    ),
    Question(
        "What total did we read on northwind-2201?",
        [
            call("list_runs", file_name_contains="northwind-2201"),
            then(
                "get_step_result",
                lambda box, before: {"run_id": first_run(box, before), "step": "Extract invoice", "field": "total"},
            ),
        ],
        lambda box: [extracted(box, "northwind-2201", "total"), "onfidence"],
    ),
    Question(
        "What does invoice processing do, step by step?",
        [call("get_workflow_version", workflow="Invoice Processing")],
        lambda box: ["«Classify document»", "«Check totals»", "HUMAN_REVIEW", "«Approval tier»"],
    ),
    Question(
        "What came with version 3?",
        [
            call("get_workflow_version", workflow="Invoice Processing", version="2"),
            call("get_workflow_version", workflow="Invoice Processing", version="3"),
        ],
        lambda box: ["version 2", "version 3", "«Review totals» HUMAN_REVIEW"],
    ),
    Question(
        "Which kinds of file fail?",
        [call("summarize_runs", group_by="file_type", status="FAILED")],
        lambda box: ["«IMG» · 1 ", "«PDF» · 8 "],
    ),
    Question(
        "Stop the fleet lease: it is the wrong document.",
        [
            call("list_runs", file_name_contains="fleet-lease"),
            then(
                "cancel_workflow_run",
                lambda box, before: {"run_id": first_run(box, before), "reason": "wrong document"},
            ),
        ],
        lambda box: ["confirmation_required", "fleet-lease-agreement.pdf", "PROCESSING"],
    ),
    Question(
        "Stop everything that has not begun yet.",
        [call("cancel_runs", status="PENDING")],
        lambda box: ["Cancel 2 workflow runs?", "confirmation_required", *ids(box, status="PENDING")],
    ),
    Question(
        "Run last night's failed claims again.",
        [then("rerun_workflow_runs", lambda box, before: {"batch": batch_of(box, "claim-collision-3314")})],
        lambda box: ["Rerun 2 workflow runs", run_of(box, "3314"), run_of(box, "3317"), "charged credits again"],
    ),
    Question(
        "How long do loan packets take?",
        [call("summarize_runs", workflow="Loan Packet Review", group_by="version")],
        lambda box: ["Took p50 ", "p95 ", "«Loan Packet Review, version 2»"],
    ),
    Question(
        "How do these two toner orders differ?",
        [
            then(
                "compare_runs",
                lambda box, before: {"first": run_of(box, "po-7781"), "second": run_of(box, "po-7782")},
            )
        ],
        lambda box: ["«po-7781-drill-bits.pdf» -> «po-7782-toner.docx»", "«PDF» -> «DOCX»", "Extracted fields"],
    ),
    Question(
        "Which customers had runs today?",
        [call("summarize_runs", group_by="metadata", metadata_key="customerId", created_since="1d")],
        lambda box: ["«cust_0412» · 1", "«cust_0977» · 1"],
    ),
    Question(
        "Ten thousand runs: how many failed, and of what?",
        [call("summarize_runs", group_by="failure_reason")],
        lambda box: ["10,000 runs", *reasons(box)],
        scenario="large",
    ),
    Question(
        "Did this corrupt file happen before?",
        [
            call("list_runs", status="FAILED", page_size=1),
            then("explain_failure", lambda box, before: {"run_id": first_run(box, before), "created_since": "7d"}),
        ],
        lambda box: ["Failed alike", "Last good run before it"],
        scenario="large",
    ),
]
