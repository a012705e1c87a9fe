"""Build the four workflows of every scenario. Their definitions match the steps of their blueprints."""

from collections.abc import Callable
from datetime import datetime, timedelta

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.seeded_random import IdMaker, SeededRandom
from extend_mcp.sandbox.engine.store import Blueprint, Workflow
from extend_mcp.sandbox.engine.validation import JsonObject
from extend_mcp.sandbox.scenarios import blueprints

INVOICES = "Invoice Processing"
LOANS = "Loan Packet Review"
CLAIMS = "Insurance Claims Intake"
PURCHASING = "Purchase Orders & Contracts"


def _step(name: str, kind: str, *leads: JsonObject, **config: object) -> JsonObject:
    step: JsonObject = {"name": name, "type": kind}
    if config:
        step["config"] = config
    if leads:
        step["next"] = list(leads)
    return step


def _to(step: str, **choice: str) -> JsonObject:
    return {"step": step, **choice}


def _saved(kind: str, prefix: str, name: str, version: str = "1.2") -> JsonObject:
    return {"id": prefix + SeededRandom(kind, name).token(21), "version": version}


def _kinds(*names: str) -> list[JsonObject]:
    return [
        {"id": f"cls_{name}", "type": name, "description": f"A {name.replace('_', ' ')}"} for name in (*names, "other")
    ]


def _begin(first: str) -> list[JsonObject]:
    return [_step("Trigger", "TRIGGER", _to("Parse")), _step("Parse", "PARSE", _to(first))]


def _check(name: str, kind: str, passed: str, config: JsonObject, review: str) -> list[JsonObject]:
    return [
        _step(name, kind, _to(passed, result="pass"), _to(review, result="fail"), **config),
        _step(review, "HUMAN_REVIEW", _to(passed)),
    ]


def _rules(**formulas: str) -> JsonObject:
    return {"rules": [{"name": name.replace("_", " "), "formula": formula} for name, formula in formulas.items()]}


def _prompts(*prompts: str) -> JsonObject:
    return {
        "blocks": [{"blockType": "semantic", "name": text, "semantic": {"promptText": f"{text}?"}} for text in prompts]
    }


def _service(url: str) -> JsonObject:
    return {"requestOptions": {"url": url, "method": "POST", "contentType": "application/json"}}


def invoices() -> list[JsonObject]:
    """Classify, extract, check the totals, look up the vendor, choose who approves."""
    rules = _rules(
        Subtotal_plus_tax_equals_total="subtotal + tax = total",
        Line_amount_equals_quantity_times_unit_price="line_items.quantity * line_items.unit_price = line_items.amount",
        Due_date_is_after_invoice_date="due_date > invoice_date",
    )
    branches: list[JsonObject] = [
        {"id": "large", "name": "Total of 5,000 or more"},
        {"id": "standard", "name": "Below"},
    ]
    return [
        *_begin("Classify document"),
        _step(
            "Classify document",
            "CLASSIFY",
            _to("Extract invoice", classificationId="cls_invoice"),
            classifierConfig={"classifications": _kinds("invoice", "credit_note", "remittance_advice")},
        ),
        _step(
            "Extract invoice", "EXTRACT", _to("Check totals"), extractor=_saved("extractor", "ex_", "Invoice Extractor")
        ),
        *_check("Check totals", "RULE_VALIDATION", "Look up vendor in ERP", rules, "Review totals"),
        _step(
            "Look up vendor in ERP",
            "EXTERNAL_DATA_VALIDATION",
            _to("Approval tier"),
            **_service("https://erp.example/vendors"),
        ),
        _step("Approval tier", "ROUTER", branches=branches),
    ]


