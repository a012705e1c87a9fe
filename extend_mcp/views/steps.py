"""What each type of step found, in one line: the digest behind a step's name in a run's view.

Source: Extend API reference, StepRun.result by stepType. A type added later gets the names of what its
result holds; a result of an unexpected form never raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from extend_mcp.api.models import StepRun
from extend_mcp.runs.failures import child_run, step_failure
from extend_mcp.views.untrusted import quote, word

Json = dict[str, Any]


def step_digest(step: StepRun) -> str:
    """Say in one line what ``step`` found or why it failed; empty while there is nothing to say."""
    failure = step_failure(step)
    if failure is not None:
        said = f"{word(failure.reason)} " if failure.reason else ""
        return (said + (quote(failure.message, 90) if failure.message else "")).strip()
    if step.result is None:
        return ""
    digest = _DIGESTS.get(step.step_type, _unknown_digest)
    return digest(step.result, child_run(step))


def extracted_fields(value: Any, metadata: Any) -> Iterator[tuple[str, Any, Json]]:
    """Walk an extraction's leaves with what is known of each.

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
    """How sure the extraction is of a field, 0 to 1, or None when it does not say."""
    value = facts.get("logprobsConfidence")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def as_object(value: Any) -> Json:
    """``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Json]:
    """The JSON objects in ``value`` if it is a list, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _parse(result: Json, run: Json) -> str:
    pages = as_object(run.get("metrics")).get("pageCount")
    chunks = objects(as_object(run.get("output")).get("chunks"))
    return ", ".join([*([_count(pages, "page")] if isinstance(pages, int) else []), _count(len(chunks), "chunk")])


def _extract(result: Json, run: Json) -> str:
    output = as_object(run.get("output"))
    fields = list(extracted_fields(output.get("value"), output.get("metadata")))
    said = [_count(sum(1 for _, item, _ in fields if item is not None), "field")]
    sure = [(value, path) for path, _, facts in fields if (value := confidence(facts)) is not None]
    if sure:
        lowest, path = min(sure)
        said.append(f"lowest confidence {lowest:.2f} ({quote(path, 40)})")
    if run.get("edited") is True:
        said.append("edited in review")
    return ", ".join(said)


def _merge_extract(result: Json, run: Json) -> str:
    return f"{_count(len(objects(result.get('mergedExtractors'))), 'extractor')} merged, {_extract(result, run)}"


def _conditional_extract(result: Json, run: Json) -> str:
    name = as_object(run.get("extractor")).get("name")
    return f"{f'by {quote(name, 40)}, ' if name else ''}{_extract(result, run)}"


def _classify(result: Json, run: Json) -> str:
    output = as_object(run.get("output"))
    sure = output.get("confidence")
    with_confidence = f", confidence {sure:.2f}" if isinstance(sure, (int, float)) else ""
    return f"type {quote(output.get('type') or output.get('id') or '?', 60)}{with_confidence}"


def _split(result: Json, run: Json) -> str:
    splits = objects(as_object(run.get("output")).get("splits"))
    kinds = Counter(str(split.get("type") or "?") for split in splits)
    shown = ", ".join(f"{count} {quote(kind, 24)}" for kind, count in kinds.most_common(3))
    rest = len(kinds) - 3
    return _count(len(splits), "part") + (f": {shown}" if shown else "") + (f", {rest} more kinds" if rest > 0 else "")


def _rule_validation(result: Json, run: Json) -> str:
    rules = objects(result.get("rules"))
    broken = [rule for rule in rules if rule.get("valid") is not True]
    said = f"{len(rules) - len(broken)} of {_count(len(rules), 'rule')} passed"
    return said + _broken(broken, lambda rule: str(rule.get("failureReason") or ""))


def _validation(result: Json, run: Json) -> str:
    blocks = objects(result.get("blocks"))
    broken = [block for block in blocks if block.get("valid") is not True]
    said = f"{len(blocks) - len(broken)} of {_count(len(blocks), 'block')} valid"
    return said + _broken(broken, lambda block: "error" if block.get("error") else "")


def _router(result: Json, run: Json) -> str:
    matched = as_object(result.get("matchedBranch"))
    if not matched:
        return "no branch matched: took otherwise"
    return f"took branch {quote(matched.get('name') or matched.get('id') or '?', 60)}"


def _external(result: Json, run: Json) -> str:
    response = as_object(result.get("response"))
    names = ", ".join(list(as_object(response.get("data")))[:4])
    return f"HTTP {word(response.get('status'), 12)}" + (f", data: {quote(names, 60)}" if names else "")


def _unknown_digest(result: Json, run: Json) -> str:
    return f"a step type new to this version; its result holds {quote(', '.join(map(str, result)), 70)}"


def _broken(items: list[Json], why: Callable[[Json], str]) -> str:
    if not items:
        return ""
    shown = [
        f"{quote(item.get('name') or '?', 36)}{f' {word(why(item), 24)}' if why(item) else ''}" for item in items[:2]
    ]
    return f"; not: {', '.join(shown)}" + (f" and {len(items) - 2} more" if len(items) > 2 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_DIGESTS: dict[str, Callable[[Json, Json], str]] = {
    "PARSE": _parse,
    "EXTRACT": _extract,
    "MERGE_EXTRACT": _merge_extract,
    "CONDITIONAL_EXTRACT": _conditional_extract,
    "CLASSIFY": _classify,
    "SPLIT": _split,
    "RULE_VALIDATION": _rule_validation,
    "VALIDATION": _validation,
    "ROUTER": _router,
    "EXTERNAL_DATA_VALIDATION": _external,
}
