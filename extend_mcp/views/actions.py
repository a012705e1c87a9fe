"""Answers of writes: what happened, what was sent, and what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import BeforeValidator, WithJsonSchema

from extend_mcp.views.document import Document, OrNone, View, ViewPart, counted, listed
from extend_mcp.views.untrusted import Code, DashboardUrl, FieldPath, Id, Label, Name

WriteT = TypeVar("WriteT", bound="WriteView")

MOST_IDS = 5
_MOST_NAMES = 6
_MOST_COLUMNS, _SHOWN_COLUMNS = 200, 40
_MOST_OF_AN_OUTCOME = 8  # results of one outcome that are listed: what became of hundreds of runs is in the counts

Done = Literal["done", "started", "cancelled", "cancelling", "partial"]
Stopped = Literal["confirmation_required", "declined", "changed", "refused", "not_found", "nothing_to_do", "busy"]
NotCancelled = Literal["not_cancellable", "already_cancelling", "already_finished", "finished_first"]
Outcome = Literal[Done, Stopped, NotCancelled, "already_rerun", "not_done_yet", "unknown"]
"""The outcomes of a write, or of one run of an action on many."""

_SHORT: Final = WithJsonSchema({"type": "string"})


class WriteView(View):
    """The answer of any write. ``request_sent`` says whether a request that can change something left this server."""

    target_field: ClassVar[str] = ""  # the field that holds the id of the object
    lines_field: ClassVar[str] = ""  # the field that holds the lines with the facts
    is_of_run: ClassVar[bool] = False  # True where the object is a workflow run

    # A client pays for the schema of every tool, and the words explain themselves.
    outcome: Annotated[Outcome, _SHORT]
    request_sent: bool
    message: str
    confirmation_token: str | None = None
    next_step: str | None = None
    account: str | None = None

    @property
    def target(self) -> str | None:
        """The id of the object that was acted on."""
        return getattr(self, self.target_field) if self.target_field else None

    @property
    def changed_run(self) -> str | None:
        """The id of a workflow run that may have changed, for those who subscribed to it."""
        return self.target if self.is_of_run and self.request_sent else None

    def rendered(self: WriteT, limit: int, lines: Sequence[str] = ()) -> WriteT:
        """Write the text: outcome and message, the ``lines`` that fit (most important first), token and next step."""
        tail = [f"confirmation_token: {self.confirmation_token}"] if self.confirmation_token else []
        tail += [f"Next: {self.next_step}"] if self.next_step else []
        document = Document([f"{self.outcome}: {self.message}"], lines, tail)
        return self.with_text(document.fit(limit, lambda gone: f"… {gone:,} more lines")[0])


class ActionView(WriteView):
    """The answer of a write on one object."""

    target_field, lines_field = "id", "details"

    id: Id | None = None
    details: list[str] | None = None


class RunActionView(ActionView):
    """The answer of a write on one workflow run."""

    is_of_run = True


class CancelView(WriteView):
    """The answer of the cancel of one run."""

    always = frozenset({"status_before", "status_after"})
    target_field, lines_field, is_of_run = "run_id", "details", True

    run_id: Id
    status_before: Code | None = None
    status_after: Code | None = None
    details: list[str] | None = None


class RunStartedView(WriteView):
    """A run that was started, or may have been."""

    target_field, is_of_run = "run_id", True

    run_id: Id | None = None
    status: Code | None = None
    workflow: Label | None = None
    dashboard_url: DashboardUrl | None = None
    candidates: list[Id] | None = None
    untrusted: str = "workflow"


class BatchStartedView(WriteView):
    """A batch that was started, or may have been."""

    target_field = "batch_id"

    batch_id: Id | None = None
    runs: int | None = None
    candidates: list[Id] | None = None


class BulkResult(ViewPart):
    """The outcome for one run."""

    run_id: Id
    # A run without a final outcome is open.
    outcome: Annotated[Outcome, BeforeValidator(lambda given: given or "not_done_yet"), _SHORT]
    status: Code | None = None
    note: str | None = None
    new_run_id: Id | None = None
    new_status: Code | None = None

    def line(self) -> str:
        """Return the result as a line of text."""
        # With a new run the status is the old run's, and the note has the new one's.
        old, status = (f" ({self.status})", "") if self.new_run_id else ("", f"{self.status or ''}")
        return " · ".join(filter(None, [f"{self.run_id}{old}", self.outcome, status, self.note]))


class BulkView(WriteView):
    """The answer of an action on many runs, or its plan."""

    lines_field = "plan"

    planned: int = 0
    skipped: dict[str, int]
    counts: dict[str, int]
    results: list[BulkResult]
    plan: list[str] | None = None


def result_lines(results: Iterable[BulkResult]) -> list[str]:
    """Return some results of each outcome as lines of text. The results are sorted by outcome."""
    lines: list[str] = []
    for name, group in groupby(results, lambda result: result.outcome):
        same = [result.line() for result in group]
        lines += same[:_MOST_OF_AN_OUTCOME]
        if (more := len(same) - _MOST_OF_AN_OUTCOME) > 0:
            lines.append(f"… {more:,} more {name}; every run is in the structured results")
    return lines


def skipped_words(skipped: Mapping[str, int]) -> str:
    """Return how many runs were left out, by reason, most first."""
    return ", ".join(f"{count:,} {why}" for why, count in sorted(skipped.items(), key=lambda item: -item[1]))


def status_words(status: str) -> str:
    """Return a status for use inside a sentence."""
    return f"{Code(status):40}" or "unknown"


def workflow_words(names: Iterable[str]) -> str:
    """Name the workflows of runs, each with how many of them it has."""
    return listed([f"{Name(name):60} {count:,}" for name, count in Counter(names).most_common()], _MOST_NAMES)


class ExportView(WriteView):
    """The file that was written, and what it does not hold."""

    target_field = "path"

    path: Label | None = None
    rows: int = 0
    columns: OrNone[list[FieldPath]] = None
    left_out: OrNone[dict[str, int]] = None
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
    """Build the answer of an export, which a ``token`` continues if it is not complete.

    ``left_out`` counts the runs or fields that the file does not hold, by reason, and ``escaped`` the cells that a
    spreadsheet would have run as formulas.
    """
    view = ExportView(
        outcome=outcome,
        request_sent=False,
        message=message,
        columns=columns[:_MOST_COLUMNS],
        left_out=left_out,
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