def loans() -> list[JsonObject]:
    """Split the packet, extract each part, merge, validate, fetch a credit report."""
    checks = _prompts("Applicant is named on every document", "Closing balances follow from the movements")
    return [
        *_begin("Split packet"),
        _step(
            "Split packet",
            "SPLIT",
            _to("Extract bank statement", classificationId="cls_bank_statement"),
            _to("Extract pay stub", classificationId="cls_pay_stub"),
            splitterConfig={"splitClassifications": _kinds("bank_statement", "pay_stub")},
        ),
        *(
            _step(
                f"Extract {kind.lower()}",
                "EXTRACT",
                _to("Merge extractions"),
                extractor=_saved("extractor", "ex_", f"{kind} Extractor"),
            )
            for kind in ("Bank Statement", "Pay Stub")
        ),
        _step("Merge extractions", "MERGE_EXTRACT", _to("Validate packet"), mergeOrder="confidence"),
        *_check("Validate packet", "VALIDATION", "Fetch credit report", checks, "Review packet"),
        _step("Fetch credit report", "EXTERNAL_DATA_VALIDATION", **_service("https://credit.example/reports")),
    ]


def claims() -> list[JsonObject]:
    """Classify the claim, extract by its kind, validate the coverage, route it."""
    rules: list[JsonObject] = [
        {"formula": 'type = "auto_claim"', "extractor": _saved("extractor", "ex_", "Auto Claim Extractor")},
        {"formula": "TRUE", "extractor": _saved("extractor", "ex_", "Property Claim Extractor")},
    ]
    checks = _prompts("Loss lies within the policy period", "Description matches the type of loss")
    branches: list[JsonObject] = [
        {"id": "fast_track", "name": "Fast track below 2,500"},
        {"id": "adjuster", "name": "Adjuster below 10,000"},
    ]
    return [
        *_begin("Classify claim"),
        _step(
            "Classify claim",
            "CLASSIFY",
            _to("Extract by claim type", classificationId="cls_auto_claim"),
            _to("Extract by claim type", classificationId="cls_property_claim"),
            classifierConfig={"classifications": _kinds("auto_claim", "property_claim")},
        ),
        _step("Extract by claim type", "CONDITIONAL_EXTRACT", _to("Validate coverage"), rules=rules),
        *_check("Validate coverage", "VALIDATION", "Route claim", checks, "Review coverage"),
        _step("Route claim", "ROUTER", branches=branches),
    ]


def purchasing() -> list[JsonObject]:
    """Distinguish contracts from orders, extract their terms, check them."""
    branches: list[JsonObject] = [
        {"id": "contract", "name": "Contract"},
        {"id": "purchase_order", "name": "Purchase order"},
    ]
    return [
        *_begin("Contract or order"),
        _step(
            "Contract or order",
            "ROUTER",
            _to("Extract terms", branchId="contract"),
            _to("Extract terms", branchId="purchase_order"),
            branches=branches,
        ),
        _step(
            "Extract terms", "EXTRACT", _to("Check terms"), extractor=_saved("extractor", "ex_", "Contract Extractor")
        ),
        _step(
            "Check terms",
            "RULE_VALIDATION",
            _to("Review terms", result="fail"),
            **_rules(Terms_are_complete="COUNT(lines) > 0", Term_is_at_most_60_months="term_months <= 60"),
        ),
        _step("Review terms", "HUMAN_REVIEW"),
    ]


def without_review(steps: list[JsonObject]) -> list[JsonObject]:
    """Return an earlier version of a definition, in which nobody reviews and failed checks do not stop a run."""
    reviews = {step["name"]: step.get("next") or [] for step in steps if step["type"] == "HUMAN_REVIEW"}
    earlier = []
    for step in steps:
        if step["name"] in reviews:
            continue
        leads = [{**entry, **lead} for entry in step.get("next") or [] for lead in reviews.get(entry["step"], [{}])]
        earlier.append({**step, "next": leads} if "next" in step else step)
    return earlier


_WORKFLOWS: dict[str, tuple[Blueprint, Callable[[], list[JsonObject]], int]] = {
    INVOICES: (blueprints.process_invoice, invoices, 3),
    LOANS: (blueprints.review_loan_packet, loans, 2),
    CLAIMS: (blueprints.intake_claim, claims, 1),
    PURCHASING: (blueprints.process_purchasing, purchasing, 2),
}


def make_workflows(ids: IdMaker, start: datetime) -> dict[str, Workflow]:
    """Build the workflows, by name, each with its published versions and a draft."""
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
        steps = {version["id"]: without_review(define()) for version in versions[:-1]}
        steps |= {version["id"]: define() for version in (versions[-1], draft)}
        workflows[name] = Workflow(summary, [*versions, draft], blueprint, steps)
    return workflows
