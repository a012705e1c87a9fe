"""Answers about runs among others: a failure and similar ones, and two runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from extend_mcp.api.models import RunBase, StepRun, WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.failures import ACCOUNT_REASONS, WRAPPER, Failure, failures_of, retry_advice, step_failure
from extend_mcp.runs.groups import largest
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.document import Document, Extent, OrNone, View, ViewPart, age_words, cell, counted, listed
from extend_mcp.views.runs import NO_REASON, NOT_READ, duration_seconds, reason_words
from extend_mcp.views.steps import as_object, confidence, extracted_fields
from extend_mcp.views.untrusted import Code, Id, Label, Note, Value

_MOST_ALIKE = 10
_MOST_CAUSES = 8
_IDS_A_LINE = 2
_MAY_HELP = "running it again may help"
_WINDOW_CHARS = 2_100
"""Most characters of a window's causes, about 700 tokens: the rarest are left out."""


class Pair(ViewPart):
    """One thing that differs between two runs; None where a run does not have it."""

    of: Note
    first: Value | None = None
    second: Value | None = None
    first_confidence: float | None = None
    second_confidence: float | None = None

    def line(self) -> str:
        """Return it as a line of text."""
        first, second = _side(self.first, self.first_confidence), _side(self.second, self.second_confidence)
        return f"{self.of:160}: {first} -> {second}"


def _side(value: Value | None, sure: float | None) -> str:
    return "none" if value is None else f"{value}" if sure is None else f"{value} ({sure:.2f})"


class FailureCause(ViewPart):
    """Failures of one cause: the same reason in the same step."""

    reason: Code
    step: OrNone[Label] = None
    workflow: Label | None = None
    runs: int
    failed_again: int | None = None
    retry: str
    first_at: datetime | None = None
    last_at: datetime | None = None
    run_ids: list[Id]

    def line(self) -> str:
        """Return it as a line of a table."""
        moments = dict.fromkeys(cell(each) for each in (self.first_at, self.last_at))
        where = f"{self.step or Label('no step'):40} · {self.workflow or Label('?'):40}"
        ids = listed(self.run_ids, _IDS_A_LINE, of=self.runs)
        return f"{self.runs:,} · {reason_words(self.reason)} · {where} · {' - '.join(moments)} · {ids}"


class FailureView(View):
    """The cause of a failure, similar failures, and what differs from the last good run; or a window's causes."""

    run_id: Id | None = None
    status: Code | None = None
    workflow: Label | None = None
    step: OrNone[Label] = None
    reason: Code | None = None
    message: OrNone[Note] = None
    retry: str | None = None
    failed_in_window: int
    looked_into: int
    alike: int | None = None
    alike_in_same_step: int | None = None
    alike_run_ids: list[Id] | None = None
    first_alike_at: datetime | None = None
    last_good_run_id: Id | None = None
    later_good_run_id: Id | None = None
    differences: list[Pair] | None = None
    causes: list[FailureCause] | None = None
    causes_left_out: int | None = None
    missing: OrNone[list[str]] = None
    next_step: str | None = None
    untrusted: str = "workflow, step, message, differences, causes"


def failure_view(
    run: WorkflowRun,
    cause: Failure,
    others: Sequence[tuple[RunFacts, Failure | None, object]],
    extent: Extent,
    *,
    failed: int,
    looked_into: int,
    good: WorkflowRunSummary | None,
    later: WorkflowRunSummary | None,
) -> FailureView:
    """Show a failure next to similar ones.

    Args:
        others: the other failed runs of the workflow that were looked into, the newest first, with their causes.
        failed: how many runs of the workflow failed in the window, this one among them if it lies in it.
        looked_into: how many of these were read.
        good: the last run of the workflow before this one that was processed.
        later: a run that started after this one failed and was processed; of any workflow if the account was the cause.
    """
    alike = [(each, other) for each, other, _ in others if other and other.reason == cause.reason]
    same_step, created = sum(other.where == cause.where for _, other in alike), [each.created for each, _ in alike]
    of_account = cause.reason in ACCOUNT_REASONS
    advice = f"{_MAY_HELP}: other runs were processed since" if of_account and later else retry_advice(cause.reason)
    differing = _differing(_run_facts(good, extent.now), _run_facts(run, extent.now)) if good else []
    view = FailureView(
        run_id=run.id,
        status=run.status,
        workflow=run.workflow.name,
        step=cause.where,
        reason=cause.reason or NO_REASON,
        message=cause.message,
        retry=advice,
        failed_in_window=failed,
        looked_into=looked_into,
        alike=len(alike),
        alike_in_same_step=same_step,
        alike_run_ids=[each.id for each, _ in alike[:_MOST_ALIKE]],
        first_alike_at=min(filter(None, created), default=None),
        last_good_run_id=good.id if good else None,
        later_good_run_id=later.id if later else None,
        # Only what can be the reason: pages and names differ from file to file.
        differences=[pair for pair in differing if pair.of in ("version", "file type")],
        missing=extent.missing,
        next_step="rerun_workflow_runs starts it again." if advice.startswith(_MAY_HELP) else None,
    )
    where = f"in step {view.step:60}" if view.step else "before or outside a step"
    why = f"{reason_words(Code(cause.reason or NO_REASON))}{f' {view.message}' if view.message else ''}"
    wrapper = f" (the run itself says {WRAPPER})" if run.failure_reason == WRAPPER != cause.reason else ""
    count, total = counted(len(alike), "other run"), f"in all {counted(failed, 'run')} of it"
    steps = f" ({same_step:,} in the same step)" if alike else ""
    read = "" if looked_into == failed else f", of which {looked_into:,} were read"
    lines = [
        f"{view.run_id} of {view.workflow:60}, {view.status}: failed {where}: {why}{wrapper}.",
        f"{advice[:1].upper()}{advice[1:]}.",
        f"Alike (same reason, any step; {extent.filters}): {count} of this workflow{steps}; {total} failed{read}.",
    ]
    if alike:
        oldest = f"; the oldest was created {format_instant(view.first_alike_at)}" if view.first_alike_at else ""
        lines.append(f"Alike: {listed(view.alike_run_ids or (), _MOST_ALIKE, of=len(alike))}{oldest}.")
    since = f"Since then {'runs' if later else 'no run'} of {'any' if of_account else 'this'} workflow"
    if later:
        newest = f"the newest {view.later_good_run_id}, created {age_words(later.created, extent.now)} ago"
        lines.append(f"{since} were processed, {newest}.")
    else:
        lines.append(f"{since} was processed.")
    if good:
        said = "; ".join(f"{each.of!s} {each.line().partition(': ')[2]}" for each in view.differences or ())
        lines.append(
            f"Last good run before it: {view.last_good_run_id}, created {age_words(good.created, extent.now)} ago; "
            f"{f'then -> now: {said}' if said else 'same version and file type'}."
        )
    else:
        lines.append("No good run of this workflow was found before it.")
    lines += extent.incomplete
    return view.with_text(Document(lines, tail=[f"Next: {view.next_step}"] if view.next_step else []).text)


