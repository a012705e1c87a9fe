"""Make up the content of documents, their pages and the values to extract, from the file's name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.seeded_random import IdMaker, SeededRandom
from extend_mcp.sandbox.engine.store import FileInput
from extend_mcp.sandbox.engine.validation import JsonObject

_VENDORS = ("Northwind Paper Co.", "Halvorsen Freight AS", "Blue Mesa Catering", "Kestrel IT Services", "Acme Tooling")
_PEOPLE = ("Maria Alvarez", "Tom Okafor", "Ingrid Solberg", "Wei Chen", "Priya Raman", "Lucas Meyer")
_GOODS = ("Copy paper A4, 80 g", "Pallet transport", "Toner cartridge", "Lunch service", "Support hours", "Drill bits")
_BANKS = ("First Harbor Bank", "Prairie Credit Union", "Union Coast Bank")
_LOSSES = ("water damage", "rear-end collision", "hail", "burst pipe", "theft")
_TEXT_EXTENSIONS = frozenset({"txt", "md", "csv", "html", "xml", "eml"})


@dataclass(frozen=True)
class Section:
    """A document inside a packet."""

    kind: str
    identifier: str
    start_page: int
    end_page: int
    values: JsonObject


@dataclass(frozen=True)
class Document:
    """The content of one file."""

    file: JsonObject
    kind: str
    values: JsonObject
    sections: tuple[Section, ...] = ()
    text: str | None = None
    passages: Mapping[int, str] = field(default_factory=dict)
    fails_check: bool = False

    @property
    def needs_review(self) -> bool:
        """Return whether a check of the document fails."""
        return self.fails_check or "review" in self.name.lower()

    @property
    def name(self) -> str:
        """Return the file's name."""
        return str(self.file["name"])

    @property
    def pages(self) -> int:
        """Return the number of pages, at least one."""
        return max(1, int(self.file["metadata"].get("pageCount") or 1))

    def page_text(self, number: int) -> str:
        """Return one page as markdown."""
        if self.text is not None:
            return self.text
        section = next((part for part in self.sections if part.start_page <= number <= part.end_page), None)
        first = number == (section.start_page if section else 1)
        values = section.values if section else self.values
        title = (section.kind if section else self.kind).replace("_", " ").title()
        body = _field_lines(values) if first else _body_lines(self.name, number)
        added = self.passages.get(number)
        return "\n\n".join([f"# {title}" if first else f"## Page {number}", body, *([added] if added else [])])


_Maker = Callable[[SeededRandom, datetime], JsonObject]


def page_count(name: str, text: str | None = None) -> int:
    """Return the page count of a new file: one per 3,000 characters of text, otherwise derived from the name."""
    return 1 + len(text) // 3000 if text is not None else SeededRandom("pages", name).between(1, 6)


def readable_text(name: str, content: bytes | None) -> str | None:
    """Return the text of an uploaded file, or None if it is not a readable text file."""
    if content is None or name.rpartition(".")[2].lower() not in _TEXT_EXTENSIONS:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def read_document(kind: str, item: FileInput, today: datetime) -> Document:
    """Make up the document of a file. Lines such as `Total: 12.50` in a given text replace made-up values."""
    name = str(item.file["name"])
    values = _MAKERS[kind](SeededRandom(kind, name, item.text or ""), today)
    values |= _values_in(item.text or "", values) | item.values
    document = Document(item.file, kind, values, (), item.text, item.passages, item.fails_check)
    return replace(document, sections=_sections(document, today)) if kind == "loan_packet" else document


def part_file(parent: JsonObject, section: Section, ids: IdMaker, created: datetime) -> JsonObject:
    """Build the FileSummary of a part that a SPLIT step takes from a file."""
    split = {
        "id": ids("split_"),
        "type": section.kind,
        "identifier": section.identifier,
        "startPage": section.start_page,
        "endPage": section.end_page,
    }
    name = f"{parent['name']} ({section.start_page}-{section.end_page})"
    pages = section.end_page - section.start_page + 1
    return wire.file_summary(ids("file_"), name, pages, created, {"fileId": parent["id"], "split": split})


def _invoice(random: SeededRandom, today: datetime) -> JsonObject:
    items = _lines(random)
    subtotal = round(sum(line["amount"] for line in items), 2)
    tax = round(subtotal * 0.08, 2)
    issued = today - timedelta(days=random.between(3, 25))
    return {
        "vendor_name": random.pick(_VENDORS),
        "invoice_number": f"INV-{random.between(10_000, 99_999)}",
        "invoice_date": _day(issued),
        "due_date": _day(issued + timedelta(days=30)),
        "purchase_order_number": f"PO-{random.between(1000, 9999)}",
        "currency": "USD",
        "line_items": items,
        "subtotal": subtotal,
        "tax": tax,
        "total": round(subtotal + tax, 2),
    }


def _purchase_order(random: SeededRandom, today: datetime) -> JsonObject:
    lines = _lines(random)
    return {
        "po_number": f"PO-{random.between(1000, 9999)}",
        "supplier": random.pick(_VENDORS),
        "buyer": random.pick(_PEOPLE),
        "order_date": _day(today - timedelta(days=random.between(2, 12))),
        "delivery_date": _day(today + timedelta(days=random.between(5, 30))),
        "lines": lines,
        "total": round(sum(line["amount"] for line in lines), 2),
    }


def _contract(random: SeededRandom, today: datetime) -> JsonObject:
    return {
        "contract_number": f"MSA-{random.between(100, 999)}",
        "supplier": random.pick(_VENDORS),
        "customer": "Meridian Logistics Inc.",
        "effective_date": _day(today + timedelta(days=random.between(1, 40))),
        "term_months": random.pick((12, 24, 36)),
        "contract_value": random.between(40, 900) * 1000,
        "auto_renewal": random.pick((True, False)),
        "governing_law": random.pick(("New York", "Delaware", "Norway")),
    }


