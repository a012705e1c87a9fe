"""Rerunning failed, rejected or cancelled runs, each at most once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import ClassVar, Final

import anyio

from extend_mcp.actions.bulk import BulkAction
from extend_mcp.actions.execute import patiently
from extend_mcp.actions.rerun_plan import Wanted, find_reruns
from extend_mcp.actions.spend import OverBudgetError, UsualCredits, spending
from extend_mcp.actions.store import Plan, PlannedRun, alongside
from extend_mcp.api.errors import CredentialError, ExtendError, NotFoundError
from extend_mcp.api.requests import CreateWorkflowRun, FileFromId, PackageFiles, WorkflowTarget
from extend_mcp.clock import CLOCK_SKEW
from extend_mcp.runs.failures import RERUN_OF
from extend_mcp.runs.statistics import run_facts
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.views.actions import BulkView
from extend_mcp.views.document import error_words
from extend_mcp.views.untrusted import Code, Id

_MOST_PAGES: Final = 100
"""Pages of newer runs that are searched for a rerun. In a busier hour than that, the runs are planned again."""

_LAST_SECONDS: Final = 5.0
"""Time for a start that was begun to be sent and answered, when the call is cut short."""


@dataclass
class _Newer:
    """The runs of one workflow that this call has seen to be newer than its plan, by their files."""

    until: datetime  # every run created from the plan up to here was read
    by_files: dict[frozenset[str], list[str]] = field(default_factory=dict)
    done: int = 0  # how many readings read everything
    reading: anyio.Lock = field(default_factory=anyio.Lock)  # admits one reading at a time


@dataclass
class RerunRuns(BulkAction):
    """Rerun the runs among some ids, or of a batch or a filter, that failed or were rejected or cancelled."""

    wanted: Wanted
    _newer: dict[str, _Newer] = field(default_factory=dict, init=False, repr=False)
    _usual: dict[str, UsualCredits | None] = field(default_factory=dict, init=False, repr=False)

    name: ClassVar[str] = "rerun_workflow_runs"

    async def propose(self) -> Plan | BulkView:
        """Read the runs and plan those that a rerun can help and that were not rerun yet."""
        wanted = self.wanted
        if wanted.run_ids is None and wanted.filters == RunFilter():
            return self.no_such_plan()
        found = await find_reruns(self.reader, wanted)
        notes = [f"INCOMPLETE: {each}." for each in found.missing]
        if found.reruns and not wanted.again:
            old, new = next(iter(found.reruns.items()))
            more = f" and {len(found.reruns) - 1:,} more" if len(found.reruns) > 1 else ""
            notes.insert(0, f"Rerun already: {Id(old)} as {Id(new)}{more}.")
        if not found.planned:
            ways = {
                "again=true makes a second rerun": bool(found.reruns),
                "include_hopeless=true reruns files that fail again": any(": the file" in why for why in found.skipped),
                "include_processed=true reruns what was PROCESSED": "already PROCESSED" in found.skipped,
            }
            step = "; ".join(way for way, exists in ways.items() if exists)
            return self.answer(
                "nothing_to_do",
                " ".join(["There is nothing to rerun here.", *notes]),
                skipped=dict(found.skipped),
                next_step=f"{step}." if step else None,
            )
        runs = []
        for run, _, _ in found.planned:
            # In the run's own order: the files of a package have one.
            files = [FileFromId(id=line.partition("\t")[0]) for line in run.files.split("\n")]
            version = found.versions.get(run.workflow_id, run.version) or None
            body = CreateWorkflowRun(
                workflow=WorkflowTarget(id=run.workflow_id, version=version),
                file=files[0] if len(files) == 1 else None,
                package=PackageFiles(files=[*files]) if len(files) > 1 else None,
                priority=wanted.priority,
            )
            # Only a wanted second rerun may have one that is almost as new as the plan.
            known = found.recent if wanted.again else ()
            runs.append(PlannedRun(run_id=run.id, status=run.status, rerun=body, known=known))
        lines = [*found.question(wanted, self.app.settings.requests_per_second), *notes]
        plan = self.make_plan(runs, lines, found.skipped)
        # A run that another made while this plan was read is newer than the plan: it is found right before sending.
        plan.made_at = found.looked_at.timestamp() if found.looked_at else plan.made_at
        return plan

    async def act(self, run: PlannedRun) -> None:
        """Start the run again, unless this or another call did."""
        # Two plans for the same run, on any replica, must not both start it.
        async with self.app.store.lease(f"rerun {run.run_id}") as ours:
            if not ours:
                run.note = "another call is rerunning it right now"
            elif run.sent_at is None:
                await patiently(self.app, partial(self._start, run))
            # An earlier call sent it without a clear answer: look, and never send again.
            elif not await self._was_started(run):
                run.outcome = "unknown"
                run.note = f"sent once; look with list_runs before starting it again: {run.note}"

    async def _start(self, run: PlannedRun) -> None:
        """Read the run, send its rerun once, and note the outcome.

        Raises:
            ExtendError: a read failed, or Extend refused the request for now: for its rate, or for the key.
        """
        assert run.rerun is not None
        try:
            present = await self.app.api.get_workflow_run(run.run_id)
        except NotFoundError:
            run.outcome = "not_found"
            return
        if (present.status, [file.id for file in present.files]) != (run.status, _files(run.rerun)):
            run.outcome, run.status, run.note = "changed", present.status, "it is not as it was in the plan"
            return
        if found := await self._newer_rerun(run):
            run.outcome, run.note = "already_rerun", f"as {Id(found)}"
            return
        body = run.rerun.model_copy(update={"metadata": {**present.metadata, RERUN_OF: run.run_id}})
        run.sent_at = self.app.clock.now().timestamp()
        # Saved before it is sent: if this process dies now, a resuming call looks and never sends it again.
        await self.app.store.save_run(self.plan, run)
        # Cut off here, it would be unclear whether it was sent, and the run would never be rerun.
        async with to_the_end(_LAST_SECONDS):
            try:
                async with spending(self.app, body.workflow.id, len(present.files), self._usual):
                    made = await self.app.api.create_workflow_run(body)
            except OverBudgetError as refusal:
                run.sent_at, run.outcome, run.note = None, "refused", str(refusal)
            except ExtendError as error:
                run.note = error_words(error)
                if error.effect == "none":
                    run.sent_at = None
                    if isinstance(error, CredentialError) or error.retryable:
                        raise
                    run.outcome = "refused"
                else:
                    # If looking fails too, the next call looks again.
                    with suppress(ExtendError):
                        await self._was_started(run)
            else:
                run.outcome, run.note = "started", f"as {Id(made.id)}, {Code(made.status)}"
                run.new_run_id, run.new_status = made.id, made.status

    async def _was_started(self, run: PlannedRun) -> bool:
        """Look for the run whose answer was lost, and note it; return False if none was found."""
        found = await self._newer_rerun(run)
        if found:
            run.outcome, run.new_run_id = "started", found
            run.note = f"as {Id(found)} (found by looking; its answer was lost)"
        return bool(found)

    async def _newer_rerun(self, run: PlannedRun) -> str | None:
        """Return the id of a rerun of this run that was created since the plan, by a reading that begins from now on.

        Several runs are about to be sent at once, and one reading serves all of them.

        Raises:
            ExtendError: the newer runs could not be read, or are too many to be searched.
        """
        assert run.rerun is not None
        workflow, start = run.rerun.workflow.id, datetime.fromtimestamp(self.plan.made_at, timezone.utc) - CLOCK_SKEW
        newer = self._newer.setdefault(workflow, _Newer(start))
        # A reading in progress began too early.
        enough = newer.done + newer.reading.locked()
        async with newer.reading:
            if newer.done <= enough:
                await self._read_more(newer, workflow, max(newer.until - CLOCK_SKEW, start))
        for found in newer.by_files.get(frozenset(_files(run.rerun)), ()):
            if found not in (run.run_id, *run.known):
                details = await self.app.api.get_workflow_run(found)
                if details.metadata.get(RERUN_OF) == run.run_id:
                    return found
        return None

    async def _read_more(self, newer: _Newer, workflow_id: str, since: datetime) -> None:
        begun = self.app.clock.now()
        query = RunFilter(workflow_id=workflow_id).api_query()
        async with aclosing(self.app.api.list_workflow_runs(**query).pages()) as pages:
            for _ in range(_MOST_PAGES):
                page = await anext(pages, None)
                for found in page.data if page else ():
                    if found.initial_run_at and found.initial_run_at < since:
                        page = None
                        break
                    same = newer.by_files.setdefault(run_facts(found).file_ids, [])
                    if found.id not in same:
                        same.append(found.id)
                if page is None or page.next_page_token is None:
                    newer.until, newer.done = begun, newer.done + 1
                    return
        raise _TooManyRunsError("too many runs were created since this plan was made: make a new one")


def _files(body: CreateWorkflowRun) -> list[str]:
    files = body.package.files if body.package else [body.file]
    return [file.id for file in files if isinstance(file, FileFromId)]


@asynccontextmanager
async def to_the_end(seconds: float) -> AsyncIterator[None]:
    """Let the block end also when the call is cut short, for so many seconds."""
    block = anyio.CancelScope(shield=True)

    async def wait_for_a_cut() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            block.deadline = anyio.current_time() + seconds

    async with alongside(wait_for_a_cut):
        with block:
            yield


class _TooManyRunsError(ExtendError):
    """Raised when it cannot be known whether a run was rerun, because too many runs were created since the plan."""
