"""Answers about an incident: runs that hang, failures that are still open, and files that were processed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from extend_mcp.runs.failures import Fate, created_first
from extend_mcp.runs.groups import largest
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.runs.timing import CANCELLING_SECONDS, Stall, Stuck, StuckRuns
from extend_mcp.views.document import Document, Extent, OrNone, View, ViewPart, age_words, cell, counted, listed
from extend_mcp.views.insights import FailureCause, failure_cause
from extend_mcp.views.runs import reason_words
from extend_mcp.views.tables import RunListView, run_row
from extend_mcp.views.untrusted import Id, Label

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


class OpenFailuresView(View):
    """Documents that failed in a window, by what became of them."""

    failed_runs: int
    documents: int
    resolved: int
    running: int
    failed_again: int
    never_rerun: int
    open: int
    causes: list[FailureCause]
    open_run_ids: list[Id]
    complete: bool
    missing: OrNone[list[str]] = None
    untrusted: str = "step, workflow"


def open_failures_view(
    documents: Sequence[tuple[RunFacts, Fate]], extent: Extent, *, failed: int, shown: int
) -> OpenFailuresView:
    """Show what became of documents that failed, in so many runs: the last failed run of each, and its fate."""
    fates = Counter(fate for _, fate in documents)
    still_open = sorted((each for each in documents if each[1] in _OPEN), key=lambda each: created_first(each[0]))
    view = OpenFailuresView(
        failed_runs=failed,
        documents=len(documents),
        **{name: fates[name] for name in _WORDS},
        open=len(still_open),
        causes=[*map(_cause, largest(still_open, lambda each: (each[0].reason, each[0].step)))],
        open_run_ids=[run.id for run, _ in still_open[:shown]],
        complete=not extent.missing,
        missing=extent.missing,
    )
    said = ", ".join(f"{fates[name]:,} {words}" for name, words in _WORDS.items())
    head = [f"{counted(len(documents), 'document')} failed in {counted(failed, 'run')} ({extent.filters}): {said}."]
    head += extent.incomplete
    head += [f"Still open: {view.open:,}, by cause:"] if view.open else ["Nothing is open."]
    head += [_cause_line(each, extent.now) for each in view.causes[:_MOST_CAUSES]]
    following = "Next: rerun_workflow_runs with the same filters plans a rerun of what it can help."
    tail = [f"Oldest of them: {listed(view.open_run_ids, shown, of=view.open)}", following] if view.open else []
    return view.with_text(Document(head, tail=tail).fit(extent.limit, "… {} more".format)[0])


def _cause(same: Sequence[tuple[RunFacts, Fate]]) -> FailureCause:
    return failure_cause([run for run, _ in same], failed_again=sum(fate == "failed_again" for _, fate in same))


def _cause_line(cause: FailureCause, now: datetime) -> str:
    where = f" in {cause.step:60}" if cause.step else ""
    again = f", {cause.failed_again:,} of them rerun without success" if cause.failed_again else ""
    since = ""
    if cause.first_at:
        since = f", since {format_instant(cause.first_at)} ({age_words(cause.first_at, now)} ago)"
    return f"- {cause.runs:,} {reason_words(cause.reason)}{where}{again}{since}: {cause.retry}"


class RepeatedFile(ViewPart):
    """A file that one workflow processed more than once."""

    file: Label
    workflow: Label
    run_ids: list[Id]
    seconds_apart: float | None = None
    credits_again: float

    def line(self) -> str:
        """Return it as a line of a table."""
        ids, apart = cell(self.run_ids), format_span(self.seconds_apart)
        return f"{self.file:60} · {self.workflow:40} · {ids} · {apart} · {self.credits_again:g}"


class DoneTwiceView(View):
    """Files that were processed more than once, the most expensive first."""

    files: int
    runs_too_many: int
    credits_again: float
    intended_reruns: int
    repeats: list[RepeatedFile]
    complete: bool
    missing: OrNone[list[str]] = None
    untrusted: str = "file, workflow"


def done_twice_view(
    repeats: Sequence[Sequence[RunFacts]], extent: Extent, *, intended: int, shown: int
) -> DoneTwiceView:
    """Show the runs of each file that was processed more than once, but for so many reruns that were intended."""
    found = sorted(map(_repeat, repeats), key=lambda each: (-each[0].credits_again, each[0].run_ids[0]))
    pairs = Counter(pair for _, pair in found if pair)
    in_batches = [pair for pair, count in pairs.most_common(_MOST_BATCHES) if count > 1]
    # The files of a batch that was run again are one line.
    alone = [row for row, pair in found if pair not in in_batches]
    files = alone + [row for row, pair in found if pair in in_batches]
    view = DoneTwiceView(
        files=len(files),
        runs_too_many=sum(len(each.run_ids) - 1 for each in files),
        credits_again=round(sum(each.credits_again for each in files), 2),
        intended_reruns=intended,
        repeats=files[:shown],
        complete=not extent.missing,
        missing=extent.missing,
    )
    twice = f"processed more than once by the same workflow{extent.which}"
    spent = f"{counted(view.runs_too_many, 'run')} too many, {view.credits_again:,.10g} credits spent twice"
    head = [f"{counted(view.files, 'file')} {twice}: {spent}." if files else f"No file was {twice}."]
    head += [f"Left out: {counted(intended, 'intended rerun')}."] if intended else []
    head += extent.incomplete
    head += [
        f"{pairs[first, second]:,} of them because batch {Id(first)} was run again as {Id(second)}."
        for first, second in in_batches
    ]
    rows = [row.line() for row in alone[:shown]]
    document = Document(head, rows, columns="file · workflow · runs, the first one first · apart · credits again")
    more = "… {} more; a larger limit shows them".format
    return view.with_text(document.fit(extent.limit, more, beyond=len(alone) - len(rows))[0])


def _repeat(runs: Sequence[RunFacts]) -> tuple[RepeatedFile, tuple[str, str] | None]:
    """Return a file with its runs, oldest first, and the two batches if it was processed in one and then in another."""
    first, *again = runs
    second = again[0]
    row = RepeatedFile(
        file=next(iter(first.file_names), "") or "?",
        workflow=first.workflow_name,
        run_ids=[run.id for run in runs],
        seconds_apart=(second.created - first.created).total_seconds() if first.created and second.created else None,
        credits_again=round(sum(run.credits or 0.0 for run in again), 2),
    )
    one, other = first.batch_id, second.batch_id
    return row, (one, other) if one and other and one != other else None


def stuck_view(found: StuckRuns, extent: Extent, *, shown: int) -> RunListView:
    """Show the runs that hang, by workflow, status and step."""
    first = found.stuck[:shown]
    left = len(found.stuck) - len(first)
    verdicts = _verdicts(found)
    view = RunListView(
        runs=[run_row(each.run, _why(each)) for each in first],
        shown=len(first),
        complete=not left and not extent.missing,
        stuck=len(found.stuck),
        missing=extent.missing or None,
        note=" ".join(verdicts) or None,
    )
    moving = f"{counted(found.moving, 'run')} that {'moves' if found.moving == 1 else 'move'}"
    head = [f"{counted(len(found.stuck), 'stuck run')} of {moving}.", *verdicts]
    if found.unjudged:
        head.append(f"{counted(found.unjudged, 'run')} could not be judged: too few runs of the workflow have ended.")
    document = Document([*head, *extent.incomplete], [*map(_group_line, largest(first, _kind))])
    text, _ = document.fit(extent.limit, "… {} more groups".format)
    return view.with_text(f"{text}\n… {left:,} more; a larger page_size shows them" if left else text)


def stuck_line(stuck: Sequence[Stuck]) -> list[str]:
    """Return a line with how many runs hang, by workflow and status; none if none does."""
    counts = Counter(
        each.run.status if each.run.status == "PENDING" else f"{each.run.status} of {Label(each.run.workflow_name):60}"
        for each in stuck
    )
    said = listed([f"{count:,} {what}" for what, count in counts.most_common()], _MOST_KINDS)
    return [f"Stuck: {said}; list_runs(stuck=true) says why."] if said else []


def _why(each: Stuck) -> str:
    where = f"in {Label(each.step):60}, " if each.step else ""
    return f"{where}not changed for {format_span(each.seconds)}; {_usually(each)}"


def _usually(each: Stuck) -> str:
    if each.run.status == "CANCELLING":
        return f"a cancel takes less than {format_span(CANCELLING_SECONDS)}"
    what = "start within" if each.run.status == "PENDING" else "are done within"
    return f"95% of such runs {what} {format_span(each.usual)}"


def _kind(each: Stuck) -> tuple[str, str, str]:
    """Return what the runs of a line have in common: workflow, status and step, but all that wait are one queue."""
    run = each.run
    return "" if run.status == "PENDING" else run.workflow_id, run.status, each.step


def _group_line(same: Sequence[Stuck]) -> str:
    first = same[0]
    where = f" in {Label(first.step):60}" if first.step else ""
    span = " to ".join(dict.fromkeys(format_span(seconds) for seconds in (same[-1].seconds, first.seconds)))
    names = list(dict.fromkeys(each.run.workflow_name for each in same))
    workflows = f"{Label(names[0]):60}" if len(names) == 1 else f"{len(names)} workflows"
    # The shortest limit of them: by pages, each has its own.
    usually = _usually(min(same, key=lambda each: each.usual))
    ids = cell([Id(each.run.id) for each in same])
    return f"{workflows}: {len(same):,} {first.run.status}{where}, not changed for {span}; {usually}: {ids}"


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
        in_step = Counter(each.step for each in found.stuck if each.step and each.run.status == "PROCESSING")
        step, count = next(iter(in_step.most_common(1)), ("", 0))
        where = f"; {count} of {in_step.total()} hang in step {Label(step):60}" if count > 1 else ""
        others = len(found.stalls) - 1
        moving = f"; {counted(others, 'other workflow')} with running runs not" if others else ""
        whose = "Probably this document's" if one.stuck == 1 else "Probably ours, the workflow's or a service's"
        said.append(f"{whose}: {_figures(one)}{where}{moving}.")
    if waiting := sum(each.run.status == "PENDING" for each in found.stuck):
        ahead = sum(each.running for each in found.stalls)
        behind = f", behind {counted(ahead, 'PROCESSING run')}" if ahead else ""
        said.append(f"Queue: {counted(waiting, 'PENDING run')} longer than usual{behind}.")
    return said


def _figures(stall: Stall) -> str:
    last = f", last good end {format_instant(stall.last_good)}" if stall.last_good else ""
    return f"{Label(stall.workflow):60} {stall.stuck} of {stall.running} stuck{last}"
