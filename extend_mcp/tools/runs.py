"""Tools that read workflow runs."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import Annotated, Any

import anyio
import anyio.to_thread
from pydantic import Field, ValidationError

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import Page, RunBase, WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import PAGE_SIZE
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.history.details import RunDetails
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import CHILD_KINDS, Failure, unexplained_steps
from extend_mcp.runs.lifecycle import MOVING, is_moving
from extend_mcp.runs.statistics import RunFacts, run_facts
from extend_mcp.runs.timing import Timing, UsualTime, timings, usual_time
from extend_mcp.scopes import WORKFLOWS_READ
from extend_mcp.tools.args import (
    DetailLevel,
    Example,
    PageNumber,
    PageSize,
    PageToken,
    RunId,
    SortBy,
    SortDir,
    StepSelector,
)
from extend_mcp.tools.name_resolution import select_step
from extend_mcp.tools.pagination import PagePosition, open_token
from extend_mcp.tools.run_filter import RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import Deadline, Failures, read_facts, read_failures, version_steps
from extend_mcp.tools.stuck import find_stuck
from extend_mcp.tools.toolsets import READ_ONLY, RUNS
from extend_mcp.views.incidents import stuck_view
from extend_mcp.views.instructions import CAUTION
from extend_mcp.views.runs import RunView, Surroundings, run_view
from extend_mcp.views.steps import NoSuchPartError, StepResultView, step_view
from extend_mcp.views.tables import RunListView, check_words, failure_words, rejection_words, run_list_view
from extend_mcp.views.untrusted import Note
from extend_mcp.views.uris import RESOURCE_CHARS, run_uri, step_uri

_USUAL_SECONDS = 60.0
_MOST_CHILDREN = 3
"""Failed steps of a run that are looked up among its child runs."""

CAUSED = ("FAILED", "NEEDS_REVIEW")
"""Statuses whose cause no list shows. Why a run was rejected is in the list."""

_CAUSE_SECONDS = 20.0
"""Time that a list spends on single runs."""

_CANDIDATES = 24
"""Runs that are looked into at once for a filter by cause."""

ResultPath = Annotated[
    str, Field(min_length=1, max_length=500, description="Only this path"), Example("line_items[0].amount")
]
LineText = Annotated[str, Field(min_length=1, max_length=200, description="Only lines with this text")]

Place = tuple[str | None, int]
"""The token of a page, and how many of its runs were taken before."""

Places = tuple[Place | None, ...]
"""The place in each list that is read; None at its end."""


class _Search(RunFilter):
    """Arguments of a list of runs, as its page tokens contain them."""

    sort_by: SortBy | None = None
    sort_dir: SortDir = "desc"
    ids_only: bool = False
    page_size: PageSize = 20

    @property
    def order(self) -> SortBy:
        """The time by which the list is sorted: that of the last change, if changes of some time are wanted."""
        return self.sort_by or ("updatedAt" if self.changed_since or self.changed_before else "createdAt")

    @property
    def streams(self) -> tuple[str | None, ...]:
        """The status of each list of the API that is read: it filters by one status."""
        if self.needs_causes and not self.status:
            return ("FAILED",)
        return self.statuses or (None,)

    @property
    def needs_causes(self) -> bool:
        """True if only runs that failed in some way are wanted."""
        return self.failure_reason is not None or self.failing_step is not None

    def description_with_order(self) -> str:
        """Describe the filters and the order, for the answer's first line."""
        order = f"{self.order.removesuffix('At')} {'latest' if self.sort_dir == 'desc' else 'earliest'} first"
        return ", ".join(part for part in (self.description(), order) if part)

    def moment(self, run: WorkflowRunSummary) -> datetime | None:
        """Return the time by which the list is sorted."""
        return run.created_at if self.order == "createdAt" else run.updated_at

    def key(self, head: tuple[WorkflowRunSummary, object]) -> tuple[datetime, str]:
        """Return the sort key of a run that is the next of its list."""
        return self.moment(head[0]) or datetime.min.replace(tzinfo=timezone.utc), head[0].id

    def is_past(self, run: WorkflowRunSummary) -> bool:
        """Return whether the order rules out that any later run matches."""
        moment = self.moment(run)
        if moment is None:
            return False
        if self.sort_dir == "desc":
            # A run is never updated before it is created, so the first holds for both orders.
            first = self.since if self.order == "createdAt" else self.changed_since or self.since
            return first is not None and moment < first
        last = self.before if self.order == "createdAt" else self.changed_before
        return last is not None and moment >= last


