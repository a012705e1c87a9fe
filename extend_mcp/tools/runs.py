"""Tools that read workflow runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from itertools import takewhile
from typing import Annotated, Any

import anyio
import anyio.to_thread
from pydantic import Field

from extend_mcp.api.errors import ExtendError
from extend_mcp.api.models import RunBase, WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import PAGE_SIZE
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.history.details import RunDetails
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import CHILD_KINDS, unexplained_steps
from extend_mcp.runs.lifecycle import MOVING, is_moving
from extend_mcp.runs.statistics import run_facts
from extend_mcp.runs.timing import Timing, UsualTime, timings, usual_time
from extend_mcp.scopes import WORKFLOWS_READ
from extend_mcp.tools import args
from extend_mcp.tools.name_resolution import select_step
from extend_mcp.tools.pagination import PagePosition, Place, open_token
from extend_mcp.tools.run_filter import MOMENTS, RunFilter, takes_run_filter
from extend_mcp.tools.run_scan import Deadline, Failures, read_facts, read_failures, version_steps
from extend_mcp.tools.stuck import find_stuck
from extend_mcp.tools.toolsets import READ_ONLY, RUNS
from extend_mcp.views.incidents import stuck_view
from extend_mcp.views.instructions import CAUTION
from extend_mcp.views.runs import RunView, run_view
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
    str, Field(min_length=1, max_length=500, description="Only this path", examples=["line_items[0].amount"])
]
LineText = Annotated[str, Field(min_length=1, max_length=200, description="Only lines with this text")]

Places = list[Place | None]
"""The place in each list that is read; None at its end."""


class _Search(RunFilter):
    """Arguments of a list of runs, as its page tokens contain them."""

    sort_by: args.SortBy | None = None
    sort_dir: args.SortDir = "desc"
    ids_only: bool = False
    page_size: args.PageSize = 20

    @property
    def order(self) -> args.SortBy:
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

    def key(self, run: WorkflowRunSummary) -> tuple[datetime, str]:
        """Return a sort key: the oldest run first."""
        return self.moment(run) or datetime.min.replace(tzinfo=timezone.utc), run.id

    def is_past(self, run: WorkflowRunSummary) -> bool:
        """Return whether the order rules out that this run or any later one matches."""
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
    sort_by: args.SortBy | None = None,
    sort_dir: args.SortDir = "desc",
    stuck: bool = False,
    ids_only: Annotated[bool, Field(description="Short: ids by workflow and status")] = False,
    page_size: Annotated[args.PageSize, Field(description="Runs per page")] = 20,
    page_token: args.PageToken | None = None,
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
    start = open_token("list_runs", search.model_dump(exclude_defaults=True), page_token)
    # Later pages mean the same: "24h" moves.
    now = datetime.fromtimestamp(start.n or app.clock.now().timestamp() // 1, timezone.utc)
    try:
        search = await _Search.model_validate(start.a).resolve(app, now)
        lists = _Lists(app, search, start)
    except ValueError:
        raise CallRefusedError("page_token is not one that list_runs gave. Start again without it.") from None
    deadline = Deadline(ctx, app, _CAUSE_SECONDS)
    page = await lists.page(deadline)
    runs = [run for run, _ in page]
    notes = []
    if lists.ended_by:
        notes.append(f"Stopped after {lists.ended_by}: there may be more matches further on.")
    # Only a list of such runs is worth a request for each; in others, what is kept is shown.
    reads = not search.ids_only and (search.needs_causes or bool(set(search.statuses) & set(CAUSED)))
    causes, unknown = await _read_causes(app, deadline, runs, lists.causes, read=reads)
    if reads and unknown:
        notes.append(f"Why {unknown:,} of these failed or wait could not be read in time.")
    arguments = search.model_dump(mode="json", exclude_defaults=True, exclude=set(MOMENTS.values()))
    began = int(now.timestamp()) if arguments.keys() & MOMENTS.keys() else None

    def token_after(count: int) -> str | None:
        places = page[count - 1][1] if 0 < count < len(page) else lists.places
        if not any(places):
            return None
        token, skip = places[0] if len(places) == 1 and places[0] else (None, 0)
        several = places if len(places) > 1 else None
        return PagePosition(k=start.k, a=arguments, n=began, t=token, s=skip, m=several).encode()

    return run_list_view(
        runs,
        causes=causes,
        token_after=token_after,
        filters=search.description_with_order(),
        ids_only=search.ids_only,
        note=" ".join(notes) or None,
        now=app.clock.now(),
        limit=app.limits.answer_chars,
    )


class _Lists:
    """The API's lists of a search, one for each status, read as one.

    ``places`` are where each continues, ``ended_by`` what was done when a bound ended the search early, and ``causes``
    what those runs showed that were read for a filter by cause.
    """

    def __init__(self, app: CallerContext, search: _Search, start: PagePosition) -> None:
        self.places: Places = start.m or [(start.t, start.s)] * len(search.streams)
        self.ended_by: str | None = None
        self.causes: dict[str, RunDetails] = {}
        self._app = app
        self._search = search
        self._pages_left = self._most_pages = app.limits.filter_pages + len(self.places) - 1
        lists = zip(range(len(self.places)), search.streams, strict=True)
        self._rest = {number: self._runs(number, status) for number, status in lists}
        self._heads: dict[int, tuple[WorkflowRunSummary, Place | None]] = {}

    async def page(self, deadline: Deadline) -> list[tuple[WorkflowRunSummary, Places]]:
        """Read as many API pages as one page of the answer needs, within the operator's bounds."""
        app, search, looked_into = self._app, self._search, 0
        found: list[tuple[WorkflowRunSummary, Places]] = []
        failures: Failures | None = None
        while self.ended_by is None:
            wanted = _CANDIDATES if search.needs_causes else search.page_size
            taken = await self._take(wanted)
            if taken and search.needs_causes:
                runs = [run_facts(run) for run, _ in taken]
                if search.failure_reason and looked_into:
                    # Much faster than looking into each, where few of many runs failed for this reason.
                    failures = failures or await read_failures(app, deadline, search.since)
                    runs = failures.leave_out_other_reasons(runs, search.failure_reason)
                read = await read_facts(app, deadline, runs)
                self.causes |= read.found
                looked_into += len(runs)
                if read.skipped or looked_into >= app.limits.detail_runs:
                    self.ended_by = f"looking into {looked_into:,} runs"
            for run, after in taken:
                details = self.causes.get(run.id)
                if not search.needs_causes or (details and search.matches_details(details.cause, {})):
                    found.append((run, after))
                    if len(found) == search.page_size:
                        self.places, self.ended_by = after, None
                        return found
            if len(taken) < wanted:
                break
        self.ended_by = self.ended_by if any(self.places) else None
        return found

    async def _take(self, most: int) -> list[tuple[WorkflowRunSummary, Places]]:
        """Take the next runs that fit, and the places after each; fewer at the end or where reading is cut."""
        taken: list[tuple[WorkflowRunSummary, Places]] = []
        first_of = max if self._search.sort_dir == "desc" else min
        while len(taken) < most:
            for number in [each for each in self._rest if each not in self._heads]:
                if head := await anext(self._rest[number], None):
                    self._heads[number] = head
                else:
                    del self._rest[number]
            if self.ended_by or not self._heads:
                break
            number = next(iter(self._heads))
            if len(self._heads) > 1:
                number = first_of(self._heads, key=lambda each: self._search.key(self._heads[each][0]))
            run, after = self._heads.pop(number)
            self._move(number, after)
            taken.append((run, self.places))
        return taken

    async def _runs(self, number: int, status: str | None) -> AsyncIterator[tuple[WorkflowRunSummary, Place | None]]:
        """Iterate over the runs of one list that fit, and the place after each."""
        search = self._search
        query = search.api_query(sort_by=search.order, sort_dir=search.sort_dir)
        query["status"] = status
        # Without filters of our own an API page is exactly an answer's page.
        is_filtered = search.filters_here
        query["max_page_size"] = PAGE_SIZE if is_filtered else search.page_size
        while place := self.places[number]:
            if not self._pages_left:
                self.ended_by = f"reading {self._most_pages} API pages"
                return
            self._pages_left -= 1
            token, skip = place
            query["next_page_token"] = token
            page = await self._app.api.list_workflow_runs(**query)
            runs: Sequence[WorkflowRunSummary] = page.data[skip:]
            if is_filtered:
                runs = list(takewhile(lambda run: not search.is_past(run), runs))
            is_end = page.next_page_token is None or skip + len(runs) < len(page.data)
            following = None if is_end else (page.next_page_token, 0)
            for count, run in enumerate(runs, 1):
                if not is_filtered or search.matches(run):
                    yield run, (token, skip + count) if count < len(runs) else following
            self._move(number, following)

    def _move(self, number: int, place: Place | None) -> None:
        self.places = [*self.places[:number], place, *self.places[number + 1 :]]


