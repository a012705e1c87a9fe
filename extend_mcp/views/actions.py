"""Answers of writes: what happened, what was sent, and what to do next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import WithJsonSchema

from extend_mcp.api.models import BatchStarted, RunBase, WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import CreateWorkflowRunBatch, FileFromId, FileFromText, FileFromUrl
from extend_mcp.runs.lifecycle import by_urgency
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.document import Document, View, ViewPart, age_words, counted, listed
from extend_mcp.views.runs import age_line, steps_done, steps_to_do
from extend_mcp.views.untrusted import Code, DashboardUrl, Id, Label, Name, Note, Url, cut_line

_MOST_NAMES = 6
_MOST_IDS = 5
_MOST_HOSTS = 30
_MOST_CAUSES = 8
_SEVERAL = 3
_MOST_OF_AN_OUTCOME = 8
"""Results of one outcome that are listed: what became of hundreds of runs is in the counts."""

_FILES_A_MINUTE = ((75, 300), (25, 120), (0, 80))
"""Files that Extend processes in a minute, by the requests per second of the same plan (Extend docs, Rate Limits)."""

Outcome = Literal[
    "done",
    "started",
    "cancelled",
    "cancelling",
    "confirmation_required",
    "declined",
    "changed",
    "refused",
    "not_found",
    "not_cancellable",
    "already_cancelling",
    "already_finished",
    "already_rerun",
    "finished_first",
    "nothing_to_do",
    "partial",
    "busy",
    "not_done_yet",
    "unknown",
]
"""The outcomes of a write, or of one run of an action on many."""


class WriteView(View):
    """The answer of any write. ``request_sent`` says whether a request that can change something left this server."""

    # A client pays for the schema of every tool, and the words explain themselves.
    outcome: Annotated[Outcome, WithJsonSchema({"type": "string"})]
    request_sent: bool
    message: str
    confirmation_token: str | None = None
    next_step: str | None = None
    account: str | None = None

    def name_account(self, label: str) -> None:
        """Begin the answer with the operator's name for the account."""
        self.account = label
        self.with_text(f"[{label}] {self.text}")

    target_field: ClassVar[str] = ""
    """The field that holds the id of the object."""
    is_of_run: ClassVar[bool] = False
    """True where that object is a workflow run."""

    @property
    def target(self) -> str | None:
        """The id of the object that was acted on."""
        return getattr(self, self.target_field) if self.target_field else None

    @property
    def changed_run(self) -> str | None:
        """The id of a workflow run that may have changed, for those who subscribed to it."""
        return self.target if self.is_of_run and self.request_sent else None

    def render(
        self, limit: int, *, said: str = "", head: Sequence[str] = (), lines: Sequence[str] = (), more: str = "lines"
    ) -> None:
        """Write the text: outcome and message, the lines that fit, the token and the next step.

        Args:
            said: words after the message, such as whether anything was sent.
            head: lines that are always shown.
            lines: lines that may be cut, the most important first.
            more: the noun for lines that were cut.
        """
        first = f"{self.outcome}: {self.message} {said}".rstrip()
        tail = [f"confirmation_token: {self.confirmation_token}"] if self.confirmation_token else []
        tail += [f"Next: {self.next_step}"] if self.next_step else []
        document = Document([first, *head], lines, tail)
        text, _ = document.fit(limit, lambda gone: f"… {gone:,} more {more}")
        self.with_text(text)


class ActionView(WriteView):
    """The answer of a write on one object."""

    target_field: ClassVar[str] = "id"

    id: Id | None = None
    details: list[str] | None = None


class RunActionView(ActionView):
    """The answer of a write on one workflow run."""

    is_of_run: ClassVar[bool] = True


def action_view(
    outcome: Outcome,
    message: str,
    *,
    target: str | None = None,
    sent: bool = False,
    details: Sequence[str] = (),
    token: str | None = None,
    next_step: str | None = None,
    limit: int,
    kind: type[ActionView] = ActionView,
) -> ActionView:
    """Build the answer of a write on one object.

    Args:
        sent: whether a request to change something was sent.
        details: lines with the facts, outside text in them marked.
        token: the confirmation token that a second call must bring.
    """
    view = kind(
        outcome=outcome,
        id=target or None,
        request_sent=sent,
        message=message,
        details=list(details) or None,
        confirmation_token=token,
        next_step=next_step,
    )
    view.render(limit, said="" if sent else "Nothing was sent.", lines=details)
    return view


