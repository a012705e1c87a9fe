"""A step of a run: what it found in one line, its whole result in pages, and one part of it by its path.

Source: Extend API reference, StepRun.result by stepType. A type added later gets the names of what its result holds,
and its result as a tree. A result of an unexpected form never raises.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import AfterValidator

from extend_mcp.api.models import StepRun, WorkflowRun
from extend_mcp.runs.failures import step_failure
from extend_mcp.runs.times import read_instant
from extend_mcp.views.document import Document, TextPage, View, ViewPart, counted, listed
from extend_mcp.views.untrusted import Code, FieldPath, Id, Label, Line, Note, Quote, Value, tree_lines
from extend_mcp.workflows.graph import Json

Detail = Literal["concise", "full"]

StatusCode = Annotated[Code, AfterValidator(lambda status: status or Code("unknown"))]
"""The status of a run."""

_LONG = 400
_AROUND = 160
_DEEPEST = 1000
_LOW_SCORE = 2
_MOST_FIELDS = 40
_MOST_NAMES = 12
_PART = re.compile(r"\[(\d{1,9})\]|([^.\[\]]+)")
_MISSING = object()
_REASON = "failureReason"


class FieldFacts(ViewPart):
    """An extracted field."""

    path: FieldPath
    value: Value | None = None
    confidence: float | None = None


class StepResult(TextPage):
    """A page of one step's result, and on the first page of an extraction its fields."""

    step_id: Id
    name: Label
    type: Code
    status: Code
    detail: Detail
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
        detail: ``concise``: what the step found, by type; ``full``: every field of the API's result.
        page: which page, from 1; one past the end, or -1, gives the last.
        field: the path of one part, shown whole.
        contains: show only the lines with this text, below what they belong to.

    Raises:
        NoSuchPartError: the result has no such part.
    """
    name, status = Label(step.title), Code(run.status) or Code("unknown")
    known = " · ".join([f"{name}", f"{Code(step.step_type)}" or "?", f"{Code(step.status)}" or "?"])
    head = [f"Run {Id(run.id)} · {status}", f"Step {known}"]
    # A part that is no extracted field is shown whole, so there is no fuller form of it.
    part = select_part(step, field, detail) if field else None
    fuller = detail == "concise" and (part is None or part.is_short)
    lines = part.lines if part else _lines(step, detail)
    if contains is not None:
        whole = [each for line in lines for each in str(line).split("\n")]
        count = sum(_folded(contains) in _folded(line) for line in whole)
        head.append(f"{counted(count, 'line')} of {len(whole):,} with {Label(contains):80}:")
        lines = [*lines_with(whole, contains)]
    tail = ['Every field of the API\'s result: the same call with detail="full".'] if fuller else []
    text, shown = Document(head, lines, tail).page(page, limit)
    fields = [
        FieldFacts(path=path, value=None if value is None else _value(value), confidence=confidence(facts))
        for path, value, facts in (islice(extracted_fields(step), _MOST_FIELDS) if shown.page == 1 and fuller else ())
    ]
    result = StepResult(
        step_id=step.id,
        name=name,
        type=step.step_type,
        status=step.status,
        detail=detail,
        fields=fields or None,
        **dict(shown),
    )
    return StepResultView(run_id=run.id, status=status, step_result=result).with_text(text)


def _lines(step: StepRun, detail: Detail) -> list[Line]:
    if step.result is None:
        return ["No result yet." if step.status in ("PENDING", "WAITING", "PROCESSING") else "This step has no result."]
    if detail == "full":
        return tree_lines(step.result) or ["The result is empty."]
    if step.step_type not in _KINDS:
        return tree_lines(step.result)
    digest, lines = step_digest(step), _KINDS[step.step_type](step)[1]
    return [*([digest] if digest else []), *lines]


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
    return _KINDS[step.step_type](step)[0]


class Part(NamedTuple):
    """A part of a step's result as lines; ``is_short`` if the API says more about it."""

    lines: list[Line]
    is_short: bool


def select_part(step: StepRun, path: str, detail: Detail = "concise") -> Part:
    """Show one part of a step's result; in full with all that the API knows of an extracted field.

    Args:
        path: names and indexes, such as ``line_items[0].amount`` or ``chunks[3].content``; it may begin at the
            whole result, at the child run's output, or at the extracted values.

    Raises:
        NoSuchPartError: there is no such part.
    """
    parts = [int(index) if index else name for index, name in _PART.findall(path)]
    output = step.output
    roots = [output.get("value"), output, step.child_run, step.result]
    found = [value for root in roots if (value := _follow(root, parts)) is not _MISSING]
    if not parts or not found:
        names = [str(name) for root in roots for name in as_object(root)]
        raise NoSuchPartError(", ".join(dict.fromkeys(names[:_MOST_NAMES])))
    # The field itself, or what is in it.
    fields = [each for each in extracted_fields(step) if f"{each[0]}.".startswith((f"{path}.", f"{path}["))]
    known = {name: facts for name, _, facts in fields if facts}
    if detail == "concise" and known:
        return Part([_field(*field) for field in fields], is_short=True)
    lines = [f"{FieldPath(path)}:", *tree_lines(found[0], 1)]
    return Part([*lines, "Known of it:", *tree_lines(known, 1)] if known else lines, is_short=False)