async def _read_causes(
    app: CallerContext, deadline: Deadline, runs: list[WorkflowRunSummary], known: dict[str, RunDetails], *, read: bool
) -> tuple[dict[str, str], int]:
    """Return why runs failed or wait and whether their texts speak to an assistant, and how many causes are not known.

    What is not kept is read only with ``read``.
    """
    unread = [run for run in runs if run.status in CAUSED and run.id not in known]
    if unread and read:
        known |= (await read_facts(app, deadline, [run_facts(run) for run in unread])).found
    if app.histories and app.histories.is_open and (history := await app.history()):
        known |= await history.details([run.id for run in runs if run.id not in known])
    words: dict[str, str] = {}
    for run in runs:
        details = known.get(run.id)
        said = [CAUTION] if details and details.speaks else []
        if run.status == "REJECTED":
            said.append(rejection_words(run))
        elif details and details.status == run.status == "FAILED":
            said.append(failure_words(details.step, details.reason))
        elif details and details.status == run.status == "NEEDS_REVIEW":
            check = next(iter(details.checks), None)
            said.append(check_words(*check) if check else "its steps do not say which check it did not pass")
        if said:
            words[run.id] = "; ".join(said)
    return words, sum(not (run.id in known and known[run.id].status == run.status) for run in unread)


@RUNS.tool(title="Explain a workflow run", annotations=READ_ONLY, view="run")
async def get_workflow_run(
    run_id: args.RunId, ctx: Ctx, detail: args.DetailLevel = "concise", page: args.PageNumber = 1
) -> RunView:
    """Explain one run: status, progress, what failed and why, what it waits for, credits.
    Use it with an id from list_runs or the user. detail="full" adds ids, metadata and charges, in pages.
    """
    app = caller_context(ctx)
    run = await read_run(app, run_id)
    show = partial(run_view, run, now=app.clock.now(), **await _surroundings(app, run))
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


async def _surroundings(app: CallerContext, run: WorkflowRun) -> dict[str, Any]:
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
    return found


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
    run_id: args.RunId,
    step: args.StepSelector,
    ctx: Ctx,
    field: ResultPath | None = None,
    contains: LineText | None = None,
    detail: args.DetailLevel = "concise",
    page: args.PageNumber = 1,
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
