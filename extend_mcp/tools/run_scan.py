"""Read many runs within bounds: a number, a deadline and a concurrency. What was not read is reported."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import anyio

from extend_mcp.actions.store import StoreUnavailableError
from extend_mcp.api.errors import CredentialError, ExtendError
from extend_mcp.api.models import ChildRun, Page, WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import LARGE_PAGE, PAGE_SIZE, ChildRunQuery, WorkflowRunQuery
from extend_mcp.callers import CallerContext, Ctx
from extend_mcp.history.details import RunDetails, run_details
from extend_mcp.runs.failures import CHILD_KINDS, Failure, failed_children, failures_of
from extend_mcp.runs.statistics import RunFacts, run_facts
from extend_mcp.scopes import WORKFLOWS_READ
from extend_mcp.tools.pagination import PagePosition, Place
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.views.document import error_words

if TYPE_CHECKING:
    from extend_mcp.history.history import Freshness, RunHistory

T = TypeVar("T")

CALL_SECONDS = 50.0
"""Time that one call reads, or begins to act: many clients give up on a call after 60 seconds, whatever progress they
see."""

_AT_ONCE = 12
_FEW = 12
"""Failed runs that are read one by one rather than by lists of child runs."""
_MOST_CHILD_PAGES = 3
_VERSION_SECONDS = 3600.0
_MOST_REPORTS = 20
"""Most progress messages of one reading of many runs."""
_READS_A_SAVE = 48


class Deadline:
    """The time by which one call must stop reading, and the progress that it reports until then."""

    def __init__(self, ctx: Ctx, app: CallerContext, seconds: float = CALL_SECONDS) -> None:
        self._ctx = ctx
        self._clock = app.clock
        self._done = 0
        self.extend(seconds)

    @property
    def left(self) -> float:
        """Seconds left; 0 or less when time is up."""
        return self._end - self._clock.monotonic()

    def extend(self, seconds: float) -> Deadline:
        """Begin again with so many seconds, and continue the progress: a client expects it to grow."""
        self._end = self._clock.monotonic() + seconds
        return self

    @contextmanager
    def keeping(self, seconds: float) -> Iterator[None]:
        """Keep so many seconds for what follows the block."""
        self._end -= seconds
        try:
            yield
        finally:
            self._end += seconds

    async def report(self, message: str, *, done: int = 1) -> None:
        """Report progress to the client."""
        self._done += done
        await self._ctx.report_progress(self._done, None, message)


Places = list[Place | None]
"""The place in each list that is read; None at its end."""


class RunLists:
    """The API's lists of the runs that a resolved filter selects, one for each status, read as one.

    ``places`` are where each continues, and ``ended_by`` is what was done when a bound ended the reading early. With a
    deadline, ``problem`` is the error that ended it after the first page; without one, every error is raised.
    """

    def __init__(
        self,
        app: CallerContext,
        filters: RunFilter,
        deadline: Deadline | None = None,
        *,
        streams: Sequence[str | None] = (),
        start: PagePosition | None = None,
        most_pages: int | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        streams, start = streams or filters.streams, start or PagePosition(k="runs")
        self.places: Places = start.m or [(start.t, start.s)] * len(streams)
        self.ended_by: str | None = None
        self.problem: ExtendError | None = None
        self.is_whole = True  # False once runs were left aside because they are of an earlier time
        self._app = app
        self._filters = filters
        self._query = filters.api_query()
        self._deadline = deadline
        self._most_pages = most_pages and most_pages + len(streams) - 1
        self._page_size = page_size
        self._pages = self._count = 0
        self._statuses = dict(zip(range(len(self.places)), streams, strict=True))
        # Of the page of each list that was read last: the runs that fit and were not taken, and the place after it.
        self._read: dict[int, deque[tuple[WorkflowRunSummary, Place | None]]] = {}
        self._following: dict[int, Place | None] = {}

    async def take(self, most: int) -> list[tuple[WorkflowRunSummary, Places]]:
        """Take the next runs that fit, and the places after each; fewer at the end or where reading is cut."""
        taken: list[tuple[WorkflowRunSummary, Places]] = []
        first_of = max if self._query["sort_dir"] == "desc" else min
        while len(taken) < most:
            for number in [number for number in self._statuses if not self._read.get(number)]:
                if not await self._read_on(number):
                    del self._statuses[number]
            if self.ended_by or not self._statuses:
                break
            lists = list(self._statuses)
            number = first_of(lists, key=self._key) if len(lists) > 1 else lists[0]
            run, after = self._read[number].popleft()
            self._move(number, after)
            taken.append((run, self.places))
        return taken

    async def _read_on(self, number: int) -> bool:
        """Read pages of one list up to the next run that fits; return False at its end."""
        filters = self._filters
        query: WorkflowRunQuery = {**self._query, "status": self._statuses[number]}
        is_filtered = filters.filters_here
        # Without filters of our own an API page is exactly an answer's page.
        query["max_page_size"] = PAGE_SIZE if is_filtered else self._page_size
        while True:
            if number in self._following:
                self._move(number, self._following.pop(number))
            if (place := self.places[number]) is None:
                return False
            query["next_page_token"], skip = place
            page = await self._page(query)
            if page is None:
                return False
            runs: Sequence[WorkflowRunSummary] = page.data[skip:]
            if is_filtered:
                runs = list(takewhile(lambda run: not filters.is_past(run), runs))
            is_past = skip + len(runs) < len(page.data)
            self.is_whole = self.is_whole and not is_past
            following = None if is_past or page.next_page_token is None else (page.next_page_token, 0)
            last = skip + len(runs)
            self._read[number] = deque(
                (run, (place[0], count) if count < last else following)
                for count, run in enumerate(runs, skip + 1)
                if not is_filtered or filters.matches(run)
            )
            self._following[number] = following
            self._count += len(self._read[number])
            if self._deadline:
                await self._deadline.report(f"{self._count:,} runs read")
            if self._read[number]:
                return True

    async def _page(self, query: WorkflowRunQuery) -> Page[WorkflowRunSummary] | None:
        """Read a page; None if a bound or an error ends the reading."""
        if self._pages == self._most_pages:
            self.ended_by = f"reading {self._pages} API pages"
            return None
        self._pages += 1
        if self._deadline is None:
            return await self._app.api.list_workflow_runs(**query)
        try:
            if (left := self._deadline.left) > 0:
                with anyio.fail_after(max(left, 1.0)):
                    return await self._app.api.list_workflow_runs(**query)
            self.ended_by = "time was up"
        except TimeoutError:
            self.ended_by = "time was up"
        except ExtendError as error:
            if isinstance(error, CredentialError) or self._pages == 1:
                raise
            self.ended_by, self.problem = "reading stopped", error
        return None

    def _key(self, number: int) -> tuple[datetime, str]:
        run, _ = self._read[number][0]
        return self._filters.moment(run) or datetime.min.replace(tzinfo=timezone.utc), run.id

    def _move(self, number: int, place: Place | None) -> None:
        self.places = [*self.places[:number], place, *self.places[number + 1 :]]


class Scan(NamedTuple):
    """Runs that were read from their list, newest first."""

    runs: list[WorkflowRunSummary]
    missing: str | None  # why reading ended early; None when everything was read
    is_whole: bool  # whether the list has no runs of an earlier time that were left aside


async def scan_runs(
    app: CallerContext,
    deadline: Deadline,
    filters: RunFilter,
    most: int | None = None,
    streams: Sequence[str | None] = (),
) -> Scan:
    """Read the runs that a resolved filter selects; at most so many, by default as many as a summary reads."""
    lists, most = RunLists(app, filters, deadline, streams=streams), most or app.limits.summary_runs
    runs = [run for run, _ in await lists.take(most)]
    missing = f"{lists.ended_by} after {len(runs):,} runs" if lists.ended_by else None
    if lists.problem:
        missing = f"{missing}: {error_words(lists.problem)}"
    elif len(runs) == most and any(lists.places):
        missing = f"only the newest {most:,} runs were read (the operator's bound)"
    return Scan(runs, missing, lists.is_whole)


class Selected(NamedTuple):
    """The runs that a filter selects, newest first."""

    runs: list[RunFacts]
    missing: str | None  # why older runs are missing; None if none are
    reached: datetime | None = None  # every run created from then on is here; None if all are
    begins: datetime | None = None  # creation of the first run that the filters select whatever their times, if known
    held: Freshness | None = None  # how fresh the runs are, if they are kept ones


async def refreshed(
    app: CallerContext, filters: RunFilter, deadline: Deadline, statuses: Collection[str] = ()
) -> tuple[RunHistory, Freshness] | None:
    """Return the kept runs once they can answer about a resolved filter, or None where only the API can.

    As much is read for them as the next question may need too, but no whole account for a narrow question.
    """
    # How Extend compares file names is not documented, so only Extend can apply that filter.
    history = None if filters.file_name_contains else await app.history()
    narrow = bool(statuses or filters.statuses or filters.workflow_id or filters.batch)
    fresh = history and await history.refresh(
        app.api,
        filters.selection(),
        deadline,
        most_pages=kept_pages(app),
        only_if_held=filters.since is None and narrow,
    )
    return (history, fresh) if history and fresh else None


def kept_pages(app: CallerContext) -> int:
    """Return how many pages of runs may be read for one question to keep them."""
    return -(-app.limits.summary_runs // PAGE_SIZE)


async def select_runs(
    app: CallerContext,
    filters: RunFilter,
    deadline: Deadline,
    statuses: Collection[str] = (),
    *,
    most: int | None = None,
) -> Selected:
    """Return the runs that a resolved filter selects, from the kept runs where they are or soon will be held.

    Filters by details are left to the caller. ``statuses`` overrules that of the filter, and ``most`` is how many runs
    are read where none are kept, by default as many as a summary reads.
    """
    wanted = statuses or filters.statuses
    if kept := await refreshed(app, filters, deadline, statuses):
        history, fresh = kept
        if (held := await history.held(filters.selection())) is not None:
            runs = [run for run in held if run.status in wanted] if wanted else held
            return Selected(runs, fresh.missing, fresh.since, fresh.begins, fresh)
    # A batch is listed whole: few runs, and one request for all statuses.
    scan = await scan_runs(app, deadline, filters, most, () if filters.batch or not wanted else tuple(wanted))
    runs = [run_facts(run) for run in scan.runs if not wanted or run.status in wanted]
    oldest = min((run.created for run in runs if run.created), default=None)
    return Selected(runs, scan.missing, oldest, oldest if scan.is_whole and not scan.missing else None)


class Insight(NamedTuple):
    """Facts of a run: those that lists show, its first failure, if it failed, and its metadata."""

    run: RunFacts
    cause: Failure | None
    metadata: dict[str, Any]


def insight(run: WorkflowRun) -> Insight:
    """Return the facts of a run that was read in full."""
    return Insight(run_facts(run), next(iter(failures_of(run)), None), run.metadata)


@dataclass
class Details(Generic[T]):
    """The result of reading runs one by one."""

    found: dict[str, T]  # the kept part of each run that was read, by id
    failed: dict[str, ExtendError]  # the error of each run that could not be read
    skipped: list[str]  # ids that were not read because time was up


async def read_details(
    app: CallerContext,
    deadline: Deadline,
    run_ids: Sequence[str],
    keep: Callable[[WorkflowRun], T],
    *,
    noun: str = "runs looked into",
) -> Details[T]:
    """Read runs by id, several at once, the most important first, and keep only the part of each that ``keep`` returns.

    ``noun`` names the runs in progress messages; none are sent where it is empty.
    """
    details: Details[T] = Details({}, {}, [])
    waiting = list(reversed(run_ids))

    async def work() -> None:
        while waiting and deadline.left > 0:
            run_id = waiting.pop()
            try:
                with anyio.fail_after(max(deadline.left, 1.0)):
                    details.found[run_id] = keep(await app.api.get_workflow_run(run_id))
            except TimeoutError:
                details.skipped.append(run_id)
            except ExtendError as error:
                if isinstance(error, CredentialError):
                    raise
                details.failed[run_id] = error
            if noun and (len(details.found) % (len(run_ids) // _MOST_REPORTS + 1) == 0 or not waiting):
                await deadline.report(f"{len(details.found):,} of {len(run_ids):,} {noun}")

    await in_parallel(work, min(_AT_ONCE, len(waiting)))
    details.skipped += waiting
    return details


async def read_facts(
    app: CallerContext,
    deadline: Deadline,
    runs: Sequence[RunFacts],
    *,
    held: bool = False,
    most: int | None = None,
    history: RunHistory | None = None,
) -> Details[RunDetails]:
    """Return what runs show in full: from the kept facts or, for as many as one call may read, from the API.

    ``runs`` are as their list showed them, the most important first. ``held`` says that they are kept runs that were
    not read in full. ``history`` keeps the facts; by default it is that of the caller's account.
    ``most`` bounds how many are read; by default as many as a question may.
    """
    history = history or await app.history()
    if history is not None and not held:
        await history.save_listed(runs)
    known = await history.details([run.id for run in runs]) if history is not None and not held else {}
    details: Details[RunDetails] = Details(known, {}, [])
    unread, most = [run for run in runs if run.id not in known], most or app.limits.detail_runs
    for begin in range(0, min(len(unread), most), _READS_A_SAVE):
        part = {run.id: run for run in unread[begin : min(begin + _READS_A_SAVE, most)]}
        read = await read_details(app, deadline, list(part), run_details)
        if history is not None:
            await history.save_details([(part[run_id], found) for run_id, found in read.found.items()])
        details.found.update({run_id: found._replace(texts=()) for run_id, found in read.found.items()})
        details.failed.update(read.failed)
        details.skipped += read.skipped
    details.skipped += [run.id for run in unread[most:]]
    return details


async def read_causes(
    app: CallerContext,
    deadline: Deadline,
    runs: Sequence[RunFacts],
    others: Sequence[RunFacts] | None = None,
    *,
    steps: bool,
) -> dict[str, Failure]:
    """Return the first failure of failed runs, by id, as far as kept facts or lists of failed child runs show it.

    Five requests may explain a thousand runs. A few runs are better read one by one, which shows more: the lists are
    not read for them. ``others`` are all failed runs, any of which may have a child run; by default they are read. With
    ``steps`` the step is given too, where the workflow has only one that starts such child runs; other runs are left
    out.
    """
    history = await app.history()
    kept = await history.causes([run.id for run in runs]) if history else {}
    usable = {run_id: cause for run_id, cause in kept.items() if cause[0] is not None or not steps}
    known = {run_id: Failure(step or "", reason, "") for run_id, (step, reason) in usable.items()}
    unknown = [run for run in runs if run.id not in known]
    created = [run.created for run in unknown if run.created]
    if len(created) <= _FEW:
        return known
    listed = await read_failures(app, deadline, min(created), others)
    children = listed.children_of(unknown)
    definitions: dict[tuple[str, str], list[dict[str, Any]]] = {}
    found: list[tuple[RunFacts, str | None, str]] = []
    for run in unknown:
        if child := children.get(run.id):
            step, version = None, (run.workflow_id, run.version)
            if steps:
                if version not in definitions:
                    # The draft of today may differ from that of the run.
                    definitions[version] = [] if run.version == "draft" else await definition_of(app, *version)
                step = _step_of(definitions[version], child)
            if step or not steps:
                found.append((run, step, child.failure_reason or ""))
                known[run.id] = Failure(step or "", child.failure_reason or "", child.failure_message or "")
    if history:
        await history.save_listed(unknown)
        await history.save_causes(found)
    return known


async def definition_of(app: CallerContext, workflow_id: str, number: str, version: str = "") -> list[dict[str, Any]]:
    """Return the steps of a version by its number and, if known, its id; none where they cannot be read."""
    version = version or number
    if not version or not app.caller.has_scope(WORKFLOWS_READ):
        return []
    # A published version never changes.
    seconds = 0.0 if number == "draft" else _VERSION_SECONDS
    with suppress(ExtendError):
        read = partial(app.api.get_workflow_version, workflow_id, version)
        return (await app.remember(f"version {workflow_id} {version}", seconds, read)).steps
    return []


def _step_of(definition: Sequence[dict[str, Any]], child: ChildRun) -> str | None:
    """Return the name of the step that started a child run; None if several can, or none is known to."""
    kinds = [(CHILD_KINDS.get(str(step.get("type"))), step.get("name")) for step in definition]
    names = [name for kind, name in kinds if kind and kind[0] == f"{child.object}s"]
    return str(names[0]) if len(names) == 1 and names[0] else None


async def leave_out_other_reasons(
    app: CallerContext, deadline: Deadline, runs: Sequence[RunFacts], reason: str
) -> list[RunFacts]:
    """Return the runs without those that lists show to have failed for another reason; ``reason`` is in capitals."""
    created = [run.created for run in runs if run.created]
    if len(created) <= _FEW:
        return list(runs)
    return (await read_failures(app, deadline, min(created))).leave_out_other_reasons(runs, reason)


class Failures(NamedTuple):
    """The newest failed runs and failed child runs, as their lists show them."""

    runs: Sequence[RunFacts]
    since: datetime | None  # every failed run that was created from then on is here; None if all are
    children: Sequence[ChildRun]

    def children_of(self, runs: Sequence[RunFacts]) -> dict[str, ChildRun]:
        """Return the child run that says why a run failed, by the run's id, where it can be that of no other run."""
        found = failed_children({run.id: run for run in (*runs, *self.runs)}.values(), self.children)
        sure = [run for run in runs if self.since is None or (run.created and run.created >= self.since)]
        return {run.id: found[run.id] for run in sure if run.id in found}

    def leave_out_other_reasons(self, runs: Sequence[RunFacts], reason: str) -> list[RunFacts]:
        """Return the runs without those that failed for another reason; ``reason`` is in capitals."""
        known = self.children_of([run for run in runs if run.status == "FAILED"])
        return [
            run for run in runs if run.id not in known or (known[run.id].failure_reason or reason).upper() == reason
        ]


