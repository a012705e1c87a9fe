"""Finding runs and workflows: what the API can filter it filters, the rest is done by walking its pages.

The API lists runs by status, workflow id, batch and file name, but not by time of creation or workflow
name (Extend API reference, List Workflow Runs), and gives no totals.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from extend_mcp.api.models import StepRun, WorkflowRunSummary, WorkflowSummary
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.ids import is_workflow_id
from extend_mcp.runs.times import format_instant, parse_moment
from extend_mcp.tools.app import App
from extend_mcp.tools.page_tokens import API_PAGE, Place, pack, unpack
from extend_mcp.views.untrusted import Label

SortBy = Literal["createdAt", "updatedAt"]
SortDir = Literal["asc", "desc"]

_MOST_CANDIDATES = 8


class RunQuery(BaseModel):
    """Which runs, in which order: the arguments as they were given, and what was made of three of them.

    The made ones travel in page tokens too, so that a later page means the same: "24h" moves on, a name may change.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)

    status: str | None = None
    workflow: str | None = None
    batch: str | None = None
    file_name_contains: str | None = None
    created_since: str | None = None
    created_before: str | None = None
    sort_by: SortBy = "createdAt"
    sort_dir: SortDir = "desc"
    page_size: int = Field(20, ge=1, le=100)

    workflow_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None

    def words(self) -> str:
        """The filters and the order in words, for the answer's first line."""
        order = f"{self.sort_by.removesuffix('At')} {'latest' if self.sort_dir == 'desc' else 'earliest'} first"
        return ", ".join(part for part in (self.filters(), order) if part)

    def filters(self) -> str:
        """The filters in words."""
        said = [
            self.status,
            f"workflow {self.workflow_id}" if self.workflow_id else None,
            f"batch {self.batch}" if self.batch else None,
            f"file name contains {Label(self.file_name_contains):120}" if self.file_name_contains else None,
            f"created since {format_instant(self.since)}" if self.since else None,
            f"created before {format_instant(self.before)}" if self.before else None,
        ]
        return ", ".join(part for part in said if part)

    def differs_from(self, given: dict[str, Any]) -> list[str]:
        """Names of the arguments in ``given`` that this query did not begin with."""
        return [name for name, value in given.items() if getattr(self, name) != value]


async def read_query(app: App, given: dict[str, Any]) -> RunQuery:
    """Make a query of a tool's arguments: times become instants, a workflow's name its id.

    Raises:
        CallRefusedError: a time is none, the times exclude each other, or the workflow's name does not name one.
    """
    query = RunQuery.model_validate(given)
    query.since = _moment(app, "created_since", query.created_since)
    query.before = _moment(app, "created_before", query.created_before)
    if query.since and query.before and query.since >= query.before:
        raise CallRefusedError("created_since must be earlier than created_before.")
    query.workflow_id = await resolve_workflow(app, query.workflow) if query.workflow else None
    return query


@dataclass(frozen=True)
class Position:
    """Where a search goes on: behind how many items of which API page."""

    token: str | None = None
    skip: int = 0


@dataclass(frozen=True)
class Found:
    """A page of runs.

    Attributes:
        runs: the runs.
        places: for each run the place right behind it.
        next: where the search goes on behind them all; None at its end.
        bounded_after: how many API pages were read, where the bound on them ended the search early.
    """

    runs: list[WorkflowRunSummary]
    places: list[Position]
    next: Position | None
    bounded_after: int | None = None

    def place_after(self, count: int) -> Position | None:
        """Where the search goes on when only the first ``count`` runs are shown."""
        return self.places[count - 1] if 0 < count < len(self.runs) else self.next


def encode_page_token(query: RunQuery, position: Position) -> str:
    """Put a query and a position into one opaque token."""
    return pack(_PageToken(q=query, t=position.token, s=position.skip))


def decode_page_token(token: str, given: dict[str, Any]) -> tuple[RunQuery, Position]:
    """Read a token made by :func:`encode_page_token`.

    Args:
        token: as the model gave it back.
        given: the other arguments of this call; each must be as it was on the first page.

    Raises:
        CallRefusedError: it is not one of ours, or comes with other arguments than before.
    """
    query, position = _read_page_token(token)
    if changed := query.differs_from(given):
        raise CallRefusedError(
            f"page_token goes on with the search it came from; {', '.join(changed)} changed. Give it alone."
        )
    return query, position


class _PageToken(Place):
    """What a page token holds: the query, and the place in its list."""

    q: RunQuery


def _read_page_token(token: str) -> tuple[RunQuery, Position]:
    try:
        told = unpack(_PageToken, token)
    except ValueError:
        raise CallRefusedError("page_token is not one that list_runs gave. Start again without it.") from None
    return told.q, Position(told.t, told.s)


