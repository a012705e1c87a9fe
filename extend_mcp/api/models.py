"""Models of Extend's responses that no response can break.

The API may add fields, values and event types without a new version (Extend API reference, Versioning). So a value
that is missing, null or of a wrong type becomes the field's default, and enumerations are plain strings. Fields not
named here are left out; a class that shows them keeps them in `model_extra`.
"""

from datetime import datetime, timezone
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    OnErrorOmit,
    SecretStr,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema


def _to_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999 in UTC") from None


class _Utc:
    """Reads times that end in Z without a call into Python, which would be most of the cost of a list."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        other = core_schema.no_info_after_validator_function(_to_utc, handler(source))
        return core_schema.union_schema([core_schema.datetime_schema(tz_constraint=0), other], mode="left_to_right")


ItemT = TypeVar("ItemT", bound="ApiModel")

UtcDatetime = Annotated[datetime, _Utc()]
"""An aware time in UTC; a time without a zone counts as UTC."""

JsonObjects = list[OnErrorOmit[dict[str, Any]]]
"""A list of JSON objects, unchanged; elements of another kind are dropped."""

Items = list[OnErrorOmit[ItemT]]
"""A list of objects; elements that are not objects are dropped, the others kept."""


class ApiModel(BaseModel):
    """Base of all responses: snake_case attributes, every field optional, `model_validate` of a dict never fails."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        # Built for the first response: a client waits for the tool list, which needs none of them.
        defer_build=True,
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        inner: Any = handler.resolve_ref_schema(schema)
        while inner["type"] != "model-fields":
            inner = inner["schema"]
        for field in inner["fields"].values():
            # In the validator's own code: nearly every response fits, and is read without a call into Python.
            if field["schema"]["type"] == "default":
                field["schema"]["on_error"] = "default"
        return schema


class ApiObject(ApiModel):
    """A response or a part of one that has an id. A response without its id is not that object."""

    id: str = ""


class WorkflowSummary(ApiObject):
    """A workflow by name, without its steps."""

    name: str = ""
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None


class WorkflowVersionSummary(ApiObject):
    """One version of a workflow; `version` is "1", "2", ... or "draft"."""

    version: str = ""
    name: str | None = None
    created_at: UtcDatetime | None = None


class ParentSplit(ApiObject):
    """The part of a parent file that a splitter turned into this file; pages count from 1, both ends included."""

    type: str = ""
    identifier: str = ""
    start_page: int | None = None
    end_page: int | None = None


class FileMetadata(ApiModel):
    """Extend's facts about a file's content."""

    page_count: int | None = None
    parent_split: ParentSplit | None = None


class FileSummary(ApiObject):
    """A file; `type` is "PDF", "IMG", ... or "" if Extend could not tell."""

    name: str = ""
    type: str = ""
    parent_file_id: str | None = None
    metadata: FileMetadata = Field(default_factory=FileMetadata)
    created_at: UtcDatetime | None = None


class UsageEntry(ApiObject):
    """The credits of one child run, named by its kind (`object`) and id."""

    model_config = ConfigDict(extra="allow")

    object: str = ""
    credits: float | None = None


class RunUsage(ApiModel):
    """Credits of a run and its child runs; None where Extend does not say, which is not the same as 0."""

    credits: float | None = None
    total_credits: float | None = None
    breakdown: Items[UsageEntry] = Field(default_factory=list)


class StepRef(ApiObject):
    """The step of the workflow that a step run ran. Its id changes between versions; its name is unique."""

    name: str = ""
    type: str = ""


class StepRun(ApiObject):
    """One step of a run. `result` is the API's own object, by `step_type`; it is None until the step is done."""

    # The API may omit it.
    step_type: str = Field("", validation_alias=AliasChoices("stepType", AliasPath("step", "type")))
    status: str = ""
    files: Items[FileSummary] = Field(default_factory=list)
    step: StepRef = Field(default_factory=StepRef)
    result: dict[str, Any] | None = None

    @property
    def child_run(self) -> dict[str, Any]:
        """The parse, extract, classify or split run inside the result, or an empty dict."""
        given = map((self.result or {}).get, ("parseRun", "extractRun", "classifyRun", "splitRun"))
        return next((child for child in given if isinstance(child, dict)), {})

    @property
    def output(self) -> dict[str, Any]:
        """The output of the child run, or an empty dict."""
        found = self.child_run.get("output")
        return found if isinstance(found, dict) else {}

    @property
    def title(self) -> str:
        """The name of the step, or its type where it has no name."""
        return self.step.name or self.step_type

    @property
    def failed(self) -> bool:
        """True if the step, or the child run inside its result, failed."""
        return "FAILED" in (self.status, self.child_run.get("status"))


