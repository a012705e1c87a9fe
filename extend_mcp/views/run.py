"""A workflow run, explained: what it is, where it stands, what failed or is awaited, what it cost."""

from __future__ import annotations

from datetime import datetime

from extend_mcp.api.models import FileSummary, StepRun, WorkflowRun
from extend_mcp.runs.failures import Failure, failures_of, retry_advice
from extend_mcp.runs.lifecycle import describe
from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.budget import fit, paginate
from extend_mcp.views.progress import age_line, credits_of, duration_seconds, steps_done, waits_for
from extend_mcp.views.step_result import Detail, StepResult, step_result
from extend_mcp.views.steps import step_digest
from extend_mcp.views.tree import tree_lines
from extend_mcp.views.untrusted import NOTE, cut_line, extend_link, plain, quote, word

_STEPS_IN_FIELDS = 50
_NO_REASON = "no reason given"


class FileFacts(ViewPart):
    """A file of a run."""

    id: str
    name: str
    type: str | None = None
    pages: int | None = None


class StepFacts(ViewPart):
    """A step of a run: enough to see where it stands and to ask for more."""

    number: int
    id: str
    name: str
    type: str
    status: str
    summary: str


class FailureFacts(ViewPart):
    """One thing that went wrong, with what is known about trying again."""

    step: str | None = None
    reason: str
    message: str
    retry: str | None = None


class DetailsPage(ViewPart):
    """A page of the full form."""

    page: int
    pages: int
    content: str


class RunView(View):
    """A workflow run in short; with ``details`` a page of all about it."""

    run_id: str
    status: str
    meaning: str
    workflow_id: str | None = None
    workflow: str | None = None
    version: str | None = None
    batch_id: str | None = None
    files: list[FileFacts] | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: float | None = None
    steps_done: int | None = None
    steps_known: int | None = None
    steps: list[StepFacts] | None = None
    failures: list[FailureFacts] | None = None
    waits_for: str | None = None
    reviewed_by: str | None = None
    rejection_note: str | None = None
    credits: float | None = None
    dashboard_url: str | None = None
    details: DetailsPage | None = None
    cut: str | None = None
    untrusted: str = "names, files, failures, summaries, notes, content"


def run_view(run: WorkflowRun, *, now: datetime, detail: Detail, page: int, limit: int) -> RunView:
    """Explain ``run``.

    Args:
        run: as the API gave it, any field missing or unknown.
        now: the present, for ages.
        detail: ``concise``: one line a step; ``full``: ids, files, metadata and charges too, in pages.
        page: which page of the full form, from 1.
        limit: characters of the answer's text.

    Returns:
        The view, its text within ``limit``.
    """
    facts = _facts(run, now)
    head = _head(run, facts, now)
    if detail == "full":
        shown = paginate([*head[1:], *_full(run)], page, limit - len(head[0]) - len(NOTE) - 100)
        follow = f"Page {shown.number} of {shown.count}."
        if shown.number < shown.count:
            follow += f" Next: the same call with page={shown.number + 1}."
        # The steps stand in the details; twice would cost and tell nothing.
        facts.steps = None
        facts.details = DetailsPage(page=shown.number, pages=shown.count, content="\n".join(shown.lines))
        return facts.with_text("\n".join([head[0], NOTE, *shown.lines, "", follow]))
    tail = _tail(run)
    room = limit - sum(len(line) + 1 for line in (*head, *tail, NOTE)) - 40
    steps, kept = _step_lines(run, max(room, 200))
    if kept < len(run.step_runs):
        facts.cut = f"{len(run.step_runs) - kept} steps; get_workflow_run(detail=full) lists all in pages"
    return facts.with_text("\n".join([head[0], NOTE, *head[1:], *steps, *tail]))


class StepResultView(View):
    """One step's result, in pages."""

    run_id: str
    status: str
    step_result: StepResult
    untrusted: str = "name, content"


def step_view(
    run: WorkflowRun, step: StepRun, *, detail: Detail, page: int, limit: int, field: str | None = None
) -> StepResultView:
    """One step's result of ``run``, or the part of it at the path ``field``; arguments as for :func:`run_view`."""
    of = f"Run {word(run.id, 300)} · {word(run.status) or 'unknown'}"
    result, text = step_result(step, detail=detail, page=page, limit=limit - len(of) - 1, field=field)
    return StepResultView(
        run_id=plain(run.id, 300),
        status=plain(run.status, 60) or "unknown",
        step_result=result,
    ).with_text(f"{of}\n{text}")


def _facts(run: WorkflowRun, now: datetime) -> RunView:
    seconds = duration_seconds(run, now)
    return RunView(
        run_id=plain(run.id, 300),
        status=plain(run.status, 60) or "unknown",
        meaning=describe(run.status).meaning,
        workflow_id=plain(run.workflow.id, 300),
        workflow=plain(run.workflow.name),
        version=plain(run.workflow_version.version, 60),
        batch_id=plain(run.batch_id, 300) if run.batch_id else None,
        files=[_file_facts(file) for file in run.files[:20]],
        created_at=run.initial_run_at,
        started_at=run.start_time,
        ended_at=run.end_time,
        duration_seconds=round(seconds, 1) if seconds is not None else None,
        steps_done=steps_done(run),
        steps_known=len(run.step_runs),
        steps=[
            StepFacts(
                number=number,
                id=plain(step.id, 300),
                name=plain(step.step.name, 80),
                type=plain(step.step_type, 60),
                status=plain(step.status, 40),
                summary=step_digest(step),
            )
            for number, step in enumerate(run.step_runs[:_STEPS_IN_FIELDS], 1)
        ],
        failures=_failures(run),
        waits_for=waits_for(run),
        reviewed_by=plain(run.reviewed_by_user) if run.reviewed_by_user else None,
        rejection_note=plain(run.rejection_note, 400) if run.rejection_note else None,
        credits=credits_of(run),
        dashboard_url=extend_link(run.dashboard_url) or None,
    )


