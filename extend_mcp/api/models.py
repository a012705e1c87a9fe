"""What Extend's API answers, as models that no answer can break.

The API may add fields, values and event types without a new version (Extend API reference, Versioning), and
this package reads answers it has not been tested with. So a value that is missing, null or of a wrong type
becomes the field's default, fields not named here stay in `model_extra`, and enumerations are plain strings.
"""

from collections.abc import Set
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from typing_extensions import Self


def _to_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999 in UTC") from None


def _objects_only(value: object) -> object:
    return [item for item in value if isinstance(item, (dict, BaseModel))] if isinstance(value, list) else value


ItemT = TypeVar("ItemT", bound="ApiModel")

UtcDatetime = Annotated[datetime, AfterValidator(_to_utc)]
"""An aware time in UTC; a time without a zone counts as UTC."""

Items = Annotated[list[ItemT], BeforeValidator(_objects_only)]
"""A list of objects; elements that are not objects are dropped, the others kept."""


JsonObjects = Annotated[list[dict[str, Any]], BeforeValidator(_objects_only)]
"""A list of JSON objects as they came; elements of another kind are dropped."""


class ApiModel(BaseModel):
    """Base of all answers: snake_case attributes, every field optional, `model_validate` of a dict never fails."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="allow",
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        # Built by the first answer that is read: a client waits for the tool list, which needs none of them.
        defer_build=True,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _default_on_misfit(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # Around the object and not around each field: nearly every answer fits, and a call per field is what it costs.
        try:
            return handler(value)
        except ValidationError as error:
            if not isinstance(value, dict):
                raise
            problems = error.errors(include_url=False, include_context=False, include_input=False)
        return handler({**value, **cls._defaults({problem["loc"][0] for problem in problems})})

    @classmethod
    def _defaults(cls, keys: Set[int | str]) -> dict[str, Any]:
        """The defaults of the fields that have these names or aliases, by what they were called."""
        return {
            key: field.get_default(call_default_factory=True, validated_data={})
            for name, field in cls.model_fields.items()
            for key in {name, field.alias or name} & keys
        }


class Answer(ApiModel):
    """An object that a call can be answered with. Without its id it is none."""

    called: ClassVar[str] = "an object"

    id: str = ""

    @property
    def key(self) -> str:
        """What shows that this is the object asked for; empty when it is something else."""
        return self.id


class WorkflowSummary(ApiModel):
    """A workflow by name, without its steps."""

    id: str = ""
    name: str = ""
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None


class WorkflowVersionSummary(ApiModel):
    """One version of a workflow; `version` is "1", "2", ... or "draft"."""

    id: str = ""
    version: str = ""
    name: str | None = None
    created_at: UtcDatetime | None = None


class ParentSplit(ApiModel):
    """The part of a parent file that a splitter made this file of; pages count from 1, both ends included."""

    id: str = ""
    type: str = ""
    identifier: str = ""
    start_page: int | None = None
    end_page: int | None = None


class FileMetadata(ApiModel):
    """What Extend knows about a file's content."""

    page_count: int | None = None
    parent_split: ParentSplit | None = None


class FileSummary(ApiModel):
    """A file; `type` is "PDF", "IMG", ... or "" if Extend could not tell."""

    id: str = ""
    name: str = ""
    type: str = ""
    parent_file_id: str | None = None
    metadata: FileMetadata = Field(default_factory=FileMetadata)
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None


class UsageEntry(ApiModel):
    """The credits of one child run, named by its kind (`object`) and id."""

    object: str = ""
    id: str = ""
    credits: float | None = None


class RunUsage(ApiModel):
    """Credits of a run and its child runs; None where Extend does not say, which is not the same as 0."""

    credits: float | None = None
    total_credits: float | None = None
    breakdown: Items[UsageEntry] = Field(default_factory=list)


class StepRef(ApiModel):
    """The step of the workflow that a step run ran. Its id changes between versions; its name is unique."""

    id: str = ""
    name: str = ""
    type: str = ""


