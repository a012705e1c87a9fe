"""A workflow run, explained: what it is, how far it is, what failed or is awaited, what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Literal

from pydantic import AliasPath, Field

from extend_mcp.api.models import RunBase, StepRun, UsageEntry, WorkflowRun
from extend_mcp.runs.failures import WRAPPER, failures_of, retry_advice
from extend_mcp.runs.lifecycle import STEP_OVER, Phase, by_urgency, describe, is_moving, urgency
from extend_mcp.runs.statistics import run_facts
from extend_mcp.runs.times import format_instant, format_span, read_instant
from extend_mcp.runs.timing import Usual, present_state, review_began
from extend_mcp.views.document import Document, OrNone, Seconds, TextPage, View, ViewPart, age_words, counted, listed
from extend_mcp.views.instructions import CAUTION, SpokenTo, caution_line, spoken_to
from extend_mcp.views.reviews import FailedCheck, failed_checks
from extend_mcp.views.steps import Detail, StatusCode, field_words, step_digest, walk
from extend_mcp.views.untrusted import Code, DashboardUrl, Finding, Id, Label, Line, Note, cut_line, tree_lines
from extend_mcp.workflows.graph import Json

_STEPS_IN_FIELDS = 50
_FILES_IN_FIELDS = 20
NO_REASON, NOT_READ = "no reason given", "not read"
_WAITS_FOR: dict[Phase, str] = {
    "review": "a person's review in the dashboard (the API cannot approve)",
    "waiting": "a free place in Extend's queue",
    "ending": "the cancel to take effect",
}


class FileFacts(ViewPart):
    """A file of a run."""

    id: Id
    name: Label
    type: OrNone[Code] = None
    pages: int | None = Field(None, validation_alias=AliasPath("metadata", "page_count"))

    def words(self) -> str:
        """Name the file, with its type and pages."""
        pages = "" if self.pages is None else counted(self.pages, "page")
        known = ", ".join(filter(None, [f"{self.type or Code():20}", pages]))
        return f"{self.name or Label(self.id):100}{f' ({known})' if known else ''}"


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

    def line(self) -> str:
        """Write the step in one line of at most 180 characters: number, name, type, status and what it found."""
        kind, status = f"{self.type:30}" or "?", f"{self.status:20}" or "?"
        line = f"{self.number}. {self.name or Label('?'):40} {kind} · {status}"
        return cut_line(f"{line} · {self.summary}" if self.summary else line, 179)


class FailureFacts(ViewPart):
    """One thing that went wrong, with what is known about trying again."""

    step: OrNone[Label] = None
    reason: Code
    message: Note
    retry: str | None = None

    def line(self) -> str:
        """Say what failed, why, and whether to try again."""
        where = f" in step {self.step:60}" if self.step else ""
        message = f" {self.message:160}" if self.message else ""
        return f"Failed{where}: {reason_words(self.reason)}{message}{f'; {self.retry}' if self.retry else ''}"


class RunView(View):
    """A workflow run in short; with ``details`` a page of all about it."""

    run_id: Id = Field(validation_alias="id")
    status: StatusCode
    workflow_id: Id | None = Field(None, validation_alias=AliasPath("workflow", "id"))
    workflow: Label | None = Field(None, validation_alias=AliasPath("workflow", "name"))
    version: Code | None = Field(None, validation_alias=AliasPath("workflow_version", "version"))
    batch_id: OrNone[Id] = None
    files: list[FileFacts] | None = None
    created_at: datetime | None = Field(None, validation_alias="initial_run_at")
    started_at: datetime | None = Field(None, validation_alias="start_time")
    ended_at: datetime | None = Field(None, validation_alias="end_time")
    reviewed_at: datetime | None = None
    reviewed_by: OrNone[Label] = Field(None, validation_alias="reviewed_by_user")
    rejection_note: OrNone[Finding] = None
    credits: float | None = None
    dashboard_url: OrNone[DashboardUrl] = None
    # What the API's object does not hold.
    meaning: str
    duration_seconds: Seconds | None = None
    steps_done: int | None = None
    steps_known: int | None = None
    steps: list[StepFacts] | None = None
    failures: list[FailureFacts] | None = None
    waits_for: str | None = None
    state_since: OrNone[str] = None
    changed_at: datetime | None = None
    failed_checks: OrNone[list[FailedCheck]] = None
    usual: str | None = None
    speaks_to_assistant: OrNone[list[SpokenTo]] = None
    details: TextPage | None = None
    cut: str | None = None
    untrusted: str = "names, files, failures, checks, summaries, notes, content"


def run_view(
    run: WorkflowRun,
    *,
    now: datetime,
    detail: Detail,
    page: int,
    limit: int,
    changed_at: datetime | None = None,
    usual: Usual | None = None,
    definition: Sequence[Json] = (),
) -> RunView:
    """Explain ``run``, any field of which may be missing or unknown.

    The ``concise`` form has one line a step. The ``full`` one has ids, files, metadata and charges too, in pages. The
    last change, the usual time and the version's steps are given if they were read.
    """
    known, steps = describe(run.status), [step_facts(number, step) for number, step in enumerate(run.step_runs, 1)]
    awaited, since = _waits(run, changed_at, now)
    facts = SimpleNamespace(
        **vars(run),
        credits=run.credits,
        meaning=known.meaning,
        duration_seconds=duration_seconds(run, now),
        steps_done=steps_done(run),
        steps_known=len(steps),
        steps=steps[:_STEPS_IN_FIELDS],
        failures=[
            # The run's own reason wraps its step's: whether a retry helps is decided by the cause alone.
            FailureFacts(
                step=each.where,
                reason=each.reason or NO_REASON,
                message=each.message,
                retry=retry_advice(each.reason) if each.where or not index else None,
            )
            for index, each in enumerate(failures_of(run)[:10])
        ],
        waits_for=awaited,
        state_since=since,
        changed_at=changed_at,
        failed_checks=failed_checks(run, definition) if known.phase == "review" else None,
        usual=usual and usual.words(run_facts(run).pages, duration_seconds(run, now)),
        speaks_to_assistant=spoken_to(run),
    )
    view = RunView.model_validate(facts)
    del (view.files or [])[_FILES_IN_FIELDS:]
    first, *about = _head(run, view, now)
    if detail == "full":
        text, view.details = Document([first], [*about, *_full(run, steps)]).page(page, limit)
        # The details already hold the steps; repeating them would only cost tokens.
        view.steps = None
        return view.with_text(text)
    result = "One step's result: get_step_result(run_id, step=<number, name or id>)."
    document = Document(
        [first, *about] if steps else [first, *about, "Steps: none yet"],
        [step.line() for step in steps],
        [result] if any(step.result for step in run.step_runs) else [],
        columns=f"Steps ({view.steps_done} of {view.steps_known} known done):",
    )
    if len(document.text) > limit:
        # What went wrong or still moves matters more than what is over, when not all fits.
        urgent = sorted(steps, key=lambda step: step.status == "PROCESSED")
        document = replace(document, rows=[step.line() for step in urgent])
    text, kept = document.fit(limit, '… {} more steps: detail="full" lists all, in pages.'.format)
    if kept < len(steps):
        view.cut = f"{len(steps) - kept} steps; get_workflow_run(detail=full) lists all in pages"
    return view.with_text(text)


def _head(run: WorkflowRun, view: RunView, now: datetime) -> list[str]:
    version_name = f" {Label(run.workflow_version.name):60}" if run.workflow_version.name else ""
    age = age_line(run, now)
    files = listed([file.words() for file in (view.files or [])[:2]], 2, of=len(run.files))
    lines = [
        f"Run {view.run_id} · {view.status}: {view.meaning}",
        f"Workflow: {view.workflow} ({view.workflow_id}), version {view.version or '?'}{version_name}",
        f"File: {files}" if files else "",
        caution_line(view.speaks_to_assistant) if view.speaks_to_assistant else "",
        f"Batch: {view.batch_id}" if view.batch_id else "",
        f"{age[:1].upper()}{age[1:]}",
        f"Usual for this workflow: {view.usual}" if view.usual else "",
    ]
    lines = [*filter(None, lines)]
    for index, failure in enumerate((view.failures or [])[:3]):
        if index and failure.reason == WRAPPER and not failure.step:
            # The step's line has the cause.
            lines[-1] += f" (the run itself says {WRAPPER})"
        else:
            lines.append(failure.line())
    if view.waits_for:
        lines.append(f"Waits for: {view.waits_for}{f', {view.state_since}' if view.state_since else ''}")
    if describe(run.status).phase == "review":
        lines += [f"Check: {check.line()}" for check in view.failed_checks or []] or ["Check: no step names one"]
    cost = "" if view.credits is None else f"Credits: {view.credits:g}"
    page = f"Dashboard: {view.dashboard_url}" if view.dashboard_url else ""
    return [*lines, *review_lines(run), *filter(None, [cost, page])]


def reason_words(reason: Code) -> str:
    """Write the reason of a failure; our own words for one that is not known have no marks."""
    return str(reason) if reason in (NO_REASON, NOT_READ) else f"{reason}"


def step_facts(number: int, step: StepRun) -> StepFacts:
    """Return the facts of the step that is ``number`` among those of its run."""
    # The API has no times of the step itself. A review changes the child run later.
    ran = step.child_run
    return StepFacts(
        number=number,
        id=step.id,
        name=step.step.name,
        type=step.step_type,
        status=step.status,
        summary=step_digest(step),
        started_at=read_instant(ran.get("createdAt")),
        ended_at=None if ran.get("reviewed") is True else read_instant(ran.get("updatedAt")),
    )


def _full(run: WorkflowRun, steps: Sequence[StepFacts]) -> list[Line]:
    lines: list[Line] = []
    if len(run.files) > 2:
        lines += ["Files:", *(f" {Id(file.id)} {FileFacts.model_validate(file).words()}" for file in run.files)]
    if run.metadata:
        lines += ["Metadata:", *tree_lines(run.metadata, 1)]
    if run.usage and run.usage.breakdown:
        lines += ["Charges:", *map(_charge_line, run.usage.breakdown)]
    lines.append("Steps:")
    # The run's own files are named above.
    own = {file.id for file in run.files}
    for facts, step in zip(steps, run.step_runs, strict=True):
        parts = ", ".join(FileFacts.model_validate(file).words() for file in step.files[:3] if file.id not in own)
        lines += [facts.line(), f"   {facts.id} · {parts}".rstrip(" ·")]
    extra = {name: value for name, value in (run.model_extra or {}).items() if name != "object"}
    return [*lines, "Fields new to this version:", *tree_lines(extra, 1)] if extra else lines


def _charge_line(entry: UsageEntry) -> str:
    spent = "?" if entry.credits is None else f"{entry.credits:g}"
    leaves = [each for each in walk(entry.model_extra or {}) if not isinstance(each[1], (dict, list))]
    details = [field_words(path.rpartition(".")[2], value, {}) for path, value in leaves]
    return "; ".join([f" {f'{Code(entry.object)} {Id(entry.id)}'.strip()}: {spent} credits", *details])


def steps_done(run: WorkflowRun) -> int:
    """Count the steps that did their work; a failed or cancelled one did not."""
    return sum(step.status == "PROCESSED" for step in run.step_runs)


def steps_to_do(run: WorkflowRun) -> list[StepRun]:
    """Return the steps that the API shows so far and that have not ended."""
    return [step for step in run.step_runs if step.status not in STEP_OVER]


def _waits(run: WorkflowRun, changed_at: datetime | None, now: datetime) -> tuple[str | None, str]:
    """Say what a run waits for, and since when it waits for a person, a cancel or the end of its present step."""
    phase, moving = describe(run.status).phase, steps_to_do(run)
    awaited = _WAITS_FOR.get(phase)
    if phase == "active" and moving:
        awaited = f"step {Label(moving[0].title):60} ({Code(moving[0].status):40})"
    since = present_state(run, changed_at).words(now) if phase in ("review", "active", "ending") else ""
    return awaited, f"requested {since.removeprefix('since ')}" if since and phase == "ending" else since


def review_lines(run: RunBase, *, most: int = Finding.limit) -> list[str]:
    """Say who reviewed or rejected a run, when and why, in so much of a note, and what of it Extend does not give."""
    if run.status == "CANCELLED":
        return ["Extend does not say who cancelled it, or when the cancel was requested."]
    is_rejected = run.status == "REJECTED"
    known = {
        "reviewer": f" by {Label(run.reviewed_by_user)}" if run.reviewed_by_user else "",
        "time": f" at {format_instant(run.reviewed_at)}" if run.reviewed_at else "",
        "note": f": {Finding(run.rejection_note):{most}}" if run.rejection_note else "",
    }
    if not (is_rejected or known["reviewer"] or known["time"]):
        return []
    missing = [name for name, said in known.items() if not said and (is_rejected or name != "note")]
    line = "".join(["Rejected" if is_rejected else "Reviewed", *known.values()])
    lines = [line + (f" (Extend gives no {', no '.join(missing)})" if missing else "")]
    if isinstance(run, WorkflowRun) and (began := review_began(run)):
        lines.append(f"The review began after {format_instant(began)}; Extend does not say when")
    return lines


def age_line(run: WorkflowRun, now: datetime) -> str:
    """Say when the run was created and started, and how long it took or has been running, without a full stop."""
    seconds, created = duration_seconds(run, now), run.initial_run_at
    parts = [f"created {format_instant(created)} ({age_words(created, now)} ago)"] if created else []
    if seconds is not None:
        parts.append(f"took {format_span(seconds)}" if run.end_time else f"running {format_span(seconds)} so far")
    return ", ".join(parts)


def duration_seconds(run: RunBase, now: datetime) -> float | None:
    """Return the seconds from start to end, or to ``now`` while the run moves; None if it did not start or end."""
    if run.start_time is None or (run.end_time is None and not is_moving(run.status)):
        return None
    return max(0.0, ((run.end_time or now) - run.start_time).total_seconds())


class WaitedRun(ViewPart):
    """One run that was waited for."""

    run_id: Id
    status: StatusCode
    file: OrNone[Label] = None
    step: Label | None = None
    review: OrNone[str] = None
    speaks_to_assistant: OrNone[bool] = None
    steps_done: int | None = None
    steps_known: int | None = None

    def line(self) -> str:
        """Say where the run is."""
        steps = f" · {self.steps_done} of {self.steps_known} known steps done" if self.steps_known else ""
        step = f", now {self.step:40}" if self.step else ""
        file = f" · {self.file:60}" if self.file else ""
        more = f" · {self.review}" if self.review else ""
        more += f" · {CAUTION}" if self.speaks_to_assistant else ""
        return f"{self.run_id} · {self.status}: {describe(self.status).meaning}{steps}{step}{file}{more}"


class WaitView(View):
    """The state of the runs at the end of the window."""

    outcome: Literal["finished", "still_running"]
    waited_seconds: Seconds
    counts: dict[str, int]
    runs: list[WaitedRun]
    shown: int
    total: int
    note: str | None = None
    next_step: str | None = None
    untrusted: str = "file"


def wait_view(
    runs: Sequence[WaitedRun], *, waited: float, explained: str | None, problem: str | None, go_on: str, limit: int
) -> WaitView:
    """Sum up the last state seen of every run that was waited for.

    Give a single run that has ended ``explained`` as text, what went wrong with the last look as ``problem``, and the
    call that continues waiting as ``go_on``.
    """
    ordered = sorted(runs, key=lambda run: (*urgency(run.status), run.run_id))
    counts: Counter[str] = Counter(run.status for run in ordered)
    over = bool(runs) and not any(is_moving(run.status) for run in runs)
    said = ", ".join(f"{counts[status]} {Code(status)}" for status in by_urgency(counts)) or "no runs seen yet"
    head = [f"{'Finished waiting' if over else 'Still running'} after {format_span(waited)}: {said}."]
    if problem:
        head.append(f"The last look failed ({problem}); this is the state seen before it.")
    step = _next_step(ordered, over, go_on)
    tail = [f"Next: {step}"]
    document = Document(head, [run.line() for run in ordered], tail)
    text, kept = document.fit(limit, "… {} more, none more urgent than these.".format)
    return WaitView(
        outcome="finished" if over else "still_running",
        waited_seconds=waited,
        counts=dict(counts),
        runs=ordered[:kept],
        shown=kept,
        total=len(ordered),
        note=problem,
        next_step=step,
    ).with_text("\n".join([*head, explained, *tail]) if explained else text)


def _next_step(runs: Sequence[WaitedRun], over: bool, go_on: str) -> str:
    if not over:
        return f"{go_on} continues waiting; or tell the user that it still runs."
    first = runs[0]
    if len(runs) > 1:
        return f"get_workflow_run({first.run_id}) explains the first of them."
    if first.status == "NEEDS_REVIEW":
        return "A person reviews it in the dashboard; the API cannot."
    return f"get_step_result({first.run_id}, step) shows what a step found."


def waited_run(run: RunBase, *, done: int | None = None, known: int | None = None, speaks: bool = False) -> WaitedRun:
    """Return the state of a run that is waited for: how many of its ``known`` steps are ``done``, if they were read.

    ``speaks`` if a text of it seems to be meant for an assistant.
    """
    moving = steps_to_do(run) if isinstance(run, WorkflowRun) and is_moving(run.status) else []
    return WaitedRun(
        run_id=run.id,
        status=run.status,
        file=run.files[0].name if run.files else None,
        step=moving[0].title if moving else None,
        review=next(iter(review_lines(run)), None) if run.status == "REJECTED" else None,
        speaks_to_assistant=speaks,
        steps_done=done,
        steps_known=known,
    )
