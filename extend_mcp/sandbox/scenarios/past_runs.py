"""Make runs of the past by the thousand: enough of each to list it. Its steps are played when it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.run_engine import Engine
from extend_mcp.sandbox.engine.run_plan import Failure, PlannedStep, RunPlan, StepMoment
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.seeded_random import IdMaker
from extend_mcp.sandbox.engine.store import FileInput, RunRecord, Store, Workflow
from extend_mcp.sandbox.engine.validation import JsonObject
from extend_mcp.sandbox.scenarios.sample_workflows import CLAIMS, INVOICES, LOANS, PURCHASING

REVIEWERS = (
    "dana.whitfield@meridian.example",
    "joel.abara@meridian.example",
    "sofia.lindqvist@meridian.example",
)

_CREDITS: dict[str, dict[str, int]] = {
    INVOICES: {"Parse": 2, "Classify document": 1, "Extract invoice": 3},
    LOANS: {"Parse": 2, "Split packet": 1, "Extract bank statement": 3, "Merge extractions": 3},
    CLAIMS: {"Parse": 2, "Classify claim": 1, "Extract by claim type": 3},
    PURCHASING: {"Parse": 2, "Contract or order": 0, "Extract terms": 3},
}
"""Credits a page of the steps of each workflow, in their order. A test compares them with the steps' own."""

SECOND_STEPS = {name: list(steps)[1] for name, steps in _CREDITS.items()}
_NEVER = 30 * 86_400.0
_ROUNDING = timedelta(milliseconds=1)
"""A sum of fractions may end this much after the time that lists show."""
_KEPT = 32
"""Runs kept after they were read: clients read a run and then what is inside it."""


@dataclass(frozen=True, eq=False)
class PastRun:
    """A run that ended before the sandbox's start, waits for a person, or hangs.

    Attributes:
        seconds: how long its steps took until it ended, failed, hung or waited for review.
        stops_at: the step at which the run failed, hung or was cancelled.
        decided: when a reviewer decided. Set for REJECTED, and for a PROCESSED run that was approved.
        slow: steps that took longer than others do, with the factor.
        item: changes what the file contains.
    """

    id: str
    workflow: Workflow
    version: JsonObject
    file: JsonObject
    created: datetime
    status: str
    seconds: float
    queued: float = 2.0
    stops_at: str | None = None
    failure: Failure | None = None
    decided: datetime | None = None
    reviewer: str = REVIEWERS[0]
    note: str | None = None
    metadata: JsonObject = field(default_factory=dict)
    batch: str | None = None
    slow: Mapping[str, float] = field(default_factory=dict)
    item: Callable[[FileInput], FileInput] | None = None

    def add_to(self, account: SandboxAccount) -> RunRecord:
        """Add the run to an account."""
        cancelling = account.settings.cancelling_seconds if self.status == "CANCELLED" else 0.0
        stopped = self.created + timedelta(seconds=self.queued + self.seconds)
        updated = self.decided or stopped + timedelta(seconds=cancelling)
        run = self.wire()
        run |= {"status": self.status, "startTime": wire.timestamp(self.created + timedelta(seconds=self.queued))}
        if self.status in wire.TERMINAL_STATUSES:
            run["endTime"] = wire.timestamp(updated)
        if self.decided:
            reviewed = {"reviewed": True, "reviewedByUser": self.reviewer, "reviewedAt": wire.timestamp(self.decided)}
            run |= reviewed | {"rejectionNote": self.note}
        if total := self._credits():
            run["usage"] = {"credits": total, "totalCredits": total}
        record = RunRecord(run, created_at=self.created, updated_at=updated)
        record.make = partial(self._make, account, run, updated)
        account.store.add_run(record)
        return record

    def wire(self) -> JsonObject:
        """Build the run as it was when it was created."""
        return wire.workflow_run(
            self.id, self.workflow.summary, self.version, [self.file], self.metadata, self.batch, self.created
        )

    def _credits(self) -> int:
        total = 0
        for step, each in _CREDITS[self.workflow.summary["name"]].items():
            if step == self.stops_at:
                break
            total += each
        return total * int(self.file["metadata"]["pageCount"])

    def _make(self, account: SandboxAccount, brief: JsonObject, updated: datetime) -> RunRecord:
        """Play the run from its creation to its end in an engine that holds no other."""
        made = account.store.made
        if self.id in made:
            return made[self.id]
        store = Store()
        store.files = account.store.files
        record = RunRecord(self.wire(), created_at=self.created, updated_at=updated)
        ids = IdMaker(self.id, start=record.own_ids)
        record.plan = self._plan(ids)
        engine = Engine(store, ids, account.settings, self.created, lambda record, event, payload: None)
        engine.submit(record)
        stopped = self.created + timedelta(seconds=self.queued + self.seconds)
        if self.status in ("CANCELLED", "CANCELLING"):
            engine.advance_to(stopped + _ROUNDING)
            engine.cancel(record)
        if self.decided:
            engine.advance_to(self.decided)
            engine.review(record, "reject" if self.status == "REJECTED" else "approve", self.reviewer, self.note)
        engine.advance_to(max(updated, stopped) + timedelta(seconds=1))
        record.brief |= {key: brief[key] for key in ("startTime", "endTime", "reviewedAt")}
        made[record.id] = record
        if len(made) > _KEPT:
            del made[next(iter(made))]
        return record

    def _plan(self, ids: IdMaker) -> RunPlan:
        item = FileInput(self.file, fails_check=self.status in ("NEEDS_REVIEW", "REJECTED") or self.decided is not None)
        blueprint = self.workflow.blueprint
        assert blueprint
        steps = blueprint(self.item(item) if self.item else item, ids, self.created)
        defined = {step["name"]: step.get("config") or {} for step in self.workflow.steps[self.version["id"]]}
        steps = tuple(_of_version(step, defined.get(step.name, {})) for step in steps)
        names = [step.name for step in steps]
        reviewed = [index for index, step in enumerate(steps) if step.needs_review]
        stop = names.index(self.stops_at) if self.stops_at else None
        # A run that fails takes its time until the failing step ends. One that hangs or is cancelled is in that step.
        hangs = stop is not None and not self.failure
        timed = len(steps) if stop is None else stop + (not hangs)
        if reviewed:
            timed = min(timed, reviewed[0] + 1)
        weights = [step.seconds * self.slow.get(step.name, 1.0) for step in steps[:timed]]
        seconds = [self.seconds * weight / sum(weights) for weight in weights]
        seconds += [_NEVER if hangs else 0.0] * (len(steps) - timed)
        timed_steps = tuple(replace(step, seconds=each) for step, each in zip(steps, seconds, strict=True))
        stuck = _NEVER if self.status == "CANCELLING" else None
        plan = RunPlan(timed_steps, queue_seconds=self.queued, cancelling_seconds=stuck)
        return plan.failing(names[stop], self.failure) if self.failure and stop is not None else plan


def _of_version(step: PlannedStep, config: JsonObject) -> PlannedStep:
    """Return the step with the version of the saved extractor that its definition names in its results."""
    saved = config.get("extractor")
    if not saved:
        return step

    def build(moment: StepMoment) -> JsonObject | None:
        result = step.build_result(moment)
        for child in wire.child_runs(result):
            child["extractorVersion"]["version"] = saved["version"]
        return result

    return replace(step, build_result=build)
