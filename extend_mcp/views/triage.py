"""One failure among others, and the runs that wait for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from extend_mcp.api.models import RunBase, WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.failures import Failure, retry_advice
from extend_mcp.runs.statistics import created_at
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.budget import fit
from extend_mcp.views.untrusted import NOTE, extend_link, plain, quote, word

_MOST_ALIKE = 10


class Difference(ViewPart):
    """What the last good run had, and what this one has."""

    of: str
    good: str
    this: str


class FailureView(View):
    """Why a run failed, how many failed alike, and how it differs from the last good run."""

    run_id: str
    status: str
    workflow: str
    step: str | None = None
    reason: str
    message: str | None = None
    retry: str
    failed_in_window: int
    looked_into: int
    alike: int
    alike_run_ids: list[str]
    first_alike_at: datetime | None = None
    last_good_run_id: str | None = None
    differences: list[Difference]
    missing: list[str] | None = None
    next_step: str | None = None
    untrusted: str = "workflow, step, message, differences"


def failure_view(
    run: WorkflowRun,
    cause: Failure,
    *,
    failed: int,
    looked_into: int,
    alike: Sequence[WorkflowRunSummary],
    good: WorkflowRunSummary | None,
    window: str,
    missing: Sequence[str],
    now: datetime,
) -> FailureView:
    """Put a failure beside its like.

    Args:
        run: the failed run.
        cause: what went wrong.
        failed: how many runs of the workflow failed in the window, this one among them if it lies in it.
        looked_into: how many of these were read.
        alike: those that failed in the same step for the same reason, the newest first, without this one.
        good: the last run of the workflow before this one that was processed.
        window: since when, in words.
        missing: what was left out and why.
        now: the present.
    """
    same_file = "the file differs" if good and _file(good, "name") != _file(run, "name") else ""
    differences = _differences(good, run) if good else []
    moments = [moment for each in alike if (moment := created_at(each))]
    advice = retry_advice(cause.reason)
    rerun = "rerun_workflow_runs starts it again." if advice == "running it again may help" else None
    view = FailureView(
        run_id=plain(run.id, 300),
        status=plain(run.status, 40),
        workflow=plain(run.workflow.name, 80),
        step=plain(cause.where, 80) or None,
        reason=plain(cause.reason, 60) or "no reason given",
        message=plain(cause.message, 300) or None,
        retry=advice,
        failed_in_window=failed,
        looked_into=looked_into,
        alike=len(alike),
        alike_run_ids=[plain(each.id, 300) for each in alike[:_MOST_ALIKE]],
        first_alike_at=min(moments, default=None),
        last_good_run_id=plain(good.id, 300) if good else None,
        differences=differences,
        missing=list(missing) or None,
        next_step=rerun,
    )
    where = f"in step {quote(cause.where, 60)}" if cause.where else "before or outside a step"
    why = word(cause.reason) or view.reason
    told = f" {quote(cause.message, 200)}" if cause.message else ""
    lines = [
        f"{word(run.id, 300)} of {quote(run.workflow.name, 60)}, {word(run.status, 40)}: failed {where}: {why}{told}.",
        f"{advice[:1].upper()}{advice[1:]}.",
        f"Failed alike ({window}): {len(alike):,} others; of {failed:,} failed runs here {looked_into:,} were read.",
    ]
    if alike:
        since = f", the first created {format_instant(view.first_alike_at)}" if view.first_alike_at else ""
        more = f" and {len(alike) - _MOST_ALIKE:,} more" if len(alike) > _MOST_ALIKE else ""
        lines.append(f"They are{since}: {', '.join(word(each, 300) for each in view.alike_run_ids)}{more}.")
    if good:
        age = _age(good, now)
        said = "; ".join(f"{each.of} {quote(each.good, 60)} -> {quote(each.this, 60)}" for each in differences)
        rest = said or "same version, file type and pages" + (f"; {same_file}" if same_file else "")
        lines.append(f"Last good run before it: {word(good.id, 300)}, created {age} ago. Then -> now: {rest}.")
    else:
        lines.append("No good run of this workflow was found before it.")
    lines += [f"INCOMPLETE: {each}." for each in view.missing or ()]
    lines += [f"Next: {rerun}"] if rerun else []
    return view.with_text("\n".join([lines[0], NOTE, *lines[1:]]))


def _differences(good: RunBase, run: RunBase) -> list[Difference]:
    pairs = [
        ("version", good.workflow_version.version, run.workflow_version.version),
        ("file type", _file(good, "type"), _file(run, "type")),
        ("pages", _file(good, "pages"), _file(run, "pages")),
        ("files", str(len(good.files)), str(len(run.files))),
    ]
    return [
        Difference(of=name, good=plain(before, 80) or "?", this=plain(now, 80) or "?")
        for name, before, now in pairs
        if before != now
    ]


def _file(run: RunBase, what: str) -> str:
    if not run.files:
        return ""
    file = run.files[0]
    pages = file.metadata.page_count
    return {"name": file.name, "type": file.type, "pages": "" if pages is None else str(pages)}[what]


class ReviewRow(ViewPart):
    """A run that waits for a person."""

    run_id: str
    workflow: str
    file: str | None = None
    created_at: datetime | None = None
    cause: str | None = None
    dashboard_url: str | None = None


class ReviewQueueView(View):
    """The runs that wait for people, the oldest first."""

    total: int
    complete: bool
    by_workflow: dict[str, int]
    runs: list[ReviewRow]
    shown: int
    note: str
    missing: list[str] | None = None
    untrusted: str = "workflow, file, cause, by_workflow"


def review_queue_view(
    waiting: Sequence[WorkflowRunSummary],
    causes: dict[str, str],
    *,
    shown: int,
    missing: Sequence[str],
    now: datetime,
    limit: int,
) -> ReviewQueueView:
    """Show who waits for a review.

    Args:
        waiting: all runs that wait, the oldest first.
        causes: what sent a run there, by run id, where it is known; outside text marked.
        shown: how many of them to show at most.
        missing: what was left out and why.
        now: the present.
        limit: characters of the text.
    """
    counts = Counter(run.workflow.name for run in waiting)
    note = "Reviews are made in the dashboard: the API cannot approve or reject."
    rows = [
        ReviewRow(
            run_id=plain(run.id, 300),
            workflow=plain(run.workflow.name, 80),
            file=plain(run.files[0].name, 100) if run.files else None,
            created_at=created_at(run),
            cause=causes.get(run.id) or None,
            dashboard_url=extend_link(run.dashboard_url) or None,
        )
        for run in waiting[:shown]
    ]
    said = ", ".join(f"{quote(name, 60)} {count:,}" for name, count in counts.most_common(12))
    head = [f"{len(waiting):,} runs wait for review{f': {said}' if said else ''}."]
    head += [f"INCOMPLETE: {each}." for each in missing]
    lines, kept = fit(
        [_review_line(row, waiting[index], now) for index, row in enumerate(rows)],
        max(limit - sum(len(line) + 1 for line in head) - len(note) - len(NOTE) - 100, 300),
        lambda gone: f"… {gone} more, younger than these",
    )
    if len(waiting) > len(rows) and kept == len(rows):
        lines.append(f"… {len(waiting) - len(rows):,} more, younger than these")
    table = [NOTE, "age | run | workflow | file | cause | dashboard", *lines] if rows else []
    return ReviewQueueView(
        total=len(waiting),
        complete=not missing,
        by_workflow={plain(name, 80): count for name, count in counts.most_common()},
        runs=rows[:kept],
        shown=kept,
        note=note,
        missing=list(missing) or None,
    ).with_text("\n".join([*head, *table, note]))


def _review_line(row: ReviewRow, run: WorkflowRunSummary, now: datetime) -> str:
    return (
        f"{_age(run, now)} | {word(row.run_id, 300)} | {quote(row.workflow, 40)} | {quote(row.file or '?', 60)} | "
        f"{row.cause or 'not told'} | {row.dashboard_url or '-'}"
    )


def _age(run: WorkflowRunSummary, now: datetime) -> str:
    created = created_at(run)
    return format_span((now - created).total_seconds()) if created else "?"