def _head(run: WorkflowRun, facts: RunView, now: datetime) -> list[str]:
    lines = [f"Run {word(run.id, 300)} · {word(run.status) or 'unknown'}: {facts.meaning}"]
    version_name = f" {quote(run.workflow_version.name, 60)}" if run.workflow_version.name else ""
    lines.append(
        f"Workflow: {quote(run.workflow.name, 80)} ({word(run.workflow.id, 300)}), "
        f"version {word(run.workflow_version.version) or '?'}{version_name}"
    )
    if run.files:
        more = f" and {len(run.files) - 2} more" if len(run.files) > 2 else ""
        lines.append(f"File: {', '.join(_file_words(file) for file in run.files[:2])}{more}")
    if run.batch_id:
        lines.append(f"Batch: {word(run.batch_id, 300)}")
    if age := age_line(run, now):
        lines.append(age[0].upper() + age[1:])
    for failure in (facts.failures or [])[:3]:
        where = f" in step {quote(failure.step, 60)}" if failure.step else ""
        told = f" {quote(failure.message, 160)}" if failure.message else ""
        advice = f"; {failure.retry}" if failure.retry else ""
        lines.append(f"Failed{where}: {_reason_words(failure.reason)}{told}{advice}")
    if facts.waits_for:
        lines.append(f"Waits for: {facts.waits_for}")
    if run.rejection_note:
        lines.append(f"Reviewer's note: {quote(run.rejection_note, 200)}")
    if run.reviewed_by_user:
        lines.append(f"Reviewed by {quote(run.reviewed_by_user, 80)}")
    if facts.credits is not None:
        lines.append(f"Credits: {facts.credits:g}")
    if facts.dashboard_url:
        lines.append(f"Dashboard: {facts.dashboard_url}")
    return lines


def _reason_words(reason: str) -> str:
    return reason if reason == _NO_REASON else word(reason)


def _step_lines(run: WorkflowRun, room: int) -> tuple[list[str], int]:
    if not run.step_runs:
        return ["Steps: none yet"], 0
    lines = [step_line(number, step) for number, step in enumerate(run.step_runs, 1)]
    title = f"Steps ({steps_done(run)} of {len(run.step_runs)} known done):"
    if sum(len(line) + 1 for line in lines) > room:
        # What went wrong or still moves matters more than what is over, when not all fits.
        lines.sort(key=lambda line: " · PROCESSED" in line)
    shown, kept = fit(lines, room, lambda gone: f'… {gone} more steps: detail="full" lists all, in pages.')
    return [title, *shown], kept


def step_line(number: int, step: StepRun) -> str:
    """One step in one line of at most 180 characters: number, name, type, status and what it found."""
    called = f"{quote(step.step.name or '?', 40)} {word(step.step_type, 30) or '?'}"
    digest = step_digest(step)
    line = f"{number}. {called} · {word(step.status, 20) or '?'}" + (f" · {digest}" if digest else "")
    return cut_line(line, 179)


def _tail(run: WorkflowRun) -> list[str]:
    if any(step.result for step in run.step_runs):
        return ["One step's result: get_step_result(run_id, step=<number, name or id>)."]
    return []


def _full(run: WorkflowRun) -> list[str]:
    lines: list[str] = []
    if len(run.files) > 2:
        lines += ["Files:", *(f" {word(file.id, 300)} {_file_words(file)}" for file in run.files)]
    if run.metadata:
        lines += ["Metadata:", *tree_lines(run.metadata, 1)]
    if run.usage and run.usage.breakdown:
        charges = [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in run.usage.breakdown]
        lines += ["Charges:", *tree_lines(charges, 1)]
    lines.append("Steps:")
    for number, step in enumerate(run.step_runs, 1):
        lines += [
            step_line(number, step),
            f"   {word(step.id, 300)} · {', '.join(_file_words(f) for f in step.files[:3])}".rstrip(" ·"),
        ]
    extra = {name: value for name, value in (run.model_extra or {}).items() if name != "object"}
    if extra:
        lines += ["Fields new to this version:", *tree_lines(extra, 1)]
    return lines


def _file_words(file: FileSummary) -> str:
    pages = file.metadata.page_count
    said = [word(file.type, 20), f"{pages} page{'' if pages == 1 else 's'}" if pages is not None else ""]
    known = ", ".join(part for part in said if part)
    return f"{quote(file.name or file.id, 100)}{f' ({known})' if known else ''}"


def _file_facts(file: FileSummary) -> FileFacts:
    return FileFacts(
        id=plain(file.id, 300),
        name=plain(file.name, 120),
        type=plain(file.type, 20) or None,
        pages=file.metadata.page_count,
    )


def _failures(run: WorkflowRun) -> list[FailureFacts]:
    found = failures_of(run)[:10]
    # The run's own reason wraps its step's: whether a retry helps is decided by the cause alone.
    return [_failure_facts(each, is_cause=index == 0 or bool(each.where)) for index, each in enumerate(found)]


def _failure_facts(failure: Failure, *, is_cause: bool) -> FailureFacts:
    return FailureFacts(
        step=plain(failure.where, 80) or None,
        reason=plain(failure.reason, 60) or _NO_REASON,
        message=plain(failure.message, 300),
        retry=retry_advice(failure.reason) if is_cause else None,
    )
