"""A step of a run: what it found in one line, its whole result in pages, and one part of it by its path.

Source: Extend API reference, StepRun.result by stepType. A type added later gets the names of what its result holds,
and its result as a tree. A result of an unexpected form never raises.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Literal

from extend_mcp.api.models import StepRun, WorkflowRun
from extend_mcp.runs.failures import step_failure
from extend_mcp.runs.times import read_instant
from extend_mcp.views.document import Document, View, ViewPart, counted
from extend_mcp.views.untrusted import Code, FieldPath, Id, Label, Line, Note, Quote, Value, tree_lines

Detail = Literal["concise", "full"]
Json = dict[str, Any]

_LONG = 400
_AROUND = 160
_DEEPEST = 1000
_LOW_SCORE = 2
_MOST_FIELDS = 40
_MOST_NAMES = 12
_PART = re.compile(r"\[(\d{1,9})\]|([^.\[\]]+)")
_MISSING = object()


class FieldFacts(ViewPart):
    """An extracted field."""

    path: FieldPath
    value: Value | None = None
    confidence: float | None = None


class StepResult(ViewPart):
    """A page of one step's result, and on the first page of an extraction its fields."""

    step_id: Id
    name: Label
    type: Code
    status: Code
    detail: Detail
    page: int
    pages: int
    content: str
    fields: list[FieldFacts] | None = None


class StepResultView(View):
    """One step's result, in pages."""

    run_id: Id
    status: Code
    step_result: StepResult
    untrusted: str = "name, content"


class NoSuchPartError(LookupError):
    """The result has no such part; the text lists what is where the path ended."""


def step_view(
    run: WorkflowRun,
    step: StepRun,
    *,
    detail: Detail,
    page: int,
    limit: int,
    field: str | None = None,
    contains: str | None = None,
) -> StepResultView:
    """Show one step's result.

    Args:
        step: one of its step runs.
        detail: ``concise``: what the step found, by type; ``full``: every field of the API's result.
        page: which page, from 1; one past the end, or -1, gives the last.
        field: the path of one part, shown whole; None for everything.
        contains: show only the lines with this text, below what they belong to; None for all lines.

    Raises:
        NoSuchPartError: the result has no such part.
    """
    view = StepResultView(
        run_id=run.id,
        status=Code(run.status) or "unknown",
        step_result=StepResult(
            step_id=step.id,
            name=step.step.name or step.step_type,
            type=step.step_type,
            status=step.status,
            detail=detail,
            page=1,
            pages=1,
            content="",
        ),
    )
    result = view.step_result
    head = [
        f"Run {view.run_id} · {view.status}",
        f"Step {result.name} · {result.type or '?'} · {result.status or '?'}",
    ]
    # A part that is no extracted field is shown whole, so there is no fuller form of it.
    part = select_part(step, field, detail) if field else None
    fuller = detail == "concise" and (part is None or part.is_short)
    tail = ['Every field of the API\'s result: the same call with detail="full".'] if fuller else []
    lines = part.lines if part else _lines(step, detail)
    if contains is not None:
        whole = [each for line in lines for each in str(line).split("\n")]
        head.append(f"{counted(count_lines(whole, contains), 'line')} of {len(whole):,} with {Label(contains):80}:")
        lines = [*lines_with(whole, contains)]
    shown = Document(head, lines, tail).page(page, limit)
    result.page, result.pages, result.content = shown.number, shown.count, shown.content
    if fuller and shown.number == 1:
        result.fields = field_facts(step) or None
    return view.with_text(shown.text)


def _lines(step: StepRun, detail: Detail) -> list[Line]:
    if step.result is None:
        return ["No result yet." if step.status in ("PENDING", "WAITING", "PROCESSING") else "This step has no result."]
    if detail == "full":
        return tree_lines(step.result) or ["The result is empty."]
    if step.step_type not in _KINDS:
        return tree_lines(step.result)
    _, render = _KINDS[step.step_type]
    digest = step_digest(step)
    return [*([digest] if digest else []), *render(step.result, step.child_run)]


def step_digest(step: StepRun) -> str:
    """Say in one line what ``step`` found or why it failed; empty while there is nothing to say."""
    failure = step_failure(step)
    if failure is not None:
        message = f"{Note(failure.message):90}" if failure.message else ""
        return f"{Code(failure.reason)} {message}".strip()
    if step.result is None:
        return ""
    if step.step_type not in _KINDS:
        return f"a step type new to this version; its result holds {Label(', '.join(map(str, step.result))):70}"
    digest, _ = _KINDS[step.step_type]
    return digest(step.result, step.child_run)


