"""Answer from kept runs, after the API has said what changed since.

The list of runs sorted by ``updatedAt`` shows every change except deletions. So each question reads that list until
what is known begins, and a full pass over the list sorted by ``createdAt`` is made when the last is a day old.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Concatenate, Final, NamedTuple, ParamSpec, Protocol, TypeVar

import anyio
from anyio.to_thread import run_sync

from extend_mcp.api.errors import AnswerTooLargeError, CredentialError, ExtendError, InvalidRequestError
from extend_mcp.api.models import Page, WorkflowRunSummary
from extend_mcp.api.requests import LARGE_PAGE, PAGE_SIZE
from extend_mcp.clock import Clock
from extend_mcp.history.database import StoreLostError
from extend_mcp.history.details import RunDetails
from extend_mcp.history.store import Coverage, ReadCounts, RunStore, SearchResult, moment_of
from extend_mcp.runs.statistics import RunFacts, Selection, run_facts
from extend_mcp.views.document import error_words

if TYPE_CHECKING:
    from extend_mcp.api.client import ExtendClient

logger = logging.getLogger(__name__)

T = TypeVar("T")
Other = TypeVar("Other")
Given = ParamSpec("Given")

PASS_SECONDS: Final = 86_400.0
"""Oldest a pass may be. Only a pass shows that somebody else deleted a run."""

_MOST_CHANGED = 10_000
_SAVED_AT_ONCE = 8
_OVERLAP_SECONDS = 60.0
"""Time that a refresh reads before the last known change: Extend may list two changes in another order."""


class _Deadline(Protocol):
    @property
    def left(self) -> float: ...

    async def report(self, message: str) -> None: ...


class CannotKeepError(Exception):
    """The account's list cannot be kept: a run has no id or time, or the order is not the one asked for."""


class Freshness(NamedTuple):
    """The state of the kept runs after a refresh."""

    as_of: datetime  # when the refresh began
    pass_at: datetime  # when the last full pass began: runs deleted by others since may still be among these
    since: datetime | None  # every run created after it is included; None if these are all
    missing: str | None  # why older runs are missing; None if none are
    begins: datetime | None  # creation of the first run that the filters select whatever their times; None if not held


def _ask(
    question: Callable[Concatenate[RunStore, bytes, Given], T], otherwise: Callable[[], Other]
) -> Callable[Concatenate[RunHistory, Given], Awaitable[T | Other]]:
    """Make a method that asks the store about the account, or returns another value if the store cannot answer."""

    async def ask(self: RunHistory, /, *given: Given.args, **more: Given.kwargs) -> T | Other:
        try:
            return await self._in_thread(question, *given, **more)
        except StoreLostError:
            return otherwise()

    return ask


def _nothing() -> None:
    return None


