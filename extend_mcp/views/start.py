"""The answer of starting a run: its id, or what is known when the outcome is unclear."""

from __future__ import annotations

from typing import Literal

from extend_mcp.api.models import BatchStarted, WorkflowRun, WorkflowRunSummary
from extend_mcp.views.base import View
from extend_mcp.views.untrusted import extend_link, plain, quote, word


class RunStartedView(View):
    """A run that was started, or may have been."""

    outcome: Literal["started", "unknown"]
    run_id: str | None = None
    status: str | None = None
    workflow: str | None = None
    dashboard_url: str | None = None
    message: str
    candidates: list[str] | None = None
    untrusted: str = "workflow"


def run_started_view(run: WorkflowRun) -> RunStartedView:
    """Say that ``run`` was created."""
    message = f"Started run {word(run.id, 300)} of {quote(run.workflow.name, 80)}, status {word(run.status, 40)}."
    return RunStartedView(
        outcome="started",
        run_id=plain(run.id, 300),
        status=plain(run.status, 40),
        workflow=plain(run.workflow.name, 80),
        dashboard_url=extend_link(run.dashboard_url) or None,
        message=message,
    ).with_text(f'{message}\nFollow it with wait_for_run(["{word(run.id, 300)}"]).')


def start_unclear_view(problem: str, found: list[WorkflowRunSummary] | None) -> RunStartedView:
    """Say that the create's outcome is unclear, and what a look at the newest runs showed.

    Args:
        problem: what went wrong, in a sentence.
        found: runs of the workflow created since the request, or None when even looking failed.

    Returns:
        The view. It never claims that the run was or was not created.
    """
    lines = [f"Unclear: {problem}. The run may have been created. It was not sent again."]
    ids = [plain(run.id, 300) for run in found or []]
    if found is None:
        lines.append('Looking for it failed too. Use list_runs(created_since="10m") before starting it again.')
    elif ids:
        lines.append(f"Created since the request, so possibly this one: {_words(ids)}. Check with get_workflow_run.")
    else:
        lines.append(
            "No run of this workflow was created since the request, so far. Look again with list_runs before retrying."
        )
    text = "\n".join(lines)
    return RunStartedView(outcome="unknown", message=lines[0], candidates=ids).with_text(text)


def _words(ids: list[str]) -> str:
    return ", ".join(word(each, 300) for each in ids)


class BatchStartedView(View):
    """A batch that was started, or may have been."""

    outcome: Literal["started", "unknown"]
    batch_id: str | None = None
    runs: int | None = None
    message: str
    candidates: list[str] | None = None


def batch_started_view(batch: BatchStarted, count: int) -> BatchStartedView:
    """Say that a batch of ``count`` runs was created, and how to follow it."""
    batch_id = word(batch.batch_id, 300)
    message = f"Started batch {batch_id} of {count} run{'' if count == 1 else 's'}."
    return BatchStartedView(
        outcome="started", batch_id=plain(batch.batch_id, 300), runs=count, message=message
    ).with_text(
        f'{message}\nFollow it with wait_for_run(batch="{batch_id}"); list_runs(batch="{batch_id}") lists its runs.'
    )


def batch_unclear_view(problem: str, found: list[WorkflowRunSummary] | None) -> BatchStartedView:
    """Say that a batch's outcome is unclear; arguments as for :func:`start_unclear_view`."""
    message = f"Unclear: {problem}. The batch may have been created. It was not sent again."
    ids = list(dict.fromkeys(plain(run.batch_id, 300) for run in found or [] if run.batch_id))
    if ids:
        look = f"Batches with runs created since, so possibly this one: {_words(ids)}. Check with list_runs(batch)."
    else:
        look = 'No batch was seen since. Look with list_runs(created_since="10m") before starting it again.'
    return BatchStartedView(outcome="unknown", message=message, candidates=ids).with_text(f"{message}\n{look}")
