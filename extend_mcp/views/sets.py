"""A set of runs in a few lines, for a person who is to agree to something about all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from extend_mcp.api.models import RunBase
from extend_mcp.runs.polling import by_urgency
from extend_mcp.runs.times import format_span
from extend_mcp.views.untrusted import Code, Id, Label

_MOST_NAMES = 6
_MOST_IDS = 5


def set_lines(runs: Sequence[RunBase], skipped: Mapping[str, int], *, now: datetime) -> list[str]:
    """What a set of runs is: workflows, statuses, the oldest and newest, credits, a few ids, and who was left out.

    Args:
        runs: the runs, the oldest first; at least one.
        skipped: how many others were left out, by why.
        now: the present.
    """
    workflows = Counter(run.workflow.name for run in runs)
    statuses = Counter(run.status for run in runs)
    names = [f"{Label(name):60} {count:,}" for name, count in workflows.most_common(_MOST_NAMES)]
    if len(workflows) > _MOST_NAMES:
        names.append(f"{len(workflows) - _MOST_NAMES} other workflows")
    ids = ", ".join(f"{Id(run.id)}" for run in runs[:_MOST_IDS])
    rest = f" and {len(runs) - _MOST_IDS:,} more" if len(runs) > _MOST_IDS else ""
    lines = [
        f"Workflows: {', '.join(names)}",
        f"Status: {', '.join(f'{statuses[status]:,} {Code(status):40}' for status in by_urgency(statuses))}",
        f"Oldest: {_one(runs[0], now)}; newest: {_one(runs[-1], now)}",
        f"Credits used so far: {sum(_credits(run) for run in runs):,.10g}",
        f"Runs: {ids}{rest}",
    ]
    if skipped:
        said = ", ".join(f"{count:,} {why}" for why, count in sorted(skipped.items(), key=lambda item: -item[1]))
        lines.append(f"Left out: {said}")
    return lines


def _one(run: RunBase, now: datetime) -> str:
    age = (
        f"created {format_span((now - run.initial_run_at).total_seconds())} ago"
        if run.initial_run_at
        else "age unknown"
    )
    file = f" {Label(run.files[0].name):60}" if run.files else ""
    return f"{Id(run.id)}{file}, {age}"


def _credits(run: RunBase) -> float:
    if run.usage is None:
        return 0.0
    return (run.usage.total_credits if run.usage.total_credits is not None else run.usage.credits) or 0.0
