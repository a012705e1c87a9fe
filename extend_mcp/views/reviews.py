"""The runs that wait for a person: the checks that sent them there, the queue, and its inflow and outflow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from extend_mcp.api.models import StepRun, WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.times import format_instant
from extend_mcp.runs.timing import Began, present_state
from extend_mcp.views.document import Document, Extent, OrNone, View, ViewPart, age_words, counted
from extend_mcp.views.instructions import SpokenTo, caution_line, spoken_to
from extend_mcp.views.steps import as_object, extracted_fields, failed_items, objects
from extend_mcp.views.untrusted import DashboardUrl, FieldPath, Finding, Id, Label
from extend_mcp.workflows.graph import Json, edges

GroupBy = Literal["check", "workflow"]

_FIELD = re.compile(r"[A-Za-z_][\w.]*")
_INDEX = re.compile(r"\[(\d+)\]")
_MOST_VALUES = 12
_MOST_GROUPS = 40


class FailedCheck(ViewPart):
    """A rule or block that a run did not pass; or, inferred from the workflow's graph, the step that led to review."""

    step: Label
    check: Label | None = None
    error: OrNone[Finding] = None
    formula: OrNone[Finding] = None
    values: OrNone[dict[FieldPath, Finding]] = None
    inferred: bool = False
    review_step: Label | None = None

    def line(self) -> str:
        """Return it as a line of text."""
        if self.inferred:
            way = f" by its way {self.error:40}" if self.error else ""
            return (
                f"probably step {self.step:60} (inferred: no step names a failed check; in the workflow this step leads"
                f"{way} to {self.review_step:60})"
            )
        line = f"{self.check:200} did not pass in step {self.step:60}"
        line += f": {self.error}" if self.error else ""
        line += f"; rule {self.formula}" if self.formula else ""
        values = ", ".join(f"{path} {value}" for path, value in (self.values or {}).items())
        return line + (f"; {values}" if values else "")


def failed_checks(run: WorkflowRun, definition: Sequence[Json]) -> list[FailedCheck]:
    """Return every check that a run in review did not pass, those of the last step first.

    Where no step names one, it is the step that probably led to the review by the workflow's graph. Without the
    ``definition``, the steps of the run's workflow version, values and inferred checks are missing.
    """
    found = [check for step in reversed(run.step_runs) for check in _of_step(step, run, definition)]
    return found or _inferred(run, definition)


def _of_step(step: StepRun, run: WorkflowRun, definition: Sequence[Json]) -> Iterator[FailedCheck]:
    result = as_object(step.result)
    configs = [as_object(each.get("config")) for each in definition if each.get("name") == step.step.name]
    rules = [rule for config in configs for rule in objects(config.get("rules"))]
    for item in [*objects(result.get("rules")), *objects(result.get("blocks"))]:
        if item.get("valid") is True:
            continue
        places, name = failed_items(item), item.get("name")
        formula = next((str(rule.get("formula") or "") for rule in rules if rule.get("name") == name), "")
        said = ", ".join(str(item[key]) for key in ("failureReason", "error", "reasoning") if item.get(key))
        items = f" (items {', '.join(map(str, places[:20]))})" if places else ""
        yield FailedCheck(
            step=step.title,
            check=name or "?",
            error=f"{said}{items}",
            formula=formula,
            values=_values(run, formula, places),
        )


def _values(run: WorkflowRun, formula: str, places: list[int] | None) -> dict[str, str]:
    """Return the extracted values that a formula names; of a list, those of the items that failed."""
    names = set(_FIELD.findall(formula))
    found: dict[str, str] = {}
    for step in run.step_runs if names else ():
        for path, value, _ in extracted_fields(step, with_facts=False):
            plain, indexes = _INDEX.sub("", path), _INDEX.findall(path)
            is_named = any(name == plain or name.endswith(f".{plain}") for name in names)
            if is_named and (not places or not indexes or int(indexes[0]) in places):
                found[path] = "null" if value is None else str(value)
    return dict(list(found.items())[:_MOST_VALUES])


