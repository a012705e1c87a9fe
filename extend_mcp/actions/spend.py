"""Know what starting runs usually costs, and keep a caller within the operator's credits a day.

Extend says what a run cost only once it has ended. So a start counts with the usual credits a file of its workflow, by
the newest processed runs, at the moment when it is sent. The sums are in the action store, which replicas share.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from extend_mcp.actions.store import StoreUnavailableError
from extend_mcp.api.errors import ExtendError
from extend_mcp.api.requests import PAGE_SIZE
from extend_mcp.callers import CallerContext
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.statistics import quantile

_DAY_SECONDS = 86_400.0


class UsualCredits(NamedTuple):
    """The median credits a file, by so many processed runs of a workflow."""

    a_file: float
    runs: int

    def words(self, files: int) -> str:
        """Say what so many files usually cost."""
        runs = f"median of the newest {self.runs} processed runs" if self.runs > 1 else "by 1 processed run"
        return f"usually {self.a_file:,.10g} credits a file ({runs}), so about {self.a_file * files:,.10g} in all"


class OverBudgetError(CallRefusedError):
    """Raised when a start would pass the caller's credits of the day, or when that cannot be known."""


async def usual_credits(app: CallerContext, workflow_id: str) -> UsualCredits | None:
    """Return the usual credits a file of a workflow; None if no processed run says so, or they cannot be read."""
    try:
        page = await app.api.list_workflow_runs(
            status="PROCESSED", workflow_id=workflow_id, sort_by="createdAt", sort_dir="desc", max_page_size=PAGE_SIZE
        )
    except ExtendError:
        return None
    costs = [run.credits / max(len(run.files), 1) for run in page.data if run.credits is not None]
    middle = quantile(costs, 0.5)
    return None if middle is None else UsualCredits(middle, len(costs))


@asynccontextmanager
async def spending(
    app: CallerContext, workflow_id: str, files: int, known: dict[str, UsualCredits | None] | None = None
) -> AsyncIterator[None]:
    """Count a start of so many files against the caller's credits of the day while it is sent.

    A start that Extend refuses is not counted. One whose outcome is unclear is. What ``known`` lacks of the workflows'
    usual credits is read and added to it.

    Raises:
        OverBudgetError: it would cost too much, or the sum cannot be read. Nothing was sent.
    """
    most = app.settings.credits_per_day
    if most is None:
        yield
        return
    known = {} if known is None else known
    if workflow_id not in known:
        known[workflow_id] = await usual_credits(app, workflow_id)
    usual = known[workflow_id]
    cost = usual.a_file * files if usual else 0.0
    name = f"credits {app.caller.principal} {app.caller.account.budget} {app.clock.now():%Y-%m-%d}"
    try:
        added, total = await app.store.add_up(name, cost, most=most, seconds=_DAY_SECONDS)
    except StoreUnavailableError:
        raise OverBudgetError(
            "The credits used today cannot be read at the moment, so nothing is started. Try again in a minute."
        ) from None
    if not added:
        raise OverBudgetError(
            f"This start would use about {cost:,.10g} credits. With {total:,.10g} started today (UTC, estimated) that "
            f"passes the operator's limit of {most:,.10g} a day (EXTEND_MCP_CREDITS_PER_DAY)."
        )
    try:
        yield
    except ExtendError as error:
        if error.effect == "none":
            with suppress(StoreUnavailableError):
                await app.store.add_up(name, -cost, most=most, seconds=_DAY_SECONDS)
        raise
