"""Cancelling many runs: by ids, of a batch, or by filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.api.errors import ExtendError, InvalidRequestError, NotFoundError, RateLimitedError
from extend_mcp.api.models import RunBase, WorkflowRun
from extend_mcp.rights import CANCEL
from extend_mcp.runs.guards import may_cancel
from extend_mcp.runs.lifecycle import describe, is_finished
from extend_mcp.tools.app import App, Ctx, app_of
from extend_mcp.tools.args import BatchId, ConfirmationToken, Example, Moment, RunId, StatusFilter, WorkflowRef
from extend_mcp.tools.base import DESTRUCTIVE, Refusal
from extend_mcp.tools.bulk import BulkAction, carry_out, no_such_plan, refusal_above
from extend_mcp.tools.confirm import principal_of
from extend_mcp.tools.find import RunQuery, read_query
from extend_mcp.tools.gather import SURFACES_AT_ONCE, Deadline, Walk, collect, read_details
from extend_mcp.tools.plans import Item, Plan
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.bulk import BulkView, bulk_view
from extend_mcp.views.errors import error_words
from extend_mcp.views.sets import set_lines
from extend_mcp.views.untrusted import quote

_LOOK_AGAIN_AFTER = 0.5
_FOLLOW_EVERY = 2.0


@RUNS.tool(title="Cancel many workflow runs", annotations=DESTRUCTIVE, scope=CANCEL)
async def cancel_runs(
    ctx: Ctx,
    run_ids: Annotated[list[RunId], Field(min_length=1, max_length=1000)] | None = None,
    batch: BatchId | None = None,
    workflow: WorkflowRef | None = None,
    status: StatusFilter | None = None,
    file_name_contains: Annotated[str, Field(min_length=1, max_length=255), Example("invoice")] | None = None,
    created_since: Moment | None = None,
    created_before: Moment | None = None,
    reason: Annotated[str, Field(max_length=500)] | None = None,
    confirmation_token: ConfirmationToken | None = None,
) -> BulkView | InputRequiredResult:
    """Cancel the PENDING and PROCESSING runs among run_ids, of a batch, or that fit all filters, for good.
    Use it only when the user asked: it first shows a plan that a person confirms, then acts on exactly those runs.
    Returns what became of each; a confirmation_token goes on with a plan and needs no other argument.
    """
    app = app_of(ctx)
    filters = {
        "workflow": workflow,
        "status": status,
        "file_name_contains": file_name_contains,
        "created_since": created_since,
        "created_before": created_before,
    }
    given = {name: value for name, value in filters.items() if value is not None}
    if sum((run_ids is not None, batch is not None, bool(given))) > 1:
        raise Refusal("Give run_ids, or batch, or filters: one of the three.")
    if run_ids is None and batch is None and not given and confirmation_token is None:
        raise Refusal("Give run_ids, batch or at least one filter: all runs of the account is no choice.")
    query = await read_query(app, {"batch": batch} if batch else given)
    ids = list(dict.fromkeys(run_ids)) if run_ids else None
    return await carry_out(ctx, _CancelRuns(ctx, app, ids, query, reason), confirmation_token)


class _CancelRuns(BulkAction):
    name = "cancel_runs"

    def __init__(self, ctx: Ctx, app: App, ids: list[str] | None, query: RunQuery, reason: str | None) -> None:
        self._ctx = ctx
        self._app = app
        self._ids = ids
        self._query = query
        self._reason = reason

    async def propose(self, deadline: Deadline) -> Plan | BulkView:
        app, limit = self._app, self._app.settings.answer_chars
        skipped: Counter[str] = Counter()
        if self._ids is None and self._query == RunQuery():
            return no_such_plan(limit)
        found, missing = await self._find(deadline, skipped)
        planned = []
        for run in sorted(found, key=lambda run: (run.initial_run_at or app.clock.now(), run.id)):
            if may_cancel(run.status).allowed:
                planned.append(run)
            else:
                skipped[_why_not(run.status)] += 1
        if not planned:
            return bulk_view(
                "nothing_to_do",
                "No run here can be cancelled: only PENDING and PROCESSING ones can."
                + "".join(f" {m}." for m in missing),
                skipped=dict(skipped),
                limit=limit,
            )
        if refusal := refusal_above(planned, app.settings.bulk_runs, limit=limit):
            return refusal
        lines = [f"Cancel {len(planned):,} workflow runs?", *set_lines(planned, skipped, now=app.clock.now())]
        lines += [f"INCOMPLETE: {each}." for each in missing]
        lines += [f"Reason given: {quote(self._reason, 200)}"] if self._reason else []
        lines.append("Cancelled runs do not resume.")
        items = [Item(run.id, status=run.status) for run in planned]
        return Plan(self.name, principal_of(self._ctx), items, lines, dict(skipped), app.clock.now().timestamp())

    async def _find(self, deadline: Deadline, skipped: Counter[str]) -> tuple[Sequence[RunBase], list[str]]:
        app = self._app
        if self._ids is not None:
            details = await read_details(app, deadline, self._ids, _light)
            for error in details.failed.values():
                skipped["not found" if isinstance(error, NotFoundError) else "could not be read"] += 1
            missing = [f"{len(details.skipped):,} runs were not looked at: time was up"] if details.skipped else []
            return list(details.found.values()), missing
        # A batch is told whole; filters go over what can be cancelled at all.
        statuses = [self._query.status] if self._query.batch or self._query.status else ["PENDING", "PROCESSING"]
        found: dict[str, RunBase] = {}
        missing = []
        for status in statuses:
            walk = Walk(self._query.model_copy(update={"status": status}), app.settings.summary_runs)
            found |= {run.id: run for run in await collect(walk, app, deadline)}
            missing += [walk.missing] if walk.missing else []
        return list(found.values()), missing

    async def attempt(self, item: Item) -> float | None:
        """Read the run and cancel it if it still can be; return the seconds to wait before another try, or None."""
        app = self._app
        run = await self._read(item)
        if run is None:
            return None
        if not may_cancel(run.status).allowed:
            _settle(item, run.status)
            return None
        item.facts["sent"] = True
        try:
            answer = await app.api.cancel_workflow_run(item.run_id)
        except NotFoundError:
            item.outcome = "not_found"
        except InvalidRequestError as error:
            # It was cancellable a moment ago: a race, which another look tells.
            fresh = await self._read(item)
            if fresh is not None and not may_cancel(fresh.status).allowed:
                _settle(item, fresh.status)
            elif fresh is not None:
                item.outcome, item.note = "refused", error_words(error)
        except RateLimitedError as error:
            # Refused before it was looked at: the run may be read and tried again.
            item.facts["sent"] = False
            item.note = error_words(error)
            return error.retry_after if error.retry_after is not None else 1.0
        except ExtendError as error:
            if isinstance(error, SURFACES_AT_ONCE):
                raise
            item.note = error_words(error)
            await app.clock.sleep(_LOOK_AGAIN_AFTER)
            fresh = await self._read(item)
            if fresh is not None and not may_cancel(fresh.status).allowed:
                _settle(item, fresh.status)
        else:
            item.status = answer.status
            item.outcome = "cancelled" if answer.status == "CANCELLED" else "cancelling"
        return None

    async def _read(self, item: Item) -> WorkflowRun | None:
        try:
            run = await self._app.api.get_workflow_run(item.run_id)
        except NotFoundError:
            item.outcome = "not_found"
        except ExtendError as error:
            if isinstance(error, SURFACES_AT_ONCE):
                raise
            item.note = error_words(error)
        else:
            item.status = run.status
            return run
        return None

    async def finish(self, plan: Plan, deadline: Deadline) -> None:
        clock = self._app.clock
        end = clock.monotonic() + self._app.settings.follow_seconds
        while True:
            ending = {item.run_id: item for item in plan.items if item.outcome == "cancelling"}
            if not ending or clock.monotonic() + _FOLLOW_EVERY > end or deadline.left <= _FOLLOW_EVERY:
                return
            await clock.sleep(_FOLLOW_EVERY)
            details = await read_details(
                self._app, deadline, list(ending), lambda run: run.status, noun="runs followed"
            )
            for run_id, status in details.found.items():
                _settle(ending[run_id], status)


def _settle(item: Item, status: str) -> None:
    """Note how a run stands that cannot be cancelled, or not any more."""
    item.status, item.note = status, ""
    sent = item.facts.get("sent")
    if status == "CANCELLED":
        item.outcome = "cancelled" if sent else "cancelled_already"
    elif describe(status).phase == "ending":
        item.outcome = "cancelling" if sent else "already_cancelling"
    elif is_finished(status):
        item.outcome = "finished_first"
    elif not may_cancel(status).allowed:
        item.outcome = "not_cancellable"


def _why_not(status: str) -> str:
    if is_finished(status):
        return f"already {status}"
    return {"NEEDS_REVIEW": "waiting for review", "CANCELLING": "already being cancelled"}.get(
        status, "in a status that cannot be cancelled"
    )


def _status(run: WorkflowRun) -> str:
    return run.status


def _light(run: WorkflowRun) -> WorkflowRun:
    return run.model_copy(update={"step_runs": [], "metadata": {}})
