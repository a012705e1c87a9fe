"""Plan the steps that each workflow of the scenarios takes for a file.

Runs created through the API follow these plans too. Words in the file's name decide the outcome:

| word in the name | what happens |
| --- | --- |
| `password`, `locked` | parsing fails with PASSWORD_PROTECTED_FILE |
| `corrupt` | parsing fails with CORRUPT_FILE |
| `unreachable` | the file cannot be downloaded |
| `review` | a check fails and the run waits for a person |
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from extend_mcp.sandbox.engine import result_builders as results
from extend_mcp.sandbox.engine.planner import plan_step
from extend_mcp.sandbox.engine.result_builders import Check
from extend_mcp.sandbox.engine.run_plan import PlannedStep, ResultBuilder, failure_for
from extend_mcp.sandbox.engine.sample_documents import Document, part_file, read_document
from extend_mcp.sandbox.engine.seeded_random import IdMaker, SeededRandom
from extend_mcp.sandbox.engine.store import Blueprint, FileInput
from extend_mcp.sandbox.engine.validation import JsonObject


def _blueprint(
    kind: Callable[[str], str], lay_out: Callable[[Document, IdMaker, datetime], list[PlannedStep]]
) -> Blueprint:
    def plan(item: FileInput, ids: IdMaker, created: datetime) -> tuple[PlannedStep, ...]:
        document = read_document(kind(str(item.file["name"]).lower()), item, created)
        return tuple(lay_out(document, ids, created))

    return plan


def _step(
    document: Document,
    name: str,
    step_type: str,
    build: ResultBuilder,
    *,
    file: JsonObject | None = None,
    needs_review: bool = False,
) -> PlannedStep:
    return plan_step(document, name, step_type, build, seed=document.kind, file=file, needs_review=needs_review)


def _parse(document: Document) -> PlannedStep:
    failure = failure_for(document.name)
    return plan_step(document, "Parse", "PARSE", results.parse(document), seed=document.kind, failure=failure)


def _lay_out_invoice(document: Document, ids: IdMaker, created: datetime) -> list[PlannedStep]:
    values = document.values
    if document.needs_review:
        values["total"] = round(values["total"] + 90, 2)
        values["line_items"][-1]["amount"] = round(values["line_items"][-1]["amount"] + 90, 2)
    lines = tuple(abs(row["quantity"] * row["unit_price"] - row["amount"]) < 0.01 for row in values["line_items"])
    checks = [
        Check("Subtotal plus tax equals total", abs(values["subtotal"] + values["tax"] - values["total"]) < 0.01),
        Check("Line amount equals quantity times unit price", all(lines), each=lines),
        Check("Due date is after invoice date", values["due_date"] > values["invoice_date"]),
    ]
    vendor = {
        "vendorFound": True,
        "vendorId": f"V-{SeededRandom(values['vendor_name']).between(1000, 9999)}",
        "paymentHold": False,
        "openPurchaseOrders": [values["purchase_order_number"]],
    }
    large = values["total"] >= 5000
    branches = (
        ("large", "Total of 5,000 or more", f"The total is {values['total']}."),
        ("standard", "Total below 5,000", f"The total is {values['total']}."),
    )
    kinds = results.classifications("invoice", "credit_note", "remittance_advice")
    return [
        _parse(document),
        _step(
            document,
            "Classify document",
            "CLASSIFY",
            results.classify(document, kinds, "cls_invoice", "The header reads Invoice, and there is a due date."),
        ),
        _step(document, "Extract invoice", "EXTRACT", results.extract(document.name, "Invoice Extractor", values)),
        _step(
            document,
            "Check totals",
            "RULE_VALIDATION",
            results.rules(checks),
            needs_review=not all(check.valid for check in checks),
        ),
        _step(document, "Look up vendor in ERP", "EXTERNAL_DATA_VALIDATION", results.external_response(200, vendor)),
        _step(document, "Approval tier", "ROUTER", results.route(branches, "large" if large else "standard")),
    ]


def _lay_out_loan_packet(document: Document, ids: IdMaker, created: datetime) -> list[PlannedStep]:
    if document.needs_review:
        document.sections[:2][-1].values["account_holder"] = "R. Unknown"
    parts = [
        results.Part(section, part_file(document.file, section, ids, created), f"cls_{section.kind}")
        for section in document.sections
    ]
    applicant = document.values["applicant_name"]
    strangers = [part for part in document.sections if part.values["account_holder"] != applicant]
    named = "; ".join(
        f"{part.values['account_holder']} on pages {part.start_page}-{part.end_page}" for part in strangers
    )
    statements = [part.values for part in document.sections if part.kind == "bank_statement"]
    adds_up = all(
        each["opening_balance"] + each["total_deposits"] - each["total_withdrawals"] == each["closing_balance"]
        for each in statements
    )
    checks = [
        Check(
            "Applicant is named on every document",
            not strangers,
            reasoning=f"The applicant is {applicant}, but found: {named}." if named else f"All name {applicant}.",
        ),
        Check(
            "Closing balances follow from the movements",
            adds_up,
            reasoning=f"{len(statements)} statements were recalculated.",
        ),
    ]
    extractors = ("Bank Statement Extractor", "Pay Stub Extractor")
    merged = document.values | {"documents": [part.values for part in document.sections]}
    return [
        _parse(document),
        replace(
            _step(
                document,
                "Split packet",
                "SPLIT",
                results.split(parts, results.classifications("bank_statement", "pay_stub")),
            ),
            makes=tuple(part.file for part in parts),
        ),
        *(
            _step(
                document,
                f"Extract {part.section.kind.replace('_', ' ')}",
                "EXTRACT",
                results.extract(part.file["name"], extractors[part.section.kind == "pay_stub"], part.section.values),
                file=part.file,
            )
            for part in parts
        ),
        _step(document, "Merge extractions", "MERGE_EXTRACT", results.merge_extract(document.name, extractors, merged)),
        _step(
            document,
            "Validate packet",
            "VALIDATION",
            results.validation(checks),
            needs_review=not all(check.valid for check in checks),
        ),
        _step(
            document,
            "Fetch credit report",
            "EXTERNAL_DATA_VALIDATION",
            results.external_response(
                200, {"score": SeededRandom(document.name, "score").between(610, 810), "bureau": "Sample"}
            ),
        ),
    ]


def _lay_out_claim(document: Document, ids: IdMaker, created: datetime) -> list[PlannedStep]:
    values = document.values
    if document.needs_review:
        values["loss_date"] = (created.date()).isoformat()
        values["policy_end"] = values["policy_start"]
    covered = values["policy_start"] <= values["loss_date"] <= values["policy_end"]
    checks = [
        Check(
            "Loss lies within the policy period",
            covered,
            reasoning=f"Loss on {values['loss_date']}; policy from {values['policy_start']} to {values['policy_end']}.",
        ),
        Check(
            "Description matches the type of loss",
            True,
            reasoning=f"The description fits {values['loss_type']}.",
        ),
    ]
    branches = (
        ("fast_track", "Fast track below 2,500", f"Claimed: {values['claimed_amount']}."),
        ("adjuster", "Adjuster below 10,000", f"Claimed: {values['claimed_amount']}."),
    )
    amount = values["claimed_amount"]
    branch = "fast_track" if amount < 2500 else "adjuster" if amount < 10_000 else None
    kind = "auto_claim" if "collision" in values["loss_type"] else "property_claim"
    return [
        _parse(document),
        _step(
            document,
            "Classify claim",
            "CLASSIFY",
            results.classify(
                document,
                results.classifications("auto_claim", "property_claim"),
                f"cls_{kind}",
                f"The loss is described as {values['loss_type']}.",
            ),
        ),
        _step(
            document,
            "Extract by claim type",
            "CONDITIONAL_EXTRACT",
            results.extract(document.name, f"{kind.replace('_', ' ').title()} Extractor", values),
        ),
        _step(document, "Validate coverage", "VALIDATION", results.validation(checks), needs_review=not covered),
        _step(document, "Route claim", "ROUTER", results.route(branches, branch)),
    ]


def _lay_out_purchasing(document: Document, ids: IdMaker, created: datetime) -> list[PlannedStep]:
    values = document.values
    contract = document.kind == "contract"
    if document.needs_review:
        values.update({"term_months": 120} if contract else {"total": round(values["total"] + 1200, 2)})
    branches = (
        ("contract", "Contract", "There are parties, a term and clauses." if contract else "There is no term."),
        ("purchase_order", "Purchase order", "There is an order number and a list of lines."),
    )
    if contract:
        checks = [
            Check("Term is at most 60 months", values["term_months"] <= 60),
            Check("Contract value is stated", values["contract_value"] > 0),
        ]
    else:
        positive = tuple(row["amount"] > 0 for row in values["lines"])
        checks = [
            Check(
                "Lines add up to the total", abs(sum(row["amount"] for row in values["lines"]) - values["total"]) < 0.01
            ),
            Check("Line amounts are positive", all(positive), each=positive),
        ]
    extractor = "Contract Extractor" if contract else "Purchase Order Extractor"
    return [
        _parse(document),
        _step(document, "Contract or order", "ROUTER", results.route(branches, document.kind)),
        _step(document, "Extract terms", "EXTRACT", results.extract(document.name, extractor, values)),
        _step(
            document,
            "Check terms",
            "RULE_VALIDATION",
            results.rules(checks),
            needs_review=not all(check.valid for check in checks),
        ),
    ]


def _purchasing_kind(name: str) -> str:
    return "contract" if any(word in name for word in ("contract", "msa", "agreement", "lease")) else "purchase_order"


process_invoice = _blueprint(lambda name: "invoice", _lay_out_invoice)
review_loan_packet = _blueprint(lambda name: "loan_packet", _lay_out_loan_packet)
intake_claim = _blueprint(lambda name: "claim", _lay_out_claim)
process_purchasing = _blueprint(_purchasing_kind, _lay_out_purchasing)