@dataclass(frozen=True)
class Part:
    """A part of a step's result as lines; ``is_short`` if the API says more about it."""

    lines: list[Line]
    is_short: bool


def select_part(step: StepRun, path: str, detail: Detail = "concise") -> Part:
    """Show one part of a step's result: a field, a chunk, a rule.

    Args:
        path: names and indexes, such as ``line_items[0].amount`` or ``chunks[3].content``; it may begin at the
            whole result, at the child run's output, or at the extracted values.
        detail: ``full``: with all that the API knows of an extracted field, its place on the page included.

    Raises:
        NoSuchPartError: there is no such part.
    """
    parts = [int(index) if index else name for index, name in _PART.findall(path)]
    output = as_object(step.child_run.get("output"))
    roots = [output.get("value"), output, step.child_run, step.result]
    found = [value for root in roots if (value := _follow(root, parts)) is not _MISSING]
    if not parts or not found:
        names = [str(name) for root in roots for name in as_object(root)]
        raise NoSuchPartError(", ".join(dict.fromkeys(names[:_MOST_NAMES])))
    fields = [
        (name, value, facts)
        for name, value, facts in extracted_fields(output.get("value"), output.get("metadata"))
        if name == path or name.startswith((f"{path}.", f"{path}["))
    ]
    known = {name: facts for name, _, facts in fields if facts}
    if detail == "concise" and known:
        return Part([_field(*field) for field in fields], is_short=True)
    lines = [f"{FieldPath(path)}:", *tree_lines(found[0], 1)]
    return Part([*lines, "Known of it:", *tree_lines(known, 1)] if known else lines, is_short=False)


def count_lines(lines: list[str], text: str) -> int:
    """Count the lines that contain a text, whatever its case and white space."""
    wanted = _folded(text)
    return sum(wanted in _folded(line) for line in lines)


def lines_with(lines: list[str], text: str) -> list[str]:
    """Return the lines that contain a text, each below the lines that say what it belongs to."""
    wanted = _folded(text)
    above: list[tuple[int, str]] = []
    kept: list[str] = []
    for line in lines:
        depth = _DEEPEST if line.startswith("|") else len(line) - len(line.lstrip(" "))
        above = [each for each in above if each[0] < depth]
        if wanted in _folded(line):
            kept += [heading for _, heading in above if heading]
            # A heading is shown once, however many of its lines are.
            above = [(place, "") for place, _ in above]
            kept.append(_around(line, wanted))
        elif line.endswith(":"):
            above.append((depth, line))
    return kept


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _around(line: str, wanted: str) -> str:
    """Return the part of a long quoted line around a text."""
    at = line.casefold().find(wanted)
    if len(line) <= 2 * _AROUND or not line.startswith("| ") or at < 0:
        return line
    start, end = max(2, at - _AROUND), at + len(wanted) + _AROUND
    return f"| {'…' if start > 2 else ''}{line[start:end]}{'…' if end < len(line) else ''}"


def field_facts(step: StepRun) -> list[FieldFacts]:
    """Return the first extracted fields of a step."""
    output = as_object(step.child_run.get("output"))
    found = extracted_fields(output.get("value"), output.get("metadata"))
    return [
        FieldFacts(path=path, value=None if value is None else _value(value), confidence=confidence(facts))
        for path, value, facts in islice(found, _MOST_FIELDS)
    ]


def step_times(step: StepRun) -> tuple[datetime | None, datetime | None]:
    """Return when the step's child run began and ended; the API reports no times of the step itself."""
    run = step.child_run
    # A review changes the child run later.
    ended = None if run.get("reviewed") is True else run.get("updatedAt")
    return read_instant(run.get("createdAt")), read_instant(ended)


def _follow(value: Any, parts: list[int | str]) -> Any:
    for part in parts:
        if isinstance(part, str):
            value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
        else:
            value = value[part] if isinstance(value, list) and part < len(value) else _MISSING
    return value


def extracted_fields(value: Any, metadata: Any) -> Iterator[tuple[str, Any, Json]]:
    """Iterate over an extraction's leaves with what is known of each.

    Args:
        value: ``extractRun.output.value``.
        metadata: ``extractRun.output.metadata``: paths such as ``total`` or ``lines[0].amount`` to facts.

    Yields:
        The path, the leaf value, and its metadata (``logprobsConfidence``, ``ocrConfidence``, ...) or ``{}``.
    """
    known = metadata if isinstance(metadata, dict) else {}
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, item = pending.pop()
        facts = as_object(known.get(path))
        # An object can be one field (an amount with its currency): its own facts are on its own path.
        if isinstance(item, dict) and item:
            pending += [(f"{path}.{name}" if path else str(name), child) for name, child in reversed(item.items())]
            if facts:
                yield path, None, facts
        elif isinstance(item, list) and item:
            pending += [(f"{path}[{index}]", child) for index, child in reversed(list(enumerate(item)))]
        elif path:
            yield path, item, facts


