"""Rerunning failed, rejected or cancelled runs, each at most once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import ClassVar, Final

import anyio

from extend_mcp.actions.bulk import BulkAction
from extend_mcp.actions.cancel_run import ATTEMPTS, LONGEST_WAIT
from extend_mcp.actions.rerun_plan import CLOCK_SKEW, Wanted, find_reruns
from extend_mcp.actions.spend import OverBudgetError, UsualCredits, spending
from extend_mcp.actions.store import Plan, PlannedRun, RerunSource, alongside
from extend_mcp.api.errors import CredentialError, ExtendError, NotFoundError, RateLimitedError
from extend_mcp.api.models import WorkflowRun
from extend_mcp.api.requests import CreateWorkflowRun, FileFromId, PackageFiles, WorkflowTarget
from extend_mcp.runs.failures import RERUN_OF
from extend_mcp.runs.statistics import run_facts
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import Deadline
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
    begun: int = 0  # how many readings began
    done: int = 0  # the number of the last one that read everything
    reading: anyio.Lock = field(default_factory=anyio.Lock)  # admits one reading at a time


@dataclass
class RerunRuns(BulkAction):
    """Rerun the runs among some ids, or of a batch or a filter, that failed or were rejected or cancelled."""

    wanted: Wanted
    _newer: dict[str, _Newer] = field(default_factory=dict, init=False, repr=False)
    _usual: dict[str, UsualCredits | None] = field(default_factory=dict, init=False, repr=False)

    name: ClassVar[str] = "rerun_workflow_runs"

    async def propose(self, deadline: Deadline) -> Plan | BulkView:
        """Read the runs and plan those that a rerun can help and that were not rerun yet."""
        wanted = self.wanted
        if wanted.run_ids is None and wanted.filters == RunFilter():
            return self.no_such_plan()
        found = await find_reruns(self.app, deadline, wanted)
        notes = [f"INCOMPLETE: {each}." for each in found.missing]
        if found.reruns and not wanted.again:
            old, new = next(iter(found.reruns.items()))
            more = f" and {len(found.reruns) - 1:,} more" if len(found.reruns) > 1 else ""
            notes.insert(0, f"Rerun already: {Id(old)} as {Id(new)}{more}.")
        if not found.planned:
            message = " ".join(["There is nothing to rerun here.", *notes])
            ways = {
                "again=true makes a second rerun": bool(found.reruns),
                "include_hopeless=true reruns files that fail again": any(": the file" in why for why in found.skipped),
                "include_processed=true reruns what was PROCESSED": "already PROCESSED" in found.skipped,
            }
            step = "; ".join(way for way, exists in ways.items() if exists)
            return self.view(
                "nothing_to_do", message, skipped=dict(found.skipped), next_step=f"{step}." if step else None
            )
        if refusal := self.too_many(found.planned):
            return refusal
        lines = [*found.question(wanted, self.app.settings.requests_per_second), *notes]
        items = [
            PlannedRun(
                run_id=run.id,
                status=run.status,
                rerun=RerunSource(
                    workflow_id=run.workflow_id,
                    version=found.versions.get(run.workflow_id, run.version) or None,
                    # In the run's own order: the files of a package have one.
                    file_ids=tuple(line.partition("\t")[0] for line in run.files.split("\n")),
                    priority=wanted.priority,
                    status=run.status,
                    # Only a wanted second rerun may have one that is almost as new as the plan.
                    known=found.recent if wanted.again else (),
                ),
            )
            for run, _, _ in found.planned
        ]
        plan = self.plan(items, lines, dict(found.skipped))
        # A run that another made while this plan was read is newer than the plan: it is found right before sending.
        plan.made_at = found.looked_at.timestamp() if found.looked_at else plan.made_at
        return plan

    async def act(self, plan: Plan, run: PlannedRun) -> None:
        """Start the run again, unless this or another call did."""
        # Two plans for the same run, on any replica, must not both start it.
        async with self.app.store.lease(f"rerun {run.run_id}") as ours:
            if not ours:
                run.note = "another call is rerunning it right now"
                return
            if run.sent_at is None:
                await self._start(plan, run)
                return
            # An earlier call sent it without a clear answer: look, and never send again.
            if not _note_found(run, await self._newer_rerun(plan, run)):
                run.outcome = "unknown"
                run.note = f"sent once; look with list_runs before starting it again: {run.note}"

    async def _start(self, plan: Plan, run: PlannedRun) -> None:
        for _ in range(ATTEMPTS):
            try:
                wait = await self._start_once(plan, run)
            except CredentialError:
                raise
            except ExtendError as error:
                # A read failed, so nothing was sent: the next call tries again.
                run.note = error_words(error)
                return
            if wait is None or wait > LONGEST_WAIT:
                return
            await self.app.clock.sleep(wait)

    async def _start_once(self, plan: Plan, run: PlannedRun) -> float | None:
        """Read the run, send its rerun, and note the outcome.

        Returns:
            The seconds that a refusal for rate asks to wait; None otherwise.

        Raises:
            ExtendError: a read failed, or the key is refused. Nothing was sent.
        """
        present = await self._still_wanted(plan, run)
        if present is None:
            return None
        source = run.rerun
        assert source is not None
        files = [FileFromId(id=file) for file in source.file_ids]
        body = CreateWorkflowRun(
            workflow=WorkflowTarget(id=source.workflow_id, version=source.version),
            file=files[0] if len(files) == 1 else None,
            package=PackageFiles(files=[*files]) if len(files) > 1 else None,
            priority=source.priority,
            metadata={**present.metadata, RERUN_OF: run.run_id},
        )
        run.sent_at = self.app.clock.now().timestamp()
        # Saved before it is sent: if this process dies now, a resuming call looks and never sends it again.
        await self.app.store.save_run(plan, run)
        # Cut off here, it would be unclear whether it was sent, and the run would never be rerun.
        async with to_the_end(_LAST_SECONDS):
            return await self._send(plan, run, body)

    async def _send(self, plan: Plan, run: PlannedRun, body: CreateWorkflowRun) -> float | None:
        files = len(body.package.files) if body.package else 1
        try:
            async with spending(self.app, body.workflow.id, files, self._usual):
                made = await self.app.api.create_workflow_run(body)
        except OverBudgetError as refusal:
            run.sent_at, run.outcome, run.note = None, "refused", str(refusal)
        except RateLimitedError as error:
            run.sent_at, run.note = None, error_words(error)
            return error.retry_after if error.retry_after is not None else 1.0
        except ExtendError as error:
            if error.effect == "none":
                run.sent_at = None
                if isinstance(error, CredentialError):
                    raise
                # A passing failure is left for the next call.
                run.outcome = None if error.retryable else "refused"
            run.note = error_words(error)
            if error.effect != "none":
                _note_found(run, await self._look(plan, run))
        else:
            run.outcome, run.note = "started", f"as {Id(made.id)}, {Code(made.status)}"
            run.new_run_id, run.new_status = made.id, made.status
        return None

    async def _still_wanted(self, plan: Plan, run: PlannedRun) -> WorkflowRun | None:
        """Return the run, read right before sending; None if it has changed, or was rerun since the plan."""
        source = run.rerun
        assert source is not None
        asked = self._newer_runs(plan, source.workflow_id).begun
        try:
            present = await self.app.api.get_workflow_run(run.run_id)
        except NotFoundError:
            run.outcome = "not_found"
            return None
        if (present.status, tuple(file.id for file in present.files)) != (source.status, source.file_ids):
            run.outcome, run.status = "changed", present.status
            run.note = "it is not as it was in the plan"
        elif found := await self._newer_rerun(plan, run, asked):
            run.outcome, run.note = "already_rerun", f"as {Id(found)}"
        else:
            return present
        return None

    async def _look(self, plan: Plan, run: PlannedRun) -> str | None:
        try:
            return await self._newer_rerun(plan, run)
        except CredentialError:
            raise
        except ExtendError:
            return None

    async def _newer_rerun(self, plan: Plan, run: PlannedRun, asked: int | None = None) -> str | None:
        """Return the id of a rerun of this run that was created since the plan, by a reading that begins from now on.

        Several runs are about to be sent at once, and one reading serves all of them.

        ``asked`` is how many readings had begun when this one was wanted; by default all that have.

        Raises:
            ExtendError: the newer runs could not be read, or are too many to be searched.
        """
        source = run.rerun
        assert source is not None
        newer = self._newer_runs(plan, source.workflow_id)
        asked = newer.begun if asked is None else asked
        async with newer.reading:
            if newer.done <= asked:
                newer.begun += 1
                await self._read_more(newer, plan, source.workflow_id)
                newer.done = newer.begun
        for found in newer.by_files.get(frozenset(source.file_ids), ()):
            if found in (run.run_id, *source.known):
                continue
            details = await self.app.api.get_workflow_run(found)
            if details.metadata.get(RERUN_OF) == run.run_id:
                return found
        return None

    def _newer_runs(self, plan: Plan, workflow_id: str) -> _Newer:
        return self._newer.setdefault(workflow_id, _Newer(until=_start_of(plan)))

    async def _read_more(self, newer: _Newer, plan: Plan, workflow_id: str) -> None:
        begun, since = self.app.clock.now(), max(newer.until - CLOCK_SKEW, _start_of(plan))
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
                    newer.until = begun
                    return
        raise _TooManyRunsError("too many runs were created since this plan was made: make a new one")


def _note_found(run: PlannedRun, new_run_id: str | None) -> bool:
    """Note that a lost answer was that of this new run; return False if none was found."""
    if new_run_id is None:
        return False
    run.outcome, run.new_run_id = "started", new_run_id
    run.note = f"as {Id(new_run_id)} (found by looking; its answer was lost)"
    return True


def _start_of(plan: Plan) -> datetime:
    return datetime.fromtimestamp(plan.made_at, timezone.utc) - CLOCK_SKEW


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
