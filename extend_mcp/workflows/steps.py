"""The sixteen step types of a workflow definition, with their parts (Extend API reference, WorkflowStepDefinition)."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, conlist, create_model, model_validator
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


class _Inline(_Part):
    """A processor's configuration inside the definition; what only the processor reads is let through."""

    model_config = ConfigDict(extra="allow")


def _part(base: type[_Part] = _Part, /, **fields: Any) -> Any:
    """Return a model with these fields. One that may be None may be left out."""
    given: dict[str, Any] = {
        name: (kind, None if type(None) in get_args(kind) else ...) for name, kind in fields.items()
    }
    return create_model("Part", __base__=base, **given)


def _ends_with_true(rules: list[Any]) -> list[Any]:
    if rules[-1].formula != "TRUE":
        raise ValueError('the last rule\'s formula must be "TRUE"')
    return rules


def _text(pattern: str, rule: str) -> Any:
    """Return the type of a text that fits a pattern, and the rule to state where it does not."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.DOTALL):
            raise ValueError(rule)
        return text

    return Annotated[str, AfterValidator(check)]


_TEXT = Annotated[str, Field(min_length=1)]

CONFIGURED_LATER = frozenset(
    {"EXTRACT", "CLASSIFY", "SPLIT", "CONDITIONAL_EXTRACT", "RULE_VALIDATION", "EXTERNAL_DATA_VALIDATION"}
)
"""Types whose config a draft may leave out; then they lead nowhere yet, and cannot be deployed."""


@cache
def step_models() -> dict[str, Any]:
    """Return the model of each type of step.

    They are made when they are first needed: that takes as long as importing ten modules.
    """
    code = _part(language=Literal["javascript", "python"], code=str)
    code_block = _part(block_type=Literal["code"], id=str | None, name=_TEXT, code=code)
    semantic_block = _part(block_type=Literal["semantic"], id=str | None, name=_TEXT, semantic=_part(prompt_text=str))
    block: Any = Annotated[code_block | semantic_block, Field(discriminator="block_type")]

    following = _part(step=_TEXT)
    classification_next = _part(step=_TEXT, classification_id=_TEXT)
    result_next = _part(step=_TEXT, result=Literal["pass", "fail"])

    # Routing needs the classifications of one version, so never the latest.
    version = r"draft|[0-9]+(\.[0-9]+)*"
    pinned = _part(id=_TEXT, version=_text(version, 'must be "draft" or a version such as "1.2"'))
    any_version = _text(f"latest|{version}", 'must be "latest", "draft" or a version such as "1.2"')
    extractor = _part(id=_TEXT, version=any_version)
    classifications = conlist(_part(_Inline, id=_TEXT, type=str, description=str), min_length=1)
    inline_extractor = _part(_Inline, schema_=Annotated[dict[str, Any], Field(alias="schema")])
    inline_classifier = _part(_Inline, classifications=classifications)
    inline_splitter = _part(_Inline, split_classifications=classifications)
    merge_order = Literal["confidence", "alphabetic", "first_to_execute", "last_to_execute"]
    condition = _part(
        id=_TEXT,
        type=Literal["IF", "ELSE_IF", "ELSE"],
        operation=Literal["EQUALS", "GTE", "LTE", "IS_NULL", "CONTAINS", "NO_OP"] | None,
        left_operand=str | None,
        right_operand=str | None,
    )
    extract_rule = _part(name=str | None, formula=_TEXT, extractor=extractor)
    rules: Any = Annotated[conlist(extract_rule, min_length=1), AfterValidator(_ends_with_true)]
    formula_rule = _part(name=_TEXT, formula=_TEXT, description=str | None)
    branch = _part(id=_TEXT, name=str | None, block=block | None)
    request = _part(
        url=_text("https?://.+", "must be an http or https address"),
        method=Literal["GET", "POST", "PUT"],
        headers=dict[str, str] | None,
        content_type=Literal["application/json", "text/plain"] | None,
    )

    # Of each type the config, None where it has none, and the next entries
    parts = {
        "TRIGGER": (None, following),
        "PARSE": (_part(parse_config=dict[str, Any] | None), following),
        "EXTRACT": (_part(_OneOf, extractor=extractor | None, extractor_config=inline_extractor | None), following),
        "CLASSIFY": (
            _part(_OneOf, classifier=pinned | None, classifier_config=inline_classifier | None),
            classification_next,
        ),
        "SPLIT": (_part(_OneOf, splitter=pinned | None, splitter_config=inline_splitter | None), classification_next),
        "MERGE_EXTRACT": (_part(merge_order=merge_order | None), following),
        "CONDITIONAL": (_part(conditions=conlist(condition, min_length=1)), _part(step=_TEXT, condition_id=_TEXT)),
        "CONDITIONAL_EXTRACT": (_part(rules=rules), following),
        "RULE_VALIDATION": (_part(rules=conlist(formula_rule, min_length=1)), result_next),
        "VALIDATION": (_part(blocks=conlist(block, min_length=1)), result_next),
        "ROUTER": (_part(branches=conlist(branch, min_length=1)), _part(step=_TEXT, branch_id=_TEXT)),
        "EXTERNAL_DATA_VALIDATION": (
            _part(request_options=request, failure_behavior=Literal["CONTINUE", "EXIT"] | None),
            following,
        ),
        "HUMAN_REVIEW": (None, following),
        "COLLECT": (None, following),
        "FILE_CONVERSION": (_part(failure_behavior=Literal["EXIT", "CONTINUE"] | None), following),
        "WEBHOOK_RESPONSE": (None, following),
    }
    return {kind: _step(kind, *shape) for kind, shape in parts.items()}


def _step(kind: str, config: Any, following: Any) -> Any:
    """Return the model of a step. ``object`` and ``id`` are the API's, kept so that a response can be sent back."""
    return _part(
        object=str | None,
        id=str | None,
        name=_TEXT,
        type=Literal[kind],
        next=conlist(following, max_length=0 if kind == "WEBHOOK_RESPONSE" else None) | None,
        **({"config": config if kind == "CONDITIONAL" else config | None} if config else {}),
    )