@RUNS.tool(title="List workflow runs", annotations=READ_ONLY, view="board")
@takes_run_filter(without={"metadata"})
async def list_runs(
    ctx: Ctx,
    filters: RunFilter,
    sort_by: Annotated[SortBy, Example("updatedAt")] | None = None,
    sort_dir: Annotated[SortDir, Example("asc")] = "desc",
    stuck: bool = False,
    ids_only: Annotated[bool, Field(description="Short: ids by workflow and status")] = False,
    page_size: Annotated[PageSize, Field(description="Runs per page")] = 20,
    page_token: PageToken | None = None,
) -> RunListView:
    """List workflow runs, newest first; those that failed, were rejected or wait for review with the cause.
    To learn more of one, pass its id to get_workflow_run. With stuck: those that hang, whose fault it probably is, and
    the usual times.
    """
    app = caller_context(ctx)
    if stuck:
        if not set(filters.statuses) <= set(MOVING):
            raise CallRefusedError(f"stuck: only {', '.join(MOVING)} runs can be stuck.")
        if filters.needs_details or filters.reviewer:
            raise CallRefusedError("stuck: a run that failed or was reviewed does not hang; leave out these filters.")
        found = await find_stuck(app, await filters.resolve(app), Deadline(ctx, app), shown=page_size)
        return stuck_view(found, shown=page_size, limit=app.limits.answer_chars)
    given = {"sort_by": sort_by, "sort_dir": sort_dir, "ids_only": ids_only, "page_size": page_size}
    search = _Search(**filters.model_dump(), **given)
    place = open_token("list_runs", search.model_dump(exclude_defaults=True), page_token)
    try:
        search = _Search.model_validate(place.a).with_plain_times(app) if page_token else await search.resolve(app)
    except ValidationError:
        raise CallRefusedError("page_token is not one that list_runs gave. Start again without it.") from None
    deadline = Deadline(ctx, app, _CAUSE_SECONDS)
    page = await _find(app, search, place, deadline)
    notes = []
    if page.ended_by:
        notes.append(f"Stopped after {page.ended_by}: there may be more matches further on.")
    # Only a list of such runs is worth a request for each; in others, what is kept is shown.
    reads = not search.ids_only and (search.needs_causes or bool(set(search.statuses) & set(CAUSED)))
    causes, unknown = await _read_causes(app, deadline, page, read=reads)
    if reads and unknown:
        notes.append(f"Why {unknown:,} of these failed or wait could not be read in time.")

    arguments = search.model_dump(mode="json", exclude_defaults=True, exclude=search.plain_times)

    def token_after(count: int) -> str | None:
        places = page.places[count - 1] if 0 < count < len(page.runs) else page.next
        if not any(places):
            return None
        if len(places) == 1 and places[0]:
            return PagePosition(k=place.k, a=arguments, t=places[0][0], s=places[0][1]).encode()
        return PagePosition(k=place.k, a=arguments, m=list(places)).encode()

    return run_list_view(
        page.runs,
        causes=causes,
        token_after=token_after,
        filters=search.description_with_order(),
        ids_only=search.ids_only,
        note=" ".join(notes) or None,
        now=app.clock.now(),
        limit=app.limits.answer_chars,
    )


@dataclass
class _Found:
    """A page of runs, with the places after each of them and after them all.

    ``ended_by`` says what was done when a bound ended the search early. ``causes`` are what those runs showed that were
    read for a filter by cause.
    """

    runs: list[WorkflowRunSummary] = field(default_factory=list)
    places: list[Places] = field(default_factory=list)
    next: Places = ()
    ended_by: str | None = None
    causes: dict[str, RunDetails] = field(default_factory=dict)