async def read_failures(
    app: CallerContext, deadline: Deadline, since: datetime | None, runs: Sequence[RunFacts] | None = None
) -> Failures:
    """Read the lists of failed runs, unless they are given, and of failed child runs, back to a time or a bound."""
    all_since: datetime | None = None
    children: list[ChildRun] = []
    if runs is None:
        try:
            newest = await app.api.list_workflow_runs(
                status="FAILED", sort_by="createdAt", sort_dir="desc", max_page_size=LARGE_PAGE
            )
        except ExtendError:
            return Failures((), None, ())
        runs = [run_facts(run) for run in newest.data]
        all_since = runs[-1].created if runs and newest.next_page_token else None
    for kind in dict.fromkeys(kind for kind, _ in CHILD_KINDS.values()):
        query: ChildRunQuery = {"status": "FAILED", "max_page_size": LARGE_PAGE}
        if kind != "parse_runs":
            query |= {"sort_by": "createdAt", "sort_dir": "desc"}
        pages_read = 0
        # What cannot be listed is left to the reading of single runs.
        with suppress(ExtendError):
            async with aclosing(app.api.list_child_runs(kind, **query).pages()) as pages:
                async for page in pages:
                    children += page.data
                    pages_read += 1
                    await deadline.report(f"{len(children):,} failed child runs read")
                    is_past = since and any(each.created_at and each.created_at < since for each in page.data)
                    if is_past or pages_read == _MOST_CHILD_PAGES or deadline.left <= 0:
                        break
    return Failures(runs, all_since, children)


