"""Answers about runs among others: a failure and similar ones, and two runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from extend_mcp.api.models import RunBase, StepRun, WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.failures import ACCOUNT_REASONS, WRAPPER, Failure, failures_of, retry_advice, step_failure
from extend_mcp.runs.groups import largest
from extend_mcp.runs.statistics import RunFacts, run_facts
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.document import Document, View, ViewPart, age_words, counted, incomplete, listed
from extend_mcp.views.runs import NO_REASON, duration_seconds, reason_words
from extend_mcp.views.steps import as_object, confidence, extracted_fields
from extend_mcp.views.untrusted import Code, Id, Label, Note, Value

_MOST_ALIKE = 10
_MOST_CAUSES = 8
_IDS_A_LINE = 2
_MAY_HELP = "running it again may help"
_WINDOW_CHARS = 2_100
"""Most characters of a window's causes, about 700 tokens: the rarest are left out."""


# A failure among others


class Difference(ViewPart):
    """A value of the last good run, and the one of this run."""

    of: str
    good: Value
    this: Value


class FailureCause(ViewPart):
    """Failures of one cause: the same reason in the same step of one workflow."""

    reason: Code
    step: Label | None = None
    workflow: Label
    runs: int
    message: Note | None = None
    retry: str
    first_at: datetime | None = None
    last_at: datetime | None = None
    run_ids: list[Id]


class FailureView(View):
    """The cause of a failure, similar failures, and what differs from the last good run; or a window's causes."""

    run_id: Id | None = None
    status: Code | None = None
    workflow: Label | None = None
    step: Label | None = None
    reason: Code | None = None
    message: Note | None = None
    retry: str | None = None
    failed_in_window: int
    looked_into: int
    alike: int | None = None
    alike_in_same_step: int | None = None
    alike_run_ids: list[Id] | None = None
    first_alike_at: datetime | None = None
    last_good_run_id: Id | None = None
    later_good_run_id: Id | None = None
    differences: list[Difference] | None = None
    causes: list[FailureCause] | None = None
    causes_left_out: int | None = None
    missing: list[str] | None = None
    next_step: str | None = None
    untrusted: str = "workflow, step, message, differences, causes"


def failure_view(
    run: WorkflowRun,
    cause: Failure,
    *,
    failed: int,
    looked_into: int,
    alike: Sequence[WorkflowRunSummary],
    same_step: int,
    good: WorkflowRunSummary | None,
    later: WorkflowRunSummary | None,
    window: str,
    missing: Sequence[str],
    now: datetime,
) -> FailureView:
    """Show a failure next to similar ones.

    Args:
        run: the failed run.
        cause: what went wrong.
        failed: how many runs of the workflow failed in the window, this one among them if it lies in it.
        looked_into: how many of these were read.
        alike: those that failed for the same reason, in whatever step, the newest first, without this one.
        same_step: how many of them failed in the same step.
        good: the last run of the workflow before this one that was processed.
        later: a run that started after this one failed and was processed; of any workflow if the account was the cause.
        window: a description of the window.
    """
    reason, of_account = Code(cause.reason) or Code(NO_REASON), cause.reason in ACCOUNT_REASONS
    advice = f"{_MAY_HELP}: other runs were processed since" if of_account and later else retry_advice(cause.reason)
    view = FailureView(
        run_id=run.id,
        status=run.status,
        workflow=run.workflow.name,
        step=cause.where or None,
        reason=reason,
        message=cause.message or None,
        retry=advice,
        failed_in_window=failed,
        looked_into=looked_into,
        alike=len(alike),
        alike_in_same_step=same_step,
        alike_run_ids=[Id(each.id) for each in alike[:_MOST_ALIKE]],
        first_alike_at=min((moment for each in alike if (moment := each.created)), default=None),
        last_good_run_id=good.id if good else None,
        later_good_run_id=later.id if later else None,
        differences=_differences(good, run) if good else [],
        missing=list(missing) or None,
        next_step="rerun_workflow_runs starts it again." if advice.startswith(_MAY_HELP) else None,
    )
    where = f"in step {view.step:60}" if view.step else "before or outside a step"
    why = f"{reason_words(reason)}{f' {view.message}' if view.message else ''}"
    wrapper = f" (the run itself says {WRAPPER})" if run.failure_reason == WRAPPER != cause.reason else ""
    lines = [
        f"{view.run_id} of {view.workflow:60}, {view.status}: failed {where}: {why}{wrapper}.",
        f"{advice[:1].upper()}{advice[1:]}.",
        *_alike_lines(view, len(alike), window),
    ]
    since = f"Since then {{}} of {'any' if of_account else 'this'} workflow"
    if later:
        newest = f"the newest {Id(later.id)}, created {age_words(later.created, now)} ago"
        lines.append(f"{since.format('runs')} were processed, {newest}.")
    else:
        lines.append(f"{since.format('no run')} was processed.")
    if good:
        said = "; ".join(f"{each.of} {each.good:60} -> {each.this:60}" for each in view.differences or ())
        lines.append(
            f"Last good run before it: {view.last_good_run_id}, created {age_words(good.created, now)} ago; "
            f"{f'then -> now: {said}' if said else 'same version and file type'}."
        )
    else:
        lines.append("No good run of this workflow was found before it.")
    lines += incomplete(view.missing)
    return view.with_text(Document(lines, tail=[f"Next: {view.next_step}"] if view.next_step else []).text)