class CancelPlan(ViewPart):
    """The run that a cancel would stop, as a person sees it before saying yes."""

    action: Literal["cancel_workflow_run"] = "cancel_workflow_run"
    run_id: Id
    workflow: Name
    file: Name
    status: Code
    age: str
    steps_done: int
    steps_still_to_do: int
    credits_used: float | None = None
    reason: Note | None = None

    def facts(self) -> list[str]:
        """Return the question and what a yes is bound to."""
        lines = [f"Cancel workflow run {self.run_id}?", f"Workflow: {self.workflow}, file: {self.file:120}"]
        if self.reason:
            lines.append(f"Reason given: {self.reason}")
        return [*lines, "A cancelled run does not resume."]

    def progress(self) -> list[str]:
        """Return the facts that move while a person thinks."""
        used = f", {self.credits_used:g} credits used so far" if self.credits_used is not None else ""
        return [
            f"Status: {status_words(self.status)}, created {self.age} ago",
            f"Steps: {self.steps_done} done, {self.steps_still_to_do} known still to do{used}",
        ]


class CancelView(WriteView):
    """The answer of the cancel of one run."""

    always: ClassVar[frozenset[str]] = frozenset({"status_before", "status_after"})
    target_field: ClassVar[str] = "run_id"
    is_of_run: ClassVar[bool] = True

    run_id: Id
    status_before: Code | None = None
    status_after: Code | None = None
    plan: CancelPlan | None = None


def cancel_plan(run: WorkflowRun, *, reason: str | None, now: datetime) -> CancelPlan:
    """Collect the facts that a person should weigh before cancelling ``run``."""
    first = run.files[0].name or run.files[0].id if run.files else ""
    others = f" +{len(run.files) - 1}" if len(run.files) > 1 else ""
    return CancelPlan(
        run_id=run.id,
        workflow=run.workflow.name,
        file=f"{first}{others}",
        status=run.status,
        age=age_words(run.initial_run_at, now, unknown="unknown"),
        steps_done=steps_done(run),
        steps_still_to_do=steps_to_do(run),
        credits_used=run.credits,
        reason=reason or None,
    )


def cancel_view(
    outcome: Outcome, run_id: str, message: str, *, limit: int, sent: bool = False, **known: Any
) -> CancelView:
    """Build the answer of the cancel of one run.

    Args:
        run_id: the run.
        sent: whether the cancel request was sent.
        known: the other fields of :class:`CancelView`.
    """
    view = CancelView(outcome=outcome, run_id=run_id, message=message, request_sent=sent, **known)
    lines = [*view.plan.facts(), *view.plan.progress()] if view.plan else []
    view.render(limit, said="The cancel request was sent." if sent else "No cancel request was sent.", lines=lines)
    return view


def status_words(status: str) -> str:
    """Return a status for use inside a sentence."""
    return f"{Code(status):40}" or "unknown"


class BulkResult(ViewPart):
    """The outcome for one run."""

    run_id: Id
    outcome: Annotated[Outcome, WithJsonSchema({"type": "string"})]
    status: Code | None = None
    note: str | None = None
    new_run_id: Id | None = None
    new_status: Code | None = None

    def line(self) -> str:
        """Return the result as a line of text."""
        parts = [f"{self.run_id}", self.outcome, f"{self.status or ''}", self.note or ""]
        if self.new_run_id:
            # The status is the old run's, and the note has the new one's.
            parts = [f"{self.run_id} ({self.status})", self.outcome, self.note or ""]
        return " · ".join(part for part in parts if part)


class BulkView(WriteView):
    """The answer of an action on many runs, or its plan."""

    planned: int
    skipped: dict[str, int]
    counts: dict[str, int]
    results: list[BulkResult]
    plan: list[str] | None = None


def bulk_view(
    outcome: Outcome,
    message: str,
    *,
    planned: int = 0,
    skipped: dict[str, int] | None = None,
    results: Sequence[BulkResult] = (),
    plan: Sequence[str] = (),
    token: str | None = None,
    next_step: str | None = None,
    limit: int,
) -> BulkView:
    """Build the answer of an action on many runs.

    Args:
        planned: how many runs the plan holds.
        skipped: how many runs were left out, by reason.
        results: what became of each run of the plan.
        plan: the plan's lines, while it waits for a yes.
        token: what the next call must bring.
    """
    counts = Counter(result.outcome for result in results)
    # Rare outcomes first: what did not go as asked is listed run by run.
    ordered = sorted(results, key=lambda result: (counts[result.outcome], result.outcome))
    view = BulkView(
        outcome=outcome,
        request_sent=any(result.outcome not in ("not_done_yet", "busy") for result in results),
        planned=planned,
        skipped=skipped or {},
        counts=dict(counts),
        results=list(ordered),
        message=message,
        plan=list(plan) or None,
        confirmation_token=token,
        next_step=next_step,
    )
    said = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    head = [] if plan or not skipped else [f"Left out: {skipped_words(skipped)}."]
    lines = list(plan)
    for outcome_of_run in dict.fromkeys(result.outcome for result in ordered):
        same = [result.line() for result in ordered if result.outcome == outcome_of_run]
        lines += same[:_MOST_OF_AN_OUTCOME]
        if more := len(same) - _MOST_OF_AN_OUTCOME:
            lines += [f"… {more:,} more {outcome_of_run}; every run is in the structured results"] if more > 0 else []
    view.render(
        limit,
        said=f"In all: {said}." if said else "",
        head=head,
        lines=lines,
        more="lines; every run is in the structured results" if results else "lines",
    )
    return view