def confidence(facts: Json) -> float | None:
    """Return the confidence of an extracted field or a classification, 0 to 1; None where the API does not say."""
    value = facts.get("logprobsConfidence", facts.get("confidence"))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def confidence_words(value: float) -> str:
    """Write a confidence: the same words in every answer."""
    return f"confidence {value:.2f}"


def as_object(value: Any) -> Json:
    """Return ``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Json]:
    """Return the JSON objects in ``value`` if it is a list, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _parse_digest(result: Json, run: Json) -> str:
    pages = as_object(run.get("metrics")).get("pageCount")
    chunks = objects(as_object(run.get("output")).get("chunks"))
    return ", ".join([*([counted(pages, "page")] if isinstance(pages, int) else []), counted(len(chunks), "chunk")])


def _extract_digest(result: Json, run: Json) -> str:
    output = as_object(run.get("output"))
    fields = list(extracted_fields(output.get("value"), output.get("metadata")))
    said = [counted(sum(1 for _, item, _ in fields if item is not None), "field")]
    sure = [(value, path) for path, _, facts in fields if (value := confidence(facts)) is not None]
    if sure:
        lowest, path = min(sure)
        said.append(f"lowest {confidence_words(lowest)} ({Label(path):40})")
    if run.get("edited") is True:
        said.append("edited in review")
    return ", ".join(said)


def _merge_extract_digest(result: Json, run: Json) -> str:
    return (
        f"{counted(len(objects(result.get('mergedExtractors'))), 'extractor')} merged, {_extract_digest(result, run)}"
    )


def _conditional_extract_digest(result: Json, run: Json) -> str:
    name = as_object(run.get("extractor")).get("name")
    return f"{f'by {Label(name):40}, ' if name else ''}{_extract_digest(result, run)}"


def _classify_digest(result: Json, run: Json) -> str:
    output = as_object(run.get("output"))
    sure = confidence(output)
    with_confidence = "" if sure is None else f", {confidence_words(sure)}"
    return f"type {Label(output.get('type') or output.get('id') or '?'):60}{with_confidence}"


def _split_digest(result: Json, run: Json) -> str:
    splits = objects(as_object(run.get("output")).get("splits"))
    kinds = Counter(str(split.get("type") or "?") for split in splits)
    shown = ", ".join(f"{count} {Label(kind):24}" for kind, count in kinds.most_common(3))
    rest = len(kinds) - 3
    return counted(len(splits), "part") + (f": {shown}" if shown else "") + (f", {rest} more kinds" if rest > 0 else "")


def _rule_validation_digest(result: Json, run: Json) -> str:
    rules = objects(result.get("rules"))
    broken = [rule for rule in rules if rule.get("valid") is not True]
    said = f"{len(rules) - len(broken)} of {counted(len(rules), 'rule')} passed"
    return said + _broken(broken, lambda rule: str(rule.get("failureReason") or ""))


def _validation_digest(result: Json, run: Json) -> str:
    blocks = objects(result.get("blocks"))
    broken = [block for block in blocks if block.get("valid") is not True]
    said = f"{len(blocks) - len(broken)} of {counted(len(blocks), 'block')} valid"
    return said + _broken(broken, lambda block: "error" if block.get("error") else "")


def _router_digest(result: Json, run: Json) -> str:
    matched = as_object(result.get("matchedBranch"))
    if not matched:
        return "no branch matched: took otherwise"
    return f"took branch {Label(matched.get('name') or matched.get('id') or '?'):60}"


def _external_digest(result: Json, run: Json) -> str:
    response = as_object(result.get("response"))
    names = ", ".join(list(as_object(response.get("data")))[:4])
    return f"HTTP {Code(response.get('status')):12}" + (f", data: {Label(names):60}" if names else "")


def _broken(items: list[Json], why: Callable[[Json], str]) -> str:
    if not items:
        return ""
    shown = [
        f"{Label(item.get('name') or '?'):36}{f' {Code(why(item)):24}' if why(item) else ''}" for item in items[:2]
    ]
    return f"; not: {', '.join(shown)}" + (f" and {len(items) - 2} more" if len(items) > 2 else "")