def failures_view(found: Sequence[RunFacts], extent: Extent, *, failed: int) -> FailureView:
    """Group runs that were looked into by cause, most first: the newest first, of so many that failed."""
    groups = largest(found, lambda run: (run.reason, run.step, run.workflow_id))
    causes = [*map(failure_cause, groups[:_MOST_CAUSES])]
    following = "explain_failure(run_id) explains one; list_runs(failure_reason, failing_step) lists all of a cause."
    view = FailureView(
        failed_in_window=failed,
        looked_into=len(found),
        causes=causes,
        missing=extent.missing,
        next_step=following if causes else None,
    )
    advice: dict[str, dict[str, None]] = {}
    for each in causes:
        advice.setdefault(each.retry, {})[reason_words(each.reason)] = None
    tail = [f"{', '.join(reasons)}: {said}." for said, reasons in advice.items()]
    first = f"{counted(failed, 'run')} failed{extent.which}, for {counted(len(groups), 'cause')}."
    document = Document(
        [first, *extent.incomplete],
        [each.line() for each in causes],
        [*tail, f"Next: {following}"] if causes else [],
        columns="runs · reason · step · workflow · first and last created · newest ids",
    )
    more, beyond = "… {} rarer causes more".format, len(groups) - len(causes)
    text, kept = document.fit(min(extent.limit, _WINDOW_CHARS), more, beyond=beyond)
    view.causes, view.causes_left_out = causes[:kept], len(groups) - kept or None
    return view.with_text(text)


def failure_cause(same: Sequence[RunFacts], *, failed_again: int | None = None) -> FailureCause:
    """Return the cause that runs have in common, and how many of them failed again after a rerun."""
    run, moments = same[0], [each.created for each in same if each.created]
    not_read = "why was not looked up; ask again to go deeper"
    return FailureCause(
        reason=NOT_READ if run.reason is None else run.reason or NO_REASON,
        step=run.step,
        workflow=run.workflow_name if len({each.workflow_id for each in same}) == 1 else None,
        runs=len(same),
        failed_again=failed_again,
        retry=not_read if run.reason is None else retry_advice(run.reason),
        first_at=min(moments, default=None),
        last_at=max(moments, default=None),
        run_ids=[each.id for each in same[:_MOST_ALIKE]],
    )


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
        same_fields=sum(name in after and after[name][0] == fact[0] for name, fact in before.items()),
    )
    parts = [[pair.line() for pair in pairs] for pairs in (view.runs, view.steps, view.extracted)]
    rows = [*parts[0], "Steps:", *(parts[1] or ["no difference"])]
    if empty:
        # One line in place of a value against nothing for each field; the values are one call away.
        rest = len(before) + len(after)
        more = f"; the other has {counted(rest, 'field')}: get_step_result shows them" if rest else ""
        rows.append(f"Extracted fields: the {' and the '.join(empty)} run has none{more}")
    else:
        rows.append(f"Extracted fields ({view.same_fields:,} alike; in parentheses: confidence):")
        rows += parts[2] or ["no difference"]
    document = Document([f"{view.first} -> {view.second}, both of {view.workflow:60}."], rows)
    text, kept = document.fit(limit, "… {} more differences; see get_step_result of each run".format)
    view.left_out = len(rows) - kept
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


def _run_facts(run: RunBase, now: datetime) -> Facts:
    file = run.files[0] if run.files else None
    pages = file.metadata.page_count if file else None
    seconds, spent = duration_seconds(run, now), run.credits
    cause = next(iter(failures_of(run)), None) if isinstance(run, WorkflowRun) else None
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