def skipped_words(skipped: Mapping[str, int]) -> str:
    """Return how many runs were left out, by reason, most first."""
    return ", ".join(f"{count:,} {why}" for why, count in sorted(skipped.items(), key=lambda item: -item[1]))


def bulk_result(
    run_id: str, outcome: Outcome, status: str = "", note: str = "", *, new_run_id: str = "", new_status: str = ""
) -> BulkResult:
    """Build one run's result.

    ``note`` is our own line, with text from outside marked; the new run is the one that was started in its place.
    """
    return BulkResult(
        run_id=run_id,
        outcome=outcome,
        status=status or None,
        note=cut_line(note, 500) or None,
        new_run_id=new_run_id or None,
        new_status=new_status or None,
    )


class RunStartedView(WriteView):
    """A run that was started, or may have been."""

    target_field: ClassVar[str] = "run_id"
    is_of_run: ClassVar[bool] = True

    run_id: Id | None = None
    status: Code | None = None
    workflow: Label | None = None
    dashboard_url: DashboardUrl | None = None
    candidates: list[Id] | None = None
    untrusted: str = "workflow"


def run_started_view(run: WorkflowRun) -> RunStartedView:
    """Build the answer for a run that was created."""
    run_id = Id(run.id)
    message = f"Started run {run_id} of {Label(run.workflow.name)}, status {Code(run.status)}."
    return RunStartedView(
        outcome="started",
        request_sent=True,
        run_id=run_id,
        status=run.status,
        workflow=run.workflow.name,
        dashboard_url=DashboardUrl(run.dashboard_url) or None,
        message=message,
    ).with_text(f'{message}\nFollow it with wait_for_run(["{run_id}"]).')


def start_unclear_view(problem: str, found: list[WorkflowRunSummary] | None) -> RunStartedView:
    """Build the answer for a create whose outcome is unclear. It never claims that the run was or was not created.

    Args:
        problem: what went wrong, in a sentence.
        found: runs of the workflow created since the request; None when they could not be read.
    """
    message = f"Unclear: {problem}. The run may have been created. It was not sent again."
    ids = [Id(run.id) for run in found or []]
    if found is None:
        look = 'Looking for it failed too. Use list_runs(created_since="10m") before starting it again.'
    elif ids:
        look = f"Created since the request, so possibly this one: {listed(ids, len(ids))}. Check with get_workflow_run."
    else:
        look = (
            "No run of this workflow on this file was created since the request, so far. "
            "Look again with list_runs before retrying."
        )
    view = RunStartedView(outcome="unknown", request_sent=True, message=message, candidates=ids)
    return view.with_text(f"{message}\n{look}")


class BatchStartedView(WriteView):
    """A batch that was started, or may have been."""

    target_field: ClassVar[str] = "batch_id"

    batch_id: Id | None = None
    runs: int | None = None
    candidates: list[Id] | None = None


def batch_question(body: CreateWorkflowRunBatch, workflow: str) -> list[str]:
    """Return the question whether to start a large batch.

    Args:
        body: what is sent.
        workflow: the workflow as the user named it.
    """
    files = [each.file for each in body.inputs]
    hosts = Counter(urlsplit(file.url).netloc.rpartition("@")[2] for file in files if isinstance(file, FileFromUrl))
    said = [f"{count:,} from {Url(f'https://{host}')}" for host, count in hosts.most_common(_MOST_HOSTS)]
    rest = sum(count for _, count in hosts.most_common()[_MOST_HOSTS:])
    said += [f"{rest:,} from other hosts"] if rest else []
    for kind, name in ((FileFromId, "uploaded"), (FileFromText, "given as text")):
        if count := sum(isinstance(file, kind) for file in files):
            said.append(f"{count:,} {name}")
    version = f", version {Code(body.workflow.version)}" if body.workflow.version else ""
    name = f"{Name(workflow)} ({Id(body.workflow.id)})" if workflow and workflow != body.workflow.id else ""
    return [
        f"Start {counted(len(files), 'workflow run')}, one for each file? You will be charged credits.",
        f"Workflow: {name or Id(body.workflow.id)}{version}",
        f"Files: {', '.join(said)}",
    ]


