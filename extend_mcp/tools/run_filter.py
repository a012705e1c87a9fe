"""One filter of workflow runs for every tool that takes one.

A new filter is a field of `RunFilter`: `takes_run_filter` makes it an argument of each tool, `api_query` or `matches`
applies it, and `description` shows it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from extend_mcp.api.models import RunBase
from extend_mcp.api.requests import WorkflowRunQuery
from extend_mcp.callers import CallerContext
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.statistics import Selection
from extend_mcp.runs.times import format_instant, parse_moment
from extend_mcp.tools.args import BatchId, Example, Moment, SortBy, SortDir, StatusFilter, WorkflowRef
from extend_mcp.tools.name_resolution import resolve_workflow
from extend_mcp.views.untrusted import Label

ViewT = TypeVar("ViewT")


class RunFilter(BaseModel):
    """Select workflow runs: the arguments as given, and the values that `resolve` makes of three of them.

    The API filters by status, workflow id, batch and file name, but not by time of creation (Extend API reference,
    List Workflow Runs). The resolved values are part of page tokens, so that a later page means the same: "24h" moves,
    and a workflow can be renamed.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)

    status: StatusFilter | None = None
    workflow: WorkflowRef | None = None
    batch: BatchId | None = None
    file_name_contains: Annotated[str, Field(min_length=1, max_length=255), Example("invoice")] | None = None
    created_since: Moment | None = None
    created_before: Moment | None = None

    workflow_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None

    async def resolve(self, app: CallerContext) -> Self:
        """Return a copy with instants for the times and an id for the workflow.

        Raises:
            CallRefusedError: a time is invalid, the times exclude each other, or the workflow's name is unknown or
                ambiguous.
        """
        since = _parse(app, "created_since", self.created_since)
        before = _parse(app, "created_before", self.created_before)
        if since and before and since >= before:
            raise CallRefusedError("created_since must be earlier than created_before.")
        workflow_id = await resolve_workflow(app, self.workflow) if self.workflow else None
        return self.model_copy(update={"since": since, "before": before, "workflow_id": workflow_id})

    def api_query(self, *, sort_by: SortBy = "createdAt", sort_dir: SortDir = "desc") -> WorkflowRunQuery:
        """Return the part of the filter that the API applies, and the order."""
        return {
            "status": self.status,
            "workflow_id": self.workflow_id,
            "batch_id": self.batch,
            "file_name_contains": self.file_name_contains,
            "sort_by": sort_by,
            "sort_dir": sort_dir,
        }

    def selection(self) -> Selection:
        """Return the resolved filter for kept runs, which have no file names."""
        return Selection(
            since=self.since.timestamp() if self.since else None,
            before=self.before.timestamp() if self.before else None,
            status=self.status,
            workflow_id=self.workflow_id,
            batch=self.batch,
        )

    @property
    def filters_by_time(self) -> bool:
        """True if the API cannot apply a part of the filter."""
        return self.since is not None or self.before is not None

    def matches(self, run: RunBase) -> bool:
        """Return whether a run fits the part of the filter that the API cannot apply."""
        if run.created is None:
            return not self.filters_by_time
        return (self.since is None or run.created >= self.since) and (self.before is None or run.created < self.before)

    def description(self) -> str:
        """Describe the filters in a phrase."""
        parts = [
            self.status,
            f"workflow {self.workflow_id}" if self.workflow_id else None,
            f"batch {self.batch}" if self.batch else None,
            f"file name contains {Label(self.file_name_contains):120}" if self.file_name_contains else None,
            f"created since {format_instant(self.since)}" if self.since else None,
            f"created before {format_instant(self.before)}" if self.before else None,
        ]
        return ", ".join(part for part in parts if part)


RESOLVED = ("workflow_id", "since", "before")
"""The fields of `RunFilter` that are not arguments of tools."""


def takes_run_filter(function: Callable[..., Awaitable[ViewT]]) -> Callable[..., Awaitable[ViewT]]:
    """Replace a tool's parameter ``filters`` by one parameter for each argument of `RunFilter`."""
    signature = inspect.signature(function, eval_str=True)
    arguments = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in get_type_hints(RunFilter, include_extras=True).items()
        if name in RunFilter.model_fields and name not in RESOLVED
    }

    @functools.wraps(function)
    async def tool(**given: Any) -> ViewT:
        filters = {name: given.pop(name) for name in arguments if name in given}
        return await function(filters=RunFilter(**filters), **given)

    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        for each in (arguments.values() if name == "filters" else (parameter,))
    ]
    tool.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return tool


def _parse(app: CallerContext, name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text, app.clock.now())
    except ValueError as error:
        raise CallRefusedError(f'{name}: {error}. Example: {name}="24h".') from None
