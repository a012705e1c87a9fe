"""A step of a run: what it found in one line, its whole result in pages, and one part of it by its path.

Source: Extend API reference, StepRun.result by stepType. A type added later gets the names of what its result holds,
and its result as a tree. A result of an unexpected form never raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice, starmap
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from extend_mcp.api.models import StepRun, WorkflowRun
from extend_mcp.runs.failures import step_failure
from extend_mcp.views.document import Document, TextPage, View, ViewPart, counted, listed
from extend_mcp.views.untrusted import Code, FieldPath, Id, Label, Line, Note, Quote, Value, tree_lines
from extend_mcp.workflows.graph import Json

Detail = Literal["concise", "full"]

StatusCode = Annotated[Code, AfterValidator(lambda status: status or Code("unknown"))]
_LONG = 400
_AROUND = 160
_DEEPEST = 1000
_LOW_SCORE = 2
_MOST_FIELDS = 40
_MOST_NAMES = 12


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
    """Show one step's result: what it found, by type, or with ``full`` detail every field of the API's result.

    The page past the last one, and -1, is the last. ``field`` is the path of one part, shown whole. Only lines that
    contain ``contains`` are shown, below what they belong to.

    Raises:
        NoSuchPartError: the result has no such part.
    """
    name, status = Label(step.title), Code(run.status) or Code("unknown")
    known = " · ".join([f"{name}", f"{Code(step.step_type)}" or "?", f"{Code(step.status)}" or "?"])
    head = [f"Run {Id(run.id)} · {status}", f"Step {known}"]
    # A part that is no extracted field is shown whole, so there is no fuller form of it.
    lines, is_short = select_part(step, field, detail) if field else (_lines(step, detail), True)
    fuller = detail == "concise" and is_short
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
    digest, found = step_digest(step), _KINDS[step.step_type](step)
    next(found)
    return [*([digest] if digest else []), *found]


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
    return str(next(_KINDS[step.step_type](step)))


def select_part(step: StepRun, path: str, detail: Detail = "concise") -> tuple[list[Line], bool]:
    """Show one part of a step's result, in full with all that the API knows of an extracted field.

    The ``path`` of names and indexes, such as ``line_items[0].amount``, begins at the whole result, at the child run's
    output or at the extracted values. Return the lines, and whether the API says more about the part.

    Raises:
        NoSuchPartError: there is no such part.
    """
    output = step.output
    roots = [output.get("value"), output, step.child_run, step.result]
    found = next(([value] for root in roots for place, value in walk(root) if place == path), None)
    if not found:
        names = [str(name) for root in roots for name in as_object(root)]
        raise NoSuchPartError(", ".join(dict.fromkeys(names[:_MOST_NAMES])))
    # The field itself, or what is in it.
    fields = [each for each in extracted_fields(step) if f"{each[0]}.".startswith((f"{path}.", f"{path}["))]
    known = {name: facts for name, _, facts in fields if facts}
    if detail == "concise" and known:
        return [*starmap(field_words, fields)], True
    lines = [f"{FieldPath(path)}:", *tree_lines(found[0], 1)]
    return [*lines, "Known of it:", *tree_lines(known, 1)] if known else lines, False


def lines_with(lines: list[str], text: str) -> list[str]:
    """Return the lines that contain a text, whatever its case and space, each below what it belongs to."""
    wanted = _folded(text)
    above: list[tuple[int, str]] = []
    kept: list[str] = []
    for line in lines:
        depth = _DEEPEST if line.startswith("|") else len(line) - len(line.lstrip(" "))
        above = [each for each in above if each[0] < depth]
        if wanted in _folded(line):
            # A heading is shown once, however many of its lines are.
            kept += [*(heading for _, heading in above), _around(line, wanted)]
            above = []
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


# Each kind of step gives what it found in one line, then line by line: only what is asked for is written.


def _parse(step: StepRun) -> Iterator[Line]:
    pages, chunks = as_object(step.child_run.get("metrics")).get("pageCount"), objects(step.output.get("chunks"))
    counts = [counted(pages, "page")] if isinstance(pages, int) else []
    yield ", ".join([*counts, counted(len(chunks), "chunk")])
    for number, chunk in enumerate(chunks, 1):
        span = as_object(as_object(chunk.get("metadata")).get("pageRange"))
        yield f"Chunk {number} ({Code(chunk.get('type')):20}, pages {_pages(span.get('start'), span.get('end'))}):"
        yield Quote(str(chunk.get("content") or ""))


def _extract(step: StepRun) -> Iterator[Line]:
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
    yield ", ".join(said)
    yield from starmap(field_words, fields)


def field_words(path: str, value: Any, facts: Json) -> str:
    """Write a field with its value, and what is known of it, in one line."""
    sure, score = confidence(facts), facts.get("reviewAgentScore")
    known = [] if sure is None else [f"confidence {sure:.2f}"]
    if isinstance(score, int) and score <= _LOW_SCORE:
        known.append(f"review score {score} of 5")
    # The API's page is an object with its number and size.
    cited = [as_object(item.get("page")).get("number", item.get("page")) for item in objects(facts.get("citations"))]
    pages = sorted({page for page in cited if type(page) is int})
    if pages:
        known.append(f"page {', '.join(map(str, pages[:5]))}")
    shown = f"{Note(value):{_LONG}}" if isinstance(value, str) else _value(value)
    said = [f" ({', '.join(known)})"] if known else []
    said += [f" {Note(item['content']):160}" for item in objects(facts.get("insights")) if item.get("content")]
    return f"{FieldPath(path)}: {shown}{''.join(said)}"


def _classify(step: StepRun) -> Iterator[Line]:
    output, sure = step.output, confidence(step.output)
    kind = f"type {Label(output.get('type') or output.get('id') or '?'):60}"
    yield kind if sure is None else f"{kind}, confidence {sure:.2f}"
    for each in objects(output.get("insights")):
        yield f"- {Note(each.get('content') or each):{_LONG}}"


def _split(step: StepRun) -> Iterator[Line]:
    splits = objects(step.output.get("splits"))
    kinds = Counter(str(split.get("type") or "?") for split in splits)
    shown = listed([f"{count} {Label(kind):24}" for kind, count in kinds.most_common()], 3)
    yield counted(len(splits), "part") + (f": {shown}" if shown else "")
    for split in splits:
        named = f"{Label(split.get('name') or split.get('identifier') or '')} {Id(split.get('fileId') or '')}"
        seen = f" {Note(split['observation']):{_LONG}}" if split.get("observation") else ""
        pages = _pages(split.get("startPage"), split.get("endPage"))
        yield f"{pages}: {Label(split.get('type') or '?'):60} {named}{seen}"


def _checks(step: StepRun) -> Iterator[Line]:
    name = "rules" if step.step_type == "RULE_VALIDATION" else "blocks"
    checks = [
        (each.get("valid") is True, Label(each.get("name") or "?"), Code(each.get("failureReason") or ""), each)
        for each in _items(step, name)
    ]
    broken = [f"{check:36} {reason:24}".rstrip() for passed, check, reason, _ in checks if not passed]
    said = f"{len(checks) - len(broken)} of {counted(len(checks), name.removesuffix('s'))} passed"
    yield f"{said}; not: {listed(broken, 2)}" if broken else said
    for passed, check, reason, each in checks:
        rows = f" (items failed: {failed})" if (failed := failed_items(each)) else ""
        yield f"{'passed' if passed else 'FAILED'}: {check:120} {reason:40}".rstrip() + f"{rows}{_why(each)}"


def _router(step: StepRun) -> Iterator[Line]:
    matched = as_object((step.result or {}).get("matchedBranch"))
    named = f"{Label(matched.get('name') or matched.get('id') or '?'):60}"
    yield f"took branch {named}" if matched else "no branch matched: took otherwise"
    for each in _items(step, "branches"):
        taken = "took" if each.get("matched") is True else "not"
        yield f"{taken}: {Label(each.get('name') or each.get('id') or '?'):120}{_why(each)}"


def _why(item: Json) -> str:
    said = [f"{label} {Note(item[label]):{_LONG}}" for label in ("error", "reasoning") if item.get(label)]
    return f" - {'; '.join(said)}" if said else ""


def _external(step: StepRun) -> Iterator[Line]:
    response = as_object((step.result or {}).get("response"))
    names = ", ".join(list(as_object(response.get("data")))[:4])
    yield f"HTTP {Code(response.get('status')):12}" + (f", data: {Label(names):60}" if names else "")
    yield from tree_lines(response)


def _items(step: StepRun, name: str) -> list[Json]:
    return objects((step.result or {}).get(name))


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pages(first: Any, last: Any) -> str:
    return "-".join(f"{page}" if type(page) in (int, float) else "?" for page in (first, last))


_KINDS: dict[str, Callable[[StepRun], Iterator[Line]]] = {
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
