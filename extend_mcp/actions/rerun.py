"""Rerunning failed, rejected or cancelled runs, each at most once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar, Final

from extend_mcp.actions.bulk import BulkAction
from extend_mcp.actions.cancel_run import ATTEMPTS, LONGEST_WAIT
from extend_mcp.actions.store import Plan, PlannedRun, RerunSource
from extend_mcp.api.errors import ExtendError, NotFoundError, RateLimitedError
from extend_mcp.api.models import RunBase, WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import CreateWorkflowRun, FileFromId, PackageFiles, WorkflowTarget
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import CREDENTIAL_ERRORS, Deadline, RunScan, collect, read_details
from extend_mcp.tools.workflows import resolve_version
from extend_mcp.views.actions import BulkView, set_lines
from extend_mcp.views.errors import error_words
from extend_mcp.views.untrusted import Code

RERUN_OF: Final = "rerunOf"
"""The metadata key that names the run which another one repeats."""

_CAN_RERUN = frozenset({"FAILED", "CANCELLED", "REJECTED"})

_CLOCK_SKEW = timedelta(seconds=5)
"""How far this machine's clock and Extend's may be apart."""

_MOST_PAGES = 10


@dataclass
class RerunRuns(BulkAction):
    """Rerun the runs among some ids, or of a batch, that failed or were rejected or cancelled.

    Attributes:
        run_ids: the runs; None to take those of ``batch``.
        batch: the batch, where no ids are given.
        version: ``newest`` for the latest published version, ``same`` for the one that each run used; or a number,
            ``draft`` or an id.
        again: True to rerun also what was rerun before.
    """

    principal: str
    run_ids: list[str] | None
    batch: str | None
    version: str = "newest"
    again: bool = False

    name: ClassVar[str] = "rerun_workflow_runs"

    async def propose(self, deadline: Deadline) -> Plan | BulkView:
        """Read the runs and plan those that were not rerun yet."""
        if self.run_ids is None and self.batch is None:
            return self.no_such_plan()
        skipped: Counter[str] = Counter()
        runs, missing = await self._read(deadline, skipped)
        reruns, recent = await self._reruns(deadline, runs, missing)
        planned = [run for run in runs if self.again or run.id not in reruns]
        notes = [f"Run again already: {old} as {new}" for old, new in list(reruns.items())[:20]]
        if reruns and not self.again:
            skipped["run again already"] = len(reruns)
        if not planned:
            message = " ".join(["There is nothing to run again here.", *(f"{note}." for note in notes), *missing])
            step = "With again=true a second rerun is made." if reruns else None
            return self.view("nothing_to_do", message, skipped=dict(skipped), next_step=step)
        if refusal := self.too_many(planned):
            return refusal
        versions: dict[str, str | None] = {}
        if self.version != "same":
            for workflow in dict.fromkeys(run.workflow.id for run in planned):
                versions[workflow] = await resolve_version(self.app, workflow, self.version)
        words = {"same": "the version that each used", "newest": "the latest published version"}
        version = words.get(self.version) or f"version {Code(self.version)}"
        runs_word = "workflow run" if len(planned) == 1 else "workflow runs"
        lines = [
            f"Rerun {len(planned):,} {runs_word} with {version}? You will be charged credits again.",
            *set_lines(planned, skipped, now=self.app.clock.now()),
            *notes,
            *(f"INCOMPLETE: {each}." for each in missing),
        ]
        items = []
        for run in planned:
            source = _source(run, versions.get(run.workflow.id, run.workflow_version.version), recent)
            items.append(PlannedRun(run_id=run.id, status=run.status, rerun=source))
        return self.plan(items, lines, dict(skipped), self.principal)

    async def _read(self, deadline: Deadline, skipped: Counter[str]) -> tuple[list[WorkflowRun], list[str]]:
        app, missing = self.app, []
        ids = self.run_ids
        if ids is None:
            scan = RunScan(RunFilter(batch=self.batch), app.limits.summary_runs)
            found = await collect(scan, app, deadline)
            missing += [scan.missing] if scan.missing else []
            ids = [each.id for each in found if each.status in _CAN_RERUN]
            skipped.update(_why_not(each.status) for each in found if each.status not in _CAN_RERUN)
        details = await read_details(app, deadline, ids, _without_steps)
        for error in details.failed.values():
            skipped["not found" if isinstance(error, NotFoundError) else "could not be read"] += 1
        if details.skipped:
            missing.append(f"{len(details.skipped):,} runs were not looked at: time was up")
        good = []
        for run in sorted(details.found.values(), key=lambda run: (run.initial_run_at or app.clock.now(), run.id)):
            if run.status not in _CAN_RERUN:
                skipped[_why_not(run.status)] += 1
            elif not run.files or not all(file.id for file in run.files) or not run.workflow.id:
                skipped["without a known file or workflow"] += 1
            else:
                good.append(run)
        return good, missing

    async def _reruns(
        self, deadline: Deadline, runs: list[WorkflowRun], missing: list[str]
    ) -> tuple[dict[str, str], list[str]]:
        """Find earlier reruns by their file, and prove them by their metadata.

        Returns:
            The newest rerun of each run that has one; and the runs so new that one might take them for later ones.
        """
        by_files = {_files(run): run.id for run in runs}
        candidates: list[WorkflowRunSummary] = []
        complete = True
        for workflow in dict.fromkeys(run.workflow.id for run in runs):
            moments = [run.initial_run_at for run in runs if run.workflow.id == workflow and run.initial_run_at]
            query = RunFilter(workflow_id=workflow, since=min(moments, default=None))
            scan = RunScan(query, self.app.limits.summary_runs)
            async with aclosing(scan.runs(self.app, deadline)) as found:
                candidates += [run async for run in found if by_files.get(_files(run), run.id) != run.id]
            complete = complete and scan.missing is None
        ids = [run.id for run in candidates]
        details = await read_details(self.app, deadline, ids, _mark, noun="possible reruns checked")
        if not complete or len(details.found) < len(candidates):
            missing.append("not all later runs could be checked for reruns of these")
        wanted = {run.id for run in runs}
        marks = [(details.found.get(each), each) for each in reversed(ids)]
        oldest = self.app.clock.now() - _CLOCK_SKEW
        recent = [run.id for run in candidates if run.initial_run_at is None or run.initial_run_at >= oldest]
        return {str(old): new for old, new in marks if old in wanted}, recent

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
            found = await self._newer_rerun(run, since=run.sent_at)
            if found:
                run.outcome, run.note = "started", f"as {found} (found by looking; its answer was lost)"
            else:
                run.outcome = "unknown"
                run.note = f"sent once; look with list_runs before starting it again: {run.note}"

    async def _start(self, plan: Plan, run: PlannedRun) -> None:
        for _ in range(ATTEMPTS):
            try:
                wait = await self._start_once(plan, run)
            except ExtendError as error:
                if isinstance(error, CREDENTIAL_ERRORS):
                    raise
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
        if not await self._still_wanted(plan, run):
            return None
        source = run.rerun
        assert source is not None
        files = [FileFromId(id=file) for file in source.file_ids]
        body = CreateWorkflowRun(
            workflow=WorkflowTarget(id=source.workflow_id, version=source.version),
            file=files[0] if len(files) == 1 else None,
            package=PackageFiles(files=[*files]) if len(files) > 1 else None,
            metadata={**source.metadata, RERUN_OF: run.run_id},
        )
        run.sent_at = self.app.clock.now().timestamp()
        # Saved before it is sent: if this process dies now, a resuming call looks and never sends it again.
        await self.save(plan, run)
        try:
            made = await self.app.api.create_workflow_run(body)
        except RateLimitedError as error:
            run.sent_at, run.note = None, error_words(error)
            return error.retry_after if error.retry_after is not None else 1.0
        except ExtendError as error:
            if error.effect == "none":
                run.sent_at = None
                if isinstance(error, CREDENTIAL_ERRORS):
                    raise
                # A passing failure is left for the next call.
                run.outcome = None if error.retryable else "refused"
            run.note = error_words(error)
            if error.effect != "none" and (found := await self._look(run)):
                run.outcome, run.note = "started", f"as {found} (found by looking; its answer was lost)"
        else:
            run.outcome, run.note = "started", f"as {made.id}"
        return None

    async def _still_wanted(self, plan: Plan, run: PlannedRun) -> bool:
        """Read the run right before sending, and look for a rerun that was made since the plan."""
        source = run.rerun
        assert source is not None
        try:
            present = await self.app.api.get_workflow_run(run.run_id)
        except NotFoundError:
            run.outcome = "not_found"
            return False
        if (present.status, tuple(file.id for file in present.files)) != (source.status, source.file_ids):
            run.outcome, run.status = "changed", present.status
            run.note = "it is not as it was in the plan"
            return False
        if found := await self._newer_rerun(run, since=plan.made_at):
            run.outcome, run.note = "already_rerun", f"as {found}"
            return False
        return True

    async def _look(self, run: PlannedRun) -> str | None:
        assert run.sent_at is not None
        try:
            return await self._newer_rerun(run, since=run.sent_at)
        except ExtendError as error:
            if isinstance(error, CREDENTIAL_ERRORS):
                raise
            return None

    async def _newer_rerun(self, run: PlannedRun, *, since: float) -> str | None:
        """Return the id of a rerun of this run that was created since an instant, in Unix seconds."""
        source = run.rerun
        assert source is not None
        oldest = datetime.fromtimestamp(since, timezone.utc) - _CLOCK_SKEW
        files = frozenset(source.file_ids)
        filters = RunFilter(workflow_id=source.workflow_id)
        async with aclosing(self.app.api.iter_workflow_runs(**filters.api_query()).pages()) as pages:
            for _ in range(_MOST_PAGES):
                page = await anext(pages, None)
                if page is None:
                    return None
                for found in page.data:
                    if found.initial_run_at and found.initial_run_at < oldest:
                        return None
                    if _files(found) != files or found.id in (run.run_id, *source.known):
                        continue
                    details = await self.app.api.get_workflow_run(found.id)
                    if details.metadata.get(RERUN_OF) == run.run_id:
                        return found.id
        return None


def _source(run: WorkflowRun, version: str | None, recent: Sequence[str]) -> RerunSource:
    return RerunSource(
        workflow_id=run.workflow.id,
        version=version or None,
        file_ids=tuple(file.id for file in run.files),
        metadata=run.metadata,
        status=run.status,
        known=tuple(recent),
    )


def _why_not(status: str) -> str:
    return {"PROCESSED": "already PROCESSED", "NEEDS_REVIEW": "waiting for review"}.get(status, f"still {Code(status)}")


def _files(run: RunBase) -> frozenset[str]:
    return frozenset(file.id for file in run.files)


def _mark(run: WorkflowRun) -> Any:
    return run.metadata.get(RERUN_OF)


def _without_steps(run: WorkflowRun) -> WorkflowRun:
    return run.model_copy(update={"step_runs": []})
