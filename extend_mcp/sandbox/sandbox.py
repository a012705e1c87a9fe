"""One sandbox: its clock, store, engine and scenario behind an ASGI application."""

import copy
import json
import threading
from datetime import datetime, timedelta

from starlette.types import ASGIApp

from extend_mcp.sandbox import wire
from extend_mcp.sandbox.app import build_app
from extend_mcp.sandbox.clock import SandboxClock
from extend_mcp.sandbox.courier import Courier
from extend_mcp.sandbox.create import GivenFile, RunRequest
from extend_mcp.sandbox.dice import IdMaker
from extend_mcp.sandbox.engine import Engine
from extend_mcp.sandbox.errors import ApiError, InvalidFieldError, JsonObject
from extend_mcp.sandbox.events import Outbox
from extend_mcp.sandbox.faults import FaultBook
from extend_mcp.sandbox.gate import LoggedRequest
from extend_mcp.sandbox.links import SignedLinks
from extend_mcp.sandbox.plan import PlannedStep, RunPlan
from extend_mcp.sandbox.player import play
from extend_mcp.sandbox.scenarios import load_scenario
from extend_mcp.sandbox.scenarios.blueprints import generic_steps
from extend_mcp.sandbox.scenarios.documents import page_count, readable_text
from extend_mcp.sandbox.settings import DEFAULT_SETTINGS, SandboxSettings
from extend_mcp.sandbox.store import FileInput, RunRecord, Store

_HISTORY = timedelta(days=30)

REVIEWER = "reviewer@sandbox.example"
"""Who approves and rejects through the control route."""


class Sandbox:
    """Extend's workflow-run API in memory.

    `app` serves it; the methods do what the control routes do. All of them may be called from another thread
    than the one that serves.

    Raises:
        ValueError: the settings name an unknown scenario.
    """

    app: ASGIApp

    def __init__(self, settings: SandboxSettings = DEFAULT_SETTINGS, clock: SandboxClock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SandboxClock()
        self.started_at = self.clock.now()
        self.lock = threading.RLock()
        self.ids = IdMaker(settings.seed)
        self.store = Store()
        self.faults = FaultBook()
        self.log: list[LoggedRequest] = []
        self.links = SignedLinks(settings.seed)
        self.outbox = Outbox(self.ids, settings, self.links)
        self.courier = Courier(self)
        # Scenario runs lie in the past: the engine begins there and plays them up to the start.
        self.engine = Engine(self.store, self.ids, settings, now=self.started_at - _HISTORY)
        load_scenario(settings.scenario, self.store, self.engine, self.ids, self.started_at)
        self.engine.advance_to(self.started_at)
        self.engine.on_event = self._run_event
        self.app = build_app(self)

    def catch_up(self) -> datetime:
        """Play every move that is due by now and return the simulated time."""
        with self.lock:
            now = self.clock.now()
            self.engine.advance_to(now)
            return now

    def advance(self, seconds: float) -> datetime:
        """Skip simulated seconds, play what is due and return the new time.

        Raises:
            ValueError: the number is negative or not finite.
        """
        with self.lock:
            self.clock.advance(seconds)
            return self.catch_up()

    def record(self, run_id: str) -> RunRecord:
        """Return the record of a run.

        Raises:
            ApiError: there is no such run (404).
        """
        record = self.store.runs.get(run_id)
        if record is None:
            raise ApiError(404, "Workflow run not found")
        return record

    def create_run(self, request: RunRequest, *, batch_id: str | None = None) -> RunRecord:
        """Accept a run whose request has been checked; the engine moves it on from PENDING."""
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

    def _run_event(self, record: RunRecord, event_type: str, payload: JsonObject) -> None:
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
        return play(request.workflow.steps[request.version["id"]], item, self.ids, now)

    def load_run(self, run: JsonObject, *, live: bool = False) -> RunRecord:
        """Keep a run exactly as given, in place of any run with its id.

        A live one goes on from its status through generic steps; any other moves only after a cancel.

        Raises:
            ApiError: there is no string `id`, or a value JSON cannot express (400).
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
            plan = RunPlan(generic_steps(run, self.ids, now)) if live else None
            record = RunRecord(run, created_at=created, updated_at=updated, plan=plan)
            self.store.add_run(record)
            if live:
                self.engine.resume(record)
            return record

    def review(self, run_id: str, decision: str, note: str | None = None) -> JsonObject:
        """Approve or reject a run that waits for review, and return it.

        Raises:
            ApiError: there is no such run (404).
            NotPossibleError: the run does not wait for review.
        """
        with self.lock:
            self.catch_up()
            record = self.record(run_id)
            self.engine.review(record, decision, REVIEWER, note)
            return record.run

    def finish_run(self, run_id: str, status: str, *, before_cancel: bool = False) -> JsonObject:
        """End a run as PROCESSED or FAILED: now, or just before the next cancel request is looked at.

        Raises:
            ApiError: there is no such run (404).
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
        """Describe the sandbox for a person or a test."""
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
                "runs": [_run_line(record) for record in self.store],
            }


def _run_line(record: RunRecord) -> JsonObject:
    workflow, files = record.run.get("workflow"), record.run.get("files")
    first = files[0] if isinstance(files, list) and files else None
    return {
        "id": record.id,
        "status": record.status,
        "workflowId": workflow.get("id") if isinstance(workflow, dict) else None,
        "batchId": record.run.get("batchId"),
        "file": first.get("name") if isinstance(first, dict) else None,
        "createdAt": wire.timestamp(record.created_at),
    }


def _first_time(run: JsonObject, *fields: str) -> datetime | None:
    return next((moment for field in fields if (moment := wire.read_timestamp(run.get(field)))), None)
