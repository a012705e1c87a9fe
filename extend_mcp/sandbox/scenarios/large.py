"""Fill an account with 10,000 or 50,000 runs of the last 30 days, none of which moves."""

from dataclasses import replace
from datetime import timedelta

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.run_plan import CORRUPT, PASSWORD_PROTECTED, UNREACHABLE
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.seeded_random import SeededRandom
from extend_mcp.sandbox.engine.store import Workflow
from extend_mcp.sandbox.scenarios.past_runs import REVIEWERS, SECOND_STEPS, PastRun
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
_NOTES = (
    "The amounts do not match the order. Asked the sender for a corrected copy.",
    "This document belongs to another customer.",
    "Pages are missing.",
    "Received twice.",
)


def populate(account: SandboxAccount, workflows: dict[str, Workflow], *, runs: int = RUNS) -> None:
    """Add this number of runs to the account, oldest first."""
    random, reviews = SeededRandom("large"), SeededRandom("large", "reviews")
    start = account.started_at
    versions = {name: workflow.version(None) or {} for name, workflow in workflows.items()}
    for number in range(runs):
        created = start - timedelta(days=_DAYS) * (1 - number / runs)
        name = random.pick(_NAMES)
        status = random.pick(_STATUSES)
        file_name = f"document-{number:05d}.{random.pick(_EXTENSIONS)}"
        file = wire.file_summary(account.ids("file_"), file_name, random.between(1, 9), created)
        metadata = {"customer": f"customer-{random.between(1, 12)}"}
        # Nothing ends after the start: the newest runs are short.
        room = (start - created).total_seconds()
        queued = min(random.fraction(0.5, 20), room / 10)
        seconds = min(random.fraction(5, 300), room / 2)
        run = PastRun(
            account.ids("workflow_run_"),
            workflows[name],
            versions[name],
            file,
            created,
            status,
            seconds,
            queued,
            metadata=metadata,
        )
        if status == "FAILED":
            run = replace(run, stops_at="Parse", failure=random.pick(_FAILURES))
        elif status == "CANCELLED":
            run = replace(run, stops_at=SECOND_STEPS[name])
        elif status == "REJECTED":
            decided = created + timedelta(seconds=min(reviews.fraction(2000, 60_000), room * 0.9))
            run = replace(run, decided=decided, reviewer=reviews.pick(REVIEWERS), note=reviews.pick(_NOTES))
        run.add_to(account)