async def find_runs(app: App, query: RunQuery, position: Position) -> Found:
    """Read as many API pages as one page of the answer needs, within the operator's bound."""
    runs: list[WorkflowRunSummary] = []
    places: list[Position] = []
    filtered = query.since is not None or query.before is not None
    # Without filters of our own an API page is exactly an answer's page.
    size = API_PAGE if filtered else query.page_size
    for _ in range(app.settings.walk_pages):
        page = await app.api.list_workflow_runs(
            status=query.status,
            workflow_id=query.workflow_id,
            batch_id=query.batch,
            file_name_contains=query.file_name_contains,
            sort_by=query.sort_by,
            sort_dir=query.sort_dir,
            next_page_token=position.token,
            max_page_size=size,
        )
        for index, run in enumerate(page.data[position.skip :], position.skip + 1):
            if _past_the_end(query, run):
                return Found(runs, places, None)
            if not _matches(query, run):
                continue
            runs.append(run)
            places.append(Position(position.token, index))
            if len(runs) == query.page_size:
                if index < len(page.data):
                    return Found(runs, places, places[-1])
                return Found(runs, places, Position(page.next_page_token) if page.next_page_token else None)
        if not page.next_page_token:
            return Found(runs, places, None)
        position = Position(page.next_page_token)
        if not filtered and runs:
            return Found(runs, places, position)
    return Found(runs, places, position, bounded_after=app.settings.walk_pages)


def _matches(query: RunQuery, run: WorkflowRunSummary) -> bool:
    created = run.created_at or run.initial_run_at
    if created is None:
        return query.since is None and query.before is None
    return (query.since is None or created >= query.since) and (query.before is None or created < query.before)


def _past_the_end(query: RunQuery, run: WorkflowRunSummary) -> bool:
    """Whether the order rules out that any later run still matches."""
    moment = run.created_at if query.sort_by == "createdAt" else run.updated_at
    if moment is None:
        return False
    if query.sort_dir == "desc":
        # A run is never updated before it is created, so this holds for both orders.
        return query.since is not None and moment < query.since
    return query.sort_by == "createdAt" and query.before is not None and moment >= query.before


async def resolve_workflow(app: App, given: str) -> str:
    """The id of a workflow named by id or by its exact name (upper and lower case alike).

    Raises:
        CallRefusedError: no workflow, or several, have this name; the text lists what there is.
    """
    if is_workflow_id(given):
        return given
    everything: list[WorkflowSummary] = []
    token: str | None = None
    for _ in range(app.settings.walk_pages):
        page = await app.api.list_workflows(next_page_token=token, max_page_size=API_PAGE)
        everything += page.data
        token = page.next_page_token
        if not token:
            break
    exact = [workflow for workflow in everything if workflow.name == given]
    same = exact or [workflow for workflow in everything if workflow.name.casefold() == given.casefold()]
    if len(same) == 1:
        return same[0].id
    if same:
        raise CallRefusedError(
            f"{len(same)} workflows are called {Label(given):120}; give the id of one: {_names(same)}."
        )
    near = [workflow for workflow in everything if given.casefold() in workflow.name.casefold()]
    some = near or everything
    bound = " (more workflows exist than were read)" if token else ""
    raise CallRefusedError(f"No workflow is called {Label(given):120}{bound}. There are: {_names(some) or 'none'}.")


def _names(workflows: list[WorkflowSummary]) -> str:
    shown = ", ".join(f"{Label(each.name):60} ({each.id})" for each in workflows[:_MOST_CANDIDATES])
    rest = len(workflows) - _MOST_CANDIDATES
    return f"{shown} and {rest} more" if rest > 0 else shown


def select_step(steps: list[StepRun], wanted: str) -> StepRun:
    """The step run meant by a number (from 1), a name, or an id.

    Raises:
        CallRefusedError: none, or several, fit; the text lists them.
    """
    by_id = [step for step in steps if step.id == wanted]
    named = [step for step in steps if step.step.name == wanted] or [
        step for step in steps if wanted.casefold() in (step.step.name.casefold(), step.step_type.casefold())
    ]
    found = by_id or named
    if not found and wanted.isdecimal() and 1 <= int(wanted) <= len(steps):
        found = [steps[int(wanted) - 1]]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(
        f"{number}. {Label(step.step.name or step.step_type):40}"
        for number, step in enumerate(steps, 1)
        if not found or any(step is each for each in found)
    )
    if found:
        raise CallRefusedError(f"{len(found)} steps fit {Label(wanted):120}; give the number of one: {listed[:1500]}.")
    raise CallRefusedError(f"The run has no step {Label(wanted):120}. It has: {listed[:1500] or 'no steps yet'}.")


def _moment(app: App, name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text, app.clock.now())
    except ValueError as error:
        raise CallRefusedError(f'{name}: {error}. Example: {name}="24h".') from None
