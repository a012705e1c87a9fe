"""The parts of a step's definition: where it leads, and what it is configured with.

Strict, unlike answers: a misspelt field would be dropped in silence by the API, so it is found here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from typing_extensions import Self


def _pinned(version: str) -> str:
    if version != "draft" and not all(part.isascii() and part.isdigit() for part in version.split(".")):
        raise ValueError('must be "draft" or a version such as "1.2"')
    return version


def _any_version(version: str) -> str:
    if version != "latest":
        try:
            _pinned(version)
        except ValueError:
            raise ValueError('must be "latest", "draft" or a version such as "1.2"') from None
    return version


def _http(url: str) -> str:
    if not url.startswith(("http://", "https://")) or len(url) < len("http://x"):
        raise ValueError("must be an http or https address")
    return url


class Part(BaseModel):
    """Base of all parts of a definition: camelCase names, no unknown fields, no conversion between types."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, protected_namespaces=(), defer_build=True
    )


Text = Annotated[str, Field(min_length=1)]


class Next(Part):
    """The successor of a step."""

    step: Text


class ClassificationNext(Next):
    """The successor for one classification, named by its id."""

    classification_id: Text


class ConditionNext(Next):
    """The successor when one condition holds."""

    condition_id: Text


class ResultNext(Next):
    """The successor of a check when it passes or fails."""

    result: Literal["pass", "fail"]


class BranchNext(Next):
    """The successor of a router's branch; ``otherwise`` when none matches."""

    branch_id: Text


class ExtractorRef(Part):
    """A saved extractor at a version."""

    id: Text
    version: Annotated[str, AfterValidator(_any_version)]


class PinnedRef(Part):
    """A saved classifier or splitter; routing needs the classifications of one version, so never the latest."""

    id: Text
    version: Annotated[str, AfterValidator(_pinned)]


class Inline(Part):
    """A processor's configuration inside the definition; what only the processor reads is let through."""

    model_config = ConfigDict(extra="allow")


class Classification(Inline):
    """One kind that a document can be."""

    id: Text
    type: str
    description: str


class InlineExtractor(Inline):
    """An extractor's configuration."""

    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class InlineClassifier(Inline):
    """A classifier's configuration."""

    classifications: Annotated[list[Classification], Field(min_length=1)]


class InlineSplitter(Inline):
    """A splitter's configuration."""

    split_classifications: Annotated[list[Classification], Field(min_length=1)]


class _OneSource(Part):
    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        names = [field.alias or name for name, field in type(self).model_fields.items()]
        if sum(getattr(self, name) is not None for name in type(self).model_fields) != 1:
            raise ValueError(f"must have exactly one of {' and '.join(names)}")
        return self


class ExtractConfig(_OneSource):
    """The choice of an extractor."""

    extractor: ExtractorRef | None = None
    extractor_config: InlineExtractor | None = None


class ClassifyConfig(_OneSource):
    """The choice of a classifier."""

    classifier: PinnedRef | None = None
    classifier_config: InlineClassifier | None = None


class SplitConfig(_OneSource):
    """The choice of a splitter."""

    splitter: PinnedRef | None = None
    splitter_config: InlineSplitter | None = None


class ParseConfig(Part):
    """Options of parsing."""

    parse_config: dict[str, Any] | None = None


class MergeConfig(Part):
    """The rule for which value wins where extractions differ."""

    merge_order: Literal["confidence", "alphabetic", "first_to_execute", "last_to_execute"] | None = None


class Condition(Part):
    """One arm of a conditional."""

    id: Text
    type: Literal["IF", "ELSE_IF", "ELSE"]
    operation: Literal["EQUALS", "GTE", "LTE", "IS_NULL", "CONTAINS", "NO_OP"] | None = None
    left_operand: str | None = None
    right_operand: str | None = None


class ConditionalConfig(Part):
    """The arms of a conditional, in the order they are tried."""

    conditions: Annotated[list[Condition], Field(min_length=1)]


class ExtractRule(Part):
    """The extractor that runs when a formula holds."""

    name: str | None = None
    formula: Text
    extractor: ExtractorRef


class ConditionalExtractConfig(Part):
    """Rules, in the order they are tried; the last one always holds."""

    rules: Annotated[list[ExtractRule], Field(min_length=1)]

    @model_validator(mode="after")
    def _ends_with_true(self) -> Self:
        if self.rules[-1].formula != "TRUE":
            raise ValueError('the last rule\'s formula must be "TRUE"')
        return self


class Rule(Part):
    """A formula that must hold."""

    name: Text
    formula: Text
    description: str | None = None


class RuleValidationConfig(Part):
    """The rules of a rule validation."""

    rules: Annotated[list[Rule], Field(min_length=1)]


class Code(Part):
    """A block's program. Extend stores Python, and runs only JavaScript."""

    language: Literal["javascript", "python"]
    code: str


class CodeBlock(Part):
    """A check that is a program."""

    block_type: Literal["code"]
    id: str | None = None
    name: Text
    code: Code


class Semantic(Part):
    """A block's prompt."""

    prompt_text: str


class SemanticBlock(Part):
    """A check that a model makes."""

    block_type: Literal["semantic"]
    id: str | None = None
    name: Text
    semantic: Semantic


BLOCK_KINDS = ("code", "semantic")
Block = Annotated[CodeBlock | SemanticBlock, Field(discriminator="block_type")]


class ValidationConfig(Part):
    """The blocks of a validation."""

    blocks: Annotated[list[Block], Field(min_length=1)]


class Branch(Part):
    """One branch of a router."""

    id: Text
    name: str | None = None
    block: Block | None = None


class RouterConfig(Part):
    """Branches, in the order they are tried."""

    branches: Annotated[list[Branch], Field(min_length=1)]


class RequestOptions(Part):
    """The request to the customer's own service."""

    url: Annotated[str, AfterValidator(_http)]
    method: Literal["GET", "POST", "PUT"]
    headers: dict[str, str] | None = None
    content_type: Literal["application/json", "text/plain"] | None = None


class ExternalConfig(Part):
    """The service to call, and what its failure does."""

    request_options: RequestOptions
    failure_behavior: Literal["CONTINUE", "EXIT"] | None = None


class ConversionConfig(Part):
    """The effect of a failed conversion."""

    failure_behavior: Literal["EXIT", "CONTINUE"] | None = None