async def _find(app: CallerContext, search: _Search, start: PagePosition, deadline: Deadline) -> _Found:
    """Read as many API pages as one page of the answer needs, within the operator's bounds."""
    count = len(search.streams)
    most_pages = app.limits.filter_pages + count - 1
    budget = iter(range(most_pages))
    streams = [
        _Stream(app, search, status, budget, at)
        for status, at in zip(search.streams, start.m or [(start.t, start.s)] * count, strict=True)
    ]
    first_of = max if search.sort_dir == "desc" else min
    found = _Found()
    causes = _Causes(app, search, deadline, found.causes) if search.needs_causes else None
    while len(found.runs) < search.page_size and not found.ended_by:
        taken: list[tuple[WorkflowRunSummary, Places]] = []
        wanted = _CANDIDATES if causes else search.page_size - len(found.runs)
        try:
            while len(taken) < wanted:
                heads = [(run, stream) for stream in streams if (run := await stream.head())]
                if not heads:
                    break
                run, stream = first_of(heads, key=search.key) if len(heads) > 1 else heads[0]
                stream.skip += 1
                taken.append((run, tuple([stream.position for stream in streams])))
        except _BudgetSpentError:
            found.ended_by = f"reading {most_pages} API pages"
        if not taken:
            break
        if causes and not await causes.look_into([run_facts(run) for run, _ in taken]):
            found.ended_by = f"looking into {causes.count:,} runs"
        for run, after in taken:
            if causes and not causes.fits(run.id):
                continue
            found.runs.append(run)
            found.places.append(after)
            if len(found.runs) == search.page_size:
                found.next, found.ended_by = after, None
                return found
    found.next = tuple(stream.position for stream in streams)
    found.ended_by = found.ended_by if any(found.next) else None
    return found


class _Causes:
    """Looks into runs for a filter by cause: ``found`` gets what those show that were read, ``count`` is how many."""

    def __init__(self, app: CallerContext, search: _Search, deadline: Deadline, found: dict[str, RunDetails]) -> None:
        self.count = 0
        self._app = app
        self._search = search
        self._deadline = deadline
        self._found = found
        self._failures: Failures | None = None

    async def look_into(self, runs: list[RunFacts]) -> bool:
        """Read what is not known; return whether more may be read."""
        if self._search.failure_reason and self.count:
            runs = await self._without_others(runs, self._search.failure_reason)
        read = await read_facts(self._app, self._deadline, runs)
        self._found |= read.found
        self.count += len(runs)
        return not read.skipped and self.count < self._app.limits.detail_runs

    async def _without_others(self, runs: list[RunFacts], reason: str) -> list[RunFacts]:
        # Much faster than looking into each, where few of many runs failed for this reason.
        if self._failures is None:
            self._failures = await read_failures(self._app, self._deadline, self._search.since)
        known = self._failures.children_of(runs)
        return [
            run for run in runs if run.id not in known or (known[run.id].failure_reason or reason).upper() == reason
        ]

    def fits(self, run_id: str) -> bool:
        """Return whether a run failed as wanted."""
        details = self._found.get(run_id)
        return bool(details and self._search.matches_details(Failure(details.step, details.reason, ""), {}))


class _BudgetSpentError(Exception):
    """As many API pages were read as one call may read."""


