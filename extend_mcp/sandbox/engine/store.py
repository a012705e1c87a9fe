"""What the sandbox remembers: workflows, files and runs."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.run_plan import PlannedStep, RunPlan
from extend_mcp.sandbox.engine.seeded_random import IdMaker
from extend_mcp.sandbox.engine.validation import JsonObject


@dataclass(frozen=True)
class FileInput:
    """What a run is to be made from: a file, and what its document says where that is not left to chance."""

    file: JsonObject
    text: str | None = None
    """The whole document, when it was given as text."""
    values: JsonObject = field(default_factory=dict)
    """Extracted fields that replace made-up ones."""
    passages: Mapping[int, str] = field(default_factory=dict)
    """Text to add to single pages, by page number from 1."""


Blueprint = Callable[[FileInput, IdMaker, datetime], tuple[PlannedStep, ...]]
"""Lays out the steps that a workflow takes for one file, created at the given time."""


@dataclass
class Workflow:
    """A workflow: its summary, the summaries of its versions (oldest first, draft last), and their steps by id.

    Versions that a scenario made run by its blueprint; all others, by their steps.
    """

    summary: JsonObject
    versions: list[JsonObject]
    blueprint: Blueprint | None
    steps: dict[str, list[JsonObject]]
    made_here: set[str] = field(default_factory=set)
    """Ids of the versions whose steps were given through the API."""

    @property
    def id(self) -> str:
        """The workflow's id."""
        return str(self.summary["id"])

    @property
    def draft_steps(self) -> list[JsonObject]:
        """The steps of the draft."""
        return self.steps[self.versions[-1]["id"]]

    def version(self, name: str | None) -> JsonObject | None:
        """Find a version; without a name the newest published one, or the draft if none is published."""
        if name is not None:
            return next((version for version in self.versions if version["version"] == name), None)
        published = [version for version in self.versions if version["version"] != "draft"]
        return (published or self.versions)[-1]

    def blueprint_of(self, version: JsonObject) -> Blueprint | None:
        """The scenario's blueprint, if this version is the scenario's own."""
        return None if version["id"] in self.made_here else self.blueprint

    def version_in_full(self, version: JsonObject) -> JsonObject:
        """Return a version with its steps."""
        return version | {"steps": self.steps[version["id"]]}

    def whole(self) -> JsonObject:
        """Return the workflow with its draft."""
        return self.summary | {"draftVersion": self.version_in_full(self.versions[-1])}

    def change_draft(self, steps: list[JsonObject]) -> None:
        """Replace the draft's steps."""
        draft = self.versions[-1]["id"]
        self.steps[draft] = steps
        self.made_here.add(draft)

    def publish(self, version: JsonObject, steps: list[JsonObject], *, from_draft: bool) -> None:
        """Add a published version."""
        if not from_draft or self.versions[-1]["id"] in self.made_here:
            self.made_here.add(version["id"])
        self.steps[version["id"]] = steps
        self.versions.insert(len(self.versions) - 1, version)


@dataclass
class RunRecord:
    """A run as it is served, and what the engine knows about it."""

    run: JsonObject
    created_at: datetime
    updated_at: datetime
    plan: RunPlan | None = None
    planned_step_runs: list[JsonObject] = field(default_factory=list)
    next_step: int = 0
    step_started_at: datetime | None = None
    finish_on_cancel: str | None = None
    name: str | None = None
    """Given by an update; no answer of the API shows it."""
    by_api: bool = False
    """Whether it was created through the API."""
    generation: int = 0
    """Counted up when the future changes; moves scheduled under an older number are void."""

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run["id"])

    @property
    def status(self) -> object:
        """The run's status; a loaded run may hold anything here."""
        return self.run.get("status")

    def summary(self) -> JsonObject:
        """Return the run as lists show it."""
        return wire.run_summary(self.run, self.created_at, self.updated_at)


class Store:
    """Holds all objects of one sandbox, in the order of their creation."""

    def __init__(self) -> None:
        self.workflows: dict[str, Workflow] = {}
        self.runs: dict[str, RunRecord] = {}
        self.files: dict[str, JsonObject] = {}
        self.uploads: dict[str, bytes] = {}
        """What stands in the files that were uploaded, by file id."""

    def add_run(self, record: RunRecord) -> None:
        """Keep a run; one with the same id is replaced and its scheduled moves become void."""
        replaced = self.runs.get(record.id)
        if replaced:
            replaced.generation += 1
        self.runs[record.id] = record
        files = record.run.get("files")
        for file in files if isinstance(files, list) else []:
            if isinstance(file, dict) and isinstance(file.get("id"), str):
                self.files.setdefault(file["id"], file)

    def delete_file(self, file_id: str) -> None:
        """Forget a file; runs keep its summary."""
        self.files.pop(file_id, None)
        self.uploads.pop(file_id, None)

    def delete_run(self, record: RunRecord) -> None:
        """Forget a run; its scheduled moves become void."""
        record.generation += 1
        self.runs.pop(record.id, None)

    def batches(self) -> list[str]:
        """Return the ids of all batches, oldest run first."""
        ids = (record.run.get("batchId") for record in self.runs.values())
        return list(dict.fromkeys(batch for batch in ids if isinstance(batch, str)))

    def counts(self) -> dict[str, int]:
        """Count the runs by status."""
        return dict(Counter(str(record.status) for record in self.runs.values()))

    def __iter__(self) -> Iterator[RunRecord]:
        return iter(self.runs.values())
