"""A workflow run, explained: what it is, how far it is, what failed or is awaited, what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from extend_mcp.api.models import FileSummary, RunBase, StepRun, UsageEntry, WorkflowRun
from extend_mcp.runs.failures import WRAPPER, failures_of, retry_advice
from extend_mcp.runs.lifecycle import STEP_OVER, by_urgency, describe, is_finished, is_moving, urgency
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.runs.timing import UsualTime, present_state, review_began
from extend_mcp.views.document import Document, View, ViewPart, age_words, counted
from extend_mcp.views.instructions import CAUTION, SpokenTo, caution_line, spoken_to
from extend_mcp.views.reviews import FailedCheck, failed_checks
from extend_mcp.views.steps import Detail, step_digest, step_times
from extend_mcp.views.untrusted import Code, DashboardUrl, Finding, Id, Label, Line, Note, cut_line, tree_lines
from extend_mcp.workflows.graph import Json

_STEPS_IN_FIELDS = 50
_FILES_IN_FIELDS = 20
NO_REASON, NOT_READ = "no reason given", "not read"


class FileFacts(ViewPart):
    """A file of a run."""

    id: Id
    name: Label
    type: Code | None = None
    pages: int | None = None


class StepFacts(ViewPart):
    """A step of a run: enough to see how far it is and to ask for more."""

    number: int
    id: Id
    name: Label
    type: Code
    status: Code
    summary: str
    started_at: datetime | None = None
    ended_at: datetime | None = None


class FailureFacts(ViewPart):
    """One thing that went wrong, with what is known about trying again."""

    step: Label | None = None
    reason: Code
    message: Note
    retry: str | None = None


class UsualFacts(ViewPart):
    """Durations of the processed runs of the workflow, in seconds."""

    runs: int
    p50: float
    p95: float


@dataclass(frozen=True)
class Surroundings:
    """Facts about a run that the run itself does not hold."""

    changed_at: datetime | None = None  # its last change, from its summary; None if it was not read
    usual: UsualTime | None = None  # how long such runs take; None if that is not known
    definition: Sequence[Json] = ()  # the steps of its workflow version; empty if they were not read


NOTHING_KNOWN = Surroundings()


class DetailsPage(ViewPart):
    """A page of the full form."""

    page: int
    pages: int
    content: str


class RunView(View):
    """A workflow run in short; with ``details`` a page of all about it."""

    run_id: Id
    status: Code
    meaning: str
    workflow_id: Id | None = None
    workflow: Label | None = None
    version: Code | None = None
    batch_id: Id | None = None
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
    state_since: str | None = None
    changed_at: datetime | None = None
    failed_checks: list[FailedCheck] | None = None
    usual: UsualFacts | None = None
    reviewed_at: datetime | None = None
    reviewed_by: Label | None = None
    rejection_note: Finding | None = None
    credits: float | None = None
    speaks_to_assistant: list[SpokenTo] | None = None
    dashboard_url: DashboardUrl | None = None
    details: DetailsPage | None = None
    cut: str | None = None
    untrusted: str = "names, files, failures, checks, summaries, notes, content"


def run_view(
    run: WorkflowRun,
    *,
    now: datetime,
    detail: Detail,
    page: int,
    limit: int,
    around: Surroundings = NOTHING_KNOWN,
) -> RunView:
    """Explain ``run``, any field of which may be missing or unknown.

    The ``concise`` form has one line a step. The ``full`` one has ids, files, metadata and charges too, in pages.
    """
    files = [_file_facts(file) for file in run.files]
    steps = [step_facts(number, step) for number, step in enumerate(run.step_runs, 1)]
    view = _facts(run, files, steps, now, around)
    first, *about = _head(run, view, files, now, around)
    if detail == "full":
        shown = Document([first], [*about, *_full(run, files, steps)]).page(page, limit)
        # The details already hold the steps; repeating them would only cost tokens.
        view.steps = None
        view.details = DetailsPage(page=shown.number, pages=shown.count, content=shown.content)
        return view.with_text(shown.text)
    document = Document(
        [first, *about] if steps else [first, *about, "Steps: none yet"],
        [step_line(step) for step in steps],
        ["One step's result: get_step_result(run_id, step=<number, name or id>)."]
        if any(step.result for step in run.step_runs)
        else [],
        columns=f"Steps ({view.steps_done} of {view.steps_known} known done):",
    )
    if len(document.text) > limit:
        # What went wrong or still moves matters more than what is over, when not all fits.
        urgent = sorted(steps, key=lambda step: step.status == "PROCESSED")
        document = replace(document, rows=[step_line(step) for step in urgent])
    text, kept = document.fit(limit, lambda gone: f'… {gone} more steps: detail="full" lists all, in pages.')
    if kept < len(steps):
        view.cut = f"{len(steps) - kept} steps; get_workflow_run(detail=full) lists all in pages"
    return view.with_text(text)


def _facts(
    run: WorkflowRun, files: list[FileFacts], steps: list[StepFacts], now: datetime, around: Surroundings
) -> RunView:
    seconds, usual = duration_seconds(run, now), around.usual
    in_review = describe(run.status).phase == "review"
    return RunView(
        run_id=run.id,
        status=Code(run.status) or "unknown",
        meaning=describe(run.status).meaning,
        workflow_id=run.workflow.id,
        workflow=run.workflow.name,
        version=run.workflow_version.version,
        batch_id=run.batch_id or None,
        files=files[:_FILES_IN_FIELDS],
        created_at=run.initial_run_at,
        started_at=run.start_time,
        ended_at=run.end_time,
        duration_seconds=round(seconds, 1) if seconds is not None else None,
        steps_done=steps_done(run),
        steps_known=len(steps),
        steps=steps[:_STEPS_IN_FIELDS],
        failures=_failures(run),
        waits_for=waits_for(run),
        state_since=state_since(run, around.changed_at, now) or None,
        changed_at=around.changed_at,
        failed_checks=(failed_checks(run, around.definition) or None) if in_review else None,
        usual=UsualFacts(runs=usual.runs, p50=round(usual.p50, 1), p95=round(usual.p95, 1)) if usual else None,
        reviewed_at=run.reviewed_at,
        reviewed_by=run.reviewed_by_user or None,
        rejection_note=run.rejection_note or None,
        credits=run.credits,
        speaks_to_assistant=spoken_to(run) or None,
        dashboard_url=DashboardUrl(run.dashboard_url) or None,
    )


def _head(run: WorkflowRun, view: RunView, files: list[FileFacts], now: datetime, around: Surroundings) -> list[str]:
    version_name = f" {Label(run.workflow_version.name):60}" if run.workflow_version.name else ""
    lines = [
        f"Run {view.run_id} · {view.status}: {view.meaning}",
        f"Workflow: {view.workflow} ({view.workflow_id}), version {view.version or '?'}{version_name}",
    ]
    if files:
        more = f" and {len(files) - 2} more" if len(files) > 2 else ""
        lines.append(f"File: {', '.join(_file_words(file) for file in files[:2])}{more}")
    if view.speaks_to_assistant:
        lines.append(caution_line(view.speaks_to_assistant))
    if view.batch_id:
        lines.append(f"Batch: {view.batch_id}")
    if age := age_line(run, now):
        lines.append(age[0].upper() + age[1:])
    if around.usual:
        lines.append(f"Usual for this workflow: {around.usual.words(view.duration_seconds)}")
    elif around.changed_at and is_moving(run.status):
        lines.append("Usual for this workflow: not known; of its newest 100 processed runs none went without a review")
    for index, failure in enumerate((view.failures or [])[:3]):
        if index and failure.reason == WRAPPER and not failure.step:
            # The step's line has the cause.
            lines[-1] += f" (the run itself says {WRAPPER})"
            continue
        where = f" in step {failure.step:60}" if failure.step else ""
        message = f" {failure.message:160}" if failure.message else ""
        lines.append(
            f"Failed{where}: {reason_words(failure.reason)}{message}{f'; {failure.retry}' if failure.retry else ''}"
        )
    if view.waits_for:
        lines.append(f"Waits for: {view.waits_for}{f', {view.state_since}' if view.state_since else ''}")
    if describe(run.status).phase == "review":
        lines += [f"Check: {check.line()}" for check in view.failed_checks or []] or ["Check: no step names one"]
    lines += review_lines(run)
    if view.credits is not None:
        lines.append(f"Credits: {view.credits:g}")
    if view.dashboard_url:
        lines.append(f"Dashboard: {view.dashboard_url}")
    return lines


def reason_words(reason: Code) -> str:
    """Write the reason of a failure; our own words for one that is not known have no marks."""
    return str(reason) if reason in (NO_REASON, NOT_READ) else f"{reason}"


def step_facts(number: int, step: StepRun) -> StepFacts:
    """Return the facts of the step that is ``number`` among those of its run."""
    started, ended = step_times(step)
    return StepFacts(
        number=number,
        id=step.id,
        name=step.step.name,
        type=step.step_type,
        status=step.status,
        summary=step_digest(step),
        started_at=started,
        ended_at=ended,
    )


def step_line(step: StepFacts) -> str:
    """Write one step in one line of at most 180 characters: number, name, type, status and what it found."""
    kind, status = f"{step.type:30}" or "?", f"{step.status:20}" or "?"
    line = f"{step.number}. {step.name or Label('?'):40} {kind} · {status}"
    return cut_line(f"{line} · {step.summary}" if step.summary else line, 179)


def _full(run: WorkflowRun, files: list[FileFacts], steps: list[StepFacts]) -> list[Line]:
    lines: list[Line] = []
    if len(files) > 2:
        lines += ["Files:", *(f" {file.id} {_file_words(file)}" for file in files)]
    if run.metadata:
        lines += ["Metadata:", *tree_lines(run.metadata, 1)]
    if run.usage and run.usage.breakdown:
        lines += ["Charges:", *map(_charge_line, run.usage.breakdown)]
    lines.append("Steps:")
    for facts, step in zip(steps, run.step_runs, strict=True):
        # The run's own files are named above.
        parts = [file for file in step.files[:3] if file.id not in {own.id for own in run.files}]
        read = ", ".join(_file_words(_file_facts(file)) for file in parts)
        lines += [step_line(facts), f"   {facts.id} · {read}".rstrip(" ·")]
    extra = {name: value for name, value in (run.model_extra or {}).items() if name != "object"}
    if extra:
        lines += ["Fields new to this version:", *tree_lines(extra, 1)]
    return lines


def _charge_line(entry: UsageEntry) -> str:
    spent = "?" if entry.credits is None else f"{entry.credits:g}"
    # What it was charged for is a tree; its leaves say enough. A line of a longer text has its mark at its start.
    lines = [line for row in tree_lines(entry.model_extra or {}) for line in str(row).split("\n")]
    leaves = [line for line in lines if not line.endswith(":")]
    details = [f"{Label(line[2:])}" if line.startswith("|") else line.strip() for line in leaves]
    child = f"{Code(entry.object)} {Id(entry.id)}".strip()
    return "; ".join([f" {child}: {spent} credits", *details])


def _file_facts(file: FileSummary) -> FileFacts:
    return FileFacts(id=file.id, name=file.name, type=file.type or None, pages=file.metadata.page_count)


def _file_words(file: FileFacts) -> str:
    pages = "" if file.pages is None else counted(file.pages, "page")
    known = ", ".join(part for part in (f"{file.type or Code():20}", pages) if part)
    return f"{file.name or Label(file.id):100}{f' ({known})' if known else ''}"


def _failures(run: WorkflowRun) -> list[FailureFacts]:
    return [
        FailureFacts(
            step=failure.where or None,
            reason=Code(failure.reason) or NO_REASON,
            message=failure.message,
            # The run's own reason wraps its step's: whether a retry helps is decided by the cause alone.
            retry=retry_advice(failure.reason) if index == 0 or failure.where else None,
        )
        for index, failure in enumerate(failures_of(run)[:10])
    ]


def steps_done(run: WorkflowRun) -> int:
    """Count the steps that did their work; a failed or cancelled one did not."""
    return sum(step.status == "PROCESSED" for step in run.step_runs)


def steps_to_do(run: WorkflowRun) -> int:
    """Count the steps that the API shows so far and that have not ended."""
    return sum(step.status not in STEP_OVER for step in run.step_runs)


def waits_for(run: WorkflowRun) -> str | None:
    """Say in one line what ``run`` waits for; None when it waits for nothing."""
    phase = describe(run.status).phase
    if phase == "review":
        return "a person's review in the dashboard (the API cannot approve)"
    if phase == "waiting":
        return "a free place in Extend's queue"
    if phase == "ending":
        return "the cancel to take effect"
    moving = [step for step in run.step_runs if step.status not in STEP_OVER]
    if phase == "active" and moving:
        return f"step {Label(moving[0].title):60} ({Code(moving[0].status):40})"
    return None


def state_since(run: WorkflowRun, changed_at: datetime | None, now: datetime) -> str:
    """Say since when a run waits for a person, a cancel or its present step; empty where it waits for neither."""
    phase = describe(run.status).phase
    if phase not in ("review", "active", "ending"):
        return ""
    since = present_state(run, changed_at).words(now)
    return f"requested {since.removeprefix('since ')}" if since and phase == "ending" else since


def review_lines(run: RunBase) -> list[str]:
    """Say who reviewed or rejected a run, when and why, and what of it Extend does not give."""
    is_rejected = run.status == "REJECTED"
    if run.status == "CANCELLED":
        return ["Extend does not say who cancelled it, or when the cancel was requested."]
    if not is_rejected and not run.reviewed_at and not run.reviewed_by_user:
        return []
    known = [
        f"by {Label(run.reviewed_by_user)}" if run.reviewed_by_user else "",
        f"at {format_instant(run.reviewed_at)}" if run.reviewed_at else "",
    ]
    line = " ".join(["Rejected" if is_rejected else "Reviewed", *filter(None, known)])
    line += f": {Finding(run.rejection_note)}" if run.rejection_note else ""
    missing = [
        name
        for name, given in (("reviewer", known[0]), ("time", known[1]), ("note", run.rejection_note or not is_rejected))
        if not given
    ]
    lines = [line + (f" (Extend gives no {', no '.join(missing)})" if missing else "")]
    if isinstance(run, WorkflowRun) and (began := review_began(run)):
        lines.append(f"The review began after {format_instant(began)}; Extend does not say when")
    return lines


def age_line(run: WorkflowRun, now: datetime) -> str:
    """Say when the run was created and started, and how long it took or has been running, without a full stop."""
    parts: list[str] = []
    if run.initial_run_at:
        parts.append(f"created {format_instant(run.initial_run_at)} ({age_words(run.initial_run_at, now)} ago)")
    seconds = duration_seconds(run, now)
    if run.start_time and seconds is not None:
        span = format_span(seconds)
        moving = is_moving(run.status)
        parts.append(f"took {span}" if run.end_time else f"running {span} so far" if moving else f"started {span} ago")
    return ", ".join(parts)


def duration_seconds(run: WorkflowRun, now: datetime) -> float | None:
    """Return the seconds from start to end, or to ``now`` while the run moves; None before it started."""
    if run.start_time is None or (run.end_time is None and is_finished(run.status)):
        return None
    return max(0.0, ((run.end_time or now) - run.start_time).total_seconds())


class WaitedRun(ViewPart):
    """One run that was waited for."""

    run_id: Id
    status: Code
    file: Label | None = None
    step: Label | None = None
    review: str | None = None
    speaks_to_assistant: bool | None = None
    steps_done: int | None = None
    steps_known: int | None = None


class WaitView(View):
    """The state of the runs at the end of the window."""

    outcome: Literal["finished", "still_running"]
    waited_seconds: float
    counts: dict[str, int]
    runs: list[WaitedRun]
    shown: int
    total: int
    note: str | None = None
    next_step: str | None = None
    untrusted: str = "file"


def wait_view(
    runs: list[WaitedRun],
    *,
    waited: float,
    explained: str | None,
    problem: str | None,
    go_on: str,
    limit: int,
) -> WaitView:
    """Sum up the last state seen of every run that was waited for.

    Args:
        explained: the explanation of a single run that has ended, as text; None otherwise.
        problem: what went wrong with the last look, or None.
        go_on: the call that continues waiting.
    """
    ordered = sorted(runs, key=lambda run: (*urgency(run.status), run.run_id))
    counts: Counter[str] = Counter(run.status for run in ordered)
    over = bool(runs) and not any(is_moving(run.status) for run in runs)
    said = ", ".join(f"{counts[status]} {Code(status)}" for status in by_urgency(counts))
    head = [
        f"{'Finished waiting' if over else 'Still running'} after {format_span(waited)}: {said or 'no runs seen yet'}."
    ]
    step = _next_step(ordered, over, go_on)
    if problem:
        head.append(f"The last look failed ({problem}); this is the state seen before it.")
    tail = [f"Next: {step}"]
    kept = len(ordered)
    if explained:
        text = "\n".join([*head, explained, *tail])
    else:
        rows = [_waited_line(run) for run in ordered]
        text, kept = Document(head, rows, tail).fit(limit, lambda gone: f"… {gone} more, none more urgent than these.")
    return WaitView(
        outcome="finished" if over else "still_running",
        waited_seconds=round(waited, 1),
        counts=dict(counts),
        runs=ordered[:kept],
        shown=kept,
        total=len(ordered),
        note=problem,
        next_step=step,
    ).with_text(text)


def _waited_line(run: WaitedRun) -> str:
    steps = f" · {run.steps_done} of {run.steps_known} known steps done" if run.steps_known else ""
    step = f", now {run.step:40}" if run.step else ""
    file = f" · {run.file:60}" if run.file else ""
    more = f" · {run.review}" if run.review else ""
    more += f" · {CAUTION}" if run.speaks_to_assistant else ""
    return f"{run.run_id} · {run.status}: {describe(run.status).meaning}{steps}{step}{file}{more}"


def waited_words(run: WaitedRun) -> str:
    """Say in a few words where a run is, for a message of progress."""
    step = f" in step {run.step:40}" if run.step else ""
    steps = f", {run.steps_done} of {run.steps_known} known steps done" if run.steps_known else ""
    return f"{f'{run.file:40} ' if run.file else ''}({run.run_id}) {run.status}{step}{steps}"


def _next_step(runs: list[WaitedRun], over: bool, go_on: str) -> str:
    if not over:
        return f"{go_on} continues waiting; or tell the user that it still runs."
    bad = next((run for run in runs if run.status in ("FAILED", "REJECTED")), None)
    if bad and len(runs) > 1:
        return f"get_workflow_run({bad.run_id}) explains the first that went wrong."
    if any(run.status == "NEEDS_REVIEW" for run in runs):
        return "A person reviews it in the dashboard; the API cannot."
    if len(runs) == 1:
        return f"get_step_result({runs[0].run_id}, step) shows what a step found."
    return "get_workflow_run(run_id) explains one of them."


def waited_run(run: RunBase, *, done: int | None = None, known: int | None = None, speaks: bool = False) -> WaitedRun:
    """Return the state of a run that is waited for: how many of its ``known`` steps are ``done``, if they were read.

    ``speaks`` if a text of it seems to be meant for an assistant.
    """
    steps = run.step_runs if isinstance(run, WorkflowRun) else []
    moving = [step for step in steps if step.status not in STEP_OVER] if is_moving(run.status) else []
    return WaitedRun(
        run_id=run.id,
        status=Code(run.status) or "unknown",
        file=run.files[0].name or None if run.files else None,
        step=moving[0].title if moving else None,
        review="; ".join(review_lines(run)[:1]) or None if run.status == "REJECTED" else None,
        speaks_to_assistant=speaks or None,
        steps_done=done,
        steps_known=known,
    )
