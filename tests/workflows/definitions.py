"""Strategies for step graphs: well-formed ones of every type, and the same with something changed."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

TYPES = (
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
_KEYS = {
    "CLASSIFY": "classificationId",
    "SPLIT": "classificationId",
    "CONDITIONAL": "conditionId",
    "RULE_VALIDATION": "result",
    "VALIDATION": "result",
    "ROUTER": "branchId",
}
_NAMES = ("a", "b", "c", "d", "e", "f")
_IDS = st.sampled_from(["x", "y", "z"])
_VERSIONS = st.sampled_from(["draft", "1", "2.0", "latest", "newest", ""])


def _saved(draw: st.DrawFn) -> Json:
    return {"id": "ex_1", "version": draw(_VERSIONS)}


def _kinds(draw: st.DrawFn) -> list[Json]:
    ids = draw(st.lists(_IDS, max_size=3))
    kinds = [{"id": each, "type": each, "description": each} for each in ids]
    other = {"id": "other", "type": "other", "description": "Anything else"}
    return [*kinds, other] if draw(st.integers(0, 3)) else kinds


def _processor(draw: st.DrawFn, kind: str, inline: Json) -> Json:
    choice = draw(st.sampled_from(["inline", "inline", "saved", "saved", "both", "neither"]))
    config: Json = {}
    if choice in ("inline", "both"):
        config[f"{kind}Config"] = inline
    if choice in ("saved", "both"):
        config[kind] = _saved(draw)
    return config


def _block(draw: st.DrawFn) -> Json:
    if draw(st.booleans()):
        return {"blockType": "semantic", "name": "n", "semantic": {"promptText": "Is it?"}}
    language = draw(st.sampled_from(["javascript", "javascript", "python", "ruby"]))
    return {"blockType": "code", "name": "n", "code": {"language": language, "code": "pass"}}


def _config(draw: st.DrawFn, kind: str) -> Json | None:
    if kind == "EXTRACT":
        return _processor(draw, "extractor", {"schema": {"type": "object"}})
    if kind == "CLASSIFY":
        return _processor(draw, "classifier", {"classifications": _kinds(draw)})
    if kind == "SPLIT":
        return _processor(draw, "splitter", {"splitClassifications": _kinds(draw)})
    if kind == "MERGE_EXTRACT":
        return {"mergeOrder": draw(st.sampled_from(["confidence", "alphabetic", "random"]))}
    if kind == "CONDITIONAL":
        kinds = draw(st.lists(st.sampled_from(["IF"] * 6 + ["ELSE_IF", "ELSE", "UNLESS"]), min_size=1, max_size=2))
        operations = st.sampled_from(["EQUALS"] * 4 + ["GTE", "NO_OP", "LT"])
        return {"conditions": [{"id": draw(_IDS), "type": each, "operation": draw(operations)} for each in kinds]}
    if kind == "CONDITIONAL_EXTRACT":
        formulas = [*draw(st.lists(st.just("total > 1"), max_size=2)), draw(st.sampled_from(["TRUE", "total > 1"]))]
        return {"rules": [{"formula": each, "extractor": _saved(draw)} for each in formulas]}
    if kind == "RULE_VALIDATION":
        return {"rules": draw(st.lists(st.just({"name": "n", "formula": "a > 1"}), max_size=2))}
    if kind == "VALIDATION":
        return {"blocks": [_block(draw) for _ in range(draw(st.integers(0, 2)))]}
    if kind == "ROUTER":
        ids = draw(st.lists(st.sampled_from(["x", "y", "z", "otherwise"]), min_size=1, max_size=2))
        return {"branches": [{"id": each, "name": each} for each in ids]}
    if kind == "EXTERNAL_DATA_VALIDATION":
        url = draw(st.sampled_from(["https://erp.example/x"] * 6 + ["erp.example", ""]))
        return {"requestOptions": {"url": url, "method": draw(st.sampled_from(["GET", "POST", "PUT", "PATCH"]))}}
    if kind == "FILE_CONVERSION":
        return {"failureBehavior": draw(st.sampled_from(["CONTINUE", "EXIT", "STOP"]))}
    return None


def _chosen(draw: st.DrawFn, kind: str) -> Json:
    key = _KEYS.get(kind)
    if key is None:
        return {}
    values = ["pass", "fail"] if key == "result" else ["x", "y", "z", "otherwise"]
    return {key: draw(st.sampled_from(values))}


@st.composite
def graphs(draw: st.DrawFn) -> list[Json]:
    """Definitions of up to six steps behind TRIGGER and PARSE, of every type; some of them are good."""
    names = _NAMES[: draw(st.integers(0, len(_NAMES)))]
    steps: list[Json] = [
        {"name": "trigger", "type": "TRIGGER", "next": [{"step": "parse"}]},
        {"name": "parse", "type": "PARSE", "next": [{"step": name} for name in names[:1]]},
    ]
    for place, name in enumerate(names):
        kind = draw(st.sampled_from(TYPES))
        step: Json = {"name": name, "type": kind}
        config = _config(draw, kind)
        if config is not None and draw(st.integers(0, 9)):
            step["config"] = config
        # Mostly forwards, so that good graphs are not rare; backwards makes cycles.
        later = [*names[place + 1 :], *(names if draw(st.integers(0, 3)) == 0 else ())]
        if later and kind != "WEBHOOK_RESPONSE":
            targets = draw(st.lists(st.sampled_from(later), max_size=3))
            step["next"] = [{"step": target, **_chosen(draw, kind)} for target in targets]
        steps.append(step)
    return steps


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.sampled_from(["", "a", "parse", "trigger", "PARSE", "EXTRACT", "TRUE", "draft"]),
    st.just([]),
    st.just({}),
    st.just([{}]),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


@st.composite
def changed_graphs(draw: st.DrawFn) -> Any:
    """Definitions in which one to three values were dropped, replaced or doubled."""
    steps: Any = copy.deepcopy(draw(graphs()))
    for _ in range(draw(st.integers(1, 3))):
        places = _places(steps)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = steps
        for key in way:
            holder = holder[key]
        action = draw(st.sampled_from(["drop", "replace", "double"]))
        if action == "replace":
            # What st.just gives is one object for all examples.
            holder[last] = copy.deepcopy(draw(_VALUES))
        elif action == "drop":
            del holder[last]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
    return steps
