"""Answers about an incident: runs that hang, failures that are still open, and files that were processed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from extend_mcp.runs.failures import Failure, Fate, Repeat, created_first, retry_advice
from extend_mcp.runs.groups import largest
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.runs.timing import CANCELLING_SECONDS, Stall, Stuck, StuckRuns
from extend_mcp.views.document import Document, View, ViewPart, age_words, counted, incomplete, listed
from extend_mcp.views.runs import NO_REASON, NOT_READ, reason_words
from extend_mcp.views.tables import RunListView, RunRow
from extend_mcp.views.untrusted import Code, Id, Label

_MOST_CAUSES = 10
_MOST_BATCHES = 3
_MOST_KINDS = 4
_WORDS: dict[Fate, str] = {
    "resolved": "resolved by a good run since",
    "running": "being rerun or in review",
    "failed_again": "rerun without success",
    "never_rerun": "never rerun",
}
_OPEN: tuple[Fate, ...] = ("failed_again", "never_rerun")


@dataclass(frozen=True)
class Chain:
    """A document that failed: its last failed run, what became of it, and why that run failed, if it was read."""

    last: RunFacts
    fate: Fate
    cause: Failure | None
    is_read: bool

    @property
    def reason(self) -> str:
        """The reason of the last failure in a few words."""
        if self.cause and self.cause.reason:
            return self.cause.reason
        return NO_REASON if self.is_read else NOT_READ


class OpenCause(ViewPart):
    """Open failures of one cause."""

    reason: Code
    step: Label | None = None
    documents: int
    failed_again: int
    first_failed_at: datetime | None = None
    advice: str


class OpenRun(ViewPart):
    """The last failed run of a document that is still open."""

    run_id: Id
    workflow: Label
    reason: Code
    created_at: datetime | None = None
    rerun: bool


class OpenFailuresView(View):
    """Documents that failed in a window, by what became of them."""

    failed_runs: int
    documents: int
    resolved: int
    running: int
    failed_again: int
    never_rerun: int
    open: int
    causes: list[OpenCause]
    open_runs: list[OpenRun]
    complete: bool
    missing: list[str] | None = None
    untrusted: str = "step, workflow"


def open_failures_view(
    chains: Sequence[Chain],
    *,
    failed: int,
    filters: str,
    missing: Sequence[str],
    shown: int,
    now: datetime,
    limit: int,
) -> OpenFailuresView:
    """Show what became of the documents that failed, in so many runs."""
    fates = Counter(each.fate for each in chains)
    still_open = sorted((each for each in chains if each.fate in _OPEN), key=lambda each: created_first(each.last))
    causes = largest(still_open, lambda each: (each.reason, each.cause.where if each.cause else ""))
    view = OpenFailuresView(
        failed_runs=failed,
        documents=len(chains),
        **{name: fates[name] for name in _WORDS},
        open=len(still_open),
        causes=[*map(_cause, causes)],
        open_runs=[
            OpenRun(
                run_id=each.last.id,
                workflow=each.last.workflow_name,
                reason=each.reason,
                created_at=each.last.created,
                rerun=each.fate == "failed_again",
            )
            for each in still_open[:shown]
        ],
        complete=not missing,
        missing=list(missing) or None,
    )
    said = ", ".join(f"{fates[name]:,} {words}" for name, words in _WORDS.items())
    head = [f"{counted(len(chains), 'document')} failed in {counted(failed, 'run')} ({filters}): {said}."]
    head += incomplete(missing)
    head += [f"Still open: {view.open:,}, by cause:"] if view.open else ["Nothing is open."]
    head += [_cause_line(each, now) for each in view.causes[:_MOST_CAUSES]]
    ids = listed([each.run_id for each in view.open_runs], len(view.open_runs), of=view.open)
    tail = [f"Oldest of them: {ids}"] if view.open_runs else []
    if view.open:
        tail.append("Next: rerun_workflow_runs with the same filters plans a rerun of what it can help.")
    return view.with_text(Document(head, tail=tail).fit(limit, lambda gone: f"… {gone} more")[0])


def _cause(same: Sequence[Chain]) -> OpenCause:
    first = same[0]
    return OpenCause(
        reason=first.reason,
        step=first.cause.where or None if first.cause else None,
        documents=len(same),
        failed_again=sum(each.fate == "failed_again" for each in same),
        first_failed_at=first.last.created,
        advice=retry_advice(first.reason) if first.is_read else "why was not looked up; ask again to go deeper",
    )


def _cause_line(cause: OpenCause, now: datetime) -> str:
    where = f" in {cause.step:60}" if cause.step else ""
    again = f", {cause.failed_again:,} of them rerun without success" if cause.failed_again else ""
    since = ""
    if cause.first_failed_at:
        since = f", since {format_instant(cause.first_failed_at)} ({age_words(cause.first_failed_at, now)} ago)"
    return f"- {cause.documents:,} {reason_words(cause.reason)}{where}{again}{since}: {cause.advice}"


class RepeatedFile(ViewPart):
    """A file that one workflow processed more than once."""

    file: Label
    workflow: Label
    run_ids: list[Id]
    seconds_apart: float | None = None
    credits_again: float


class DoneTwiceView(View):
    """Files that were processed more than once, the most expensive first."""

    files: int
    runs_too_many: int
    credits_again: float
    intended_reruns: int
    repeats: list[RepeatedFile]
    complete: bool
    missing: list[str] | None = None
    untrusted: str = "file, workflow"


def done_twice_view(
    repeats: Sequence[Repeat], *, intended: int, filters: str, missing: Sequence[str], shown: int, limit: int
) -> DoneTwiceView:
    """Show the files that were processed more than once, but for so many reruns that were intended."""
    pairs = Counter(each.batches for each in repeats if each.batches)
    in_batches = [pair for pair, count in pairs.most_common(_MOST_BATCHES) if count > 1]
    # The files of a batch that was run again are one line.
    ordered = sorted(repeats, key=lambda each: (each.batches in in_batches, -each.credits, each.first.id))
    view = DoneTwiceView(
        files=len(ordered),
        runs_too_many=sum(len(each.again) for each in ordered),
        credits_again=round(sum(each.credits for each in ordered), 2),
        intended_reruns=intended,
        repeats=[
            RepeatedFile(
                file=next(iter(each.first.file_names), "") or "?",
                workflow=each.first.workflow_name,
                run_ids=[each.first.id, *(run.id for run in each.again)],
                seconds_apart=each.seconds_apart,
                credits_again=round(each.credits, 2),
            )
            for each in ordered[:shown]
        ],
        complete=not missing,
        missing=list(missing) or None,
    )
    window = f" ({filters})" if filters else ""
    twice = "processed more than once by the same workflow"
    spent = f"{counted(view.runs_too_many, 'run')} too many, {view.credits_again:,.10g} credits spent twice"
    head = [f"{counted(view.files, 'file')} {twice}{window}: {spent}." if ordered else f"No file was {twice}{window}."]
    if intended:
        head.append(f"Left out: {counted(intended, 'intended rerun')}.")
    head += incomplete(missing)
    head += [
        f"{pairs[first, second]:,} of them because batch {Id(first)} was run again as {Id(second)}."
        for first, second in in_batches
    ]
    alone = sum(each.batches not in in_batches for each in ordered)
    rows = [
        f"{row.file:60} · {row.workflow:40} · {', '.join(f'{each}' for each in row.run_ids)} · "
        f"{format_span(row.seconds_apart) if row.seconds_apart is not None else '?'} · {row.credits_again:g}"
        for row in view.repeats[:alone]
    ]
    columns = "file · workflow · runs, the first one first · apart · credits again"
    more = "… {} more; a larger limit shows them".format
    beyond = max(0, alone - len(view.repeats))
    return view.with_text(Document(head, rows, columns=columns).fit(limit, more, beyond=beyond)[0])


def stuck_view(found: StuckRuns, *, shown: int, limit: int) -> RunListView:
    """Show the runs that hang, by workflow, status and step."""
    first = found.stuck[:shown]
    left = len(found.stuck) - len(first)
    verdicts = _verdicts(found)
    view = RunListView(
        runs=[_row(each, found.steps.get(each.run.id, "")) for each in first],
        shown=len(first),
        complete=not left and not found.missing,
        stuck=len(found.stuck),
        missing=found.missing or None,
        note=" ".join(verdicts) or None,
    )
    moving = f"{counted(found.moving, 'run')} that {'moves' if found.moving == 1 else 'move'}"
    head = [f"{counted(len(found.stuck), 'stuck run')} of {moving}.", *verdicts]
    if found.unjudged:
        head.append(f"{counted(found.unjudged, 'run')} could not be judged: too few runs of the workflow have ended.")
    head += incomplete(found.missing)
    text, _ = Document(head, _groups(first, found.steps)).fit(limit, "… {} more groups".format)
    return view.with_text(f"{text}\n… {left:,} more; a larger page_size shows them" if left else text)


def stuck_line(stuck: Sequence[Stuck]) -> list[str]:
    """Return a line with how many runs hang, by workflow and status; none if none does."""
    counts = Counter(
        each.run.status if each.run.status == "PENDING" else f"{each.run.status} of {Label(each.run.workflow_name):60}"
        for each in stuck
    )
    said = listed([f"{count:,} {what}" for what, count in counts.most_common()], _MOST_KINDS)
    return [f"Stuck: {said}; list_runs(stuck=true) says why."] if said else []


def _row(each: Stuck, step: str) -> RunRow:
    run, names = each.run, each.run.file_names or [""]
    where = f"in {Label(step):60}, " if step else ""
    return RunRow(
        run_id=run.id,
        status=run.status,
        workflow=run.workflow_name,
        file=f"{names[0]} +{len(names) - 1}" if len(names) > 1 else names[0],
        created_at=run.created,
        why=f"{where}not changed for {format_span(each.seconds)}; {_usually(each)}",
    )


def _usually(each: Stuck) -> str:
    if each.run.status == "CANCELLING":
        return f"a cancel takes less than {format_span(CANCELLING_SECONDS)}"
    what = "start within" if each.run.status == "PENDING" else "are done within"
    return f"95% of such runs {what} {format_span(each.usual)}"


def _groups(found: list[Stuck], steps: dict[str, str]) -> list[str]:
    """Write a line for the runs of one workflow that hang in one step, and one for the queue, most first."""

    def kind(each: Stuck) -> tuple[str, str, str]:
        run = each.run
        return "" if run.status == "PENDING" else run.workflow_id, run.status, steps.get(run.id, "")

    lines = []
    for same in largest(found, kind):
        _, status, step = kind(same[0])
        where = f" in {Label(step):60}" if step else ""
        spans = [format_span(seconds) for seconds in (same[-1].seconds, same[0].seconds)]
        span = spans[0] if spans[0] == spans[1] else f"{spans[0]} to {spans[1]}"
        names = list(dict.fromkeys(each.run.workflow_name for each in same))
        workflows = f"{Label(names[0]):60}" if len(names) == 1 else f"{len(names)} workflows"
        # The shortest limit of them: by pages, each has its own.
        usually = _usually(min(same, key=lambda each: each.usual))
        ids = ", ".join(f"{Id(each.run.id)}" for each in same)
        lines.append(f"{workflows}: {len(same):,} {status}{where}, not changed for {span}; {usually}: {ids}")
    return lines


def _verdicts(found: StuckRuns) -> list[str]:
    """Say whose fault it probably is, with the figures that it rests on."""
    stalled = [each for each in found.stalls if each.stuck]
    said = []
    if len(stalled) > 1:
        which = ", ".join(_figures(each) for each in stalled)
        said.append(
            f"Probably Extend's side: {len(stalled)} of {len(found.stalls)} workflows with running runs stall at once: "
            f"{which}. Look at Extend's status page before cancelling anything."
        )
    elif stalled:
        (one,) = stalled
        running = [each.run.id for each in found.stuck if each.run.status == "PROCESSING"]
        in_step = Counter(found.steps[run_id] for run_id in running if run_id in found.steps)
        step, count = next(iter(in_step.most_common(1)), ("", 0))
        where = f"; {count} of {sum(in_step.values())} hang in step {Label(step):60}" if count > 1 else ""
        others = len(found.stalls) - 1
        moving = f"; {counted(others, 'other workflow')} with running runs not" if others else ""
        whose = "Probably this document's" if one.stuck == 1 else "Probably ours, the workflow's or a service's"
        said.append(f"{whose}: {_figures(one)}{where}{moving}.")
    waiting = sum(each.run.status == "PENDING" for each in found.stuck)
    if waiting:
        ahead = sum(each.running for each in found.stalls)
        behind = f", behind {counted(ahead, 'PROCESSING run')}" if ahead else ""
        said.append(f"Queue: {counted(waiting, 'PENDING run')} longer than usual{behind}.")
    return said


def _figures(stall: Stall) -> str:
    last = f", last good end {format_instant(stall.last_good)}" if stall.last_good else ""
    return f"{Label(stall.workflow):60} {stall.stuck} of {stall.running} stuck{last}"
