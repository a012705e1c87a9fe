"""The review queue in groups, and its inflow against its outflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.runs.times import format_instant
from extend_mcp.views.checks import FailedCheck
from extend_mcp.views.document import ViewPart, age_words
from extend_mcp.views.untrusted import Id, Label

_MOST_GROUPS = 40


@dataclass(frozen=True)
class Flow:
    """Runs that were sent to review and runs that were reviewed, by workflow id.

    Attributes:
        since: the begin of the window.
        sent: how many runs created in the window were sent to review.
        reviewed: how many runs were reviewed in the window, whenever created.
        missing: why not all were counted; None if all were.
    """

    since: datetime
    missing: str | None = None
    sent: Counter[str] = field(default_factory=Counter)
    reviewed: Counter[str] = field(default_factory=Counter)


class ReviewFlow(ViewPart):
    """The inflow and outflow of the queue."""

    since: datetime
    sent: int
    reviewed: int


class ReviewGroup(ViewPart):
    """The waiting runs of one workflow or check."""

    group: Label
    runs: int
    oldest_run_id: Id
    oldest_created_at: datetime | None = None
    sent: int | None = None
    reviewed: int | None = None


def flow_line(flow: Flow) -> str:
    """Say how the queue changed."""
    sent, reviewed = flow.sent.total(), flow.reviewed.total()
    change = f"{'grew' if sent > reviewed else 'shrank'} by about {abs(sent - reviewed):,}"
    return (
        f"Since {format_instant(flow.since)}: {sent:,} of the runs created then were sent to review, {reviewed:,} runs "
        f"were reviewed, so the queue {change if sent != reviewed else 'did not change'}."
    )


def groups_of_workflows(waiting: Sequence[WorkflowRunSummary], flow: Flow | None) -> list[ReviewGroup]:
    """Group waiting runs, the oldest first, by workflow."""
    groups = _grouped((run.workflow.id, run.workflow.name, run) for run in waiting)
    if flow:
        for workflow_id, group in groups.items():
            group.sent, group.reviewed = flow.sent[workflow_id], flow.reviewed[workflow_id]
    return _largest(groups)


def groups_of_checks(waiting: Sequence[WorkflowRunSummary], checks: dict[str, list[FailedCheck]]) -> list[ReviewGroup]:
    """Group waiting runs, the oldest first, by the checks that they failed; a run that failed two is in both."""
    return _largest(_grouped(pair for run in waiting for pair in _named(run, checks.get(run.id))))


def _named(run: WorkflowRunSummary, checks: list[FailedCheck] | None) -> Iterable[tuple[str, str, WorkflowRunSummary]]:
    if not checks:
        name = "not read" if checks is None else "no step names a check"
        return [(name, name, run)]
    names = {
        f"probably step {each.step}" if each.inferred else f"{each.check or 'a check'} in step {each.step}"
        for each in checks
    }
    return [(name, name, run) for name in sorted(names)]


def _grouped(pairs: Iterable[tuple[str, str, WorkflowRunSummary]]) -> dict[str, ReviewGroup]:
    groups: dict[str, ReviewGroup] = {}
    for key, name, run in pairs:
        if key in groups:
            groups[key].runs += 1
        else:
            groups[key] = ReviewGroup(group=name, runs=1, oldest_run_id=run.id, oldest_created_at=run.created)
    return groups


def _largest(groups: dict[str, ReviewGroup]) -> list[ReviewGroup]:
    return sorted(groups.values(), key=lambda group: -group.runs)[:_MOST_GROUPS]


def group_line(group: ReviewGroup, now: datetime) -> str:
    """Return a group as a line of text."""
    created = group.oldest_created_at
    age = f"created {age_words(created, now)} ago" if created else "age unknown"
    flow = f" · {group.sent:,} · {group.reviewed:,}" if group.sent is not None and group.reviewed is not None else ""
    return f"{group.group:120} · {group.runs:,} · {group.oldest_run_id}, {age}{flow}"
