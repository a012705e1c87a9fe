"""The answer of waiting: how each run stands, failures first, and how to go on."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from extend_mcp.runs.lifecycle import describe
from extend_mcp.runs.polling import by_urgency, is_settled, urgency
from extend_mcp.runs.times import format_span
from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.budget import fit
from extend_mcp.views.untrusted import NOTE, plain, quote, word


class WaitedRun(ViewPart):
    """One run that was waited for."""

    run_id: str
    status: str
    file: str | None = None
    steps_done: int | None = None
    steps_known: int | None = None


class WaitView(View):
    """How the runs stand at the end of the window."""

    outcome: Literal["settled", "still_running"]
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
    """Sum up what was seen.

    Args:
        runs: every run waited for, with the last state seen.
        waited: seconds since waiting began.
        explained: the explanation of a single run that has ended, as text; None otherwise.
        problem: what went wrong with the last look, or None.
        go_on: the call that goes on waiting.
        limit: characters of the text.
    """
    ordered = sorted(runs, key=lambda run: (*urgency(run.status), run.run_id))
    counts = Counter(run.status for run in ordered)
    over = bool(runs) and all(is_settled(run.status) for run in runs)
    said = ", ".join(f"{counts[status]} {word(status)}" for status in by_urgency(counts))
    head = f"{'Settled' if over else 'Still running'} after {format_span(waited)}: {said or 'no runs seen yet'}."
    step = _next_step(ordered, over, go_on)
    lines = [head]
    if problem:
        lines.append(f"The last look failed ({problem}); this is the state seen before it.")
    kept = len(ordered)
    if explained:
        lines.append(explained)
    elif ordered:
        room = limit - sum(len(line) + 1 for line in lines) - len(NOTE) - len(step) - 80
        shown, kept = fit([_line(run) for run in ordered], max(room, 200), _more)
        lines += [NOTE, *shown]
    return WaitView(
        outcome="settled" if over else "still_running",
        waited_seconds=round(waited, 1),
        counts=dict(counts),
        runs=ordered[:kept],
        shown=kept,
        total=len(ordered),
        note=problem,
        next_step=step,
    ).with_text("\n".join([*lines, f"Next: {step}"]))


def _more(gone: int) -> str:
    return f"… {gone} more, none more urgent than these."


def _line(run: WaitedRun) -> str:
    steps = f" · {run.steps_done} of {run.steps_known} known steps done" if run.steps_known else ""
    file = f" · {quote(run.file, 60)}" if run.file else ""
    return f"{word(run.run_id, 300)} · {word(run.status)}: {describe(run.status).meaning}{steps}{file}"


def _next_step(runs: list[WaitedRun], over: bool, go_on: str) -> str:
    if not over:
        return f"{go_on} goes on waiting; or tell the user that it still runs."
    bad = next((run for run in runs if run.status in ("FAILED", "REJECTED")), None)
    if bad and len(runs) > 1:
        return f"get_workflow_run({word(bad.run_id, 300)}) explains the first that went wrong."
    if any(run.status == "NEEDS_REVIEW" for run in runs):
        return "A person reviews it in the dashboard; the API cannot."
    if len(runs) == 1:
        return f"get_step_result({word(runs[0].run_id, 300)}, step) shows what a step found."
    return "get_workflow_run(run_id) explains one of them."


def waited_run(
    run_id: str, status: str, file: str | None = None, done: int | None = None, known: int | None = None
) -> WaitedRun:
    """A row, outside text made plain."""
    return WaitedRun(
        run_id=plain(run_id, 300),
        status=plain(status, 60) or "unknown",
        file=plain(file, 80) if file else None,
        steps_done=done,
        steps_known=known,
    )
