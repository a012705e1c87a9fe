"""Every line of a plan on many runs, as approved in tests/data/plan_words.txt.

python -m tests.actions.test_plan_words        writes the file; read its difference before committing it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from extend_mcp.actions import rerun_plan
from extend_mcp.actions.cancel_run import outcome_of
from extend_mcp.actions.cancel_runs import _why_not, set_lines
from extend_mcp.actions.rerun_plan import Found, Wanted
from extend_mcp.actions.runs import _metadata_lines
from extend_mcp.actions.spend import UsualCredits
from extend_mcp.api.models import WorkflowRun
from extend_mcp.runs.failures import Failure
from extend_mcp.runs.lifecycle import STATUSES
from extend_mcp.runs.statistics import RunFacts, run_facts
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import Insight

APPROVED = Path(__file__).parents[1] / "data" / "plan_words.txt"

NOW = datetime(2026, 2, 10, 10, tzinfo=timezone.utc)
ALL_STATUSES = [*STATUSES, "PAUSED_TOMORROW"]


def run(
    number: int, status: str = "FAILED", *, workflow: str = "w1", version: str = "3", files: int = 1
) -> WorkflowRun:
    return WorkflowRun.model_validate(
        {
            "id": f"workflow_run_{number:02}",
            "status": status,
            "workflow": {"id": workflow, "name": f"Invoices of {workflow}"},
            "workflowVersion": {"version": version},
            "initialRunAt": (NOW - timedelta(minutes=100 - number)).isoformat(),
            "files": [{"id": f"file_{number}{name}", "name": f"{name}.pdf"} for name in "abcd"[:files]],
            "usage": {"credits": number / 4, "totalCredits": number / 4} if number % 3 else None,
        }
    )


def failed(number: int, reason: str = "", where: str = "", **more: Any) -> Insight:
    return Insight(run_facts(run(number, **more)), Failure(where, reason, "") if reason or where else None, {})


def later(number: int, status: str = "PROCESSED", workflow: str = "w1") -> RunFacts:
    return run_facts(run(number, status, workflow=workflow))


PLANS: dict[str, tuple[Found, Wanted, int]] = {
    "one run, and nothing is known": (Found([failed(1)]), Wanted(), 10),
    "three of one cause, which may be over": (
        Found(
            [failed(number, "OCR_ERROR", "Parse") for number in (1, 2, 3)],
            newest={"w1": "4"},
            usual={"w1": UsualCredits(2.5, 7)},
            later=[later(2), later(3), later(4), later(5), later(6, "FAILED"), later(7, workflow="w2")],
            skipped=Counter({"already rerun": 1, "waiting for review": 1200}),
        ),
        Wanted(priority=7),
        25,
    ),
    "two of one cause, of two versions": (
        Found(
            [failed(1, "OCR_ERROR", "Parse"), failed(2, "OCR_ERROR", "Parse", version="4", files=3)],
            later=[later(9)],
            usual={"w1": None},
        ),
        Wanted(version="same"),
        74,
    ),
    "every status, of two workflows": (
        Found(
            [failed(1, status="REJECTED"), failed(2, status="CANCELLED"), failed(3, status="PROCESSED", files=4)]
            + [failed(number, "INTERNAL_ERROR", "Extract", workflow="w2") for number in (4, 5, 6)],
            newest={"w1": "4", "w2": "9"},
            usual={"w1": None, "w2": UsualCredits(1.25, 1)},
            later=[later(4), later(2)],
        ),
        Wanted(version="12"),
        75,
    ),
    "more causes than are shown": (
        Found([failed(number, f"REASON_{min(number, 10)}", "Parse") for number in range(1, 13)]),
        Wanted(),
        300,
    ),
}


def words() -> Iterable[str]:
    """Return a line for each text."""
    for title, (found, wanted, rate) in PLANS.items():
        yield f"## rerun: {title}"
        yield from found.question(wanted, rate)
    for count in (1, 2, 3, 9):
        yield f"## cancel: {count} runs"
        runs = [
            run(number, "PENDING" if number % 4 == 1 else "PROCESSING", files=number % 3) for number in range(count)
        ]
        yield from set_lines(runs, {"already FAILED": 2, "waiting for review": 3} if count > 1 else {}, now=NOW)
    yield "## cancel: a run of which nothing is known"
    yield from set_lines([WorkflowRun(id="workflow_run_x")], {}, now=NOW)
    yield "## by status: why a run is left out of a rerun and of a cancel, and the outcome of a cancel"
    for status in ALL_STATUSES:
        outcomes = [outcome_of(status, sent=sent) for sent in (True, False)]
        yield f"{status}: {rerun_plan._why_not(status)} | {_why_not(status)} | {' | '.join(outcomes)}"
    yield "## credits"
    yield from (UsualCredits(1234.5, runs).words(files) for runs, files in ((1, 1), (2, 1000)))
    yield "## metadata"
    yield from _metadata_lines({"a": 1, "b": "x", "same": None}, {"b": "é", "same": None, "c": [1]})
    yield from _metadata_lines({}, {})


def test_the_words_are_the_approved_ones() -> None:
    assert list(words()) == APPROVED.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("wanted", "statuses"),
    [
        (Wanted(["workflow_run_1"]), {"FAILED", "CANCELLED", "REJECTED"}),
        (Wanted(filters=RunFilter(batch="batch_1")), {"FAILED", "CANCELLED", "REJECTED"}),
        (Wanted(filters=RunFilter(batch="batch_1", workflow_id="w1")), {"FAILED"}),
        (Wanted(filters=RunFilter(workflow_id="w1")), {"FAILED"}),
        (Wanted(filters=RunFilter(workflow_id="w1"), include_processed=True), {"FAILED", "PROCESSED"}),
        (Wanted(["workflow_run_1"], include_processed=True), {"FAILED", "CANCELLED", "REJECTED", "PROCESSED"}),
        (Wanted(filters=RunFilter(status="REJECTED"), include_processed=True), {"REJECTED"}),
    ],
)
def test_the_statuses_that_a_rerun_takes(wanted: Wanted, statuses: set[str]) -> None:
    assert wanted.statuses == statuses


if __name__ == "__main__":
    APPROVED.write_text("".join(f"{line}\n" for line in words()), encoding="utf-8")
