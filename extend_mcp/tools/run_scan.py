"""Read many runs within bounds: a number, a deadline and a concurrency. What was not read is reported."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import anyio

from extend_mcp.actions.store import StoreUnavailableError
from extend_mcp.api.errors import CredentialError, ExtendError
from extend_mcp.api.models import ChildRun, Page, WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import LARGE_PAGE, PAGE_SIZE, ChildRunQuery, WorkflowRunQuery
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.history.details import RunDetails, run_details
from extend_mcp.runs.failures import CHILD_KINDS, Failure, failed_children
from extend_mcp.runs.statistics import RunFacts, Selection, run_facts
from extend_mcp.scopes import WORKFLOWS_READ
from extend_mcp.tools.pagination import PagePosition, Place
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.views.document import Extent, error_words

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
_LONGEST_RUN = timedelta(days=1)
"""Failed runs that were created so long before another one are looked at too: one may have its child run."""

Failures = tuple[list[RunFacts], "datetime | None", list[ChildRun]]
Places = list[Place | None]
"""The place in each list that is read; None at its end."""


@dataclass
class Selected(Generic[T]):
    """The runs that a filter selects, newest first."""

    runs: list[T]
    missing: list[str]  # why older runs are missing; empty if none are
    reached: datetime | None = None  # every run created from then on is here; None if all are
    begins: datetime | None = None  # creation of the first run that the filters select whatever their times, if known
    held: Freshness | None = None  # how fresh the runs are, if they are kept ones


class Insight(NamedTuple):
    """Facts of a run: those that lists show, its first failure, if it failed, and its metadata."""

    run: RunFacts
    cause: Failure | None
    metadata: dict[str, Any]


@dataclass
class Details(Generic[T]):
    """The result of reading runs one by one."""

    found: dict[str, T]  # the kept part of each run that was read, by id
    failed: dict[str, ExtendError]  # the error of each run that could not be read
    skipped: list[str]  # ids that were not read because time was up


class RunReader:
    """Reads the runs that one call asks for until its time is up, and reports progress meanwhile."""

    def __init__(self, ctx: Ctx, seconds: float = CALL_SECONDS) -> None:
        self.app = caller_context(ctx)
        self.reads = 0  # how many runs were read one by one
        self._ctx = ctx
        self._done = 0
        self._own_history: RunHistory | None = None
        self._fresh: Freshness | None = None
        self._known: dict[tuple[str, datetime | None], RunDetails] = {}
        self._failures: Failures | None = None
        self._definitions: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.extend(seconds)

    @property
    def left(self) -> float:
        """Seconds left; 0 or less when time is up."""
        return self._end - self.app.clock.monotonic()

    def extend(self, seconds: float) -> None:
        """Begin again with so many seconds, and continue the progress: a client expects it to grow."""
        self._end = self.app.clock.monotonic() + seconds

    def extent(self, filters: str = "", missing: Sequence[str] = ()) -> Extent:
        """Return the extent of an answer about what these filters describe."""
        return Extent(self.app.clock.now(), self.app.limits.answer_chars, filters, missing)

    async def report(self, message: str, *, done: int = 1) -> None:
        """Report progress to the client."""
        self._done += done
        await self._ctx.report_progress(self._done, None, message)

    async def scan(self, filters: RunFilter, most: int | None = None) -> Selected[WorkflowRunSummary]:
        """List the runs that a resolved filter selects; at most so many, by default as many as a summary reads."""
        lists, most = RunLists(self, filters), most or self.app.limits.summary_runs
        runs = [run for run, _ in await lists.take(most)]
        missing = []
        if lists.ended_by:
            missing.append(f"{lists.ended_by} after {len(runs):,} runs{lists.problem}")
        elif len(runs) == most and any(lists.places):
            missing.append(f"only the newest {most:,} runs were read (the operator's bound)")
        oldest = min((run.created for run in runs if run.created), default=None)
        return Selected(runs, missing, oldest, oldest if lists.is_whole and not missing else None)

    async def history(self) -> RunHistory | None:
        """Return what keeps the runs; None where none are kept."""
        return self._own_history or await self.app.history()

    async def refresh(self, filters: RunFilter, *, anyhow: bool = False) -> Selected[RunFacts] | None:
        """Refresh the kept runs for a resolved filter; return what holds of them, or None where only the API can tell.

        As much is read for them as the next question may need too, but no whole account for a narrow question. With
        ``anyhow`` it is, and where none are kept, runs are kept for this call.
        """
        # How Extend compares file names is not documented, so only Extend can apply that filter.
        history, self._fresh = None if filters.file_name_contains else await self.history(), None
        if history is not None:
            narrow = filters.since is None and bool(filters.status or filters.workflow_id or filters.batch)
            pages = -(-self.app.limits.summary_runs // PAGE_SIZE)
            self._fresh = await history.refresh(
                self.app.api, filters.selection(), self, most_pages=pages, only_if_held=narrow and not anyhow
            )
        if fresh := self._fresh:
            return Selected([], [fresh.missing] if fresh.missing else [], fresh.since, fresh.begins, fresh)
        if not anyhow or self._own_history:
            return None
        self._own_history = self.app.history_of_one_call()
        return await self.refresh(filters, anyhow=True)

    async def select(
        self, filters: RunFilter, statuses: Collection[str] = (), *, most: int | None = None
    ) -> Selected[RunFacts]:
        """Return the runs that a resolved filter selects, from the kept runs where they are or soon will be held.

        Filters by details are left to the caller. ``statuses`` overrules that of the filter, and ``most`` is how many
        runs are read where none are kept, by default as many as a summary reads.
        """
        filters = filters.model_copy(update={"status": ",".join(statuses)}) if statuses else filters
        history, kept = await self.history(), await self.refresh(filters)
        if history and kept and (held := await history.held(filters.selection())) is not None:
            return replace(kept, runs=held)
        # A batch is listed whole: few runs, and one request for all statuses.
        scan = await self.scan(filters.model_copy(update={"status": None}) if filters.batch else filters, most)
        runs = [run_facts(run) for run in scan.runs if not filters.status or run.status in filters.statuses]
        return Selected(runs, scan.missing, scan.reached, scan.begins)

    async def read(
        self, run_ids: Sequence[str], keep: Callable[[WorkflowRun], T], *, noun: str = "runs looked into"
    ) -> Details[T]:
        """Read runs by id, several at once, the first of them first, and keep the part of each that ``keep`` returns.

        ``noun`` names the runs in progress messages; none are sent where it is empty.
        """
        details: Details[T] = Details({}, {}, [])
        waiting = list(reversed(run_ids))
        self.reads += len(waiting)

        async def work() -> None:
            while waiting and self.left > 0:
                run_id = waiting.pop()
                try:
                    with anyio.fail_after(max(self.left, 1.0)):
                        details.found[run_id] = keep(await self.app.api.get_workflow_run(run_id))
                except TimeoutError:
                    details.skipped.append(run_id)
                except ExtendError as error:
                    if isinstance(error, CredentialError):
                        raise
                    details.failed[run_id] = error
                if noun and (len(details.found) % (len(run_ids) // _MOST_REPORTS + 1) == 0 or not waiting):
                    await self.report(f"{len(details.found):,} of {len(run_ids):,} {noun}")

        await in_parallel(work, min(_AT_ONCE, len(waiting)))
        details.skipped += waiting
        return details

    async def facts(self, runs: Sequence[RunFacts], *, most: int | None = None) -> Details[RunDetails]:
        """Return what runs show in full: from the kept facts or, for as many as one call may read, from the API.

        ``runs`` are as their list showed them, the most important first. ``most`` bounds how many are read; by default
        as many as a question may.
        """
        history = await self.history()
        known = {run.id: self._known[key] for run in runs if (key := (run.id, run.updated)) in self._known}
        if history is not None:
            await history.save_listed(runs)
            known |= await history.details([run.id for run in runs])
        details: Details[RunDetails] = Details(known, {}, [])
        unread, most = [run for run in runs if run.id not in known], most or self.app.limits.detail_runs
        for begin in range(0, min(len(unread), most), _READS_A_SAVE):
            part = {run.id: run for run in unread[begin : min(begin + _READS_A_SAVE, most)]}
            read = await self.read(list(part), run_details)
            if history is not None:
                await history.save_details([(part[run_id], found) for run_id, found in read.found.items()])
            for run_id, found in read.found.items():
                known[run_id] = self._known[run_id, part[run_id].updated] = found._replace(texts=())
            details.failed.update(read.failed)
            details.skipped += read.skipped
        details.skipped += [run.id for run in unread[most:]]
        return details

    async def insights(
        self,
        runs: Sequence[RunFacts],
        *,
        most: int | None = None,
        metadata: bool = True,
        steps: bool = True,
        reason: str | None = None,
        since: datetime | None = None,
    ) -> Details[Insight]:
        """Return why runs failed and their metadata, the most important first, as `facts` does.

        Lists of failed child runs spare reading a run in full: five requests may explain a thousand runs. They show no
        ``metadata``, and the step only where the workflow has one that starts such child runs. Runs that failed for
        another ``reason`` than this one, in capitals, need neither. The lists are read back to ``since``, by default
        the creation of the oldest run.
        """
        failed = [run for run in runs if run.status == "FAILED" and (reason or not metadata)]
        causes = await self._causes(failed, since, steps=steps and not metadata)
        known = {
            run_id: each
            for run_id, each in causes.items()
            if ((each.step or not steps) and not metadata) or reason not in (None, each.reason.upper())
        }
        details = await self.facts([run for run in runs if run.id not in known], most=most)
        known |= details.found
        found = {
            run.id: Insight(run._replace(step=each.step, reason=each.reason), each.cause, dict(each.metadata))
            for run in runs
            if (each := known.get(run.id))
        }
        return Details(found, details.failed, details.skipped)

    async def definition(self, workflow_id: str, number: str, version: str = "") -> list[dict[str, Any]]:
        """Return the steps of a version by its number and, if known, its id; none where they cannot be read."""
        key = workflow_id, version or number
        if key not in self._definitions:
            self._definitions[key] = []
            # A published version never changes.
            seconds = 0.0 if number == "draft" else _VERSION_SECONDS
            if key[1] and self.app.caller.has_scope(WORKFLOWS_READ):
                with suppress(ExtendError):
                    read = partial(self.app.api.get_workflow_version, *key)
                    found = await self.app.remember(f"version {workflow_id} {key[1]}", seconds, read)
                    self._definitions[key] = found.steps
        return self._definitions[key]

    async def _causes(self, runs: Sequence[RunFacts], since: datetime | None, *, steps: bool) -> dict[str, RunDetails]:
        """Return why runs failed, by id, as far as kept facts or lists show it; without the step if that is not known.

        A few runs are better read one by one, which shows more: the lists are not read for them.
        """
        history, causes = await self.history() if runs else None, dict[str, RunDetails]()
        if history is not None:
            await history.save_listed(runs)
            kept = await history.causes([run.id for run in runs])
            causes = {run_id: RunDetails("FAILED", step or "", reason) for run_id, (step, reason) in kept.items()}
        unknown = [run for run in runs if run.id not in causes or (steps and not causes[run.id].step)]
        created = [run.created for run in unknown if run.created]
        if self._failures is None and len(created) > _FEW:
            self._failures = await self._read_failures(since or min(created))
        if self._failures is not None:
            failed, all_since, children = self._failures
            others = {run.id: run for run in (*unknown, *failed)}.values()
            found = failed_children(others, children, since=all_since)
            explained = [run for run in unknown if run.id in found]
            for run in explained:
                step, child = await self._step_of(run, found[run.id]) if steps else None, found[run.id]
                reason, message = child.failure_reason or "", child.failure_message or ""
                causes[run.id] = RunDetails("FAILED", step or "", reason, message)
            if history is not None:
                shown = ((run, causes[run.id]) for run in explained)
                await history.save_causes([(run, each.step or None, each.reason) for run, each in shown])
        return causes

    async def _step_of(self, run: RunFacts, child: ChildRun) -> str | None:
        """Return the name of the step that started a child run; None if several can, or none is known to."""
        # The draft of today may differ from that of the run.
        definition = [] if run.version == "draft" else await self.definition(run.workflow_id, run.version)
        kinds = [(CHILD_KINDS.get(str(step.get("type"))), step.get("name")) for step in definition]
        names = [name for kind, name in kinds if kind and kind[0] == f"{child.object}s"]
        return str(names[0]) if len(names) == 1 and names[0] else None

    async def _read_failures(self, since: datetime) -> Failures:
        """Read the lists of failed runs, unless they are kept, and of failed child runs, back to a time or a bound.

        Every failed run that was created since the time returned is among them; all are if it is None.
        """
        runs: list[RunFacts] | None = None
        all_since: datetime | None = None
        if self._fresh and (history := await self.history()):
            all_since = self._fresh.since
            runs = await history.held(Selection(status="FAILED", since=(since - _LONGEST_RUN).timestamp()))
        if runs is None:
            try:
                query = RunFilter(status="FAILED").api_query()
                newest = await self.app.api.list_workflow_runs(**query | {"max_page_size": LARGE_PAGE})
            except ExtendError:
                return [], None, []
            runs = [run_facts(run) for run in newest.data]
            all_since = runs[-1].created if runs and newest.next_page_token else None
        children: list[ChildRun] = []
        for kind in dict.fromkeys(kind for kind, _ in CHILD_KINDS.values()):
            of_kind: ChildRunQuery = {"status": "FAILED", "max_page_size": LARGE_PAGE}
            if kind != "parse_runs":
                of_kind |= {"sort_by": "createdAt", "sort_dir": "desc"}
            pages_read = 0
            # What cannot be listed is left to the reading of single runs.
            with suppress(ExtendError):
                async with aclosing(self.app.api.list_child_runs(kind, **of_kind).pages()) as pages:
                    async for page in pages:
                        children += page.data
                        pages_read += 1
                        await self.report(f"{len(children):,} failed child runs read")
                        is_past = any(each.created_at and each.created_at < since for each in page.data)
                        if is_past or pages_read == _MOST_CHILD_PAGES or self.left <= 0:
                            break
        return runs, all_since, children


@dataclass
class _List:
    """One list of the API, of the runs in one status or of all."""

    status: str | None
    following: Place | None  # the place of the page that is read next
    place: Place | None = None  # the place after the runs that were taken
    runs: deque[tuple[WorkflowRunSummary, Place | None]] = field(default_factory=deque)  # fit, and the place after each


class RunLists:
    """The API's lists of the runs that a resolved filter selects, one for each status, read as one.

    ``places`` are where each continues. ``ended_by`` says what was done when a bound ended the reading early, and
    ``problem`` names the error that ended it after the first page. With ``most_pages``, the bound of one page of an
    answer, every error is raised.
    """

    def __init__(
        self, reader: RunReader, filters: RunFilter, start: PagePosition | None = None, most_pages: int | None = None
    ) -> None:
        start, streams = start or PagePosition(k="runs"), filters.statuses or (None,)
        places = start.m or [(start.t, start.s)] * len(streams)
        self.ended_by: str | None = None
        self.problem = ""
        self.is_whole = True  # False once runs were left aside because they are of an earlier time
        self._reader = reader
        self._filters = filters
        self._query = filters.api_query()
        self._most_pages = most_pages and most_pages + len(places) - 1
        # Without filters of our own an API page is exactly an answer's page.
        self._query["max_page_size"] = filters.page_size if most_pages and not filters.filters_here else PAGE_SIZE
        self._pages = self._count = 0
        self._lists = [_List(*each, each[1]) for each in zip(streams, places, strict=True)]

    @property
    def places(self) -> Places:
        """The place in each list after the runs that were taken."""
        return [each.place for each in self._lists]

    async def take(self, most: int) -> list[tuple[WorkflowRunSummary, Places]]:
        """Take the next runs that fit, and the places after each; fewer at the end or where reading is cut."""
        taken: list[tuple[WorkflowRunSummary, Places]] = []
        first_of = max if self._query["sort_dir"] == "desc" else min
        while len(taken) < most:
            for each in self._lists:
                if not each.runs and not self.ended_by:
                    await self._read_on(each)
            ready = [each for each in self._lists if each.runs]
            if self.ended_by or not ready:
                break
            first = first_of(ready, key=self._key) if len(ready) > 1 else ready[0]
            run, first.place = first.runs.popleft()
            taken.append((run, self.places))
        return taken

    async def _read_on(self, each: _List) -> None:
        """Read pages of one list up to the next run that fits, or to its end."""
        filters = self._filters
        is_filtered = filters.filters_here
        while not each.runs:
            each.place = each.following
            if each.place is None:
                return
            token, skip = each.place
            page = await self._page({**self._query, "status": each.status, "next_page_token": token})
            if page is None:
                return
            runs: Sequence[WorkflowRunSummary] = page.data[skip:]
            if is_filtered:
                runs = list(takewhile(lambda run: not filters.is_past(run), runs))
            last = skip + len(runs)
            is_past = last < len(page.data)
            self.is_whole = self.is_whole and not is_past
            each.following = None if is_past or page.next_page_token is None else (page.next_page_token, 0)
            each.runs.extend(
                (run, (token, count) if count < last else each.following)
                for count, run in enumerate(runs, skip + 1)
                if not is_filtered or filters.matches(run)
            )
            self._count += len(each.runs)
            if self._most_pages is None:
                await self._reader.report(f"{self._count:,} runs read")

    async def _page(self, query: WorkflowRunQuery) -> Page[WorkflowRunSummary] | None:
        """Read a page; None if a bound or an error ends the reading."""
        read = self._reader.app.api.list_workflow_runs
        self._pages += 1
        if self._most_pages is None:
            try:
                if (left := self._reader.left) > 0:
                    with anyio.fail_after(max(left, 1.0)):
                        return await read(**query)
                self.ended_by = "time was up"
            except TimeoutError:
                self.ended_by = "time was up"
            except ExtendError as error:
                if isinstance(error, CredentialError) or self._pages == 1:
                    raise
                self.ended_by, self.problem = "reading stopped", f": {error_words(error)}"
        elif self._pages <= self._most_pages:
            return await read(**query)
        else:
            self.ended_by = f"reading {self._most_pages} API pages"
        return None

    def _key(self, each: _List) -> tuple[datetime, str]:
        run, _ = each.runs[0]
        return self._filters.moment(run) or datetime.min.replace(tzinfo=timezone.utc), run.id


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
