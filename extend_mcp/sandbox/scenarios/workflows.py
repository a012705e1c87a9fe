"""The four workflows that every scenario has."""

from datetime import datetime, timedelta

from extend_mcp.sandbox import wire
from extend_mcp.sandbox.dice import IdMaker
from extend_mcp.sandbox.scenarios import blueprints
from extend_mcp.sandbox.store import Blueprint, Workflow

INVOICES = "Invoice Processing"
LOANS = "Loan Packet Review"
CLAIMS = "Insurance Claims Intake"
PURCHASING = "Purchase Orders & Contracts"

_BLUEPRINTS: dict[str, tuple[Blueprint, int]] = {
    INVOICES: (blueprints.process_invoice, 3),
    LOANS: (blueprints.review_loan_packet, 2),
    CLAIMS: (blueprints.intake_claim, 1),
    PURCHASING: (blueprints.process_purchasing, 2),
}


def make_workflows(ids: IdMaker, start: datetime) -> dict[str, Workflow]:
    """Make the workflows, by name; each has as many published versions as it has seen, and a draft."""
    workflows = {}
    for age, (name, (blueprint, published)) in enumerate(_BLUEPRINTS.items(), start=1):
        created = start - timedelta(days=90 * age)
        versions = [
            wire.version_summary(
                ids("workflow_version_"), str(number), f"Production v{number}", created + timedelta(days=20 * number)
            )
            for number in range(1, published + 1)
        ]
        draft = wire.version_summary(ids("workflow_version_"), "draft", None, created)
        summary = wire.workflow_summary(ids("workflow_"), name, created, created + timedelta(days=20 * published))
        workflows[name] = Workflow(summary, (*versions, draft), blueprint)
    return workflows