class StepRun(ApiModel):
    """One step of a run.

    `result` is the API's own object, untouched: its shape depends on `step_type`. It is None until the step
    is done. `step_type` is taken from `step.type` where the API leaves it out.
    """

    id: str = ""
    workflow_run_id: str = ""
    step_type: str = ""
    status: str = ""
    files: Items[FileSummary] = Field(default_factory=list)
    step: StepRef = Field(default_factory=StepRef)
    result: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fill_step_type(self) -> Self:
        self.step_type = self.step_type or self.step.type
        return self


class RunBase(ApiModel):
    """What a workflow run and its summary have in common.

    `initial_run_at` is when the run was created, `start_time` when it began to execute.
    """

    id: str = ""
    status: str = ""
    workflow: WorkflowSummary = Field(default_factory=WorkflowSummary)
    workflow_version: WorkflowVersionSummary = Field(default_factory=WorkflowVersionSummary)
    dashboard_url: str = ""
    batch_id: str | None = None
    files: Items[FileSummary] = Field(default_factory=list)
    initial_run_at: UtcDatetime | None = None
    start_time: UtcDatetime | None = None
    end_time: UtcDatetime | None = None
    reviewed_by_user: str | None = None
    reviewed_at: UtcDatetime | None = None
    rejection_note: str | None = None
    usage: RunUsage | None = None


class WorkflowRunSummary(RunBase):
    """A run as lists show it: without metadata, steps and failure, but with times of record."""

    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None


class WorkflowRun(RunBase, Answer):
    """A run in full. `failure_reason` is an open set of codes, given only for failed runs."""

    called: ClassVar[str] = "a workflow run"

    metadata: dict[str, Any] = Field(default_factory=dict)
    failure_reason: str | None = None
    failure_message: str | None = None
    reviewed: bool = False
    step_runs: Items[StepRun] = Field(default_factory=list)


class BatchStarted(Answer):
    """What starting a batch is answered with."""

    called: ClassVar[str] = "a batch id"

    batch_id: str = ""

    @property
    def key(self) -> str:
        """The batch's id."""
        return self.batch_id


class Deleted(Answer):
    """What a delete is answered with: the id of what is gone."""

    called: ClassVar[str] = "a deleted object's id"


class WorkflowVersion(WorkflowVersionSummary, Answer):
    """One version of a workflow with its steps, which stay the API's own objects, untouched."""

    called: ClassVar[str] = "a workflow version"

    steps: JsonObjects = Field(default_factory=list)


class Workflow(WorkflowSummary, Answer):
    """A workflow with its draft."""

    called: ClassVar[str] = "a workflow"

    draft_version: WorkflowVersion = Field(default_factory=WorkflowVersion)


class File(FileSummary, Answer):
    """A file in full. `presigned_url` works for 15 minutes and is a secret: whoever has it can read the file."""

    called: ClassVar[str] = "a file"

    presigned_url: SecretStr | None = None
    contents: dict[str, Any] | None = None


class WebhookEndpoint(Answer):
    """Where Extend sends events. `signing_secret` is there only when it was just created."""

    called: ClassVar[str] = "a webhook endpoint"

    url: str = ""
    name: str = ""
    status: str = ""
    enabled_events: list[str] = Field(default_factory=list)
    api_version: str = ""
    advanced_options: dict[str, Any] | None = Field(default=None, repr=False)
    signing_secret: SecretStr | None = None
    created_at: UtcDatetime | None = None


class WebhookSubscription(Answer):
    """One resource's events that an endpoint receives."""

    called: ClassVar[str] = "a webhook subscription"

    webhook_endpoint_id: str = ""
    resource_type: str = ""
    resource_id: str = ""
    enabled_events: list[str] = Field(default_factory=list)
    created_at: UtcDatetime | None = None


class Page(ApiModel, Generic[ItemT]):
    """One page of a list. `next_page_token` is None on the last page; a page may be shorter than asked for."""

    data: Items[ItemT] = Field(default_factory=list)
    next_page_token: str | None = None

    @model_validator(mode="after")
    def _no_empty_token(self) -> Self:
        # An empty token would ask for the first page again, for ever.
        self.next_page_token = self.next_page_token or None
        return self