def _alike_lines(view: FailureView, alike: int, window: str) -> list[str]:
    line = f"Alike (same reason, any step; {window}): {counted(alike, 'other run')} of this workflow"
    line += f" ({view.alike_in_same_step:,} in the same step)" if alike else ""
    line += f"; in all {counted(view.failed_in_window, 'run')} of it failed"
    line += "." if view.looked_into == view.failed_in_window else f", of which {view.looked_into:,} were read."
    if not alike:
        return [line]
    oldest = f"; the oldest was created {format_instant(view.first_alike_at)}" if view.first_alike_at else ""
    return [line, f"Alike: {listed(view.alike_run_ids or (), _MOST_ALIKE, of=alike)}{oldest}."]


def failures_view(
    found: Sequence[tuple[RunFacts, Failure | None, object]],
    *,
    failed: int,
    filters: str,
    missing: Sequence[str],
    limit: int,
) -> FailureView:
    """Group failures by cause, most first: runs with their causes, the newest first, of so many that failed."""
    known = [(run, cause or Failure("", "", "")) for run, cause, _ in found]
    groups = largest(known, lambda each: (each[1].reason, each[1].where, each[0].workflow_id))
    causes = [_cause(members) for members in groups[:_MOST_CAUSES]]
    view = FailureView(
        failed_in_window=failed,
        looked_into=len(found),
        causes=causes,
        missing=list(missing) or None,
        next_step="explain_failure(run_id) explains one; list_runs(failure_reason, failing_step) lists all of a cause."
        if causes
        else None,
    )
    advice: dict[str, dict[str, None]] = {}
    for each in causes:
        advice.setdefault(each.retry, {})[reason_words(each.reason)] = None
    document = Document(
        [f"{counted(failed, 'run')} failed ({filters}), for {counted(len(groups), 'cause')}.", *incomplete(missing)],
        [_cause_line(each) for each in causes],
        [
            *(f"{', '.join(reasons)}: {said}." for said, reasons in advice.items()),
            *([f"Next: {view.next_step}"] if view.next_step else []),
        ],
        columns="runs · reason · step · workflow · first and last created · newest ids",
    )
    text, kept = document.fit(
        min(limit, _WINDOW_CHARS), "… {} rarer causes more".format, beyond=len(groups) - len(causes)
    )
    view.causes, view.causes_left_out = causes[:kept], len(groups) - kept or None
    return view.with_text(text)


def _cause(members: Sequence[tuple[RunFacts, Failure]]) -> FailureCause:
    run, cause = members[0]
    moments = [each.created for each, _ in members if each.created]
    return FailureCause(
        reason=Code(cause.reason) or NO_REASON,
        step=cause.where or None,
        workflow=run.workflow_name,
        runs=len(members),
        message=cause.message or None,
        retry=retry_advice(cause.reason),
        first_at=min(moments, default=None),
        last_at=max(moments, default=None),
        run_ids=[Id(each.id) for each, _ in members[:_MOST_ALIKE]],
    )


def _cause_line(cause: FailureCause) -> str:
    moments = dict.fromkeys(format_instant(each) if each else "?" for each in (cause.first_at, cause.last_at))
    message = f" {cause.message:60}" if cause.message else ""
    where = f"{cause.step or Label('no step'):40} · {cause.workflow:40}"
    ids = listed(cause.run_ids, _IDS_A_LINE, of=cause.runs)
    return f"{cause.runs:,} · {reason_words(cause.reason)}{message} · {where} · {' - '.join(moments)} · {ids}"


def _differences(good: RunBase, run: RunBase) -> list[Difference]:
    then, now = run_facts(good), run_facts(run)
    # Only what can be the reason: pages and names differ from file to file.
    pairs = (("version", then.version, now.version), ("file type", then.file_type, now.file_type))
    return [Difference(of=of, good=Value(a) or "?", this=Value(b) or "?") for of, a, b in pairs if a != b]


# Two runs compared


class Pair(ViewPart):
    """One thing that differs between the runs; None where a run does not have it."""

    of: Note
    first: Value | None = None
    second: Value | None = None
    first_confidence: float | None = None
    second_confidence: float | None = None


class ComparisonView(View):
    """The differences between two runs."""

    first: Id
    second: Id
    workflow: Label
    runs: list[Pair]
    steps: list[Pair]
    extracted: list[Pair]
    same_fields: int
    left_out: int = 0
    untrusted: str = "workflow, runs, steps, extracted"


