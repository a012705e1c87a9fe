"""Reading many runs within bounds: how many, how long, and how fast; what was left out is told, not hidden."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import anyio

from extend_mcp.actions.store import StoreUnavailableError
from extend_mcp.api.errors import AuthenticationError, ExtendError, MissingApiKeyError, PermissionDeniedError
from extend_mcp.api.models import Page, WorkflowRun, WorkflowRunSummary
from extend_mcp.callers import CallerContext, Ctx
from extend_mcp.runs.statistics import created_at
from extend_mcp.tools.find import RunQuery
from extend_mcp.views.errors import error_words

T = TypeVar("T")

SURFACES_AT_ONCE = (AuthenticationError, MissingApiKeyError, PermissionDeniedError)
"""Failures that no later request would be spared."""

CALL_SECONDS = 45.0
"""How long one call reads: many clients give up on a call after 60 seconds, whatever progress they see."""

_API_PAGE = 100
_AT_ONCE = 8


class Deadline:
    """The end of one call's reading, and the progress told on the way there."""

    def __init__(self, ctx: Ctx, app: CallerContext, seconds: float = CALL_SECONDS) -> None:
        self._ctx = ctx
        self._clock = app.clock
        self._end = app.clock.monotonic() + seconds
        self._told = 0

    @property
    def left(self) -> float:
        """Seconds left; 0 or less when time is up."""
        return self._end - self._clock.monotonic()

    async def tell(self, message: str, *, done: int = 1) -> None:
        """Tell the client that some more was done."""
        self._told += done
        await self._ctx.report_progress(self._told, None, message)


@dataclass
class Walk:
    """A walk through the runs that a query finds, newest first.

    Attributes:
        query: which runs; its times bound the walk.
        most: how many runs are read at most.
        read: how many were read.
        missing: why it ended early, in words; None while or when it read everything.
        reached: when the last run that was looked at was created.
    """

    query: RunQuery
    most: int
    read: int = 0
    missing: str | None = None
    reached: datetime | None = None

    async def runs(self, app: CallerContext, deadline: Deadline) -> AsyncGenerator[WorkflowRunSummary, None]:
        """The runs, one after the other; pages are read as they are needed."""
        token: str | None = None
        while True:
            page = None
            if self.read >= self.most:
                self.missing = f"only the newest {self.read:,} runs were read (the operator's bound)"
            elif deadline.left <= 0:
                self.missing = f"time was up after {self.read:,} runs"
            else:
                page = await self._page(app, token, deadline.left)
            if page is None:
                return
            for run in page.data:
                created = created_at(run)
                self.reached = created or self.reached
                if created and self.query.since and created < self.query.since:
                    return
                if created and self.query.before and created >= self.query.before:
                    continue
                self.read += 1
                yield run
            await deadline.tell(f"{self.read:,} runs read")
            token = page.next_page_token
            if not token:
                return

    async def _page(self, app: CallerContext, token: str | None, seconds: float) -> Page[WorkflowRunSummary] | None:
        query = self.query
        try:
            with anyio.fail_after(max(seconds, 1.0)):
                return await app.api.list_workflow_runs(
                    status=query.status,
                    workflow_id=query.workflow_id,
                    batch_id=query.batch,
                    file_name_contains=query.file_name_contains,
                    sort_by="createdAt",
                    sort_dir="desc",
                    next_page_token=token,
                    max_page_size=_API_PAGE,
                )
        except TimeoutError:
            self.missing = f"time was up after {self.read:,} runs"
        except ExtendError as error:
            if isinstance(error, SURFACES_AT_ONCE) or not self.read:
                raise
            self.missing = f"reading stopped after {self.read:,} runs: {error_words(error)}"
        return None


@dataclass
class Details(Generic[T]):
    """What was read of runs one by one.

    Attributes:
        found: what was kept of each run that could be read, by id.
        failed: the error of each that could not.
        skipped: ids that were not read, because time was up.
    """

    found: dict[str, T]
    failed: dict[str, ExtendError]
    skipped: list[str]


async def read_details(
    app: CallerContext,
    deadline: Deadline,
    run_ids: Sequence[str],
    keep: Callable[[WorkflowRun], T],
    *,
    noun: str = "runs looked into",
) -> Details[T]:
    """Read runs one by one, several at once, and keep only what is needed of each.

    Args:
        app: the server's parts.
        deadline: when to stop.
        run_ids: which runs, the most wanted first.
        keep: takes from a run what is to be kept; the run itself is let go.
        noun: what progress calls them.
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
                if isinstance(error, SURFACES_AT_ONCE):
                    raise
                details.failed[run_id] = error
            await deadline.tell(f"{len(details.found):,} {noun}")

    await in_parallel(work, min(_AT_ONCE, len(waiting)))
    details.skipped += waiting
    return details


async def in_parallel(work: Callable[[], Awaitable[None]], workers: int) -> None:
    """Run several workers of one kind; the first foreseen error stops them all and is raised alone."""
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


async def collect(walk: Walk, app: CallerContext, deadline: Deadline) -> list[WorkflowRunSummary]:
    """All runs of a walk in a list."""
    async with aclosing(walk.runs(app, deadline)) as runs:
        return [run async for run in runs]