async def read_insights(
    app: CallerContext,
    deadline: Deadline,
    runs: Sequence[RunFacts],
    others: Sequence[RunFacts] | None = None,
    *,
    most: int | None = None,
    metadata: bool = True,
    steps: bool = True,
    held: bool = False,
) -> Details[Insight]:
    """Return why runs failed and their metadata, the most important first, as `read_facts` does.

    Without ``metadata``, a run that `read_causes` explains is not read in full.
    """
    failed = [run for run in runs if run.status == "FAILED" and not metadata]
    causes = await read_causes(app, deadline, failed, others, steps=steps) if failed else {}
    unknown = [run for run in runs if run.id not in causes]
    details = await read_facts(app, deadline, unknown, most=most, held=held)
    found: dict[str, Insight] = {}
    for run in runs:
        if each := details.found.get(run.id):
            known = run._replace(step=each.step, reason=each.reason)
            found[run.id] = Insight(known, each.cause, dict(each.metadata))
        elif cause := causes.get(run.id):
            known = run._replace(step=cause.where if steps else run.step, reason=cause.reason)
            found[run.id] = Insight(known, cause, {})
    return Details(found, details.failed, details.skipped)


async def in_parallel(work: Callable[[], Awaitable[None]], workers: int) -> None:
    """Run several workers of one kind; the first expected error stops them all and is raised alone."""
    problem: ExtendError | StoreUnavailableError | None = None

    async def guarded() -> None:
        nonlocal problem
        try:
            await work()
        except (ExtendError, StoreUnavailableError) as error:
            problem = problem or error
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(guarded)
    if problem is not None:
        raise problem