def _inferred(run: WorkflowRun, definition: Sequence[Json]) -> list[FailedCheck]:
    reviews = [each.get("name") for each in definition if each.get("type") == "HUMAN_REVIEW"]
    before: dict[str, tuple[str | None, Any]] = {
        str(step.get("name")): (chosen, target)
        for step in definition
        for chosen, target in edges(step)
        if target in reviews
    }
    ran = [step.step.name for step in run.step_runs if step.step.name in before]
    if not ran:
        return []
    way, review = before[ran[-1]]
    return [FailedCheck(step=ran[-1], error=way, inferred=True, review_step=review)]


@dataclass(frozen=True)
class Flow:
    """Counts of runs created in a window that were sent to review, and of those reviewed in it, by workflow id."""

    since: datetime
    sent: Counter[str] = field(default_factory=Counter)
    reviewed: Counter[str] = field(default_factory=Counter)


class ReviewFlow(ViewPart):
    """The inflow and outflow of the queue."""

    since: datetime
    sent: int
    reviewed: int

    def line(self) -> str:
        """Return it as a line of text."""
        more = self.sent - self.reviewed
        change = f"{'grew' if more > 0 else 'shrank'} by about {abs(more):,}" if more else "did not change"
        return (
            f"Since {format_instant(self.since)}: {self.sent:,} of the runs created then were sent to review, "
            f"{self.reviewed:,} runs were reviewed, so the queue {change}."
        )


class ReviewGroup(ViewPart):
    """The waiting runs of one workflow or check."""

    group: Label
    runs: int
    oldest_run_id: Id
    oldest_created_at: datetime | None = None
    sent: int | None = None
    reviewed: int | None = None

    def line(self, now: datetime) -> str:
        """Return it as a line of a table."""
        created = self.oldest_created_at
        age = f"created {age_words(created, now)} ago" if created else "age unknown"
        flow = "" if self.sent is None else f" · {self.sent:,} · {self.reviewed:,}"
        return f"{self.group:120} · {self.runs:,} · {self.oldest_run_id}, {age}{flow}"


class ReviewRow(ViewPart):
    """A run that waits for a person."""

    run_id: Id
    workflow: Label
    file: Label | None = None
    created_at: datetime | None = None
    waits_since: datetime | None = None
    since: str
    checks: list[FailedCheck]
    speaks_to_assistant: OrNone[list[SpokenTo]] = None
    dashboard_url: OrNone[DashboardUrl] = None

    def lines(self, *, with_link: bool) -> str:
        """Return it as a line of a table, and below it a line for each check."""
        first = f"{self.run_id} · {self.workflow:40} · {self.file or Label('?'):60} · {self.since}"
        first += f" · {self.dashboard_url or '-'}" if with_link else ""
        more = [caution_line(self.speaks_to_assistant)] if self.speaks_to_assistant else []
        more += [check.line() for check in self.checks] or ["check unknown"]
        return "\n  ".join([first, *more])


class ReviewQueueView(View):
    """The runs that wait for review, the oldest first."""

    total: int
    complete: bool
    by_workflow: dict[Label, int]
    runs: list[ReviewRow]
    shown: int
    groups: list[ReviewGroup] | None = None
    flow: ReviewFlow | None = None
    note: str
    missing: OrNone[list[str]] = None
    untrusted: str = "workflow, file, checks, by_workflow, group"


def review_row(
    run: WorkflowRunSummary, whole: WorkflowRun | None, now: datetime, definition: Sequence[Json] = ()
) -> ReviewRow:
    """Return a run of a list, with the checks and since when it waits as far as it was read in full."""
    created, began = run.created, present_state(whole, run.updated_at) if whole else Began(None, run.updated_at)
    unknown = f"created {format_instant(created)}; Extend does not say since when it waits" if created else "unknown"
    return ReviewRow(
        run_id=run.id,
        workflow=run.workflow.name,
        file=run.files[0].name if run.files else None,
        created_at=created,
        waits_since=began.latest or began.earliest,
        since=began.words(now) or unknown,
        checks=failed_checks(whole, definition) if whole else [],
        speaks_to_assistant=spoken_to(whole) if whole else None,
        dashboard_url=run.dashboard_url,
    )


