"""Advance runs from status to status. Nothing runs in the background: reading the time runs what is due."""

import heapq
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import count

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.run_plan import Failure, StepMoment
from extend_mcp.sandbox.engine.seeded_random import IdMaker
from extend_mcp.sandbox.engine.store import RunRecord, Store
from extend_mcp.sandbox.engine.validation import JsonObject
from extend_mcp.sandbox.engine.webhook_outbox import RUN_EVENTS
from extend_mcp.sandbox.sandbox_settings import SandboxSettings

Transition = Callable[[RunRecord], None]
OnEvent = Callable[[RunRecord, str, JsonObject], None]


class NotPossibleError(Exception):
    """Raised when the run's status does not allow an operation."""


class Engine:
    """Carry out the plans of runs, with a heap of due transitions. Rules: Extend API reference, Run status."""

    def __init__(self, store: Store, ids: IdMaker, settings: SandboxSettings, now: datetime, on_event: OnEvent) -> None:
        self.now = now
        self._on_event = on_event
        self._store = store
        self._ids = ids
        self._settings = settings
        self._order = count()
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []

    def advance_to(self, moment: datetime) -> None:
        """Run all transitions that are due by this time, in order, each at its own time."""
        while self._due and self._due[0][0] <= moment:
            when, _, action = heapq.heappop(self._due)
            self.now = max(self.now, when)
            action()
        self.now = max(self.now, moment)

    def at(self, when: datetime, action: Callable[[], None]) -> None:
        """Schedule an action, whatever happens to runs in the meantime."""
        heapq.heappush(self._due, (when, next(self._order), action))

    def submit(self, record: RunRecord) -> None:
        """Add a new PENDING run that follows its plan."""
        self._store.add_run(record)
        self._later(record, record.plan.queue_seconds if record.plan else 0, self._start)

    def resume(self, record: RunRecord) -> None:
        """Continue a loaded run from its current status along its plan."""
        if not isinstance(record.run.get("stepRuns"), list):
            record.run["stepRuns"] = []
        transitions: dict[object, Transition] = {
            "PENDING": self._start,
            "PROCESSING": self._begin_step,
            "CANCELLING": self._end_cancelled,
        }
        transition = transitions.get(record.status)
        if transition:
            self._later(record, 1.0, transition)

    def cancel(self, record: RunRecord) -> None:
        """Start to cancel a run.

        Raises:
            NotPossibleError: the run is not PENDING or PROCESSING (Extend API reference, Cancel Workflow Run).
        """
        record.keep()
        if record.finish_on_cancel and record.status in wire.CANCELLABLE_STATUSES:
            self.finish(record, record.finish_on_cancel)
        if record.status not in wire.CANCELLABLE_STATUSES:
            ending = "a terminal status" if record.status in wire.TERMINAL_STATUSES else "not a cancellable status"
            raise NotPossibleError(
                f"Workflow run {record.id} cannot be cancelled: it is {record.status}, {ending}. "
                "Only PENDING and PROCESSING runs can be cancelled."
            )
        record.generation += 1
        if record.status == "PENDING" and self._settings.cancel_pending_directly:
            self._end_cancelled(record)
            return
        self._change(record, status="CANCELLING")
        own = record.plan.cancelling_seconds if record.plan else None
        self._later(record, self._settings.cancelling_seconds if own is None else own, self._end_cancelled)

    def review(self, record: RunRecord, decision: str, user: str, note: str | None = None) -> None:
        """Approve or reject a run that waits for review.

        Raises:
            NotPossibleError: the run is not NEEDS_REVIEW.
        """
        record.keep()
        if record.status != "NEEDS_REVIEW":
            raise NotPossibleError(f"Workflow run {record.id} is {record.status}; only NEEDS_REVIEW can be reviewed.")
        self._change(record, reviewed=True, reviewedByUser=user, reviewedAt=wire.timestamp(self.now))
        if decision == "reject":
            self._end(record, "REJECTED", rejectionNote=note)
            return
        for step_run in _step_runs(record):
            for child in wire.child_runs(step_run.get("result")):
                if "reviewed" in child and child.get("output"):
                    child.update(reviewed=True, initialOutput=child["output"], reviewedOutput=child["output"])
        self._change(record, status="PROCESSING")
        self._begin_step(record)

    def finish(self, record: RunRecord, status: str) -> None:
        """End a run now: complete its remaining steps, or fail in the current one.

        Raises:
            NotPossibleError: the run has already ended.
        """
        record.keep()
        if record.status in wire.TERMINAL_STATUSES:
            raise NotPossibleError(f"Workflow run {record.id} is {record.status}, a terminal status.")
        record.generation += 1
        if record.run.get("startTime") is None:
            self._change(record, startTime=wire.timestamp(self.now))
        if status == "FAILED":
            self._fail(record, Failure("INTERNAL_ERROR", "The run stopped because of an internal error."))
            return
        for index in range(record.next_step, len(record.plan.steps) if record.plan else 0):
            self._show_step(record, index)
            self._record_result(record, index, None)
        self._end(record, "PROCESSED")

    def _later(self, record: RunRecord, seconds: float, transition: Transition) -> None:
        generation = record.generation

        def run_if_current() -> None:
            if record.generation == generation:
                transition(record)

        self.at(self.now + timedelta(seconds=seconds), run_if_current)

    def _change(self, record: RunRecord, **fields: object) -> None:
        record.run.update(fields)
        record.updated_at = self.now
        event = RUN_EVENTS.get(str(fields.get("status")))
        if event:
            self._on_event(record, event, record.run)

    def _start(self, record: RunRecord) -> None:
        self._change(record, status="PROCESSING", startTime=wire.timestamp(self.now))
        if record.plan and record.plan.failure:
            self._fail(record, record.plan.failure)
        else:
            self._begin_step(record)

    def _begin_step(self, record: RunRecord) -> None:
        steps = record.plan.steps if record.plan else ()
        index = record.next_step
        if index >= len(steps):
            self._end(record, "PROCESSED")
            return
        self._show_step(record, index)
        if index + 1 < len(steps) and not steps[index].needs_review:
            self._show_step(record, index + 1)
        record.planned_step_runs[index]["status"] = "PROCESSING"
        record.step_started_at = self.now
        self._change(record)
        self._later(record, steps[index].seconds, self._finish_step)

    def _show_step(self, record: RunRecord, index: int) -> None:
        assert record.plan
        if index == len(record.planned_step_runs):
            step_run = wire.step_run(self._ids("workflow_step_run_"), record.id, record.plan.steps[index])
            record.planned_step_runs.append(step_run)
            record.run["stepRuns"].append(step_run)

    def _finish_step(self, record: RunRecord) -> None:
        assert record.plan
        step = record.plan.steps[record.next_step]
        self._record_result(record, record.next_step, step.failure)
        if step.failure:
            self._fail(record, step.failure)
        elif step.needs_review:
            self._change(record, status="NEEDS_REVIEW")
        else:
            self._begin_step(record)

    def _record_result(self, record: RunRecord, index: int, failure: Failure | None) -> None:
        assert record.plan
        step = record.plan.steps[index]
        moment = StepMoment(
            ids=self._ids,
            file=step.files[0],
            started_at=record.step_started_at or self.now,
            ended_at=self.now,
            failure=failure,
            parse_run_id=_parse_run_id(record),
        )
        result = _overridden(step.build_result(moment), record.plan.outputs)
        for file in () if failure else step.makes:
            self._store.files.setdefault(str(file["id"]), file)
        record.planned_step_runs[index].update(status="FAILED" if failure else "PROCESSED", result=result)
        record.next_step = index + 1
        record.step_started_at = None
        wire.add_usage(record.run, result)
        self._change(record)
        if not failure:
            self._on_event(record, "workflow_run.step_run.processed", record.planned_step_runs[index])

    def _fail(self, record: RunRecord, failure: Failure) -> None:
        running = [step_run for step_run in _step_runs(record) if step_run.get("status") == "PROCESSING"]
        for step_run in running:
            step_run["status"] = "FAILED"
        self._end(record, "FAILED", failureReason=failure.reason, failureMessage=failure.message)

    def _end_cancelled(self, record: RunRecord) -> None:
        self._end(record, "CANCELLED")

    def _end(self, record: RunRecord, status: str, **fields: object) -> None:
        record.generation += 1
        # Steps that never ran are cancelled. After success, only a loaded run can have such steps.
        rest = "PROCESSED" if status == "PROCESSED" else "CANCELLED"
        for step_run in _step_runs(record):
            if step_run.get("status") in wire.UNFINISHED_STEP_STATUSES:
                step_run["status"] = rest
        self._change(record, status=status, endTime=wire.timestamp(self.now), **fields)


def _step_runs(record: RunRecord) -> list[JsonObject]:
    found = record.run.get("stepRuns")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _overridden(result: JsonObject | None, outputs: Mapping[str, JsonObject]) -> JsonObject | None:
    for child in wire.child_runs(result):
        processor = next((child[kind] for kind in ("extractor", "classifier", "splitter") if kind in child), None)
        if processor and processor["id"] in outputs and "output" in child:
            child["output"] = outputs[processor["id"]]
    return result


def _parse_run_id(record: RunRecord) -> str | None:
    for step_run in record.planned_step_runs:
        if step_run["stepType"] == "PARSE" and step_run["result"]:
            return str(step_run["result"]["parseRun"]["id"])
    return None
