"""Answers about the morning after: failures that are still open, and files that were processed twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from extend_mcp.runs.failures import Failure, retry_advice
from extend_mcp.runs.reruns import Fate, Repeat, created_first
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.document import Document, View, ViewPart, age_words, counted, incomplete, listed
from extend_mcp.views.untrusted import Code, Id, Label

_MOST_CAUSES = 10
_MOST_BATCHES = 3
_WORDS: dict[Fate, str] = {
    "resolved": "resolved by a good run since",
    "running": "being rerun or in review",
    "failed_again": "rerun without success",
    "never_rerun": "never rerun",
}
_OPEN: tuple[Fate, ...] = ("failed_again", "never_rerun")


@dataclass(frozen=True)
class Chain:
    """A document that failed.

    Attributes:
        last: its last failed run of the window.
        fate: what became of it.
        cause: why that run failed; None if nothing says so, or it was not read.
        is_read: whether that run was read.
    """

    last: RunFacts
    fate: Fate
    cause: Failure | None
    is_read: bool


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
    """Show what became of the documents that failed.

    Args:
        chains: the documents.
        failed: how many runs failed in the window.
    """
    fates = Counter(each.fate for each in chains)
    still_open = sorted((each for each in chains if each.fate in _OPEN), key=lambda each: created_first(each.last))
    view = OpenFailuresView(
        failed_runs=failed,
        documents=len(chains),
        **{name: fates[name] for name in _WORDS},
        open=len(still_open),
        causes=_causes(still_open),
        open_runs=[
            OpenRun(
                run_id=each.last.id,
                workflow=each.last.workflow_name,
                reason=_reason(each),
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


def _causes(still_open: Sequence[Chain]) -> list[OpenCause]:
    groups: defaultdict[tuple[str, str], list[Chain]] = defaultdict(list)
    for each in still_open:
        groups[_reason(each), each.cause.where if each.cause else ""].append(each)
    return [
        OpenCause(
            reason=reason,
            step=step or None,
            documents=len(same),
            failed_again=sum(each.fate == "failed_again" for each in same),
            first_failed_at=same[0].last.created,
            advice=retry_advice(reason) if same[0].is_read else "why was not looked up; ask again to go deeper",
        )
        for (reason, step), same in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _reason(chain: Chain) -> str:
    if chain.cause and chain.cause.reason:
        return chain.cause.reason
    return "no reason given" if chain.is_read else "not read"


def _cause_line(cause: OpenCause, now: datetime) -> str:
    where = f" in {cause.step:60}" if cause.step else ""
    again = f", {cause.failed_again:,} of them rerun without success" if cause.failed_again else ""
    since = ""
    if cause.first_failed_at:
        since = f", since {format_instant(cause.first_failed_at)} ({age_words(cause.first_failed_at, now)} ago)"
    return f"- {cause.documents:,} {cause.reason}{where}{again}{since}: {cause.advice}"


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
    """Show the files that were processed more than once without intent.

    Args:
        repeats: the files.
        intended: how many reruns with a mark were left out.
    """
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
                file=each.first.files.split("\n")[0].partition("\t")[2] or "?",
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