def comparison_view(one: WorkflowRun, other: WorkflowRun, *, now: datetime, limit: int) -> ComparisonView:
    """Compare two runs of a workflow: only what differs."""
    before, after = _field_facts(one), _field_facts(other)
    empty = [name for name, facts in (("first", before), ("second", after)) if not facts]
    view = ComparisonView(
        first=one.id,
        second=other.id,
        workflow=one.workflow.name,
        runs=_differing(_run_facts(one, now), _run_facts(other, now)),
        steps=_differing(_step_facts(one), _step_facts(other)),
        extracted=[] if empty else _differing(before, after),
        same_fields=sum(1 for name, fact in before.items() if name in after and after[name][0] == fact[0]),
    )
    rows = [*map(_pair_line, view.runs), "Steps:", *(map(_pair_line, view.steps) if view.steps else ["no difference"])]
    if empty:
        # One line in place of a value against nothing for each field; the values are one call away.
        rest = len(before) + len(after)
        more = f"; the other has {counted(rest, 'field')}: get_step_result shows them" if rest else ""
        rows.append(f"Extracted fields: the {' and the '.join(empty)} run has none{more}")
    else:
        rows.append(f"Extracted fields ({view.same_fields:,} alike; in parentheses: confidence):")
        rows += map(_pair_line, view.extracted) if view.extracted else ["no difference"]
    document = Document([f"{view.first} -> {view.second}, both of {view.workflow:60}."], rows)
    text, kept = document.fit(limit, lambda gone: f"… {gone} more differences; see get_step_result of each run")
    view.left_out = len(rows) - kept
    if view.left_out:
        del view.extracted[max(0, len(view.extracted) - view.left_out) :]
    return view.with_text(text)


Facts = dict[str, tuple[Value, float | None]]


def _differing(one: Facts, other: Facts) -> list[Pair]:
    pairs = []
    for name in dict.fromkeys([*one, *other]):
        (first, sure), (second, also_sure) = one.get(name, (None, None)), other.get(name, (None, None))
        if first != second:
            pairs.append(Pair(of=name, first=first, second=second, first_confidence=sure, second_confidence=also_sure))
    return pairs


def _run_facts(run: WorkflowRun, now: datetime) -> Facts:
    file = run.files[0] if run.files else None
    pages = file.metadata.page_count if file else None
    seconds, spent = duration_seconds(run, now), run.credits
    cause = next(iter(failures_of(run)), None)
    said = {
        "status": run.status,
        "failure": ", ".join(filter(None, (cause.reason, cause.where and f"in step {cause.where}"))) if cause else "",
        "version": run.workflow_version.version,
        "file": file.name if file else "",
        "file type": file.type if file else "",
        "pages": "" if pages is None else str(pages),
        "files": str(len(run.files)),
        "rejection": run.rejection_note or "",
        "duration": "" if seconds is None else format_span(seconds) + ("" if run.end_time else " so far"),
        "credits": "" if spent is None else f"{spent:g}",
    }
    return {name: (Value(value), None) for name, value in said.items() if value}


def _step_facts(run: WorkflowRun) -> Facts:
    facts: Facts = {}
    for name, step in _named_steps(run).items():
        result, output = as_object(step.result), step.output
        failure = step_failure(step)
        branch = as_object(result.get("matchedBranch"))
        verdict = result.get("allPassed", result.get("valid"))
        said = [
            step.status,
            failure.reason if failure else "",
            f"type {output['type']}" if isinstance(output.get("type"), str) else "",
            f"branch {branch['name']}" if branch.get("name") else "",
            ("passed" if verdict else "did not pass") if isinstance(verdict, bool) else "",
        ]
        facts[name] = (Value(", ".join(part for part in said if part)), confidence(output))
    return facts


def _field_facts(run: WorkflowRun) -> Facts:
    return {
        Note(f"{name}.{path}"): (Value(value), confidence(known))
        for name, step in _named_steps(run).items()
        for path, value, known in extracted_fields(step)
        if value is not None
    }


def _named_steps(run: WorkflowRun) -> dict[str, StepRun]:
    """Return the steps by name; the parts of a split take a step several times, so these are counted."""
    named: dict[str, StepRun] = {}
    for step in run.step_runs:
        name, number = str(Value(step.title)), 1
        while (key := f"{name} #{number}" if number > 1 else name) in named:
            number += 1
        named[key] = step
    return named


def _pair_line(pair: Pair) -> str:
    first, second = _side(pair.first, pair.first_confidence), _side(pair.second, pair.second_confidence)
    return f"{pair.of:160}: {first} -> {second}"


def _side(value: Value | None, sure: float | None) -> str:
    if value is None:
        return "none"
    return f"{value} ({sure:.2f})" if sure is not None else f"{value}"
