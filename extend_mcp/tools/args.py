"""The types of tool arguments: each accepts what people paste, or says what it wants with an example.

The ``examples`` stay out of the JSON schema, where every conversation would pay for them, and are shown where they
help: in the answer to a wrong argument.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import to_json

from extend_mcp.runs.ids import parse_batch_id, parse_run_id
from extend_mcp.urls import normalize_url


def upper(value: Any) -> Any:
    """Return a text in upper case, without blanks around it."""
    return value.strip().upper() if isinstance(value, str) else value


def _number_as_text(value: Any) -> Any:
    # Models often send the number of a step or a version as a number.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("must be 1 or more, or -1 for the last page")
    return value


def _small(value: dict[str, Any]) -> dict[str, Any]:
    # Extend API reference, RunMetadata: 10 KB.
    if len(to_json(value)) > 10_240:
        raise ValueError("must be at most 10 KB as JSON")
    return value


def joined(value: Any) -> Any:
    """Join a list with commas: models often send several values so."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _known_statuses(value: str) -> str:
    names = [name.strip().upper() for name in value.split(",")]
    names = [each for name in names for each in (ACTIVE if name == "ACTIVE" else (name,))]
    if not set(names) <= set(get_args(Status)):
        raise ValueError(f"must be {', '.join(get_args(Status))}, several of these with commas, or active")
    return ",".join(dict.fromkeys(names))


ACTIVE = ("PENDING", "PROCESSING", "CANCELLING")
"""The statuses that ``active`` names: the run still changes without anyone acting."""

Status = Literal["PENDING", "PROCESSING", "NEEDS_REVIEW", "REJECTED", "PROCESSED", "FAILED", "CANCELLED", "CANCELLING"]

WebUrl = Annotated[str, AfterValidator(normalize_url)]
RunId = Annotated[
    str,
    AfterValidator(parse_run_id),
    Field(description="Run id (workflow_run_...) or dashboard URL", examples=["workflow_run_xKm9pNv3qWsY_jL2tR5Dh"]),
]
BatchId = Annotated[str, AfterValidator(parse_batch_id), Field(description="Batch id", examples=["batch_7Ws31-F5"])]
OneStatus = Annotated[Status, BeforeValidator(upper)]
StatusFilter = Annotated[
    str,
    BeforeValidator(joined),
    AfterValidator(_known_statuses),
    Field(
        description=f"{', '.join(get_args(Status))}; several with commas; or active (not over)",
        max_length=120,
        examples=["FAILED"],
    ),
]
WorkflowRef = Annotated[
    str,
    AfterValidator(_not_blank),
    Field(description="Workflow id or exact name", max_length=255, examples=["Invoice Processing"]),
]
Moment = Annotated[
    str, Field(description='ISO time, or a span before now: "24h", "7d"', max_length=64, examples=["24h"])
]
OtherMoment = Annotated[str, Field(max_length=64, examples=["24h"])]
"""A second time among a tool's arguments: the first one says what it may be."""

DetailLevel = Literal["concise", "full"]
StepSelector = Annotated[
    str,
    BeforeValidator(_number_as_text),
    AfterValidator(_not_blank),
    Field(description="One step's result: its number, name or id", max_length=255, examples=["extract"]),
]
SortBy = Literal["createdAt", "updatedAt"]
SortDir = Literal["asc", "desc"]
PageNumber = Annotated[
    int, Field(ge=-1, description="Page of a long answer; -1: the last", examples=[2]), AfterValidator(_not_zero)
]
PageSize = Annotated[int, Field(ge=1, le=100, examples=[20])]
PageToken = Annotated[
    str,
    Field(
        description="From the answer before; no other argument needed", max_length=8192, examples=["eyJ2IjoxLC4uLn0"]
    ),
]
ConfirmationToken = Annotated[str, Field(max_length=4096, description="From confirmation_required")]
Metadata = Annotated[dict[str, Any], AfterValidator(_small), Field(examples=[{"customer": "acme"}])]
Priority = Annotated[int, Field(ge=1, le=100, description="Lower runs first", examples=[50])]
_VERSION = r"draft|newest|[0-9]{1,9}|[A-Za-z]+_[A-Za-z0-9_-]{1,240}"
_Number = Annotated[str, BeforeValidator(_number_as_text), Field(examples=["3"])]
VersionRef = Annotated[_Number, Field(pattern=f"^({_VERSION})$", description='"3", "newest", "draft" or id')]
VersionToRerun = Annotated[
    _Number, Field(pattern=f"^(same|{_VERSION})$", description='"newest", "same" as each had, "3", "draft" or id')
]
VersionNumber = Annotated[_Number, Field(pattern=r"^(draft|[0-9]{1,9})$")]
Secrets = Annotated[dict[str, Any], Field(description="For steps that call your services; never shown")]
FileId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$", examples=["file_xK9mLPqRtN3vS8wF5hB2cQ"])]
