"""Simulate one Extend account: its workflows, files, runs and webhooks, and the clock that moves them."""

import copy
import json
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.planner import plan_generic_steps, plan_steps
from extend_mcp.sandbox.engine.run_engine import Engine
from extend_mcp.sandbox.engine.run_plan import PlannedStep, RunPlan
from extend_mcp.sandbox.engine.sample_documents import page_count, readable_text
from extend_mcp.sandbox.engine.sandbox_clock import SandboxClock
from extend_mcp.sandbox.engine.seeded_random import IdMaker
from extend_mcp.sandbox.engine.signed_links import SignedLinks
from extend_mcp.sandbox.engine.store import FileInput, RunRecord, Store, Workflow
from extend_mcp.sandbox.engine.validation import ApiError, InvalidFieldError, JsonObject
from extend_mcp.sandbox.engine.webhook_outbox import Outbox
from extend_mcp.sandbox.engine.webhook_sender import WebhookSender
from extend_mcp.sandbox.sandbox_settings import SandboxSettings

_HISTORY = timedelta(days=30)

REVIEWER = "reviewer@sandbox.example"
"""The person who approves and rejects through the control route."""


@dataclass(frozen=True)
class GivenFile:
    """A file in a create request: by URL, by the ID of a known file, or by its text."""

    name: str
    known: JsonObject | None = None
    text: str | None = None


@dataclass(frozen=True)
class RunRequest:
    """A create request that has been checked. It holds no secrets, since no response ever shows them."""

    workflow: Workflow
    version: JsonObject
    files: tuple[GivenFile, ...]
    metadata: JsonObject
    outputs: dict[str, JsonObject] = field(default_factory=dict)
    """Outputs that replace those of processors, by processor ID."""


