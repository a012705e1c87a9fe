"""One filter of workflow runs for every tool that takes one.

A new filter is a field of `RunFilter`: `takes_run_filter` makes it an argument of each tool, `api_query`, `matches` or
`matches_details` applies it, `selection` applies it to kept runs, and `description` shows it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import Self

from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.api.requests import WorkflowRunQuery
from extend_mcp.callers import CallerContext
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import Failure
from extend_mcp.runs.statistics import RunFacts, Selection
from extend_mcp.runs.times import format_instant, parse_moment
from extend_mcp.tools import args
from extend_mcp.tools.name_resolution import resolve_workflow
from extend_mcp.views.untrusted import Code, Label

ViewT = TypeVar("ViewT")


class RunFilter(BaseModel):
    """Select workflow runs: the arguments as given, the values that `resolve` makes of some of them, and how a list
    shows the runs.

    The API filters by status, workflow id, batch and file name, but not by time of creation (Extend API reference,
    List Workflow Runs). The workflow's id is part of page tokens: a workflow can be renamed between two pages.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)

    status: args.StatusFilter | None = None
    workflow: args.WorkflowRef | None = None
    batch: args.BatchId | None = None
    file_name_contains: Annotated[str, Field(min_length=1, max_length=255, examples=["invoice"])] | None = None
    created_since: args.Moment | None = None
    created_before: args.OtherMoment | None = None
    workflow_version: args.VersionNumber | None = None
    failure_reason: Annotated[str, BeforeValidator(args.upper), Field(examples=["OCR_ERROR"])] | None = None
    failing_step: Annotated[str, Field(examples=["Extract invoice"])] | None = None
    metadata: Annotated[dict[str, str], Field(examples=[{"customer": "acme"}])] | None = None
    reviewer: Annotated[str, Field(examples=["ana@example.com"])] | None = None
    updated_since: args.OtherMoment | None = None
    updated_before: args.OtherMoment | None = None

    workflow_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    changed_since: datetime | None = None
    changed_before: datetime | None = None

    sort_by: args.SortBy | None = None
    sort_dir: args.SortDir = "desc"
    ids_only: bool = False
    page_size: args.PageSize = 20

    async def resolve(self, app: CallerContext, now: datetime | None = None) -> Self:
        """Return a copy with instants for the times and an id for the workflow; refuse those that mean nothing."""
        now = now or app.clock.now()
        created = parse_window(now, created_since=self.created_since, created_before=self.created_before)
        updated = parse_window(now, updated_since=self.updated_since, updated_before=self.updated_before)
        moments = dict(zip(MOMENTS.values(), (*created, *updated), strict=True))
        workflow_id = self.workflow_id or (await resolve_workflow(app, self.workflow) if self.workflow else None)
        return self.model_copy(update={**moments, "workflow_id": workflow_id})

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses that are wanted; empty for all."""
        return tuple(self.status.split(",")) if self.status else ()

    @property
    def order(self) -> args.SortBy:
        """The time by which lists are sorted: that of the last change, if changes of some time are wanted."""
        return self.sort_by or ("updatedAt" if self.changed_since or self.changed_before else "createdAt")

    def api_query(self) -> WorkflowRunQuery:
        """Return the part of the filter that the API applies, and the order."""
        return {
            "status": self.status if len(self.statuses) == 1 else None,
            "workflow_id": self.workflow_id,
            "batch_id": self.batch,
            "file_name_contains": self.file_name_contains,
            "sort_by": self.order,
            "sort_dir": self.sort_dir,
        }

    def selection(self) -> Selection:
        """Return the resolved filter for kept runs, which have no file names."""
        since, before = (moment.timestamp() if moment else None for moment in (self.since, self.before))
        return Selection(since, before, self.status, self.workflow_id, batch=self.batch, version=self.workflow_version)

    @property
    def filters_here(self) -> bool:
        """True if the API cannot apply a part of the filter."""
        moments = (self.since, self.before, self.changed_since, self.changed_before)
        return any((*moments, self.workflow_version, self.reviewer)) or self.needs_details

    def matches(self, run: WorkflowRunSummary | RunFacts) -> bool:
        """Return whether a run that a list showed fits the part of the filter that the API cannot apply."""
        if isinstance(run, RunFacts):
            version, reviewer, updated = run.version, run.reviewer, run.updated
        else:
            version, reviewer, updated = run.workflow_version.version, run.reviewed_by_user or "", run.updated_at
        return (
            (not self.workflow_version or version == self.workflow_version)
            and (not self.statuses or run.status in self.statuses)
            and (not self.reviewer or reviewer.casefold() == self.reviewer.casefold())
            and _is_within(run.created, self.since, self.before)
            and _is_within(updated, self.changed_since, self.changed_before)
        )

    def is_past(self, run: WorkflowRunSummary) -> bool:
        """Return whether the order rules out that this run or any later one in a list matches."""
        moment, by_creation = self.moment(run), self.order == "createdAt"
        if self.sort_dir == "asc":
            last = self.before if by_creation else self.changed_before
            return moment is not None and last is not None and moment >= last
        # A run is never updated before it is created, so the first holds for both orders.
        first = self.since if by_creation else self.changed_since or self.since
        return moment is not None and first is not None and moment < first

    def moment(self, run: WorkflowRunSummary) -> datetime | None:
        """Return the time by which lists are sorted."""
        return run.created if self.order == "createdAt" else run.updated_at

    @property
    def needs_details(self) -> bool:
        """True if a part of the filter is about facts that no list shows."""
        return any(getattr(self, name) is not None for name in DETAILS)

    def matches_details(self, cause: Failure | None, metadata: Mapping[str, Any]) -> bool:
        """Return whether a run with this first failure, if any, and metadata fits the part that no list shows."""
        if self.failure_reason and (cause is None or cause.reason.upper() != self.failure_reason):
            return False
        if self.failing_step and (cause is None or cause.where.casefold() != self.failing_step.casefold()):
            return False
        return all(key in metadata and str(metadata[key]) == value for key, value in (self.metadata or {}).items())

    def description(self) -> str:
        """Describe the filters in a phrase."""
        parts = [
            self.status.replace(",", " or ") if self.status else None,
            f"workflow {self.workflow_id}" if self.workflow_id else None,
            f"version {self.workflow_version}" if self.workflow_version else None,
            f"batch {self.batch}" if self.batch else None,
            f"file name contains {Label(self.file_name_contains):120}" if self.file_name_contains else None,
            *(
                f"{name.replace('_', ' ')} {format_instant(moment)}"
                for name, field in MOMENTS.items()
                if (moment := getattr(self, field))
            ),
            f"reviewed by {Label(self.reviewer):120}" if self.reviewer else None,
            f"failed with {Code(self.failure_reason)}" if self.failure_reason else None,
            f"failed in step {Label(self.failing_step):120}" if self.failing_step else None,
            *(f"metadata {Label(key):60} = {Label(value):60}" for key, value in (self.metadata or {}).items()),
        ]
        return ", ".join(part for part in parts if part)


MOMENTS: Final = {
    "created_since": "since",
    "created_before": "before",
    "updated_since": "changed_since",
    "updated_before": "changed_before",
}
RESOLVED = ("workflow_id", *MOMENTS.values())
SHOWING = ("sort_by", "sort_dir", "ids_only", "page_size")
"""These and `RESOLVED` are the fields of `RunFilter` that are not arguments of each tool."""

DETAILS: Final = frozenset({"failure_reason", "failing_step", "metadata"})
"""The filters by facts that no list shows: a tool that does not look into single runs leaves them out."""

OF_LISTS: Final = frozenset({"reviewer", "updated_since", "updated_before"})
"""The filters that only a list of runs takes: figures and actions are of runs by their creation."""


def takes_run_filter(
    *, without: Collection[str] = ()
) -> Callable[[Callable[..., Awaitable[ViewT]]], Callable[..., Awaitable[ViewT]]]:
    """Replace a tool's parameter ``filters`` by one for each argument of `RunFilter` but those ``without``."""
    arguments = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in get_type_hints(RunFilter, include_extras=True).items()
        if name in RunFilter.model_fields and name not in (*RESOLVED, *SHOWING, *without)
    }

    def replace(function: Callable[..., Awaitable[ViewT]]) -> Callable[..., Awaitable[ViewT]]:
        @functools.wraps(function)
        async def tool(**given: Any) -> ViewT:
            filters = {name: given.pop(name) for name in arguments if name in given}
            return await function(filters=RunFilter(**filters), **given)

        signature = inspect.signature(function, eval_str=True)
        parameters = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in signature.parameters.items()
            for each in (arguments.values() if name == "filters" else (parameter,))
        ]
        tool.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return tool

    return replace


def _is_within(moment: datetime | None, since: datetime | None, before: datetime | None) -> bool:
    if moment is None:
        return since is before is None
    return (since is None or moment >= since) and (before is None or moment < before)


def parse_argument(now: datetime, name: str, text: str | None) -> datetime | None:
    """Turn a tool's argument into an instant, or refuse it by its name; None stays None."""
    if text is None:
        return None
    try:
        return parse_moment(text, now)
    except ValueError as error:
        raise CallRefusedError(f'{name}: {error}. Example: {name}="24h".') from None


def parse_window(now: datetime, **given: str | None) -> tuple[datetime | None, datetime | None]:
    """Turn two arguments, the begin and the end of a time, into instants, or refuse them by name."""
    since, before = (parse_argument(now, name, text) for name, text in given.items())
    if since and before and since >= before:
        first, last = given
        raise CallRefusedError(f"{first} must be earlier than {last}.")
    return since, before
