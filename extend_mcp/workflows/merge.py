"""Predict the draft that an update of a workflow makes, since Extend keeps what the update leaves out.

Source: Extend's SDK, ValidationStepDefinition and RouterStepDefinition. Other step types are replaced whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from extend_mcp.workflows.graph import Json


def merged_draft(draft: Sequence[Json], steps: Sequence[Json]) -> list[Json]:
    """Return the draft after an update with these steps: its own `config`, branch names and blocks where left out."""
    return [_merged_step(step, _same(draft, step, "name", "type")) for step in steps]


def branches_without_block(steps: Sequence[Json]) -> list[tuple[str, str]]:
    """Return the step's name and the branch's id for each ROUTER branch that Extend will add a block to."""
    routers = [step for step in steps if step.get("type") == "ROUTER" and isinstance(step.get("config"), dict)]
    return [
        (str(step.get("name")), str(branch.get("id")))
        for step in routers
        for branch in step["config"].get("branches") or []
        if branch.get("block") is None
    ]


def contains(whole: Any, part: Any) -> bool:
    """Return true if a JSON value has everything in `part`. Null counts as left out."""
    pending = [(whole, part)]
    while pending:
        have, want = pending.pop()
        if isinstance(want, dict):
            if not isinstance(have, dict):
                return False
            pending += [(have.get(key), value) for key, value in want.items() if value is not None]
        elif isinstance(want, list):
            if not isinstance(have, list) or len(have) != len(want):
                return False
            pending += zip(have, want, strict=True)
        elif have != want or isinstance(have, bool) != isinstance(want, bool):
            return False
    return True


def _merged_step(step: Json, old: Json) -> Json:
    if step.get("type") not in ("VALIDATION", "ROUTER"):
        return step
    config, kept = step.get("config"), old.get("config")
    if config is None:
        return step if kept is None else step | {"config": kept}
    if step["type"] == "VALIDATION" or not isinstance(config, dict) or not isinstance(kept, dict):
        return step
    branches = [
        branch | {key: same[key] for key in ("name", "block") if branch.get(key) is None and key in same}
        for branch in config.get("branches") or []
        for same in [_same(kept.get("branches"), branch, "id")]
    ]
    return step | {"config": config | {"branches": branches}}


def _same(candidates: Any, wanted: Json, *keys: str) -> Json:
    """Return the first object that equals `wanted` in these keys, else an empty one."""
    found = candidates if isinstance(candidates, list) else []
    alike = (each for each in found if isinstance(each, dict) and all(each.get(k) == wanted.get(k) for k in keys))
    return next(alike, {})