def batch_started_view(batch: BatchStarted, count: int) -> BatchStartedView:
    """Build the answer for a batch of ``count`` runs that was created."""
    batch_id = Id(batch.batch_id)
    message = f"Started batch {batch_id} of {counted(count, 'run')}."
    view = BatchStartedView(outcome="started", request_sent=True, batch_id=batch_id, runs=count, message=message)
    return view.with_text(
        f'{message}\nFollow it with wait_for_run(batch="{batch_id}"); list_runs(batch="{batch_id}") lists its runs.'
    )


def batch_unclear_view(problem: str, found: list[WorkflowRunSummary] | None) -> BatchStartedView:
    """Build the answer for a batch whose outcome is unclear; arguments as for :func:`start_unclear_view`."""
    message = f"Unclear: {problem}. The batch may have been created. It was not sent again."
    ids = list(dict.fromkeys(Id(run.batch_id) for run in found or [] if run.batch_id))
    if ids:
        names = listed(ids, len(ids))
        look = f"Batches with runs created since, so possibly this one: {names}. Check with list_runs(batch)."
    else:
        look = 'No batch was seen since. Look with list_runs(created_since="10m") before starting it again.'
    view = BatchStartedView(outcome="unknown", request_sent=True, message=message, candidates=ids)
    return view.with_text(f"{message}\n{look}")


