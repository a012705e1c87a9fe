"""Answers of writes: what happened, what was sent, and what to do next; and the list of the writes that were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import WithJsonSchema

from extend_mcp.api.models import BatchStarted, WorkflowRun
from extend_mcp.runs.times import format_instant
from extend_mcp.views.document import Document, View, ViewPart, age_words, counted, listed
from extend_mcp.views.runs import steps_done, steps_to_do
from extend_mcp.views.tables import ListingView, TokenAfter, list_view
from extend_mcp.views.untrusted import Code, DashboardUrl, FieldPath, Id, Label, Name, Note

WriteT = TypeVar("WriteT", bound="WriteView")

_MOST_NAMES = 6
MOST_IDS = 5
_MOST_IDS_IN_FIELDS = 20
_SHOWN_IDS = 3
_MOST_COLUMNS = 200
_SHOWN_COLUMNS = 40
_MOST_OF_AN_OUTCOME = 8
"""Results of one outcome that are listed: what became of hundreds of runs is in the counts."""

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

    target_field: ClassVar[str] = ""  # the field that holds the id of the object
    is_of_run: ClassVar[bool] = False  # True where that object is a workflow run

    @property
    def target(self) -> str | None:
        """The id of the object that was acted on."""
        return getattr(self, self.target_field) if self.target_field else None

    @property
    def changed_run(self) -> str | None:
        """The id of a workflow run that may have changed, for those who subscribed to it."""
        return self.target if self.is_of_run and self.request_sent else None

    sending: ClassVar[tuple[str, str]] = ("", "")
    """Words after the message where nothing was sent, and where something was."""

    def rendered(
        self: WriteT,
        limit: int,
        lines: Sequence[str] = (),
        *,
        said: str = "",
        head: Sequence[str] = (),
        more: str = "lines",
    ) -> WriteT:
        """Write the text: outcome and message, the lines that fit, the token and the next step.

        Args:
            lines: lines that may be cut, the most important first.
            said: words after the message.
            head: lines that are always shown.
            more: the noun for lines that were cut.
        """
        first = f"{self.outcome}: {self.message} {said or self.sending[self.request_sent]}".rstrip()
        tail = [f"confirmation_token: {self.confirmation_token}"] if self.confirmation_token else []
        tail += [f"Next: {self.next_step}"] if self.next_step else []
        text, _ = Document([first, *head], lines, tail).fit(limit, lambda gone: f"… {gone:,} more {more}")
        return self.with_text(text)


class ActionView(WriteView):
    """The answer of a write on one object."""

    target_field: ClassVar[str] = "id"
    sending: ClassVar[tuple[str, str]] = ("Nothing was sent.", "")

    id: Id | None = None
    details: list[str] | None = None


class RunActionView(ActionView):
    """The answer of a write on one workflow run."""

    is_of_run: ClassVar[bool] = True


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
    sending: ClassVar[tuple[str, str]] = ("No cancel request was sent.", "The cancel request was sent.")

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
        steps_still_to_do=len(steps_to_do(run)),
        credits_used=run.credits,
        reason=reason or None,
    )


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
    sent: bool = False,
    planned: int = 0,
    skipped: Mapping[str, int] | None = None,
    results: Sequence[BulkResult] = (),
    plan: Sequence[str] = (),
    limit: int,
    **known: Any,
) -> BulkView:
    """Build the answer of an action on many runs: its plan, while it waits for a yes, or what became of each run."""
    counts = Counter(result.outcome for result in results)
    # Rare outcomes first: what did not go as asked is listed run by run.
    ordered = sorted(results, key=lambda result: (counts[result.outcome], result.outcome))
    view = BulkView(
        outcome=outcome,
        request_sent=sent,
        planned=planned,
        skipped=skipped or {},
        counts=dict(counts),
        results=ordered,
        message=message,
        plan=list(plan) or None,
        **known,
    )
    lines = list(plan)
    for name, group in groupby(ordered, lambda result: result.outcome):
        same = [result.line() for result in group]
        lines += same[:_MOST_OF_AN_OUTCOME]
        if (more := len(same) - _MOST_OF_AN_OUTCOME) > 0:
            lines.append(f"… {more:,} more {name}; {_IN_RESULTS}")
    said = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    return view.rendered(
        limit,
        lines,
        said=f"In all: {said}." if said else "",
        head=[] if plan or not skipped else [f"Left out: {skipped_words(skipped)}."],
        more=f"lines; {_IN_RESULTS}" if results else "lines",
    )


_IN_RESULTS = "every run is in the structured results"


def skipped_words(skipped: Mapping[str, int]) -> str:
    """Return how many runs were left out, by reason, most first."""
    return ", ".join(f"{count:,} {why}" for why, count in sorted(skipped.items(), key=lambda item: -item[1]))


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


class BatchStartedView(WriteView):
    """A batch that was started, or may have been."""

    target_field: ClassVar[str] = "batch_id"

    batch_id: Id | None = None
    runs: int | None = None
    candidates: list[Id] | None = None


def batch_started_view(batch: BatchStarted, count: int) -> BatchStartedView:
    """Build the answer for a batch of ``count`` runs that was created."""
    batch_id = Id(batch.id)
    message = f"Started batch {batch_id} of {counted(count, 'run')}."
    view = BatchStartedView(outcome="started", request_sent=True, batch_id=batch_id, runs=count, message=message)
    return view.with_text(
        f'{message}\nFollow it with wait_for_run(batch="{batch_id}"); list_runs(batch="{batch_id}") lists its runs.'
    )


StartedT = TypeVar("StartedT", RunStartedView, BatchStartedView)


def unclear_view(kind: type[StartedT], problem: str, candidates: list[Id], look: str) -> StartedT:
    """Build the answer for a create whose outcome is unclear. It never claims that anything was or was not created.

    ``candidates`` are the ids of what was created since, and ``look`` says what they may be and where to look.
    """
    what = "run" if kind is RunStartedView else "batch"
    message = f"Unclear: {problem}. The {what} may have been created. It was not sent again."
    view = kind(outcome="unknown", request_sent=True, message=message, candidates=candidates)
    return view.with_text(f"{message}\n{look}")


def workflow_words(names: Iterable[str]) -> str:
    """Name the workflows of runs, each with how many of them it has."""
    counts = Counter(names)
    said = [f"{Name(name):60} {count:,}" for name, count in counts.most_common(_MOST_NAMES)]
    if len(counts) > _MOST_NAMES:
        said.append(f"{len(counts) - _MOST_NAMES} other workflows")
    return ", ".join(said)


class ExportView(WriteView):
    """The file that was written, and what it does not hold."""

    target_field: ClassVar[str] = "path"

    path: Label | None = None
    rows: int = 0
    columns: list[FieldPath] | None = None
    left_out: dict[str, int] | None = None
    next_page_token: str | None = None
    untrusted: str = "columns"


def export_view(
    outcome: Outcome,
    message: str,
    *,
    columns: Sequence[str] = (),
    left_out: Mapping[str, int] | None = None,
    escaped: int = 0,
    token: str | None = None,
    limit: int,
    **known: Any,
) -> ExportView:
    """Build the answer of an export.

    Args:
        left_out: how many runs or fields the file does not hold, by reason.
        escaped: how many cells a spreadsheet would have run as formulas.
        token: continues an export that is not complete.
    """
    view = ExportView(
        outcome=outcome,
        request_sent=False,
        message=message,
        columns=[FieldPath(each) for each in columns[:_MOST_COLUMNS]] or None,
        left_out=left_out or None,
        next_page_token=token,
        next_step=f'export_fields(page_token="{token}") continues.' if token else None,
        **known,
    )
    lines = [f"Left out: {skipped_words(left_out)}."] if left_out else []
    if escaped:
        lines.append(f"{counted(escaped, 'cell')} begin with ' since a spreadsheet would run them as formulas.")
    if view.columns:
        lines.append(f"Columns: {listed(view.columns, _SHOWN_COLUMNS, of=len(columns))}")
    return view.rendered(limit, lines)


_SCOPE_OF_AUDIT = (
    "This is the audit of this server alone: actions in Extend's dashboard, by other programs and through "
    "other servers are not in it."
)


class ActionRow(ViewPart):
    """One call that could change something, or was denied."""

    at: datetime
    caller: Id
    tool: Code
    outcome: Code
    target: Id | None = None
    confirmed_by: Code | None = None
    reason: Note | None = None
    counts: dict[Code, int] | None = None
    run_ids: list[Id] | None = None
    new_run_ids: list[Id] | None = None
    request_ids: list[Id] | None = None


class ActionListView(ListingView):
    """The calls, the newest first."""

    rows_field, noun, tool = "actions", "action", "list_actions"
    columns = "time (UTC) · caller · tool · outcome · on · reason"

    actions: list[ActionRow]
    note: str
    untrusted: str = "reason"


def action_list_view(
    lines: Sequence[Mapping[str, Any]],
    *,
    run_id: str | None,
    token_after: TokenAfter,
    filters: str,
    missing: str | None,
    limit: int,
) -> ActionListView:
    """Show lines of the audit as a table.

    Args:
        lines: the lines, the newest first.
        run_id: the run that was asked about: of an action on many, its own outcome is shown.
        missing: what could not be read, or None.
    """
    return list_view(
        ActionListView,
        [_action_row(line, run_id) for line in lines],
        token_after=token_after,
        limit=limit,
        filters=filters,
        columns=ActionListView.columns + (" · requests" if run_id is not None else ""),
        write=lambda rows: [_action_line(row, with_requests=run_id is not None) for row in rows],
        note=_SCOPE_OF_AUDIT + (f" INCOMPLETE: {missing}." if missing else ""),
    )


def _action_row(line: Mapping[str, Any], run_id: str | None) -> ActionRow:
    by_outcome: dict[str, list[str]] = line.get("runs") or {}
    new = line.get("new_runs") or []
    if run_id is not None and run_id in new:
        new = [run_id]
    elif run_id is not None and by_outcome:
        by_outcome = {name: [run_id] for name, ids in by_outcome.items() if run_id in ids}
    run_ids = [each for ids in by_outcome.values() for each in ids]
    return ActionRow(
        at=line["at"],
        caller=line["who"],
        tool=line["tool"],
        outcome=line["outcome"],
        target=line.get("target"),
        confirmed_by=line.get("confirmed"),
        reason=line.get("reason"),
        counts={Code(name): len(ids) for name, ids in by_outcome.items()} or None,
        run_ids=[Id(each) for each in run_ids[:_MOST_IDS_IN_FIELDS]] or None,
        new_run_ids=[Id(each) for each in new[:_MOST_IDS_IN_FIELDS]] or None,
        request_ids=[Id(each) for each in (line.get("request_ids") or [])[:_MOST_IDS_IN_FIELDS]] or None,
    )


def _action_line(row: ActionRow, *, with_requests: bool) -> str:
    # For Extend's support, and a quarter of a line: the fields always hold them.
    requests = [listed(row.request_ids or [], _SHOWN_IDS) or "-"] if with_requests else []
    counts = ", ".join(f"{count:,} {name}" for name, count in (row.counts or {}).items())
    on = listed(row.run_ids, _SHOWN_IDS, of=sum((row.counts or {}).values())) if row.run_ids else f"{row.target or '-'}"
    outcome = f"{row.outcome}" + (f" (confirmed by {row.confirmed_by})" if row.confirmed_by else "")
    if row.new_run_ids and row.counts:
        started = max(row.counts.get(Code("started"), 0), len(row.new_run_ids))
        on += f", started {listed(row.new_run_ids, _SHOWN_IDS, of=started)}"
    return " · ".join(
        [
            format_instant(row.at),
            f"{row.caller}",
            f"{row.tool}",
            f"{outcome}: {counts}" if counts else outcome,
            on,
            f"{row.reason}" if row.reason else "-",
            *requests,
        ]
    )
