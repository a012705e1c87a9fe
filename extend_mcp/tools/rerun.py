"""Running failed or cancelled runs again, each at most once."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import Annotated, Any, Literal

from mcp_types import InputRequiredResult
from pydantic import Field

from extend_mcp.api.errors import ExtendError, NotFoundError, RateLimitedError
from extend_mcp.api.models import RunBase, WorkflowRun
from extend_mcp.api.requests import CreateWorkflowRun, FileFromId, PackageFiles, WorkflowTarget
from extend_mcp.tools.app import App, Ctx, app_of
from extend_mcp.tools.args import BatchId, ConfirmationToken, Example, RunId
from extend_mcp.tools.base import CREATES, Refusal
from extend_mcp.tools.bulk import BulkAction, carry_out, no_such_plan, refusal_above
from extend_mcp.tools.confirm import principal_of
from extend_mcp.tools.find import RunQuery
from extend_mcp.tools.gather import SURFACES_AT_ONCE, Deadline, Walk, collect, read_details
from extend_mcp.tools.plans import Item, Plan
from extend_mcp.tools.toolsets import RUNS
from extend_mcp.views.bulk import BulkView, bulk_view
from extend_mcp.views.errors import error_words
from extend_mcp.views.sets import set_lines
from extend_mcp.views.untrusted import word

MARK = "rerunOf"
"""The metadata key that names the run which another one repeats."""

_REPEATABLE = frozenset({"FAILED", "CANCELLED", "REJECTED"})

Version = Annotated[
    Literal["newest", "same"],
    Field(description="Workflow version: newest published, or the run's own"),
    Example("same"),
]


@RUNS.tool(title="Run workflow runs again", annotations=CREATES)
async def rerun_workflow_runs(
    ctx: Ctx,
    run_ids: Annotated[list[RunId], Field(min_length=1, max_length=1000)] | None = None,
    batch: BatchId | None = None,
    version: Version = "newest",
    again: Annotated[bool, Field(description="Even if a rerun exists already")] = False,
    confirmation_token: ConfirmationToken | None = None,
) -> BulkView | InputRequiredResult:
    """Run failed, rejected or cancelled runs again, by run_ids or of a batch, with the same file and metadata; it costs
    credits. A person confirms a plan first, and what was run again already (by its rerunOf mark) is left out.
    Returns the new run of each.
    """
    app = app_of(ctx)
    if run_ids is not None and batch is not None:
        raise Refusal("Give run_ids or batch, not both.")
    if run_ids is None and batch is None and confirmation_token is None:
        raise Refusal("Give run_ids or batch.")
    ids = list(dict.fromkeys(run_ids)) if run_ids else None
    return await carry_out(ctx, _Rerun(ctx, app, ids, batch, version, again=again), confirmation_token)


class _Rerun(BulkAction):
    name = "rerun_workflow_runs"

    def __init__(
        self, ctx: Ctx, app: App, ids: list[str] | None, batch: str | None, version: str, *, again: bool
    ) -> None:
        self._ctx = ctx
        self._app = app
        self._ids = ids
        self._batch = batch
        self._version = version
        self._again = again

    async def propose(self, deadline: Deadline) -> Plan | BulkView:
        app, limit = self._app, self._app.settings.answer_chars
        if self._ids is None and self._batch is None:
            return no_such_plan(limit)
        skipped: Counter[str] = Counter()
        runs, missing = await self._read(deadline, skipped)
        reruns = {} if self._again else await self._reruns(deadline, runs, missing)
        planned = [run for run in runs if run.id not in reruns]
        notes = [f"Run again already: {old} as {new}" for old, new in list(reruns.items())[:20]]
        if reruns:
            skipped["run again already"] = len(reruns)
        if not planned:
            message = " ".join(["There is nothing to run again here.", *(f"{note}." for note in notes), *missing])
            step = "With again=true a second rerun is made." if reruns else None
            return bulk_view("nothing_to_do", message, skipped=dict(skipped), next_step=step, limit=limit)
        if refusal := refusal_above(planned, app.settings.bulk_runs, limit=limit):
            return refusal
        version = "the newest published version" if self._version == "newest" else "the version that each ran"
        lines = [
            f"Run {len(planned):,} workflow runs again, with {version}? It costs credits anew.",
            *set_lines(planned, skipped, now=app.clock.now()),
            *notes,
            *(f"INCOMPLETE: {each}." for each in missing),
        ]
        items = [Item(run.id, status=run.status, facts=self._facts(run)) for run in planned]
        return Plan(self.name, principal_of(self._ctx), items, lines, dict(skipped), app.clock.now().timestamp())

    def _facts(self, run: WorkflowRun) -> dict[str, Any]:
        version = run.workflow_version.version if self._version == "same" else None
        return {
            "workflow": run.workflow.id,
            "version": version or None,
            "files": [file.id for file in run.files],
            "metadata": run.metadata,
        }

    async def _read(self, deadline: Deadline, skipped: Counter[str]) -> tuple[list[WorkflowRun], list[str]]:
        app, missing = self._app, []
        ids = self._ids
        if ids is None:
            walk = Walk(RunQuery(batch=self._batch), app.settings.summary_runs)
            found = await collect(walk, app, deadline)
            missing += [walk.missing] if walk.missing else []
            ids = [each.id for each in found if each.status in _REPEATABLE]
            others = [each.status for each in found if each.status not in _REPEATABLE]
            skipped.update(f"{word(status)}, which is not repeated" for status in others)
        details = await read_details(app, deadline, ids, _without_steps)
        for error in details.failed.values():
            skipped["not found" if isinstance(error, NotFoundError) else "could not be read"] += 1
        if details.skipped:
            missing.append(f"{len(details.skipped):,} runs were not looked at: time was up")
        good = []
        for run in sorted(details.found.values(), key=lambda run: (run.initial_run_at or app.clock.now(), run.id)):
            if run.status not in _REPEATABLE:
                skipped[f"{word(run.status)}, which is not repeated"] += 1
            elif not run.files or not all(file.id for file in run.files) or not run.workflow.id:
                skipped["without a known file or workflow"] += 1
            else:
                good.append(run)
        return good, missing

    async def _reruns(self, deadline: Deadline, runs: list[WorkflowRun], missing: list[str]) -> dict[str, str]:
        """The newest rerun of each run that has one, found by its file and proved by its mark."""
        by_files = {_files(run): run.id for run in runs}
        candidates: list[str] = []
        complete = True
        for workflow in dict.fromkeys(run.workflow.id for run in runs):
            moments = [run.initial_run_at for run in runs if run.workflow.id == workflow and run.initial_run_at]
            query = RunQuery(workflow_id=workflow, since=min(moments, default=None))
            walk = Walk(query, self._app.settings.summary_runs)
            async with aclosing(walk.runs(self._app, deadline)) as found:
                candidates += [run.id async for run in found if by_files.get(_files(run), run.id) != run.id]
            complete = complete and walk.missing is None
        details = await read_details(self._app, deadline, candidates, _mark, noun="possible reruns checked")
        if not complete or len(details.found) < len(candidates):
            missing.append("not all later runs could be checked for reruns of these")
        wanted = {run.id for run in runs}
        marks = [(details.found.get(each), each) for each in reversed(candidates)]
        return {str(old): new for old, new in marks if old in wanted}

    async def attempt(self, item: Item) -> float | None:
        """Start the run; the seconds to wait before another try, or None."""
        if item.facts.get("sent"):
            # An earlier call sent it and got no clear answer: look, never send again.
            await self._look(item)
            if item.outcome is None:
                item.outcome = "unknown"
                item.note = f"sent once; look with list_runs before starting it again: {item.note}"
            return None
        app, facts = self._app, item.facts
        files = [FileFromId(id=file) for file in facts["files"]]
        body = CreateWorkflowRun(
            workflow=WorkflowTarget(id=facts["workflow"], version=facts["version"]),
            file=files[0] if len(files) == 1 else None,
            package=PackageFiles(files=[*files]) if len(files) > 1 else None,
            metadata={**facts["metadata"], MARK: item.run_id},
        )
        facts["sent"], facts["begun"] = True, app.clock.now().timestamp()
        # Known before it is sent: should this process die now, whoever goes on looks and never sends it again.
        await self.keep(item)
        try:
            made = await app.api.create_workflow_run(body)
        except RateLimitedError as error:
            # Refused before it was looked at: nothing was started.
            facts["sent"] = False
            item.note = error_words(error)
            return error.retry_after if error.retry_after is not None else 1.0
        except ExtendError as error:
            if isinstance(error, SURFACES_AT_ONCE):
                facts["sent"] = False
                raise
            item.note = error_words(error)
            if error.effect == "none":
                facts["sent"] = False
                # What failed in passing is left for the next call.
                item.outcome = None if error.retryable else "refused"
            else:
                await self._look(item)
        else:
            item.outcome, item.note = "started", f"as {made.id}"
        return None

    async def _look(self, item: Item) -> None:
        """Find the run that an unclear request may have started, by its file and mark."""
        try:
            page = await self._app.api.list_workflow_runs(
                workflow_id=item.facts["workflow"], sort_by="createdAt", sort_dir="desc", max_page_size=100
            )
            for run in page.data:
                # An older rerun has the mark too, but was there before.
                fresh = run.initial_run_at is None or item.facts["begun"] - run.initial_run_at.timestamp() < 5
                if fresh and _files(run) == frozenset(item.facts["files"]) and run.id != item.run_id:
                    found = await self._app.api.get_workflow_run(run.id)
                    if found.metadata.get(MARK) == item.run_id:
                        item.outcome, item.note = "started", f"as {run.id} (found by looking; its answer was lost)"
                        return
        except ExtendError as error:
            if isinstance(error, SURFACES_AT_ONCE):
                raise


def _files(run: RunBase) -> frozenset[str]:
    return frozenset(file.id for file in run.files)


def _mark(run: WorkflowRun) -> object:
    return run.metadata.get(MARK)


def _without_steps(run: WorkflowRun) -> WorkflowRun:
    return run.model_copy(update={"step_runs": []})