def metadata_lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return metadata before and after, one key a line, changes first."""
    names = list(dict.fromkeys([*after, *before]))
    changed = [name for name in names if name not in before or name not in after or before[name] != after[name]]
    lines = [f"{Name(name)}: {_value(before, name)} -> {_value(after, name)}" for name in changed]
    same = [f"{Name(name)}" for name in names if name not in changed]
    if same:
        lines.append(f"Unchanged: {', '.join(same)}")
    return lines or ["Metadata: none, before and after."]


def _value(values: dict[str, Any], name: str) -> str:
    return f"{Note(json.dumps(values[name], ensure_ascii=False))}" if name in values else "none"


def loss_lines(run: WorkflowRun, now: datetime) -> tuple[list[str], list[str]]:
    """Return the question whether to delete ``run`` with what would be lost, and the facts that age."""
    files = listed([Name(file.name or file.id) for file in run.files], 3)
    spent = run.credits
    lines = [
        f"Delete workflow run {Id(run.id)} for good?",
        f"Workflow: {Name(run.workflow.name)}, file: {files or 'none'}",
        f"Status: {Code(run.status):40}",
        f"Lost for good: the results of {counted(steps_done(run), 'finished step')}, metadata "
        f"({counted(len(run.metadata), 'key')}) and the run's history"
        + (f"; {spent:g} credits were spent on it" if spent is not None else ""),
    ]
    if run.reviewed:
        lines.append(f"A person has reviewed it ({Name(run.reviewed_by_user or 'unknown')}); that is lost too.")
    age = age_line(run, now)
    return [*lines, "The file itself stays."], [f"Age: {age}"] if age else []


def set_lines(runs: Sequence[RunBase], skipped: Mapping[str, int], *, now: datetime) -> list[str]:
    """Describe a set of runs: workflows, statuses, the oldest and newest, credits, a few ids, and what was left out.

    Args:
        runs: the runs, the oldest first; at least one.
        skipped: how many others were left out, by why.
    """
    statuses = Counter(run.status for run in runs)
    lines = [
        f"Workflows: {_workflow_words(run.workflow.name for run in runs)}",
        f"Status: {', '.join(f'{statuses[status]:,} {Code(status):40}' for status in by_urgency(statuses))}",
        f"Oldest: {_one(runs[0], now)}; newest: {_one(runs[-1], now)}"
        if len(runs) > 1
        else f"Run: {_one(runs[0], now)}",
        f"Credits used so far: {sum(run.credits or 0.0 for run in runs):,.10g}",
    ]
    if len(runs) > 2:
        lines.append(f"Runs: {listed([Id(run.id) for run in runs], _MOST_IDS)}")
    if skipped:
        lines.append(f"Left out: {skipped_words(skipped)}")
    return lines


def _workflow_words(names: Iterable[str]) -> str:
    """Name the workflows of runs, each with how many of them it has."""
    counts = Counter(names)
    said = [f"{Name(name):60} {count:,}" for name, count in counts.most_common(_MOST_NAMES)]
    if len(counts) > _MOST_NAMES:
        said.append(f"{len(counts) - _MOST_NAMES} other workflows")
    return ", ".join(said)


def _one(run: RunBase, now: datetime) -> str:
    age = f"created {age_words(run.initial_run_at, now)} ago" if run.initial_run_at else "age unknown"
    file = f" {Name(run.files[0].name):60}" if run.files else ""
    return f"{Id(run.id)}{file}, {age}"


@dataclass(frozen=True)
class Cause:
    """Planned runs of one status that failed in the same step for the same reason.

    Attributes:
        status: the status.
        reason: the reason (outside text), or empty.
        step: the failing step (outside text), or empty.
        runs: how many runs.
        versions: the versions of the workflow that they used.
        advice: whether a rerun can help.
        good_since: how many later runs of the same workflows went well.
    """

    status: str
    reason: str
    step: str
    runs: int
    versions: frozenset[str]
    advice: str
    good_since: int

    def line(self) -> str:
        """Return the cause as a line of text."""
        why = self.status if self.status != "FAILED" else self.reason or "FAILED without a reason"
        where = f" in {Name(self.step):60}" if self.step else ""
        version = f" with version {Code(next(iter(self.versions)))}" if len(self.versions) == 1 else ""
        since = f"{counted(self.good_since, 'later run')} went well" if self.good_since else "no later run went well"
        # Other documents say nothing of the one that failed.
        since += ", so it may be over" if self.good_since and self.runs >= _SEVERAL else ""
        return f"- {self.runs:,} {Code(why):60}{where}{version}: {self.advice}; {since}"


@dataclass(frozen=True)
class RerunFigures:
    """The version, priority and cost of a rerun.

    Attributes:
        version: a phrase that names the version.
        priority: the priority; None for Extend's default.
        credits: what it usually costs.
        costed: how many runs these credits are for; the usual credits of the others are unknown.
        requests_per_second: the limit of the account's plan.
    """

    version: str
    priority: int | None
    credits: float
    costed: int
    requests_per_second: int


def rerun_lines(
    runs: Sequence[RunFacts],
    causes: Sequence[Cause],
    figures: RerunFigures,
    skipped: Mapping[str, int],
    notes: Sequence[str],
) -> list[str]:
    """Describe a rerun: the question, the causes and whether it helps, what it costs, and what was left out.

    Args:
        runs: the planned runs, the oldest first; at least one.
        causes: the same by cause, most first.
        figures: what it sends and costs.
        skipped: how many others were left out, by why.
        notes: lines that the person must read.
    """
    lines = [f"Rerun {counted(len(runs), 'workflow run')} with {figures.version}? You will be charged credits again."]
    if processed := sum(run.status == "PROCESSED" for run in runs):
        lines.append(
            f"WARNING: {processed:,} of them succeeded before. Rerunning them costs credits a second time, and every "
            "receiver of webhooks gets their events again, as for new documents."
        )
    lines += [each.line() for each in causes[:_MOST_CAUSES]]
    if len(causes) > _MOST_CAUSES:
        lines.append(
            f"- {sum(each.runs for each in causes[_MOST_CAUSES:]):,} of {len(causes) - _MOST_CAUSES} other causes"
        )
    moments = [format_instant(run.created) if run.created else "?" for run in (runs[0], runs[-1])]
    files = sum(len(run.file_ids) for run in runs)
    rate = next(rate for least, rate in _FILES_A_MINUTE if figures.requests_per_second >= least)
    duration = format_span(60 * files / rate)
    cost = f"usually {figures.credits:,.10g} credits" if figures.costed else "usual credits unknown"
    if 0 < figures.costed < len(runs):
        cost += f" for {figures.costed:,} of the runs (unknown for the others)"
    priority = f"{figures.priority}" if figures.priority is not None else "50 (Extend's default)"
    # Few that many do not push out the causes, and all of a few.
    shown = len(runs) if len(runs) <= _MOST_IDS else 2
    workflows = _workflow_words(run.workflow_name for run in runs)
    lines += [
        f"Workflows: {workflows}; created {moments[0]}" + (f" to {moments[1]}" if len(runs) > 1 else ""),
        f"{counted(files, 'file')}, priority {priority}, {cost}, about {duration} at {rate} files a minute",
        f"Runs: {listed([Id(run.id) for run in runs], shown)}",
    ]
    if skipped:
        lines.append(f"Left out: {skipped_words(skipped)}")
    return [*lines, *notes]