class _Stream:
    """One list of the API, read from a place as far as needed; ``budget`` has an item for each page to read at most."""

    def __init__(
        self, app: CallerContext, search: _Search, status: str | None, budget: Iterator[int], at: Place | None
    ) -> None:
        query = search.api_query(sort_by=search.order, sort_dir=search.sort_dir)
        query["status"] = status
        # Without filters of our own an API page is exactly an answer's page.
        self._filters = search.filters_here
        query["max_page_size"] = PAGE_SIZE if self._filters else search.page_size
        self._read = partial(app.api.list_workflow_runs, **query)
        self._search = search
        self._budget = budget
        self._page: Page[WorkflowRunSummary] | None = None
        self._ended = at is None
        self._token, self.skip = at or (None, 0)

    async def head(self) -> WorkflowRunSummary | None:
        """Return the next run that fits, without taking it; None at the end."""
        while not self._ended:
            if self._page is None:
                if next(self._budget, None) is None:
                    raise _BudgetSpentError
                self._page = await self._read(next_page_token=self._token)
            while self.skip < len(self._page.data):
                run = self._page.data[self.skip]
                if self._filters and self._search.is_past(run):
                    self._ended = True
                    return None
                if not self._filters or self._search.matches(run):
                    return run
                self.skip += 1
            self._ended = self._page.next_page_token is None
            self._token, self.skip, self._page = self._page.next_page_token, 0, None
        return None

    @property
    def position(self) -> Place | None:
        """The place of the next run: the token of its page, and how many runs of that are before it."""
        if self._ended:
            return None
        if self._page is None:
            return self._token, self.skip
        if self.skip < len(self._page.data):
            ends_here = self._filters and self._search.is_past(self._page.data[self.skip])
            return None if ends_here else (self._token, self.skip)
        return (self._page.next_page_token, 0) if self._page.next_page_token else None


async def _read_causes(
    app: CallerContext, deadline: Deadline, page: _Found, *, read: bool
) -> tuple[dict[str, str], int]:
    """Return why runs failed or wait and whether their texts speak to an assistant, and how many causes are not known.

    What is not kept is read only with ``read``.
    """
    open_runs = [run for run in page.runs if run.status in CAUSED and run.id not in page.causes]
    known = dict(page.causes)
    if open_runs and read:
        known |= (await read_facts(app, deadline, [run_facts(run) for run in open_runs])).found
    if app.histories and app.histories.is_open and (history := await app.history()):
        known = await history.details([run.id for run in page.runs if run.id not in known]) | known
    words = {run.id: rejection_words(run) for run in page.runs if run.status == "REJECTED"}
    for run in page.runs:
        details = known.get(run.id)
        if details and details.status == run.status == "FAILED":
            words[run.id] = failure_words(details.step, details.reason)
        elif details and details.status == run.status == "NEEDS_REVIEW":
            check = next(iter(details.checks), None)
            words[run.id] = check_words(*check) if check else "its steps do not say which check it did not pass"
    unknown = sum(run.id not in words for run in open_runs)
    for run in page.runs:
        if (details := known.get(run.id)) and details.speaks:
            words[run.id] = "; ".join([CAUTION, *filter(None, [words.get(run.id)])])
    return words, unknown


@RUNS.tool(title="Explain a workflow run", annotations=READ_ONLY, view="run")
async def get_workflow_run(run_id: RunId, ctx: Ctx, detail: DetailLevel = "concise", page: PageNumber = 1) -> RunView:
    """Explain one run: status, progress, what failed and why, what it waits for, credits.
    Use it with an id from list_runs or the user. detail="full" adds ids, metadata and charges, in pages.
    """
    app = caller_context(ctx)
    run = await read_run(app, run_id)
    show = partial(run_view, run, now=app.clock.now(), around=await _surroundings(app, run))
    view = show(detail=detail, page=page, limit=app.limits.answer_chars)
    if view.cut or (view.details and view.details.pages > 1):
        whole = show(detail="concise", page=1, limit=RESOURCE_CHARS)
        view.with_link(run_uri(run.id), "All steps of the run", len(whole.text.encode()))
    return view


async def read_run(app: CallerContext, run_id: str) -> WorkflowRun:
    """Read a run and, where a failed step does not hold its child run, the child run that has the reason."""
    run = await app.api.get_workflow_run(run_id)
    for step in unexplained_steps(run)[:_MOST_CHILDREN]:
        kind, key = CHILD_KINDS[step.step_type]
        with suppress(ExtendError):
            page = await app.api.list_child_runs(kind, source_id=run.id, status="FAILED", max_page_size=20)
            files = {file.id for file in step.files}
            # A step that takes the parts of a file has a child run for each.
            fitting = [child for child in page.data if len(page.data) == 1 or child.file.id in files]
            if len(fitting) == 1:
                step.result = {**(step.result or {}), key: fitting[0].model_dump(mode="json", by_alias=True)}
    return run