def _parse_lines(result: Json, run: Json) -> list[Line]:
    lines: list[Line] = []
    for number, chunk in enumerate(objects(as_object(run.get("output")).get("chunks")), 1):
        span = as_object(as_object(chunk.get("metadata")).get("pageRange"))
        kind, first, last = f"{Code(chunk.get('type')):20}", _number(span.get("start")), _number(span.get("end"))
        lines.append(f"Chunk {number} ({kind}, pages {first}-{last}):")
        lines.append(Quote(str(chunk.get("content") or "")))
    return lines


def _extract_lines(result: Json, run: Json) -> list[str]:
    output = as_object(run.get("output"))
    return [
        _field(path, value, facts)
        for path, value, facts in extracted_fields(output.get("value"), output.get("metadata"))
    ]


def _field(path: str, value: Any, facts: Json) -> str:
    shown = f"{Note(value):{_LONG}}" if isinstance(value, str) else _value(value)
    sure, score = confidence(facts), facts.get("reviewAgentScore")
    known = [] if sure is None else [confidence_words(sure)]
    if isinstance(score, int) and score <= _LOW_SCORE:
        known.append(f"review score {score} of 5")
    # The API's page is an object with its number and size.
    cited = [as_object(item.get("page")).get("number", item.get("page")) for item in objects(facts.get("citations"))]
    pages = sorted({page for page in cited if type(page) is int})
    if pages:
        known.append(f"page {', '.join(map(str, pages[:5]))}")
    said = [f"{Note(item['content']):160}" for item in objects(facts.get("insights")) if item.get("content")]
    label = f"{FieldPath(path)}: {shown}"
    return label + (f" ({', '.join(known)})" if known else "") + (f" {' '.join(said)}" if said else "")


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _classify_lines(result: Json, run: Json) -> list[str]:
    return [
        f"- {Note(insight.get('content') or insight):{_LONG}}"
        for insight in objects(as_object(run.get("output")).get("insights"))
    ]


def _split_lines(result: Json, run: Json) -> list[str]:
    return [
        f"{_number(split.get('startPage'))}-{_number(split.get('endPage'))}: {Label(split.get('type') or '?'):60} "
        f"{Label(split.get('name') or split.get('identifier') or '')} {Id(split.get('fileId') or '')}"
        + (f" {Note(split['observation']):{_LONG}}" if split.get("observation") else "")
        for split in objects(as_object(run.get("output")).get("splits"))
    ]


def _rules_lines(result: Json, run: Json) -> list[str]:
    lines = []
    for rule in objects(result.get("rules")):
        each = rule.get("validArray")
        failed = [index for index, ok in enumerate(each) if ok is not True] if isinstance(each, list) else []
        rows = f" (items failed: {failed})" if failed else ""
        lines.append(_verdict(rule, rows))
    return lines


def _blocks_lines(result: Json, run: Json) -> list[str]:
    return [_verdict(block, "") for block in objects(result.get("blocks"))]


def _branches_lines(result: Json, run: Json) -> list[str]:
    return [
        f"{'took' if branch.get('matched') is True else 'not'}: "
        f"{Label(branch.get('name') or branch.get('id') or '?'):120}{_why(branch)}"
        for branch in objects(result.get("branches"))
    ]


def _verdict(item: Json, rows: str) -> str:
    passed = "passed" if item.get("valid") is True else "FAILED"
    reason = f" {Code(item['failureReason']):40}" if item.get("failureReason") else ""
    return f"{passed}: {Label(item.get('name') or '?'):120}{reason}{rows}{_why(item)}"


def _why(item: Json) -> str:
    said = [f"{label} {Note(item[label]):{_LONG}}" for label in ("error", "reasoning") if item.get(label)]
    return f" - {'; '.join(said)}" if said else ""


def _external_lines(result: Json, run: Json) -> list[Line]:
    return tree_lines(as_object(result.get("response")))


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "?"
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


_KINDS: dict[str, tuple[Callable[[Json, Json], str], Callable[[Json, Json], Sequence[Line]]]] = {
    "PARSE": (_parse_digest, _parse_lines),
    "EXTRACT": (_extract_digest, _extract_lines),
    "MERGE_EXTRACT": (_merge_extract_digest, _extract_lines),
    "CONDITIONAL_EXTRACT": (_conditional_extract_digest, _extract_lines),
    "CLASSIFY": (_classify_digest, _classify_lines),
    "SPLIT": (_split_digest, _split_lines),
    "RULE_VALIDATION": (_rule_validation_digest, _rules_lines),
    "VALIDATION": (_validation_digest, _blocks_lines),
    "ROUTER": (_router_digest, _branches_lines),
    "EXTERNAL_DATA_VALIDATION": (_external_digest, _external_lines),
}
"""Each type of step: its digest, and its result as lines."""