def lines_with(lines: list[str], text: str) -> list[str]:
    """Return the lines that contain a text, whatever its case and space, each below what it belongs to."""
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


def extracted_fields(step: StepRun, *, with_facts: bool = True) -> Iterator[tuple[str, Any, Json]]:
    """Iterate over the leaves that a step extracted, and the objects that the API has facts of.

    Yields:
        The path, such as ``lines[0].amount``, the leaf, None for an object, and its metadata, such as a confidence.
    """
    output = step.output
    known = as_object(output.get("metadata")) if with_facts else {}
    for path, item in walk(output.get("value")):
        facts = as_object(known.get(path))
        # An object can be one field (an amount with its currency): its own facts are on its own path.
        if isinstance(item, dict) and item:
            if facts:
                yield path, None, facts
        elif path and not (isinstance(item, list) and item):
            yield path, item, facts


def _member(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def walk(value: Any, member: Callable[[str, str], str] = _member) -> Iterator[tuple[str, Any]]:
    """Iterate over a JSON value and all that is in it, each with its path; the value may be nested at will.

    ``member`` returns the path of a member of an object.
    """
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, item = pending.pop()
        yield path, item
        if isinstance(item, dict):
            pending += [(member(path, name), child) for name, child in reversed(item.items())]
        elif isinstance(item, list):
            pending += [(f"{path}[{index}]", child) for index, child in reversed(list(enumerate(item)))]


def confidence(facts: Json) -> float | None:
    """Return the confidence of an extracted field or a classification, 0 to 1; None where the API does not say."""
    value = facts.get("logprobsConfidence", facts.get("confidence"))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def as_object(value: Any) -> Json:
    """Return ``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Json]:
    """Return the JSON objects in ``value`` if it is a list, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def failed_items(check: Json) -> list[int] | None:
    """Return the places of the items that did not pass a rule over a list; None for any other rule."""
    each = check.get("validArray")
    return [place for place, valid in enumerate(each) if valid is not True] if isinstance(each, list) else None


_Found: TypeAlias = "tuple[str, Iterable[Line]]"
"""The findings of a step, in one line, and as lines that are written when they are asked for."""


def _parse(step: StepRun) -> _Found:
    pages, chunks = as_object(step.child_run.get("metrics")).get("pageCount"), objects(step.output.get("chunks"))
    counts = [counted(pages, "page")] if isinstance(pages, int) else []
    lines = (line for number, chunk in enumerate(chunks, 1) for line in _chunk_lines(number, chunk))
    return ", ".join([*counts, counted(len(chunks), "chunk")]), lines


def _chunk_lines(number: int, chunk: Json) -> list[Line]:
    span = as_object(as_object(chunk.get("metadata")).get("pageRange"))
    pages = f"{_number(span.get('start'))}-{_number(span.get('end'))}"
    return [f"Chunk {number} ({Code(chunk.get('type')):20}, pages {pages}):", Quote(str(chunk.get("content") or ""))]


def _extract(step: StepRun) -> _Found:
    fields = list(extracted_fields(step))
    said = [counted(sum(1 for _, item, _ in fields if item is not None), "field")]
    sure = [(value, path) for path, _, facts in fields if (value := confidence(facts)) is not None]
    if sure:
        lowest, path = min(sure)
        said.append(f"lowest confidence {lowest:.2f} ({Label(path):40})")
    if step.child_run.get("edited") is True:
        said.append("edited in review")
    if step.step_type == "MERGE_EXTRACT":
        said.insert(0, f"{counted(len(_items(step, 'mergedExtractors')), 'extractor')} merged")
    if step.step_type == "CONDITIONAL_EXTRACT" and (name := as_object(step.child_run.get("extractor")).get("name")):
        said.insert(0, f"by {Label(name):40}")
    return ", ".join(said), (_field(*field) for field in fields)


def _field(path: str, value: Any, facts: Json) -> str:
    sure, score = confidence(facts), facts.get("reviewAgentScore")
    known = [] if sure is None else [f"confidence {sure:.2f}"]
    if isinstance(score, int) and score <= _LOW_SCORE:
        known.append(f"review score {score} of 5")
    # The API's page is an object with its number and size.
    cited = [as_object(item.get("page")).get("number", item.get("page")) for item in objects(facts.get("citations"))]
    pages = sorted({page for page in cited if type(page) is int})
    if pages:
        known.append(f"page {', '.join(map(str, pages[:5]))}")
    said = [f"{Note(item['content']):160}" for item in objects(facts.get("insights")) if item.get("content")]
    label = f"{FieldPath(path)}: {value_words(value)}"
    return label + (f" ({', '.join(known)})" if known else "") + (f" {' '.join(said)}" if said else "")


def _classify(step: StepRun) -> _Found:
    output, sure = step.output, confidence(step.output)
    kind = f"type {Label(output.get('type') or output.get('id') or '?'):60}"
    insights = (f"- {Note(each.get('content') or each):{_LONG}}" for each in objects(output.get("insights")))
    return kind if sure is None else f"{kind}, confidence {sure:.2f}", insights


def _split(step: StepRun) -> _Found:
    splits = objects(step.output.get("splits"))
    kinds = Counter(str(split.get("type") or "?") for split in splits)
    shown = listed([f"{count} {Label(kind):24}" for kind, count in kinds.most_common()], 3)
    return counted(len(splits), "part") + (f": {shown}" if shown else ""), map(_split_line, splits)


def _split_line(split: Json) -> str:
    named = f"{Label(split.get('name') or split.get('identifier') or '')} {Id(split.get('fileId') or '')}"
    seen = f" {Note(split['observation']):{_LONG}}" if split.get("observation") else ""
    pages = f"{_number(split.get('startPage'))}-{_number(split.get('endPage'))}"
    return f"{pages}: {Label(split.get('type') or '?'):60} {named}{seen}"


def _checks(step: StepRun) -> _Found:
    name = "rules" if step.step_type == "RULE_VALIDATION" else "blocks"
    checks = _items(step, name)
    broken = [
        f"{Label(each.get('name') or '?'):36}{f' {Code(each[_REASON]):24}' if each.get(_REASON) else ''}"
        for each in checks
        if each.get("valid") is not True
    ]
    said = f"{len(checks) - len(broken)} of {counted(len(checks), name.removesuffix('s'))} passed"
    return f"{said}; not: {listed(broken, 2)}" if broken else said, map(_check_line, checks)


def _check_line(check: Json) -> str:
    passed = "passed" if check.get("valid") is True else "FAILED"
    reason = f" {Code(check[_REASON]):40}" if check.get(_REASON) else ""
    rows = f" (items failed: {failed})" if (failed := failed_items(check)) else ""
    return f"{passed}: {Label(check.get('name') or '?'):120}{reason}{rows}{_why(check)}"


def _router(step: StepRun) -> _Found:
    matched = as_object((step.result or {}).get("matchedBranch"))
    named = f"{Label(matched.get('name') or matched.get('id') or '?'):60}"
    lines = (
        f"{'took' if each.get('matched') is True else 'not'}: "
        f"{Label(each.get('name') or each.get('id') or '?'):120}{_why(each)}"
        for each in _items(step, "branches")
    )
    return f"took branch {named}" if matched else "no branch matched: took otherwise", lines


def _why(item: Json) -> str:
    said = [f"{label} {Note(item[label]):{_LONG}}" for label in ("error", "reasoning") if item.get(label)]
    return f" - {'; '.join(said)}" if said else ""


def _external(step: StepRun) -> _Found:
    response = as_object((step.result or {}).get("response"))
    names = ", ".join(list(as_object(response.get("data")))[:4])
    digest = f"HTTP {Code(response.get('status')):12}" + (f", data: {Label(names):60}" if names else "")
    return digest, (line for line in tree_lines(response))


def _items(step: StepRun, name: str) -> list[Json]:
    return objects((step.result or {}).get(name))


def value_words(value: Any, most: int = _LONG) -> str:
    """Write a value from a document or the API: a text marked and with at most so many characters."""
    return f"{Note(value):{most}}" if isinstance(value, str) else _value(value)


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "?"
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


_KINDS: dict[str, Callable[[StepRun], _Found]] = {
    "PARSE": _parse,
    "EXTRACT": _extract,
    "MERGE_EXTRACT": _extract,
    "CONDITIONAL_EXTRACT": _extract,
    "CLASSIFY": _classify,
    "SPLIT": _split,
    "RULE_VALIDATION": _checks,
    "VALIDATION": _checks,
    "ROUTER": _router,
    "EXTERNAL_DATA_VALIDATION": _external,
}