def _claim(random: SeededRandom, today: datetime) -> JsonObject:
    damages = [
        {"item": item, "amount": float(random.between(120, 4800))}
        for item in ("Repair", "Replacement parts", "Temporary housing")[: random.between(1, 3)]
    ]
    loss = today - timedelta(days=random.between(5, 60))
    return {
        "claim_number": f"CLM-{random.between(100_000, 999_999)}",
        "policy_number": f"HO-{random.between(10_000, 99_999)}",
        "insured_name": random.pick(_PEOPLE),
        "loss_type": random.pick(_LOSSES),
        "loss_date": _day(loss),
        "policy_start": _day(loss - timedelta(days=random.between(20, 300))),
        "policy_end": _day(loss + timedelta(days=random.between(20, 300))),
        "damages": damages,
        "claimed_amount": sum(damage["amount"] for damage in damages),
    }


def _loan_packet(random: SeededRandom, today: datetime) -> JsonObject:
    return {
        "applicant_name": random.pick(_PEOPLE),
        "application_number": f"LN-{random.between(10_000, 99_999)}",
        "loan_amount": random.between(80, 640) * 1000,
        "annual_income": random.between(48, 190) * 1000,
    }


def _bank_statement(random: SeededRandom, today: datetime) -> JsonObject:
    opening, deposits = random.between(900, 9000), random.between(2500, 7500)
    withdrawals = random.between(800, 3000)
    return {
        "account_holder": random.pick(_PEOPLE),
        "bank_name": random.pick(_BANKS),
        "account_last4": str(random.between(1000, 9999)),
        "period_end": _day(today - timedelta(days=random.between(10, 90))),
        "opening_balance": opening,
        "total_deposits": deposits,
        "total_withdrawals": withdrawals,
        "closing_balance": opening + deposits - withdrawals,
    }


def _pay_stub(random: SeededRandom, today: datetime) -> JsonObject:
    gross = random.between(3200, 9800)
    return {
        "account_holder": random.pick(_PEOPLE),
        "employer": random.pick(_VENDORS),
        "pay_date": _day(today - timedelta(days=random.between(5, 40))),
        "gross_pay": gross,
        "net_pay": round(gross * 0.74, 2),
    }


_MAKERS: dict[str, _Maker] = {
    "invoice": _invoice,
    "purchase_order": _purchase_order,
    "contract": _contract,
    "claim": _claim,
    "loan_packet": _loan_packet,
}


def _sections(packet: Document, today: datetime) -> tuple[Section, ...]:
    """Divide a packet into two to eight parts that cover all its pages."""
    wanted = min(packet.pages, max(2, min(8, packet.pages // 4)))
    ends = [packet.pages * (index + 1) // wanted for index in range(wanted)]
    starts = [1, *(end + 1 for end in ends)]
    parts = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=False)):
        kind, make = ("pay_stub", _pay_stub) if index % 3 == 2 else ("bank_statement", _bank_statement)
        values = make(SeededRandom(packet.name, "section", index), today)
        values["account_holder"] = packet.values["applicant_name"]
        identifier = f"{values.get('bank_name') or values['employer']} {values.get('period_end') or values['pay_date']}"
        parts.append(Section(kind, identifier, start, end, values))
    return tuple(parts)


def _lines(random: SeededRandom) -> list[JsonObject]:
    lines = []
    for _ in range(random.between(2, 5)):
        quantity, price = random.between(1, 40), random.between(350, 18_000) / 100
        lines.append(
            {
                "description": random.pick(_GOODS),
                "quantity": quantity,
                "unit_price": price,
                "amount": round(quantity * price, 2),
            }
        )
    return lines


def _values_in(text: str, known: JsonObject) -> JsonObject:
    found: JsonObject = {}
    for label, value in re.findall(r"^[ \t]*([A-Za-z][A-Za-z _]{1,40}):[ \t]*(\S.*)$", text, re.MULTILINE):
        key = label.strip().lower().replace(" ", "_")
        before = known.get(key)
        if isinstance(before, str):
            found[key] = value.strip()
        elif isinstance(before, (int, float)) and re.fullmatch(r"\$?[\d,]{1,15}(\.\d+)?", value.strip()):
            found[key] = float(value.strip().lstrip("$").replace(",", "") or 0)
    return found


def _field_lines(values: JsonObject) -> str:
    lines = []
    for key, value in values.items():
        label = key.replace("_", " ").capitalize()
        if isinstance(value, list):
            lines += [f"- {', '.join(str(cell) for cell in row.values())}" for row in value]
        else:
            lines.append(f"**{label}:** {value}")
    return "\n".join(lines)


# Every sandbox with the same scenario needs the same pages.
@lru_cache(maxsize=4096)
def _body_lines(name: str, page: int) -> str:
    random = SeededRandom(name, "page", page)
    clauses = (
        "Services are billed monthly in arrears and are payable within thirty days of receipt.",
        "Either party may end this agreement with sixty days' written notice.",
        "Deliveries outside business hours carry a surcharge, which is listed separately.",
        "Amounts are stated in US dollars and exclude any sales tax unless marked otherwise.",
        "The carrier is liable for loss or damage from pickup until signature at the destination.",
        "Card purchase, point of sale, cleared on the next business day.",
        "Records are kept for seven years and are open to audit on ten days' notice.",
    )
    return "\n\n".join(f"{index}. {random.pick(clauses)}" for index in range(1, random.between(4, 7)))


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
