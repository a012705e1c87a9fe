"""Wait for runs: poll them, report progress, stop in time, and say how to continue.

Many clients give up on a call after 60 seconds whatever progress they see, so a window is short by default.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Annotated

import anyio
from pydantic import BeforeValidator, Field

from extend_mcp.api.errors import CredentialError, ExtendError, NotFoundError
from extend_mcp.api.models import WorkflowRun
from extend_mcp.callers import Ctx
from extend_mcp.events.event import waking
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.lifecycle import is_moving, next_pause
from extend_mcp.tools.args import BatchId, RunId
from extend_mcp.tools.pagination import read_all
from extend_mcp.tools.run_scan import RunReader
from extend_mcp.tools.toolsets import READ_ONLY, RUNS
from extend_mcp.views.document import error_words
from extend_mcp.views.instructions import spoken_to
from extend_mcp.views.runs import WaitedRun, WaitView, run_view, steps_done, wait_view, waited_run
from extend_mcp.views.untrusted import Id
from extend_mcp.views.uris import batch_uri, run_uri

_LAST_READ_SECONDS = 3.0
_MOST_NAMED = 3
_BATCH_PAGES = 11
"""A batch has at most 1000 runs, in pages of 100."""


AwaitedRuns = Annotated[
    list[RunId],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(min_length=1, max_length=50, description="Run ids", examples=[["workflow_run_xKm9pNv3qWsY_jL2tR5Dh"]]),
]
WaitSeconds = Annotated[
    int, Field(ge=1, le=3600, description="Longest wait; clients often give up after 60", examples=[45])
]


@RUNS.tool(title="Wait for workflow runs", annotations=READ_ONLY)
async def wait_for_run(
    ctx: Ctx, run_ids: AwaitedRuns | None = None, batch: BatchId | None = None, seconds: WaitSeconds = 45
) -> WaitView:
    """Wait until runs, or all runs of a batch, have ended or need review, or the time is up.
    Use it after starting work instead of repeated reads. Returns each status, failures first, and how to continue.
    """
    if (run_ids is None) == (batch is None):
        raise CallRefusedError("Give either run_ids or batch.")
    watch = _Watch(ctx, RunReader(ctx, seconds), list(dict.fromkeys(run_ids or [])), batch)
    waited, app = await watch.follow(float(seconds)), watch.reader.app
    limit, explained = app.limits.answer_chars, None
    if watch.run and not is_moving(watch.run.status):
        explained = run_view(watch.run, now=app.clock.now(), detail="concise", page=1, limit=limit - 300).text
    problem = error_words(watch.problem) if watch.problem else None
    view = wait_view(watch.rows, waited=waited, explained=explained, problem=problem, go_on=watch.go_on(), limit=limit)
    if batch and view.shown < view.total:
        view.with_link(batch_uri(batch), "All runs of the batch")
    return view


@dataclass
class _Watch:
    """The runs to poll, and the last state seen of each."""

    ctx: Ctx
    reader: RunReader
    ids: list[str]
    batch: str | None
    run: WorkflowRun | None = None  # the run, if it is the only one waited for
    problem: ExtendError | None = None  # what went wrong with the last look
    seen: dict[str, WaitedRun] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[WaitedRun]:
        """The last state seen of each run."""
        return [self.seen[run_id] for run_id in self.ids or self.seen if run_id in self.seen]

    async def follow(self, seconds: float) -> float:
        """Poll until every run has ended or needs review, or the window ends; return how long that took."""
        app, pause = self.reader.app, 0.0
        # The last look needs time too, and the answer must still be in time.
        last = app.clock.monotonic() + self.reader.left - min(_LAST_READ_SECONDS, seconds / 5)
        uris = [batch_uri(self.batch)] if self.batch else [run_uri(run_id) for run_id in self.ids]
        # Subscribed before the first look, so that no change between two looks is missed.
        with waking(app.bus, uris, app.clock.sleep) as sleep:
            while True:
                await self._look()
                elapsed = max(seconds - self.reader.left, 0.0)
                # A message for each change: one for each look would be a clock.
                if message := self._news():
                    await self.ctx.report_progress(elapsed, seconds, message)
                left = last - app.clock.monotonic()
                over = self.rows and not self.problem and not any(is_moving(row.status) for row in self.rows)
                if over or left <= 0:
                    return elapsed
                pause = next_pause(pause, elapsed)
                # Spread by a quarter, so that many who wait do not look at the same moment.
                spread = random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, hides nothing
                await sleep(min(pause * spread, left))

    def go_on(self) -> str:
        """Return the call that continues waiting."""
        if self.batch:
            return f'wait_for_run(batch="{self.batch}")'
        shown = ", ".join(f'"{Id(run_id)}"' for run_id in self._moving())
        return f"wait_for_run(run_ids=[{shown}])"

    def _moving(self) -> list[str]:
        return [each for each in self.ids if each not in self.seen or is_moving(self.seen[each].status)]

    async def _look(self) -> None:
        """Read every run that can still change on its own; where that fails, the state seen before counts."""
        reader, self.problem = self.reader, None
        try:
            if self.batch:
                pager = reader.app.api.list_workflow_runs(batch_id=self.batch, sort_by="createdAt", sort_dir="asc")
                with anyio.fail_after(max(reader.left, 1.0)):
                    runs, _ = await read_all(pager, most_pages=_BATCH_PAGES)
                self.seen = {run.id: waited_run(run) for run in runs}
                return
            read = await reader.read(self._moving(), self._state, noun="")
            self.seen |= read.found
            for run_id, error in read.failed.items():
                if isinstance(error, NotFoundError) and len(self.ids) > 1:
                    self.seen[run_id] = WaitedRun(run_id=run_id, status="NOT_FOUND")
                else:
                    self.problem = error
            if read.skipped:
                self.problem = ExtendError("Extend did not answer in time")
        except TimeoutError:
            self.problem = ExtendError("Extend did not answer in time")
        except ExtendError as error:
            self.problem = error
        if self.problem and (isinstance(self.problem, CredentialError) or not self.seen):
            raise self.problem

    def _state(self, run: WorkflowRun) -> WaitedRun:
        self.run = run if len(self.ids) == 1 else None
        speaks = not is_moving(run.status) and bool(spoken_to(run))
        return waited_run(run, done=steps_done(run), known=len(run.step_runs), speaks=speaks)

    def _news(self) -> str:
        """Name in one line the runs and steps that changed since the last line; empty if none did."""
        rows = self.rows
        words = {str(row.run_id): row.line() for row in rows}
        changed = [each for run_id, each in words.items() if self.said.get(run_id) != each]
        self.said = words
        if not changed or len(rows) == 1:
            return "".join(changed)
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        over = sum(not is_moving(row.status) for row in rows)
        return f"{over} of {len(rows)} runs ended or need review; {', '.join(changed[:_MOST_NAMED])}{more}"
