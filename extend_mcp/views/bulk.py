"""The answer of an action on many runs: the plan, or what became of each run and in sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.budget import fit
from extend_mcp.views.untrusted import NOTE, cut_line, plain, word

BulkOutcome = Literal["confirmation_required", "declined", "done", "partial", "nothing_to_do", "refused", "busy"]


class BulkResult(ViewPart):
    """What became of one run."""

    run_id: str
    outcome: str
    status: str | None = None
    note: str | None = None


class BulkView(View):
    """How an action on many runs went, or what it would do."""

    outcome: BulkOutcome
    planned: int
    skipped: dict[str, int]
    counts: dict[str, int]
    results: list[BulkResult]
    message: str
    plan: list[str] | None = None
    confirmation_token: str | None = None
    next_step: str | None = None


def bulk_view(
    outcome: BulkOutcome,
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
    """Put an action on many runs in words.

    Args:
        outcome: what happened.
        message: the same in a sentence or two.
        planned: how many runs the plan holds.
        skipped: how many runs were left out, by why.
        results: what became of each run of the plan.
        plan: the plan's lines, while it waits for a yes.
        token: what the next call must bring.
        next_step: what to do now.
        limit: characters of the text.
    """
    counts = Counter(result.outcome for result in results)
    # What went as wished is told by its number; what did not stands first, run by run.
    ordered = sorted(results, key=lambda result: (counts[result.outcome], result.outcome))
    said = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    head = [f"{outcome}: {message}{f' In all: {said}.' if said else ''}"]
    if skipped and not plan:
        head.append(f"Left out: {', '.join(f'{count:,} {why}' for why, count in skipped.items())}.")
    tail = [f"confirmation_token: {token}"] if token else []
    tail += [f"Next: {next_step}"] if next_step else []
    room = limit - sum(len(line) + 1 for line in [*head, *tail]) - len(NOTE) - 100
    lines, _ = fit(
        [*plan, *(_line(result) for result in ordered)],
        max(room, 300),
        lambda gone: f"… {gone} more; all are in the structured results",
    )
    quoted = [NOTE] if any("«" in line for line in lines) else []
    return BulkView(
        outcome=outcome,
        planned=planned,
        skipped=skipped or {},
        counts=dict(counts),
        results=list(ordered),
        message=message,
        plan=list(plan) or None,
        confirmation_token=token,
        next_step=next_step,
    ).with_text("\n".join([*head, *quoted, *lines, *tail]))


def bulk_result(run_id: str, outcome: str, status: str = "", note: str = "") -> BulkResult:
    """A run's result.

    Args:
        run_id: the run.
        outcome: what became of it, in our words.
        status: its status, as the API gave it.
        note: a line of ours, text from outside in it marked.
    """
    return BulkResult(
        run_id=plain(run_id, 300),
        outcome=outcome,
        status=plain(status, 60) or None,
        note=cut_line(note, 500) or None,
    )


def _line(result: BulkResult) -> str:
    status = f" · {word(result.status)}" if result.status else ""
    return f"{word(result.run_id, 300)} · {result.outcome}{status}{f' · {result.note}' if result.note else ''}"
