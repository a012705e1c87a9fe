"""Describe what will happen to a run: its steps, their durations, failures and reviews."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from extend_mcp.sandbox.engine.seeded_random import IdMaker
from extend_mcp.sandbox.engine.validation import JsonObject


@dataclass(frozen=True)
class Failure:
    """The reason of a failed run and, if different, of its child run (parse, extract, ...)."""

    reason: str
    message: str
    child_reason: str | None = None
    child_message: str | None = None


@dataclass(frozen=True)
class StepMoment:
    """The facts known when a step ends. Times are simulated."""

    ids: IdMaker
    file: JsonObject
    started_at: datetime
    ended_at: datetime
    failure: Failure | None
    parse_run_id: str | None


ResultBuilder = Callable[[StepMoment], JsonObject | None]
"""Builds a step run's `result` (Extend API reference, StepRun) when the step ends."""


@dataclass(frozen=True)
class PlannedStep:
    """A future step of a run."""

    name: str
    step_type: str
    step_id: str
    seconds: float
    files: tuple[JsonObject, ...]
    build_result: ResultBuilder
    needs_review: bool = False
    failure: Failure | None = None
    makes: tuple[JsonObject, ...] = ()
    """Files that exist after the step: the parts of a split."""


@dataclass(frozen=True)
class RunPlan:
    """The future of a run unless someone intervenes. Durations are in simulated seconds."""

    steps: tuple[PlannedStep, ...]
    queue_seconds: float = 1.0
    failure: Failure | None = None
    """Set when the run fails before its first step."""
    cancelling_seconds: float | None = None
    """Overrides the sandbox's setting, for a big document that is slow to cancel."""
    outputs: Mapping[str, JsonObject] = field(default_factory=dict)
    """Outputs that replace those of processors, by processor ID."""

    def paced(self, factor: float) -> "RunPlan":
        """Return the plan with every step `factor` times as long."""
        return replace(self, steps=tuple(replace(step, seconds=step.seconds * factor) for step in self.steps))

    def failing(self, step_name: str, failure: Failure) -> "RunPlan":
        """Return the plan with a failure at the first step with this name.

        Raises:
            ValueError: the plan has no such step.
        """
        names = [step.name for step in self.steps]
        at = names.index(step_name)
        broken = replace(self.steps[at], failure=failure)
        return replace(self, steps=(*self.steps[:at], broken, *self.steps[at + 1 :]))


_NOT_PARSED = "The file could not be parsed."
_RETRIES_USED_UP = "A step failed after all its retries."

PASSWORD_PROTECTED = Failure(
    "FAILED_TO_PROCESS_FILE",
    _NOT_PARSED,
    "PASSWORD_PROTECTED_FILE",
    "The file is protected with a password, and none was given.",
)
CORRUPT = Failure("FAILED_TO_PROCESS_FILE", _NOT_PARSED, "CORRUPT_FILE", "The file is damaged and cannot be opened.")
UNREACHABLE = Failure(
    "FAILED_TO_PROCESS_FILE",
    "The file could not be fetched.",
    "UNABLE_TO_DOWNLOAD_FILE",
    "The file's URL answered with status 403.",
)
OUT_OF_CREDITS = Failure(
    "DOCUMENT_PROCESSOR_ERROR",
    _RETRIES_USED_UP,
    "OUT_OF_CREDITS",
    "The organization has used up its credits.",
)
PARSING_ERROR = Failure(
    "DOCUMENT_PROCESSOR_ERROR",
    _RETRIES_USED_UP,
    "PARSING_ERROR",
    "The parsed text could not be read by the extractor.",
)
INTERNAL_ERROR = Failure("INTERNAL_ERROR", "The run stopped because of an internal error.")
INVALID_WORKFLOW = Failure(
    "INVALID_WORKFLOW", "Step 'Extract terms' refers to an extractor version that no longer exists."
)

_FAILURE_BY_WORD = {
    "password": PASSWORD_PROTECTED,
    "locked": PASSWORD_PROTECTED,
    "corrupt": CORRUPT,
    "unreachable": UNREACHABLE,
}


def failure_for(file_name: str) -> Failure | None:
    """Return the parse failure that a word in the file's name asks for, if any."""
    return next((failure for word, failure in _FAILURE_BY_WORD.items() if word in file_name.lower()), None)
