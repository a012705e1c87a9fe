"""Store the workflows, files and runs of an account."""

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
    """The file that a run processes, and any content that is not made up."""

    file: JsonObject
    text: str | None = None
    """The whole document, if it was given as text."""
    values: JsonObject = field(default_factory=dict)
    """Extracted fields that replace made-up ones."""
    passages: Mapping[int, str] = field(default_factory=dict)
    """Text to add to pages, by page number from 1."""
    fails_check: bool = False
    """True if a check fails, as `review` in the name makes it fail."""


Blueprint = Callable[[FileInput, IdMaker, datetime], tuple[PlannedStep, ...]]
"""Plans the steps that a workflow takes for one file, created at the given time."""


@dataclass
class Workflow:
    """A workflow with its versions (oldest first, draft last) and their steps by version ID.

    Versions of a scenario run by its blueprint. All others run by their steps.
    """

    summary: JsonObject
    versions: list[JsonObject]
    blueprint: Blueprint | None
    steps: dict[str, list[JsonObject]]
    made_by_api: set[str] = field(default_factory=set)
    """IDs of the versions whose steps were given through the API."""

    @property
    def id(self) -> str:
        """Return the workflow's ID."""
        return str(self.summary["id"])

    @property
    def draft_steps(self) -> list[JsonObject]:
        """Return the steps of the draft."""
        return self.steps[self.versions[-1]["id"]]

    def version(self, name: str | None) -> JsonObject | None:
        """Find a version by name. The default is the newest published one, or the draft if none is published."""
        if name is not None:
            return next((version for version in self.versions if version["version"] == name), None)
        published = [version for version in self.versions if version["version"] != "draft"]
        return (published or self.versions)[-1]

    def blueprint_of(self, version: JsonObject) -> Blueprint | None:
        """Return the scenario's blueprint if this version belongs to the scenario."""
        return None if version["id"] in self.made_by_api else self.blueprint

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
        self.made_by_api.add(draft)

    def publish(self, version: JsonObject, steps: list[JsonObject], *, from_draft: bool) -> None:
        """Add a published version."""
        if not from_draft or self.versions[-1]["id"] in self.made_by_api:
            self.made_by_api.add(version["id"])
        self.steps[version["id"]] = steps
        self.versions.insert(len(self.versions) - 1, version)


@dataclass
class RunRecord:
    """A run in wire format, with the engine's own data about it."""

    brief: JsonObject
    """The run. If it is made later, only the fields that lists show are right."""
    created_at: datetime
    updated_at: datetime
    plan: RunPlan | None = None
    planned_step_runs: list[JsonObject] = field(default_factory=list)
    next_step: int = 0
    step_started_at: datetime | None = None
    finish_on_cancel: str | None = None
    name: str | None = None
    """Set by an update. No response of the API shows it."""
    by_api: bool = False
    """True if the run was created through the API."""
    generation: int = 0
    """Incremented when the run's future changes, which cancels the transitions scheduled before."""
    make: "Callable[[], RunRecord] | None" = None
    """Makes the whole record of a past run, the same each time. Thousands of runs with all their steps would be slow
    to make and large to keep."""

    _sort_key: tuple[datetime, str] | None = None

    def sort_key(self, field: str) -> tuple[datetime, str]:
        """Return what lists sorted by `createdAt` or `updatedAt` compare.

        Kept, because a list compares all runs, and to make 50,000 keys for each page takes most of its time.
        """
        moment = self.created_at if field == "createdAt" else self.updated_at
        if self._sort_key is None or self._sort_key[0] is not moment:
            self._sort_key = (moment, self.id)
        return self._sort_key

    @property
    def run(self) -> JsonObject:
        """Return the whole run."""
        return self.make().brief if self.make else self.brief

    @property
    def own_ids(self) -> str:
        """Return how the IDs of the objects in a run begin that is made later: as its own ID does."""
        return self.id.removeprefix("workflow_run_")[:8]

    def keep(self) -> None:
        """Make a run that is made later, and keep it. Needed before any change."""
        if self.make:
            made, self.make = self.make(), None
            self.brief, self.plan = made.brief, made.plan
            self.planned_step_runs, self.next_step = made.planned_step_runs, made.next_step
            self.step_started_at = made.step_started_at

    @property
    def id(self) -> str:
        """Return the run's ID."""
        return str(self.brief["id"])

    @property
    def status(self) -> object:
        """Return the run's status, which can be anything in a loaded run."""
        return self.brief.get("status")

    def summary(self) -> JsonObject:
        """Return the run as lists show it."""
        return wire.run_summary(self.brief, self.created_at, self.updated_at)


class Store:
    """All objects of an account, in the order of their creation."""

    def __init__(self) -> None:
        self.workflows: dict[str, Workflow] = {}
        self.runs: dict[str, RunRecord] = {}
        self.files: dict[str, JsonObject] = {}
        self.uploads: dict[str, bytes] = {}
        """Content of the uploaded files, by file ID."""
        self.made: dict[str, RunRecord] = {}
        """Runs that are made later and were read lately, oldest first."""

    def add_run(self, record: RunRecord) -> None:
        """Add a run. A run with the same ID is replaced and its scheduled transitions are cancelled."""
        replaced = self.runs.get(record.id)
        if replaced:
            replaced.generation += 1
        self.runs[record.id] = record
        files = record.brief.get("files")
        for file in files if isinstance(files, list) else []:
            if isinstance(file, dict) and isinstance(file.get("id"), str):
                self.files.setdefault(file["id"], file)

    def delete_file(self, file_id: str) -> None:
        """Delete a file. Runs keep its summary."""
        self.files.pop(file_id, None)
        self.uploads.pop(file_id, None)

    def delete_run(self, record: RunRecord) -> None:
        """Delete a run and cancel its scheduled transitions."""
        record.generation += 1
        self.runs.pop(record.id, None)

    def batches(self) -> list[str]:
        """Return the IDs of all batches, oldest run first."""
        ids = (record.brief.get("batchId") for record in self.runs.values())
        return list(dict.fromkeys(batch for batch in ids if isinstance(batch, str)))

    def counts(self) -> dict[str, int]:
        """Count the runs by status."""
        return dict(Counter(str(record.status) for record in self.runs.values()))

    def __iter__(self) -> Iterator[RunRecord]:
        return iter(self.runs.values())
