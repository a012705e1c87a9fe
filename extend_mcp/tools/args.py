"""The types of tool arguments: each accepts what people paste, or says what it wants with an example.

A marker :class:`Example` stays out of the JSON schema, where every conversation would pay for it, and is
shown where it helps: in the answer to a wrong argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from extend_mcp.runs.ids import parse_batch_id, parse_run_id


@dataclass(frozen=True)
class Example:
    """A good value of an argument, as a model should write it."""

    value: str


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


Status = Literal["PENDING", "PROCESSING", "NEEDS_REVIEW", "REJECTED", "PROCESSED", "FAILED", "CANCELLED", "CANCELLING"]

RunId = Annotated[
    str,
    AfterValidator(parse_run_id),
    Field(description="Run id (workflow_run_...) or dashboard URL"),
    Example("workflow_run_xKm9pNv3qWsY_jL2tR5Dh"),
]
BatchId = Annotated[str, AfterValidator(parse_batch_id), Field(description="Batch id"), Example("batch_7Ws31-F5")]
StatusFilter = Annotated[Status, BeforeValidator(_upper), Example("FAILED")]
WorkflowRef = Annotated[
    str,
    AfterValidator(_not_blank),
    Field(description="Workflow id or exact name", max_length=255),
    Example("Invoice Processing"),
]
Moment = Annotated[str, Field(description='ISO time, or a span before now: "24h", "7d"', max_length=64), Example("24h")]
DetailLevel = Annotated[Literal["concise", "full"], BeforeValidator(_lower), Example("full")]
StepSelector = Annotated[
    str,
    # Models often send a step's number as a number.
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    AfterValidator(_not_blank),
    Field(description="One step's result: its number, name or id", max_length=255),
    Example("extract"),
]
PageNumber = Annotated[int, Field(ge=1, description="Page of a long answer"), Example("2")]
PageSize = Annotated[int, Field(ge=1, le=100, description="Runs per page"), Example("20")]
PageToken = Annotated[
    str,
    Field(description="From the answer before; no other argument needed", max_length=8192),
    Example("eyJ2IjoxLC4uLn0"),
]