def review_queue_view(
    waiting: Sequence[WorkflowRunSummary],
    known: dict[str, ReviewRow],
    extent: Extent,
    *,
    shown: int,
    group_by: GroupBy | None = None,
    flow: Flow | None = None,
) -> ReviewQueueView:
    """Show which runs wait for a review, the oldest first, or how many in each group.

    ``known`` holds the rows of the runs that were read in full, by id.
    """
    counts = Counter(run.workflow.name for run in waiting)
    view = ReviewQueueView(
        total=len(waiting),
        complete=not extent.missing,
        by_workflow=dict(counts.most_common()),
        runs=[] if group_by else [known.get(run.id) or review_row(run, None, extent.now) for run in waiting[:shown]],
        shown=0,
        groups=_groups(waiting, known, group_by, flow) if group_by else None,
        flow=ReviewFlow(since=flow.since, sent=flow.sent.total(), reviewed=flow.reviewed.total()) if flow else None,
        note="Reviews are made in the dashboard: the API cannot approve or reject.",
        missing=extent.missing,
    )
    said = ", ".join(f"{name:60} {count:,}" for name, count in list(view.by_workflow.items())[:12])
    which = f"{f' {extent.filters}' if extent.filters else ''}{f': {said}' if said else ''}"
    head = [f"{counted(view.total, 'run')} waiting for review{which}."]
    head += [view.flow.line()] if view.flow else []
    head += extent.incomplete
    if (groups := view.groups) is not None:
        columns = "group · runs · oldest"
        columns += " · sent to review · reviewed" if groups and groups[0].sent is not None else ""
        document = Document(head, [group.line(extent.now) for group in groups], [view.note], columns=columns)
        text, kept = document.fit(extent.limit, "… {:,} more groups".format)
        del groups[kept:]
        return view.with_text(text)
    bases = {(row.dashboard_url or "").removesuffix(row.run_id) for row in view.runs}
    # Links that differ in the run's id alone are said once: each would cost as much as the rest of its line.
    base = DashboardUrl(bases.pop()) if len(bases) == 1 else DashboardUrl()
    pattern = f" Each run's page: {base} and its id." if base.endswith("/") else ""
    document = Document(
        head,
        [row.lines(with_link=not pattern) for row in view.runs],
        [f"{view.note}{pattern}"],
        columns="run · workflow · file · waits for a person; below it each failed check with its values",
    )
    beyond = view.total - len(view.runs)
    text, view.shown = document.fit(extent.limit, "… {:,} more, created after these".format, beyond=beyond)
    del view.runs[view.shown :]
    return view.with_text(text)


def _groups(
    waiting: Sequence[WorkflowRunSummary], known: dict[str, ReviewRow], by: GroupBy, flow: Flow | None
) -> list[ReviewGroup]:
    """Group waiting runs, the oldest first, by workflow or by failed check; a run that failed two is in both."""
    groups: dict[str, ReviewGroup] = {}
    for run in waiting:
        names = {run.workflow.id: run.workflow.name} if by == "workflow" else _checks_of(known.get(run.id))
        for key, name in names.items():
            if key not in groups:
                groups[key] = ReviewGroup(group=name, runs=0, oldest_run_id=run.id, oldest_created_at=run.created)
                if flow and by == "workflow":
                    groups[key].sent, groups[key].reviewed = flow.sent[key], flow.reviewed[key]
            groups[key].runs += 1
    return sorted(groups.values(), key=lambda group: -group.runs)[:_MOST_GROUPS]


def _checks_of(row: ReviewRow | None) -> dict[str, str]:
    names = {
        f"probably step {each.step}" if each.inferred else f"{each.check or 'a check'} in step {each.step}"
        for each in (row.checks if row else ())
    }
    return {name: name for name in sorted(names) or ["no step names a check" if row else "not read"]}
