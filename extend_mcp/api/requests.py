"""Request bodies and queries (Extend API reference).

Bodies are checked strictly, unlike responses: a misspelt field is a bug of this program and must not be sent.
"""

from typing import Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

PAGE_SIZE: Final = 100
"""Items per page of an iterator. Extend allows 1000; such a page takes long, and an error loses all of it."""

LARGE_PAGE: Final = 1000
"""Items per page where very many are wanted; the largest page that Extend documents."""


class RequestModel(BaseModel):
    """Base of request bodies: snake_case attributes, camelCase on the wire, no unknown fields."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", defer_build=True)

    @model_serializer(mode="wrap")
    def _omit_unset(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Not `exclude_none`: a null inside metadata, steps or outputs is the caller's own.
        return {name: value for name, value in serialize(self).items() if value is not None}

    def to_json(self) -> bytes:
        """Return the body to send: camelCase, without the fields that are not set."""
        return self.model_dump_json(by_alias=True).encode()


class WorkflowTarget(RequestModel):
    """The workflow to run. Without `version` ("3", "draft") Extend takes the newest published one, else the draft."""

    id: str = Field(min_length=1)
    version: str | None = None


class FileFromUrl(RequestModel):
    """A file that Extend downloads."""

    url: str = Field(min_length=1)
    name: str | None = None


class FileFromId(RequestModel):
    """A file uploaded to Extend before."""

    id: str = Field(min_length=1)


class FileFromText(RequestModel):
    """Text to be processed as a file."""

    text: str
    name: str | None = None


FileInput: TypeAlias = FileFromUrl | FileFromId | FileFromText


class PackageFiles(RequestModel):
    """2 to 50 files, by URL or id, that become one run."""

    files: list[FileFromUrl | FileFromId] = Field(min_length=2, max_length=50)


class OutputOverride(RequestModel):
    """The output to use for a processor instead of running it."""

    processor_id: str = Field(min_length=1)
    output: dict[str, Any]


class CreateWorkflowRun(RequestModel):
    """The body of a request to run a workflow once, on a file or a package.

    Outputs replace running their processors, not with a package. Of two runs the lower priority runs first.
    Metadata has at most 10 KB of JSON. Secrets are for steps that call the customer's own services.
    """

    workflow: WorkflowTarget
    file: FileInput | None = None
    package: PackageFiles | None = None
    outputs: list[OutputOverride] | None = None
    priority: int | None = Field(None, ge=1, le=100)
    metadata: dict[str, Any] | None = None
    secrets: dict[str, Any] | None = Field(None, repr=False)


class BatchInput(RequestModel):
    """One file of a batch."""

    file: FileInput
    metadata: dict[str, Any] | None = None
    secrets: dict[str, Any] | None = Field(None, repr=False)


class CreateWorkflowRunBatch(RequestModel):
    """The body of a request to run a workflow on each of 1 to 1000 files."""

    workflow: WorkflowTarget
    inputs: list[BatchInput] = Field(min_length=1, max_length=1000)
    priority: int | None = Field(None, ge=1, le=100)


class UpdateWorkflowRun(RequestModel):
    """A new name, metadata to merge, or both."""

    name: str | None = None
    metadata: dict[str, Any] | None = None


class UpdateWorkflow(RequestModel):
    """A new name for a workflow, or new steps for its draft, or both. Steps are sent unchanged: check them before."""

    name: str | None = None
    steps: list[dict[str, Any]] | None = None


class CreateWorkflow(UpdateWorkflow):
    """A new workflow."""

    name: str


class DeployWorkflowVersion(UpdateWorkflow):
    """A name for the new version, and its steps if they are not the draft's."""


class CreateWebhookEndpoint(RequestModel):
    """A new endpoint, and the events that Extend sends to it."""

    url: str
    name: str
    enabled_events: list[str]
    api_version: str = "2026-02-09"
    status: str | None = None


class UpdateWebhookEndpoint(RequestModel):
    """The fields of an endpoint to change."""

    url: str | None = None
    name: str | None = None
    status: str | None = None
    enabled_events: list[str] | None = None


class CreateWebhookSubscription(RequestModel):
    """The events of one resource that an endpoint receives."""

    webhook_endpoint_id: str
    resource_type: str
    resource_id: str
    enabled_events: list[str]


class UpdateWebhookSubscription(RequestModel):
    """The events that a subscription sends from now on."""

    enabled_events: list[str]


class ListQuery(TypedDict, total=False):
    """The page and order of a list; what is left out is Extend's default.

    With a token the query must be that of the page before. A page has at most 1000 items; "asc" is earliest first.
    Workflows and runs are sorted by "updatedAt" (Extend's default) or "createdAt", parse runs not.
    """

    next_page_token: str | None
    max_page_size: int | None
    sort_by: str | None
    sort_dir: str | None


class WorkflowRunQuery(ListQuery, total=False):
    """Adds filters: only runs in this one status, of this workflow or batch, with this text in a file name."""

    status: str | None
    workflow_id: str | None
    batch_id: str | None
    file_name_contains: str | None


class ChildRunQuery(ListQuery, total=False):
    """Adds the status of child runs, and the id of the run that started them."""

    status: str | None
    source: str
    source_id: str


class FileQuery(ListQuery, total=False):
    """Adds a text that the name contains."""

    name_contains: str | None


class WebhookSubscriptionQuery(ListQuery, total=False):
    """Adds the endpoint and the resource."""

    webhook_endpoint_id: str | None
    resource_id: str | None
