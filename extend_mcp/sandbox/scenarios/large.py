"""Fill an account with 10,000 or 50,000 short, finished runs of the last 30 days."""

from datetime import datetime, timedelta

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.run_plan import (
    CORRUPT,
    PASSWORD_PROTECTED,
    UNREACHABLE,
    Failure,
    PlannedStep,
    StepMoment,
)
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.seeded_random import IdMaker, SeededRandom
from extend_mcp.sandbox.engine.store import RunRecord, Workflow
from extend_mcp.sandbox.engine.validation import JsonObject
from extend_mcp.sandbox.scenarios.sample_workflows import CLAIMS, INVOICES, LOANS, PURCHASING

RUNS = 10_000
HUGE_RUNS = 50_000
_DAYS = 30
_NAMES = (INVOICES,) * 6 + (CLAIMS,) * 2 + (LOANS, PURCHASING)
_STATUSES = (
    ("PROCESSED",) * 88 + ("FAILED",) * 6 + ("REJECTED", "REJECTED", "CANCELLED", "CANCELLED") + ("NEEDS_REVIEW",) * 2
)
_FAILURES = (CORRUPT, CORRUPT, UNREACHABLE, PASSWORD_PROTECTED)
_EXTENSIONS = ("pdf", "pdf", "pdf", "png", "xlsx")


def populate(account: SandboxAccount, workflows: dict[str, Workflow], *, runs: int = RUNS) -> None:
    """Add this number of runs to the account, oldest first."""
    random = SeededRandom("large")
    for number in range(runs):
        created = account.started_at - timedelta(days=_DAYS) * (1 - number / runs)
        workflow = workflows[random.pick(_NAMES)]
        status = random.pick(_STATUSES)
        name = f"document-{number:05d}.{random.pick(_EXTENSIONS)}"
        account.store.add_run(_record(workflow, status, name, random, account.ids, created))


def _record(
    workflow: Workflow, status: str, name: str, random: SeededRandom, ids: IdMaker, created: datetime
) -> RunRecord:
    version = workflow.version(None)
    assert version
    file = wire.file_summary(ids("file_"), name, random.between(1, 9), created)
    metadata = {"customer": f"customer-{random.between(1, 12)}"}
    run = wire.workflow_run(ids("workflow_run_"), workflow.summary, version, [file], metadata, None, created)
    started = created + timedelta(seconds=random.fraction(0.5, 20))
    ended = started + timedelta(seconds=random.fraction(5, 300))
    failure = random.pick(_FAILURES) if status == "FAILED" else None
    run |= {"status": status, "startTime": wire.timestamp(started)}
    if status != "NEEDS_REVIEW":
        run["endTime"] = wire.timestamp(ended)
    _parse(run, file, ids, started, ended, failure)
    return RunRecord(run, created_at=created, updated_at=ended)


def _parse(
    run: JsonObject, file: JsonObject, ids: IdMaker, started: datetime, ended: datetime, failure: Failure | None
) -> None:
    moment = StepMoment(ids, file, started, ended, failure, None)
    child = wire.child_run("parse_run", "pr_", "parsing_performance", 2, moment)
    step = PlannedStep("Parse", "PARSE", "step_parse", 1.0, (file,), lambda _: None)
    step_run = wire.step_run(ids("workflow_step_run_"), run["id"], step)
    child["config"] = {}
    if failure:
        run |= {"failureReason": failure.reason, "failureMessage": failure.message}
    else:
        child |= {"output": {"chunks": []}, "metrics": {"processingTimeMs": 1, "pageCount": 1}}
    step_run |= {"status": "FAILED" if failure else "PROCESSED", "result": {"parseRun": child}}
    run["stepRuns"].append(step_run)
    wire.add_usage(run, step_run["result"])