class SandboxAccount:
    """An Extend account in memory. Its methods may be called from any thread.

    It begins empty, 30 days before the clock's time, so that a scenario can put runs into the past.
    """

    def __init__(self, settings: SandboxSettings, clock: SandboxClock) -> None:
        self.settings = settings
        self.clock = clock
        self.started_at = clock.now()
        self.lock = threading.RLock()
        self.ids = IdMaker(settings.seed)
        self.store = Store()
        self.story: JsonObject = {}
        """Names of what happened in the scenario, with IDs and times."""
        self.links = SignedLinks(settings.seed)
        self.outbox = Outbox(self.ids, settings, self.links)
        self.webhook_sender = WebhookSender(self.outbox, self.lock, self.catch_up)
        self.engine = Engine(self.store, self.ids, settings, self.started_at - _HISTORY, self._send_run_event)

    def catch_up(self) -> datetime:
        """Advance all runs to the simulated time and return it."""
        with self.lock:
            now = self.clock.now()
            self.engine.advance_to(now)
            return now

    def advance(self, seconds: float) -> datetime:
        """Skip simulated seconds, advance all runs and return the new time.

        Raises:
            ValueError: the number is negative or not finite.
        """
        with self.lock:
            self.clock.advance(seconds)
            return self.catch_up()

    def record(self, run_id: str) -> RunRecord:
        """Return the record of a run.

        Raises:
            ApiError: the run does not exist (404).
        """
        record = self.store.runs.get(run_id)
        if record is None:
            raise ApiError(404, "Workflow run not found")
        return record

    def create_run(self, request: RunRequest, *, batch_id: str | None = None) -> RunRecord:
        """Create a PENDING run from a request that has been checked."""
        with self.lock:
            now = self.catch_up()
            run_id = self.ids("workflow_run_")
            inputs = [self._file_input(given, now) for given in request.files]
            steps = [step for item in inputs for step in self._steps_for(request, item, now)]
            run = wire.workflow_run(
                run_id,
                request.workflow.summary,
                request.version,
                [item.file for item in inputs],
                request.metadata,
                batch_id,
                now,
            )
            record = RunRecord(
                run, created_at=now, updated_at=now, plan=RunPlan(tuple(steps), outputs=request.outputs), by_api=True
            )
            self.engine.submit(record)
            return record

    def load_run(self, run: JsonObject, *, live: bool = False) -> RunRecord:
        """Store a run exactly as given, replacing any run with the same ID.

        A live run continues from its status through generic steps. Any other changes only if it is cancelled.

        Raises:
            ApiError: the run has no string `id` or contains a value that JSON cannot express (400).
        """
        if not isinstance(run.get("id"), str) or not run["id"]:
            raise InvalidFieldError(400, "Expected a non-empty string", "id")
        try:
            json.dumps(run, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ApiError(400, f"Not a JSON value: {error}") from error
        with self.lock:
            now = self.catch_up()
            run = copy.deepcopy(run)
            created = _first_time(run, "createdAt", "initialRunAt", "startTime") or now
            updated = _first_time(run, "updatedAt", "endTime", "reviewedAt", "startTime", "initialRunAt") or created
            plan = RunPlan(plan_generic_steps(run, self.ids, now)) if live else None
            record = RunRecord(run, created_at=created, updated_at=updated, plan=plan)
            self.store.add_run(record)
            if live:
                self.engine.resume(record)
            return record

    def review(self, run_id: str, decision: str, note: str | None = None) -> JsonObject:
        """Approve or reject a run that waits for review, and return it.

        Raises:
            ApiError: the run does not exist (404).
            NotPossibleError: the run does not wait for review.
        """
        with self.lock:
            self.catch_up()
            record = self.record(run_id)
            self.engine.review(record, decision, REVIEWER, note)
            return record.run

    def finish_run(self, run_id: str, status: str, *, before_cancel: bool = False) -> JsonObject:
        """End a run as PROCESSED or FAILED, now or just before the next cancel request is processed.

        Raises:
            ApiError: the run does not exist (404).
            NotPossibleError: the run has already ended.
        """
        with self.lock:
            self.catch_up()
            record = self.record(run_id)
            if before_cancel:
                record.finish_on_cancel = status
            else:
                self.engine.finish(record, status)
            return record.run

    def state(self) -> JsonObject:
        """Describe the account for a person or a test."""
        with self.lock:
            now = self.catch_up()
            return {
                "scenario": self.settings.scenario,
                "seed": self.settings.seed,
                "speed": self.clock.speed,
                "now": wire.timestamp(now),
                "counts": self.store.counts(),
                "workflows": [
                    {"id": workflow.id, "name": workflow.summary["name"]} for workflow in self.store.workflows.values()
                ],
                "batches": self.store.batches(),
                "story": self.story,
                "runs": [_run_line(record) for record in self.store],
            }

    def _send_run_event(self, record: RunRecord, event_type: str, payload: JsonObject) -> None:
        # Only runs created through the API emit events (Extend API reference, Webhooks).
        if record.by_api:
            self.outbox.run_event(event_type, record.run["workflow"]["id"], payload, self.engine.now)

    def _file_input(self, given: GivenFile, now: datetime) -> FileInput:
        if given.known is None:
            pages = page_count(given.name, given.text)
            return FileInput(wire.file_summary(self.ids("file_"), given.name, pages, now), text=given.text)
        return FileInput(given.known, text=readable_text(given.name, self.store.uploads.get(given.known["id"])))

    def _steps_for(self, request: RunRequest, item: FileInput, now: datetime) -> tuple[PlannedStep, ...]:
        blueprint = request.workflow.blueprint_of(request.version)
        if blueprint:
            return blueprint(item, self.ids, now)
        return plan_steps(request.workflow.steps[request.version["id"]], item, self.ids, now)


def _run_line(record: RunRecord) -> JsonObject:
    workflow, files = record.brief.get("workflow"), record.brief.get("files")
    first = files[0] if isinstance(files, list) and files else None
    return {
        "id": record.id,
        "status": record.status,
        "workflowId": workflow.get("id") if isinstance(workflow, dict) else None,
        "batchId": record.brief.get("batchId"),
        "file": first.get("name") if isinstance(first, dict) else None,
        "createdAt": wire.timestamp(record.created_at),
    }


def _first_time(run: JsonObject, *fields: str) -> datetime | None:
    return next((moment for field in fields if (moment := wire.read_timestamp(run.get(field)))), None)
