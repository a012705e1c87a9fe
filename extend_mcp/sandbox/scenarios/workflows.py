"""The four workflows that every scenario has."""

from collections.abc import Callable
from datetime import datetime, timedelta

from extend_mcp.sandbox import wire
from extend_mcp.sandbox.dice import IdMaker
from extend_mcp.sandbox.errors import JsonObject
from extend_mcp.sandbox.scenarios import blueprints, definitions
from extend_mcp.sandbox.store import Blueprint, Workflow

INVOICES = "Invoice Processing"
LOANS = "Loan Packet Review"
CLAIMS = "Insurance Claims Intake"
PURCHASING = "Purchase Orders & Contracts"

_WORKFLOWS: dict[str, tuple[Blueprint, Callable[[], list[JsonObject]], int]] = {
    INVOICES: (blueprints.process_invoice, definitions.invoices, 3),
    LOANS: (blueprints.review_loan_packet, definitions.loans, 2),
    CLAIMS: (blueprints.intake_claim, definitions.claims, 1),
    PURCHASING: (blueprints.process_purchasing, definitions.purchasing, 2),
}


def make_workflows(ids: IdMaker, start: datetime) -> dict[str, Workflow]:
    """Make the workflows, by name; each has as many published versions as it has seen, and a draft."""
    workflows = {}
    for age, (name, (blueprint, define, published)) in enumerate(_WORKFLOWS.items(), start=1):
        created = start - timedelta(days=90 * age)
        versions = [
            wire.version_summary(
                ids("workflow_version_"), str(number), f"Production v{number}", created + timedelta(days=20 * number)
            )
            for number in range(1, published + 1)
        ]
        draft = wire.version_summary(ids("workflow_version_"), "draft", None, created)
        summary = wire.workflow_summary(ids("workflow_"), name, created, created + timedelta(days=20 * published))
        steps = {version["id"]: definitions.without_review(define()) for version in versions[:-1]}
        steps |= {version["id"]: define() for version in (versions[-1], draft)}
        workflows[name] = Workflow(summary, [*versions, draft], blueprint, steps)
    return workflows