class RunBase(ApiObject):
    """The fields that a workflow run and its summary share; it was created at `initial_run_at`."""

    status: str = ""
    workflow: WorkflowSummary = Field(default_factory=WorkflowSummary)
    workflow_version: WorkflowVersionSummary = Field(default_factory=WorkflowVersionSummary)
    dashboard_url: str = ""
    batch_id: str | None = None
    files: Items[FileSummary] = Field(default_factory=list)
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None
    initial_run_at: UtcDatetime | None = None
    start_time: UtcDatetime | None = None
    end_time: UtcDatetime | None = None
    reviewed_by_user: str | None = None
    reviewed_at: UtcDatetime | None = None
    rejection_note: str | None = None
    usage: RunUsage | None = None

    @property
    def created(self) -> datetime | None:
        """The creation time of the run, if the API sends one."""
        return self.created_at or self.initial_run_at

    @property
    def credits(self) -> float | None:
        """Credits of the run and all its child runs; None where Extend does not say."""
        usage = self.usage or RunUsage()
        return usage.credits if usage.total_credits is None else usage.total_credits

    @property
    def queue_seconds(self) -> float | None:
        """Seconds from creation to the start, 0 or more; None before the start."""
        return _seconds(self.created, self.start_time)

    @property
    def duration_seconds(self) -> float | None:
        """Seconds from start to end, 0 or more; None for a run that has not started or not ended."""
        return _seconds(self.start_time, self.end_time)


class WorkflowRunSummary(RunBase):
    """A run in a list: without metadata, steps and failure, but with `created_at` and `updated_at`."""


class WorkflowRun(RunBase):
    """A run in full. `failure_reason` is an open set of codes, given only for failed runs."""

    model_config = ConfigDict(extra="allow")

    metadata: dict[str, Any] = Field(default_factory=dict)
    failure_reason: str | None = None
    failure_message: str | None = None
    reviewed: bool = False
    step_runs: Items[StepRun] = Field(default_factory=list)


ChildRuns = Literal["parse_runs", "extract_runs", "classify_runs", "split_runs"]
"""The collections of the runs that steps of a workflow run start."""


class ChildRun(ApiObject):
    """A parse, extract, classify or split run, as lists show it; `failure_reason` is given for failed ones."""

    model_config = ConfigDict(extra="allow")

    object: str = ""
    status: str = ""
    failure_reason: str | None = None
    failure_message: str | None = None
    file: FileSummary = Field(default_factory=FileSummary)
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None


class BatchStarted(ApiObject):
    """The response to starting a batch: its id."""

    # An id under its usual name is another object's.
    model_config = ConfigDict(populate_by_name=False)

    id: str = Field(default="", alias="batchId")


class Deleted(ApiObject):
    """The response to a delete: the id of the deleted object."""


class WorkflowVersion(WorkflowVersionSummary):
    """One version of a workflow with its steps, which are the API's own objects, unchanged."""

    steps: JsonObjects = Field(default_factory=list)


class Workflow(WorkflowSummary):
    """A workflow with its draft."""

    draft_version: WorkflowVersion = Field(default_factory=WorkflowVersion)


class File(FileSummary):
    """A file in full. Anyone who has its `presigned_url` can read it, for 15 minutes.

    `contents` is deprecated, and absent for files that were parsed with a parser newer than 2.x.
    """

    presigned_url: SecretStr | None = None
    contents: dict[str, Any] | None = None

    @property
    def stored_text(self) -> bool:
        """True if Extend stores any text of the file."""
        contents = self.contents or {}
        lists = [found for key in ("pages", "sheets") if isinstance(found := contents.get(key), list)]
        parts = [part for found in lists for part in found if isinstance(part, dict)]
        return any(each.get(key) for each in (contents, *parts) for key in ("rawText", "markdown", "html"))


class WebhookEndpoint(ApiObject):
    """The receiver of Extend's events. `signing_secret` is set only in the response to its creation."""

    url: str = ""
    name: str = ""
    status: str = ""
    enabled_events: list[str] = Field(default_factory=list)
    advanced_options: dict[str, Any] | None = Field(default=None, repr=False)
    signing_secret: SecretStr | None = None
    created_at: UtcDatetime | None = None


class WebhookSubscription(ApiObject):
    """One resource's events that an endpoint receives."""

    webhook_endpoint_id: str = ""
    resource_type: str = ""
    resource_id: str = ""
    enabled_events: list[str] = Field(default_factory=list)
    created_at: UtcDatetime | None = None


class Page(ApiModel, Generic[ItemT]):
    """One page of a list. `next_page_token` is None on the last page; a page may be shorter than asked for."""

    # The one field without a default: what has no items is not a list.
    data: Items[ItemT]
    # An empty token would ask for the first page again and never end.
    next_page_token: Annotated[str | None, AfterValidator(lambda token: token or None)] = None


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - start).total_seconds()) if start and end else None
