"""The sixteen step types of a workflow definition, with their parts (Extend API reference, WorkflowStepDefinition)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, conlist, create_model, model_validator
from pydantic.alias_generators import to_camel
from typing_extensions import Self


class _Part(BaseModel):
    """Base of all parts of a definition: camelCase names, no unknown fields, no conversion between types."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, protected_namespaces=(), defer_build=True
    )


class _OneOf(_Part):
    """A part with exactly one of its fields."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        fields = type(self).model_fields
        if sum(getattr(self, name) is not None for name in fields) != 1:
            raise ValueError(f"must have exactly one of {' and '.join(each.alias or '' for each in fields.values())}")
        return self


class _EndsWithTrue(_Part):
    """A part with rules of which the last one always holds."""

    rules: list[Any]

    @model_validator(mode="after")
    def _ends_with_true(self) -> Self:
        if self.rules[-1].formula != "TRUE":
            raise ValueError('the last rule\'s formula must be "TRUE"')
        return self


class _Inline(_Part):
    """A processor's configuration inside the definition; what only the processor reads is let through."""

    model_config = ConfigDict(extra="allow")


def _part(base: type[_Part] = _Part, /, **fields: Any) -> Any:
    """Return a model with these fields. One that may be None may be left out."""
    given: dict[str, Any] = {
        name: (kind, None if type(None) in get_args(kind) else ...) for name, kind in fields.items()
    }
    return create_model("Part", __base__=base, **given)


def _pinned(version: str) -> str:
    if version != "draft" and not all(part.isascii() and part.isdigit() for part in version.split(".")):
        raise ValueError('must be "draft" or a version such as "1.2"')
    return version


def _any_version(version: str) -> str:
    try:
        return version if version == "latest" else _pinned(version)
    except ValueError:
        raise ValueError('must be "latest", "draft" or a version such as "1.2"') from None


def _http(url: str) -> str:
    if not url.startswith(("http://", "https://")) or len(url) < len("http://x"):
        raise ValueError("must be an http or https address")
    return url


Text = Annotated[str, Field(min_length=1)]
Code = _part(language=Literal["javascript", "python"], code=str)
CodeBlock = _part(block_type=Literal["code"], id=str | None, name=Text, code=Code)
SemanticBlock = _part(block_type=Literal["semantic"], id=str | None, name=Text, semantic=_part(prompt_text=str))
Block: Any = Annotated[CodeBlock | SemanticBlock, Field(discriminator="block_type")]
BLOCK_KINDS = ("code", "semantic")

Next = _part(step=Text)
ClassificationNext = _part(step=Text, classification_id=Text)
ResultNext = _part(step=Text, result=Literal["pass", "fail"])

# Routing needs the classifications of one version, so never the latest.
Pinned = _part(id=Text, version=Annotated[str, AfterValidator(_pinned)])
Extractor = _part(id=Text, version=Annotated[str, AfterValidator(_any_version)])
Classifications = conlist(_part(_Inline, id=Text, type=str, description=str), min_length=1)
InlineExtractor = _part(_Inline, schema_=Annotated[dict[str, Any], Field(alias="schema")])
InlineClassifier = _part(_Inline, classifications=Classifications)
InlineSplitter = _part(_Inline, split_classifications=Classifications)
MergeOrder = Literal["confidence", "alphabetic", "first_to_execute", "last_to_execute"]
Condition = _part(
    id=Text,
    type=Literal["IF", "ELSE_IF", "ELSE"],
    operation=Literal["EQUALS", "GTE", "LTE", "IS_NULL", "CONTAINS", "NO_OP"] | None,
    left_operand=str | None,
    right_operand=str | None,
)
ExtractRule = _part(name=str | None, formula=Text, extractor=Extractor)
FormulaRule = _part(name=Text, formula=Text, description=str | None)
Branch = _part(id=Text, name=str | None, block=Block | None)
Request = _part(
    url=Annotated[str, AfterValidator(_http)],
    method=Literal["GET", "POST", "PUT"],
    headers=dict[str, str] | None,
    content_type=Literal["application/json", "text/plain"] | None,
)

_SHAPES: dict[str, tuple[Any, Any]] = {
    "TRIGGER": (None, Next),
    "PARSE": (_part(parse_config=dict[str, Any] | None), Next),
    "EXTRACT": (_part(_OneOf, extractor=Extractor | None, extractor_config=InlineExtractor | None), Next),
    "CLASSIFY": (
        _part(_OneOf, classifier=Pinned | None, classifier_config=InlineClassifier | None),
        ClassificationNext,
    ),
    "SPLIT": (_part(_OneOf, splitter=Pinned | None, splitter_config=InlineSplitter | None), ClassificationNext),
    "MERGE_EXTRACT": (_part(merge_order=MergeOrder | None), Next),
    "CONDITIONAL": (_part(conditions=conlist(Condition, min_length=1)), _part(step=Text, condition_id=Text)),
    "CONDITIONAL_EXTRACT": (_part(_EndsWithTrue, rules=conlist(ExtractRule, min_length=1)), Next),
    "RULE_VALIDATION": (_part(rules=conlist(FormulaRule, min_length=1)), ResultNext),
    "VALIDATION": (_part(blocks=conlist(Block, min_length=1)), ResultNext),
    "ROUTER": (_part(branches=conlist(Branch, min_length=1)), _part(step=Text, branch_id=Text)),
    "EXTERNAL_DATA_VALIDATION": (
        _part(request_options=Request, failure_behavior=Literal["CONTINUE", "EXIT"] | None),
        Next,
    ),
    "HUMAN_REVIEW": (None, Next),
    "COLLECT": (None, Next),
    "FILE_CONVERSION": (_part(failure_behavior=Literal["EXIT", "CONTINUE"] | None), Next),
    "WEBHOOK_RESPONSE": (None, Next),
}
"""By type: the model of its config, None where it has none, and of its next entries."""

STEP_TYPES = tuple(_SHAPES)
"""The types there are."""

CONFIGURED_LATER = frozenset(
    {"EXTRACT", "CLASSIFY", "SPLIT", "CONDITIONAL_EXTRACT", "RULE_VALIDATION", "EXTERNAL_DATA_VALIDATION"}
)
"""Types whose config a draft may leave out; then they lead nowhere yet, and cannot be deployed."""


def _step(kind: str) -> Any:
    """Return the model of a step. ``object`` and ``id`` are the API's, kept so that a response can be sent back."""
    config, following = _SHAPES[kind]
    return _part(
        object=str | None,
        id=str | None,
        name=Text,
        type=Literal[kind],
        next=conlist(following, max_length=0 if kind == "WEBHOOK_RESPONSE" else None) | None,
        **({"config": config if kind == "CONDITIONAL" else config | None} if config else {}),
    )


_ANY_STEP: Any = Annotated[Union[tuple(map(_step, STEP_TYPES))], Field(discriminator="type")]  # noqa: UP007
STEP: TypeAdapter[Any] = TypeAdapter(_ANY_STEP, config=ConfigDict(defer_build=True))
"""Reads one step."""