class RunHistory:
    """The kept runs of one account; ``thread`` admits one task at a time to the store."""

    def __init__(self, store: RunStore, thread: anyio.CapacityLimiter, account: bytes, clock: Clock) -> None:
        self._store = store
        self._thread = thread
        self._account = account
        self._clock = clock
        self._asking = anyio.Lock()
        self._page_size = LARGE_PAGE
        self._changed: dict[str, None] = {}

    def note_change(self, run_id: str) -> None:
        """Note that an event says that a run changed: the next question reads it again."""
        self._changed[run_id] = None
        if len(self._changed) > _MOST_CHANGED:
            # The next refresh shows its change.
            del self._changed[next(iter(self._changed))]

    held = _ask(RunStore.select, _nothing)
    unread = _ask(RunStore.unread, list[RunFacts])
    read_counts = _ask(RunStore.read_counts, ReadCounts)
    figures = _ask(RunStore.figures, _nothing)
    causes = _ask(RunStore.causes, dict[str, tuple[str | None, str]])
    save_causes = _ask(RunStore.save_causes, _nothing)
    metadata = _ask(RunStore.metadata, dict[str, str | None])
    details = _ask(RunStore.details, dict[str, RunDetails])
    search = _ask(RunStore.search, lambda: SearchResult([], is_cut=True))
    save_listed = _ask(RunStore.save_changes, _nothing)
    forget = _ask(RunStore.forget, _nothing)
    _save_details = _ask(RunStore.save_details, _nothing)
    _trim = _ask(RunStore.trim, _nothing)

    async def refresh(
        self, api: ExtendClient, wanted: Selection, deadline: _Deadline, *, most_pages: int, only_if_held: bool
    ) -> Freshness | None:
        """Refresh what is held and read what is missing, so that the store can answer.

        ``most_pages`` requests may be spent on runs that are not held yet; with ``only_if_held`` none.

        Returns:
            The state of what is held, or None if the store cannot answer: ask the API.

        Raises:
            ExtendError: the API refused, or failed before anything was read.
        """
        try:
            with anyio.fail_after(max(deadline.left, 1.0)):
                await self._asking.acquire()
        except TimeoutError:
            return None
        try:
            return await self._refresh_all(api, wanted, deadline, most_pages, only_if_held)
        except StoreLostError:
            return None
        except CannotKeepError as error:
            logger.warning("runs are not kept: %s", error)
            return None
        finally:
            self._asking.release()

    async def save_details(self, found: Sequence[tuple[RunFacts, RunDetails]]) -> None:
        """Keep what runs showed that were read in full; each with its list entry from before."""
        for begin in range(0, len(found), _SAVED_AT_ONCE):
            # Long texts take time to index, and other processes must not wait for all of them.
            await self._save_details(found[begin : begin + _SAVED_AT_ONCE])
        await self._trim()

    async def _refresh_all(
        self, api: ExtendClient, wanted: Selection, deadline: _Deadline, most_pages: int, only_if_held: bool
    ) -> Freshness | None:
        as_of = self._clock.now()
        since = wanted.since if wanted.since is not None else -float("inf")
        if self._changed:
            changed, self._changed = list(self._changed), {}
            await self._in_thread(RunStore.invalidate, changed)
        held = await self._in_thread(RunStore.coverage, as_of.timestamp())
        begun = held.begun_at
        is_due = begun is None or not 0 <= as_of.timestamp() - begun < PASS_SECONDS
        if only_if_held and (is_due or not held.covers(since)):
            return None
        if is_due or not await self._refresh(api, held, deadline, most_pages):
            held = await self._begin_pass(api, as_of)
        held, missing = await self._read_on(api, held, since, deadline, most_pages)
        if held.begun_at is None:
            # Other accounts needed the room meanwhile.
            return None
        if missing:
            count = (await self._in_thread(RunStore.read_counts, wanted)).held
            missing = missing.replace("%s", f"{count:,}", 1)
        is_whole = held.floor == -float("inf")
        return Freshness(
            as_of=as_of,
            pass_at=moment_of(held.begun_at),
            since=None if is_whole else moment_of(min(max(held.floor, since), as_of.timestamp())),
            missing=missing,
            begins=await self._in_thread(RunStore.first_created, wanted) if is_whole else None,
        )

    async def _begin_pass(self, api: ExtendClient, as_of: datetime) -> Coverage:
        newest = await self._page(api, "updatedAt", None, 1)
        watermark = max((run.updated.timestamp() for run in _facts(newest.data) if run.updated), default=0.0)
        return await self._in_thread(RunStore.begin_pass, as_of.timestamp(), watermark)

    async def _refresh(self, api: ExtendClient, held: Coverage, deadline: _Deadline, most_pages: int) -> bool:
        """Read what changed since the watermark; return False if a new pass costs less."""
        newest = held.watermark or 0.0
        known, previous = newest - _OVERLAP_SECONDS, float("inf")
        token, size, pages = None, PAGE_SIZE, 0
        while True:
            if pages > most_pages or deadline.left <= 0:
                return False
            page = await self._page(api, "updatedAt", token, size)
            size = min(size, self._page_size)
            runs = _facts(page.data)
            for run in runs:
                assert run.updated
                moment = run.updated.timestamp()
                if moment > previous:
                    raise CannotKeepError("Extend did not sort the list by updatedAt")
                previous, newest = moment, max(newest, moment)
            if page.next_page_token is None or previous < known:
                await self._in_thread(RunStore.save_changes, runs, newest)
                return True
            pages += 1
            if pages == 1 and size < self._page_size:
                # Much has changed: begin again with large pages, since a token belongs to its page size.
                size, previous = self._page_size, float("inf")
                continue
            await self._in_thread(RunStore.save_changes, runs)
            token = page.next_page_token

    async def _read_on(
        self, api: ExtendClient, held: Coverage, since: float, deadline: _Deadline, most_pages: int
    ) -> tuple[Coverage, str | None]:
        """Continue the pass until it reaches ``since``; return what is held then, and why it ended early.

        The reason has ``%s`` in place of the number of runs.
        """
        read = pages = 0
        missing = None
        while not held.covers(since):
            if held.is_full or pages >= most_pages:
                bound = "are kept (the store's bound)" if held.is_full else "were read (the operator's bound)"
                missing = f"only the newest %s runs {bound}"
                break
            try:
                with anyio.fail_after(deadline.left):
                    page = await self._page(api, "createdAt", held.token, self._page_size)
            except TimeoutError:
                missing = "time was up after %s runs"
                break
            except ExtendError as error:
                if isinstance(error, InvalidRequestError) and held.token is not None and not pages:
                    # Extend no longer takes the token of an earlier call.
                    held = await self._begin_pass(api, self._clock.now())
                    pages += 1
                    continue
                if isinstance(error, CredentialError) or held.floor == float("inf"):
                    raise
                missing = f"reading stopped after %s runs: {error_words(error)}"
                break
            pages += 1
            read += len(page.data)
            runs = _facts(page.data)
            moments = [run.created.timestamp() for run in runs if run.created]
            if moments != sorted(moments, reverse=True):
                raise CannotKeepError("Extend did not sort the list by createdAt")
            floor = -float("inf") if page.next_page_token is None else min([*moments, held.floor])
            held = await self._in_thread(RunStore.save_page, held.number, runs, floor, page.next_page_token)
            await deadline.report(f"{read:,} runs read")
        if pages:
            await self._in_thread(RunStore.trim)
            held = await self._in_thread(RunStore.coverage, self._clock.now().timestamp())
        return held, missing

    async def _page(self, api: ExtendClient, sort_by: str, token: str | None, size: int) -> Page[WorkflowRunSummary]:
        """Read one page; if the API refuses large pages, read smaller ones from now on."""
        read = partial(api.list_workflow_runs, next_page_token=token, sort_by=sort_by, sort_dir="desc")
        size = min(size, self._page_size)
        try:
            return await read(max_page_size=size)
        except (InvalidRequestError, AnswerTooLargeError):
            if size <= PAGE_SIZE:
                raise
            page = await read(max_page_size=PAGE_SIZE)
            self._page_size = PAGE_SIZE
            return page

    async def _in_thread(
        self, work: Callable[Concatenate[RunStore, bytes, Given], T], *given: Given.args, **more: Given.kwargs
    ) -> T:
        return await run_sync(partial(work, self._store, self._account, *given, **more), limiter=self._thread)


def _facts(runs: Sequence[WorkflowRunSummary]) -> list[RunFacts]:
    for run in runs:
        if not run.id or run.created is None or run.updated_at is None:
            raise CannotKeepError("a run has no id or no time")
    return [run_facts(run) for run in runs]
