"""Two runs of one workflow side by side: only what differs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from extend_mcp.api.models import StepRun, WorkflowRun
from extend_mcp.runs.failures import child_run, step_failure
from extend_mcp.runs.times import format_span
from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.budget import fit
from extend_mcp.views.runs import credits_of, duration_seconds
from extend_mcp.views.steps import as_object, confidence, extracted_fields
from extend_mcp.views.untrusted import NOTE, plain, quote, word

_MOST_CHARS = 80


class Pair(ViewPart):
    """One thing that differs between the runs; None where a run does not have it."""

    of: str
    first: str | None = None
    second: str | None = None
    first_confidence: float | None = None
    second_confidence: float | None = None


class ComparisonView(View):
    """What differs between two runs."""

    first: str
    second: str
    workflow: str
    runs: list[Pair]
    steps: list[Pair]
    extracted: list[Pair]
    same_fields: int
    left_out: int = 0
    untrusted: str = "workflow, runs, steps, extracted"


def comparison_view(one: WorkflowRun, other: WorkflowRun, *, now: datetime, limit: int) -> ComparisonView:
    """Put two runs side by side.

    Args:
        one: the first run.
        other: the second, of the same workflow.
        now: the present.
        limit: characters of the text.
    """
    runs = _differing(_run_facts(one, now), _run_facts(other, now))
    steps = _differing(_step_facts(one), _step_facts(other))
    fields, same = _fields(one, other)
    view = ComparisonView(
        first=plain(one.id, 300),
        second=plain(other.id, 300),
        workflow=plain(one.workflow.name, 80),
        runs=runs,
        steps=steps,
        extracted=fields,
        same_fields=same,
    )
    head = [f"{word(one.id, 300)} -> {word(other.id, 300)}, both of {quote(one.workflow.name, 60)}.", NOTE]
    lines = [*(_line(pair) for pair in runs), "Steps:", *(_line(pair) for pair in steps)]
    lines += [] if steps else ["no difference"]
    lines += [f"Extracted fields ({same:,} alike):", *(_line(pair) for pair in fields)]
    lines += [] if fields else ["no difference"]
    room = limit - sum(len(line) + 1 for line in head)
    shown, kept = fit(lines, max(room, 300), lambda gone: f"… {gone} more differences; see get_step_result of each run")
    view.left_out = len(lines) - kept
    if view.left_out:
        view.extracted = fields[: max(0, len(fields) - view.left_out)]
    return view.with_text("\n".join([*head, *shown]))


Facts = dict[str, tuple[str, float | None]]


def _differing(one: Facts, other: Facts) -> list[Pair]:
    pairs = []
    for name in dict.fromkeys([*one, *other]):
        first, second = one.get(name), other.get(name)
        if (first[0] if first else None) != (second[0] if second else None):
            pairs.append(
                Pair(
                    of=name,
                    first=first[0] if first else None,
                    second=second[0] if second else None,
                    first_confidence=first[1] if first else None,
                    second_confidence=second[1] if second else None,
                )
            )
    return pairs


def _run_facts(run: WorkflowRun, now: datetime) -> Facts:
    file = run.files[0] if run.files else None
    pages = file.metadata.page_count if file else None
    seconds, spent = duration_seconds(run, now), credits_of(run)
    said = {
        "status": run.status,
        "failure": run.failure_reason or "",
        "version": run.workflow_version.version,
        "file": file.name if file else "",
        "file type": file.type if file else "",
        "pages": "" if pages is None else str(pages),
        "files": str(len(run.files)),
        "duration": format_span(seconds) if seconds is not None else "",
        "credits": "" if spent is None else f"{spent:g}",
    }
    return {name: (plain(value, _MOST_CHARS), None) for name, value in said.items() if value}


def _step_facts(run: WorkflowRun) -> Facts:
    facts: Facts = {}
    for name, step in _named_steps(run).items():
        output = as_object(child_run(step).get("output"))
        failure = step_failure(step)
        said = [step.status, failure.reason if failure else ""]
        if isinstance(output.get("type"), str):
            said.append(f"type {output['type']}")
        branch = as_object(as_object(step.result).get("matchedBranch"))
        said.append(f"branch {branch['name']}" if branch.get("name") else "")
        result = as_object(step.result)
        verdict = result.get("allPassed", result.get("valid"))
        if isinstance(verdict, bool):
            said.append("passed" if verdict else "did not pass")
        sure = output.get("confidence")
        number = float(sure) if isinstance(sure, (int, float)) and not isinstance(sure, bool) else None
        facts[name] = (plain(", ".join(part for part in said if part), 160), number)
    return facts


def _fields(one: WorkflowRun, other: WorkflowRun) -> tuple[list[Pair], int]:
    before, after = _field_facts(one), _field_facts(other)
    same = sum(1 for name, fact in before.items() if name in after and after[name][0] == fact[0])
    return _differing(before, after), same


def _field_facts(run: WorkflowRun) -> Facts:
    facts: Facts = {}
    for name, step in _named_steps(run).items():
        output = as_object(child_run(step).get("output"))
        for path, value, known in extracted_fields(output.get("value"), output.get("metadata")):
            if value is not None:
                facts[plain(f"{name}.{path}", 160)] = (_text(value), confidence(known))
    return facts


def _named_steps(run: WorkflowRun) -> dict[str, StepRun]:
    """Steps by name; the parts of a split take a step several times, so these are counted."""
    named: dict[str, StepRun] = {}
    for step in run.step_runs:
        name = plain(step.step.name or step.step_type, 80)
        number = 1
        while (f"{name} #{number}" if number > 1 else name) in named:
            number += 1
        named[f"{name} #{number}" if number > 1 else name] = step
    return named


def _text(value: Any) -> str:
    return plain(value, _MOST_CHARS)


def _line(pair: Pair) -> str:
    first, second = _side(pair.first, pair.first_confidence), _side(pair.second, pair.second_confidence)
    return f"{quote(pair.of, 160)}: {first} -> {second}"


def _side(value: str | None, sure: float | None) -> str:
    if value is None:
        return "none"
    return quote(value, 160) + (f" ({sure:.2f})" if sure is not None else "")
