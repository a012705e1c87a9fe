"""The sixteen step types of a workflow definition (Extend API reference, WorkflowStepDefinition)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from extend_mcp.workflows.parts import (
    BranchNext,
    ClassificationNext,
    ClassifyConfig,
    ConditionalConfig,
    ConditionalExtractConfig,
    ConditionNext,
    ConversionConfig,
    ExternalConfig,
    ExtractConfig,
    MergeConfig,
    Next,
    ParseConfig,
    Part,
    ResultNext,
    RouterConfig,
    RuleValidationConfig,
    SplitConfig,
    Text,
    ValidationConfig,
)


class Step(Part):
    """The fields of all steps. ``object`` and ``id`` are the API's, kept so that a response can be sent back."""

    object: str | None = None
    id: str | None = None
    name: Text


Nexts = Annotated[list[Next] | None, Field(default=None)]


class TriggerStep(Step):
    """Starts a run."""

    type: Literal["TRIGGER"]
    next: Nexts


class ParseStep(Step):
    """Reads the file."""

    type: Literal["PARSE"]
    config: ParseConfig | None = None
    next: Nexts


class ExtractStep(Step):
    """Extracts fields."""

    type: Literal["EXTRACT"]
    config: ExtractConfig | None = None
    next: Nexts


class ClassifyStep(Step):
    """Finds out what a document is."""

    type: Literal["CLASSIFY"]
    config: ClassifyConfig | None = None
    next: list[ClassificationNext] | None = None


class SplitStep(Step):
    """Takes a packet apart."""

    type: Literal["SPLIT"]
    config: SplitConfig | None = None
    next: list[ClassificationNext] | None = None


class MergeExtractStep(Step):
    """Makes one extraction of several."""

    type: Literal["MERGE_EXTRACT"]
    config: MergeConfig | None = None
    next: Nexts


class ConditionalStep(Step):
    """Chooses a way by comparing values."""

    type: Literal["CONDITIONAL"]
    config: ConditionalConfig
    next: list[ConditionNext] | None = None


class ConditionalExtractStep(Step):
    """Chooses an extractor by formulas."""

    type: Literal["CONDITIONAL_EXTRACT"]
    config: ConditionalExtractConfig | None = None
    next: Nexts


class RuleValidationStep(Step):
    """Checks formulas over extracted values."""

    type: Literal["RULE_VALIDATION"]
    config: RuleValidationConfig | None = None
    next: list[ResultNext] | None = None


class ValidationStep(Step):
    """Checks by programs and prompts."""

    type: Literal["VALIDATION"]
    config: ValidationConfig | None = None
    next: list[ResultNext] | None = None


class RouterStep(Step):
    """Chooses a way by programs and prompts."""

    type: Literal["ROUTER"]
    config: RouterConfig | None = None
    next: list[BranchNext] | None = None


class ExternalDataValidationStep(Step):
    """Asks the customer's own service."""

    type: Literal["EXTERNAL_DATA_VALIDATION"]
    config: ExternalConfig | None = None
    next: Nexts


class HumanReviewStep(Step):
    """Waits for a person."""

    type: Literal["HUMAN_REVIEW"]
    next: Nexts


class CollectStep(Step):
    """Waits for several ways to arrive."""

    type: Literal["COLLECT"]
    next: Nexts


class FileConversionStep(Step):
    """Makes another format of the file."""

    type: Literal["FILE_CONVERSION"]
    config: ConversionConfig | None = None
    next: Nexts


class WebhookResponseStep(Step):
    """Answers a webhook; nothing follows it."""

    type: Literal["WEBHOOK_RESPONSE"]
    next: Annotated[list[Next], Field(max_length=0)] | None = None


StepDefinition = Annotated[
    TriggerStep
    | ParseStep
    | ExtractStep
    | ClassifyStep
    | SplitStep
    | MergeExtractStep
    | ConditionalStep
    | ConditionalExtractStep
    | RuleValidationStep
    | ValidationStep
    | RouterStep
    | ExternalDataValidationStep
    | HumanReviewStep
    | CollectStep
    | FileConversionStep
    | WebhookResponseStep,
    Field(discriminator="type"),
]
"""Any step of a workflow definition."""

STEP: TypeAdapter[Any] = TypeAdapter(StepDefinition)
"""Reads one step."""

STEP_TYPES = (
    "TRIGGER",
    "PARSE",
    "EXTRACT",
    "CLASSIFY",
    "SPLIT",
    "MERGE_EXTRACT",
    "CONDITIONAL",
    "CONDITIONAL_EXTRACT",
    "RULE_VALIDATION",
    "VALIDATION",
    "ROUTER",
    "EXTERNAL_DATA_VALIDATION",
    "HUMAN_REVIEW",
    "COLLECT",
    "FILE_CONVERSION",
    "WEBHOOK_RESPONSE",
)
"""The types there are."""

CONFIGURED_LATER = frozenset(
    {"EXTRACT", "CLASSIFY", "SPLIT", "CONDITIONAL_EXTRACT", "RULE_VALIDATION", "EXTERNAL_DATA_VALIDATION"}
)
"""Types whose config a draft may leave out; then they lead nowhere yet, and cannot be deployed."""
