"""What is sent to Extend to start a workflow run (Extend API reference, Run Workflow).

Checked strictly, unlike answers: a misspelt field is a mistake of this program and must not be sent.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer
from pydantic.alias_generators import to_camel


class RequestModel(BaseModel):
    """Base of request bodies: snake_case attributes, camelCase on the wire, no unknown fields."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class WorkflowTarget(RequestModel):
    """The workflow to run. Without `version` ("3", "draft") Extend takes the newest published one, else the draft."""

    id: str = Field(min_length=1)
    version: str | None = None


class FileSettings(RequestModel):
    """How to open the file. The password is shown by no repr; it is revealed in JSON only, to be sent."""

    password: SecretStr | None = None

    @field_serializer("password", when_used="json-unless-none")
    def _reveal(self, password: SecretStr) -> str:
        return password.get_secret_value()


class FileFromUrl(RequestModel):
    """A file that Extend downloads."""

    url: str = Field(min_length=1)
    name: str | None = None
    settings: FileSettings | None = None


class FileFromId(RequestModel):
    """A file uploaded to Extend before."""

    id: str = Field(min_length=1)


class FileFromText(RequestModel):
    """Text to be processed as a file."""

    text: str
    name: str | None = None


class CreateWorkflowRun(RequestModel):
    """The body of a request to run a workflow on one file.

    Args:
        workflow: Which workflow, and which version of it.
        file: Exactly one file, by URL, by id, or as text.
        priority: Lower runs first. Extend checks the range.
        metadata: Kept with the run and returned by it; at most 10 KB of JSON.
    """

    workflow: WorkflowTarget
    file: FileFromUrl | FileFromId | FileFromText
    priority: int | None = None
    metadata: dict[str, Any] | None = None

    def to_json(self) -> bytes:
        """Return the body to send: camelCase, fields that are not set left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()