async def _surroundings(app: CallerContext, run: WorkflowRun) -> Surroundings:
    """Read what explains a run that moves or waits. What cannot be read is left out: the run itself is the answer."""
    found: dict[str, Any] = {}

    async def note(name: str, read: Awaitable[Any]) -> None:
        with suppress(ExtendError):
            found[name] = await read

    async with anyio.create_task_group() as group:
        if is_moving(run.status) or run.status == "NEEDS_REVIEW":
            group.start_soon(note, "changed_at", _last_change(app, run))
        if is_moving(run.status):
            group.start_soon(note, "usual", _usual_time(app, run))
        elif run.status == "NEEDS_REVIEW" and app.caller.has_scope(WORKFLOWS_READ):
            group.start_soon(note, "definition", definition_of(app, run))
    return Surroundings(**found)


async def _last_change(app: CallerContext, run: WorkflowRun) -> datetime | None:
    # Only a list says when a run last changed, and it cannot be asked for one id.
    page = await app.api.list_workflow_runs(
        status=run.status,
        workflow_id=run.workflow.id or None,
        batch_id=run.batch_id,
        file_name_contains=run.files[0].name[:255] or None if run.files else None,
        sort_by="updatedAt",
        sort_dir="desc",
        max_page_size=20,
    )
    return next((each.updated_at for each in page.data if each.id == run.id), None)


async def _usual_time(app: CallerContext, run: WorkflowRun) -> UsualTime | None:
    async def read() -> list[Timing]:
        page = await app.api.list_workflow_runs(
            status="PROCESSED",
            workflow_id=run.workflow.id or None,
            sort_by="createdAt",
            sort_dir="desc",
            max_page_size=PAGE_SIZE,
        )
        return timings(page.data)

    return usual_time(run, await app.remember(f"timings of {run.workflow.id}", _USUAL_SECONDS, read))


async def definition_of(app: CallerContext, run: RunBase) -> list[dict[str, Any]]:
    """Return the steps of the version that a run used."""
    version = run.workflow_version
    if version.version == "draft" or not version.id:
        return (await app.api.get_workflow_version(run.workflow.id, version.id or version.version)).steps
    return await version_steps(app, run.workflow.id, version.id)


@RUNS.tool(title="Read a step's result", annotations=READ_ONLY)
async def get_step_result(
    run_id: RunId,
    step: StepSelector,
    ctx: Ctx,
    field: ResultPath | None = None,
    contains: LineText | None = None,
    detail: DetailLevel = "concise",
    page: PageNumber = 1,
) -> StepResultView:
    """Read what one step found, in pages: text chunks, extracted fields with confidence, rules, splits.
    Use it after get_workflow_run, which lists the steps. detail="full" gives every field of the API's result.
    """
    app = caller_context(ctx)
    run = await app.api.get_workflow_run(run_id)
    chosen = select_step(run.step_runs, step)
    try:
        limit = app.limits.answer_chars
        show = partial(step_view, run, chosen, detail=detail, page=page, limit=limit, field=field, contains=contains)
        # A step can hold millions of characters, and others wait while they are cleaned here.
        view = await anyio.to_thread.run_sync(show)
    except NoSuchPartError as error:
        raise CallRefusedError(f"field: the result has no such part. It begins with: {Note(error):400}.") from None
    if view.step_result.pages > 1:
        show = partial(step_view, run, chosen, detail="full", page=1, limit=RESOURCE_CHARS)
        whole = await anyio.to_thread.run_sync(show)
        view.with_link(step_uri(run.id, chosen.id or step), "The step's whole result", len(whole.text.encode()))
    return view
