"""One step's result, readable and in pages: the concise form by type, or the whole as a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from extend_mcp.api.models import StepRun
from extend_mcp.runs.failures import child_run
from extend_mcp.views.base import ViewPart
from extend_mcp.views.budget import paginate
from extend_mcp.views.select import select_lines
from extend_mcp.views.steps import as_object, confidence, extracted_fields, objects, step_digest
from extend_mcp.views.tree import tree_lines
from extend_mcp.views.untrusted import NOTE, field_path, plain, quote, quote_lines, word

Detail = Literal["concise", "full"]
Json = dict[str, Any]

_WHOLE = 1_000_000
_LONG = 400


class StepResult(ViewPart):
    """A page of one step's result."""

    step_id: str
    name: str
    type: str
    status: str
    detail: Detail
    page: int
    pages: int
    content: str


def step_result(
    step: StepRun, *, detail: Detail, page: int, limit: int, field: str | None = None
) -> tuple[StepResult, str]:
    """Show one step's result.

    Args:
        step: one of a run's step runs.
        detail: ``concise``: what the step found, by type; ``full``: every field of the API's result.
        page: which page, from 1; past the end gives the last.
        limit: characters of the text.
        field: the path of one part, shown whole; None for everything.

    Raises:
        NoSuchPartError: the result has no such part.

    Returns:
        The page as facts and as text; the text names how to get the next page and the full form.
    """
    name = step.step.name or step.step_type
    head = f"Step {quote(name, 80)} · {word(step.step_type) or '?'} · {word(step.status, 40) or '?'}"
    # Room for head, note and the two lines that say how to go on.
    lines = select_lines(step, field) if field else _lines(step, detail)
    shown = paginate(lines, page, max(400, limit - len(head) - len(NOTE) - 220))
    facts = StepResult(
        step_id=plain(step.id, 300),
        name=plain(name),
        type=plain(step.step_type, 60),
        status=plain(step.status, 40),
        detail=detail,
        page=shown.number,
        pages=shown.count,
        content="\n".join(shown.lines),
    )
    # A part is shown whole, so there is no fuller form of it.
    shown_as: Detail = "full" if field else detail
    return facts, "\n".join([head, NOTE, "", *shown.lines, "", *_tail(shown.number, shown.count, shown_as)])


def _tail(number: int, count: int, detail: Detail) -> list[str]:
    tail = [f"Page {number} of {count}."]
    if number < count:
        tail[0] += f" Next: the same call with page={number + 1}."
    if detail == "concise":
        tail.append('Every field of the API\'s result: the same call with detail="full".')
    return tail


def _lines(step: StepRun, detail: Detail) -> list[str]:
    if step.result is None:
        return ["No result yet." if step.status in ("PENDING", "WAITING", "PROCESSING") else "This step has no result."]
    if detail == "full":
        return tree_lines(step.result) or ["The result is empty."]
    render = _RENDERERS.get(step.step_type)
    if render is None:
        return tree_lines(step.result)
    digest = step_digest(step)
    return [*([digest] if digest else []), *render(step.result, child_run(step))]


def _parse(result: Json, run: Json) -> list[str]:
    lines: list[str] = []
    for number, chunk in enumerate(objects(as_object(run.get("output")).get("chunks")), 1):
        span = as_object(as_object(chunk.get("metadata")).get("pageRange"))
        kind, first, last = word(chunk.get("type"), 20), _number(span.get("start")), _number(span.get("end"))
        lines.append(f"Chunk {number} ({kind}, pages {first}-{last}):")
        lines += quote_lines(str(chunk.get("content") or ""))
    return lines


def _extract(result: Json, run: Json) -> list[str]:
    output = as_object(run.get("output"))
    return [
        _field(path, value, facts)
        for path, value, facts in extracted_fields(output.get("value"), output.get("metadata"))
    ]


def _field(path: str, value: Any, facts: Json) -> str:
    shown = (
        quote(value, _LONG) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    )
    known = [
        f"{label} {number}"
        for label, number in (
            ("confidence", _number(confidence(facts))),
            ("ocr", _number(facts.get("ocrConfidence"))),
            ("review score", _number(facts.get("reviewAgentScore"))),
        )
        if number != "?"
    ]
    said = [quote(item.get("content"), 160) for item in objects(facts.get("insights")) if item.get("content")]
    cited = sorted({_number(item.get("page")) for item in objects(facts.get("citations"))} - {"?"})
    if cited:
        known.append(f"page {', '.join(cited[:5])}")
    label = field_path(path)
    return f"{label} = {shown}" + (f"  ({', '.join(known)})" if known else "") + (f" {' '.join(said)}" if said else "")


def _classify(result: Json, run: Json) -> list[str]:
    return [
        f"- {quote(insight.get('content') or insight, _LONG)}"
        for insight in objects(as_object(run.get("output")).get("insights"))
    ]


def _split(result: Json, run: Json) -> list[str]:
    return [
        f"{_number(split.get('startPage'))}-{_number(split.get('endPage'))}: {quote(split.get('type') or '?', 60)} "
        f"{quote(split.get('name') or split.get('identifier') or '', 80)} {word(split.get('fileId') or '', 80)}"
        + (f" {quote(split['observation'], _LONG)}" if split.get("observation") else "")
        for split in objects(as_object(run.get("output")).get("splits"))
    ]


def _rules(result: Json, run: Json) -> list[str]:
    lines = []
    for rule in objects(result.get("rules")):
        each = rule.get("validArray")
        failed = [index for index, ok in enumerate(each) if ok is not True] if isinstance(each, list) else []
        rows = f" (items failed: {failed})" if failed else ""
        lines.append(_verdict(rule, rows))
    return lines


def _blocks(result: Json, run: Json) -> list[str]:
    return [_verdict(block, "") for block in objects(result.get("blocks"))]


def _branches(result: Json, run: Json) -> list[str]:
    return [
        f"{'took' if branch.get('matched') is True else 'not'}: "
        f"{quote(branch.get('name') or branch.get('id') or '?')}{_why(branch)}"
        for branch in objects(result.get("branches"))
    ]


def _verdict(item: Json, rows: str) -> str:
    passed = "passed" if item.get("valid") is True else "FAILED"
    reason = f" {word(item['failureReason'], 40)}" if item.get("failureReason") else ""
    return f"{passed}: {quote(item.get('name') or '?')}{reason}{rows}{_why(item)}"


def _why(item: Json) -> str:
    said = [f"{label} {quote(item[label], _LONG)}" for label in ("error", "reasoning") if item.get(label)]
    return f" - {'; '.join(said)}" if said else ""


def _external(result: Json, run: Json) -> list[str]:
    return tree_lines(as_object(result.get("response")))


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "?"
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


_RENDERERS: dict[str, Callable[[Json, Json], list[str]]] = {
    "PARSE": _parse,
    "EXTRACT": _extract,
    "MERGE_EXTRACT": _extract,
    "CONDITIONAL_EXTRACT": _extract,
    "CLASSIFY": _classify,
    "SPLIT": _split,
    "RULE_VALIDATION": _rules,
    "VALIDATION": _blocks,
    "ROUTER": _branches,
    "EXTERNAL_DATA_VALIDATION": _external,
}
