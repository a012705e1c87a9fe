"""Where a run stands: steps done, what it waits for, how long it took, what it cost."""

from __future__ import annotations

from datetime import datetime

from extend_mcp.api.models import WorkflowRun
from extend_mcp.runs.lifecycle import STEP_OVER, describe, is_finished, is_moving
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.steps import as_object, objects
from extend_mcp.views.untrusted import quote, word


def steps_done(run: WorkflowRun) -> int:
    """How many of the run's steps did their work; a failed or cancelled one did not."""
    return sum(step.status == "PROCESSED" for step in run.step_runs)


def steps_to_do(run: WorkflowRun) -> int:
    """How many of the steps that the API shows so far are not over."""
    return sum(step.status not in STEP_OVER for step in run.step_runs)


def waits_for(run: WorkflowRun) -> str | None:
    """What has to happen before ``run`` goes on, in one line; None when nothing is awaited."""
    phase = describe(run.status).phase
    if phase == "review":
        cause = review_cause(run)
        return f"a person's review in the dashboard (the API cannot approve){f'; {cause}' if cause else ''}"
    if phase == "waiting":
        return "a free place in Extend's queue"
    if phase == "ending":
        return "the cancel to take effect"
    moving = [step for step in run.step_runs if step.status not in STEP_OVER]
    if phase == "active" and moving:
        return f"step {quote(moving[0].step.name or moving[0].step_type, 60)} ({word(moving[0].status, 40)})"
    return None


def credits_of(run: WorkflowRun) -> float | None:
    """Credits the run has used so far, child runs included; None when the API does not say."""
    if run.usage is None:
        return None
    return run.usage.total_credits if run.usage.total_credits is not None else run.usage.credits


def age_line(run: WorkflowRun, now: datetime) -> str:
    """When the run was created and started, how long it took or has been running; ends without a stop."""
    parts: list[str] = []
    if run.initial_run_at:
        ago = format_span((now - run.initial_run_at).total_seconds())
        parts.append(f"created {format_instant(run.initial_run_at)} ({ago} ago)")
    seconds = duration_seconds(run, now)
    if run.start_time and seconds is not None:
        word = "took" if run.end_time else "running for" if is_moving(run.status) else "started"
        parts.append(f"{word} {format_span(seconds)}{' ago' if word == 'started' else ''}")
    return ", ".join(parts)


def duration_seconds(run: WorkflowRun, now: datetime) -> float | None:
    """Seconds from start to end, or to ``now`` while the run goes on; None before it started."""
    if run.start_time is None or (run.end_time is None and is_finished(run.status)):
        return None
    return max(0.0, ((run.end_time or now) - run.start_time).total_seconds())


def review_cause(run: WorkflowRun) -> str:
    """Which check sent the run to a person; empty where its steps do not say."""
    for step in reversed(run.step_runs):
        result = as_object(step.result)
        checks = objects(result.get("rules")) or objects(result.get("blocks"))
        broken = [check for check in checks if check.get("valid") is not True]
        if broken:
            return f"{quote(broken[0].get('name') or '?', 60)} did not pass in step {quote(step.step.name, 40)}"
    return ""
