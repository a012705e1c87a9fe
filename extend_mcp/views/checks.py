"""The checks that sent a run to a person's review, with the values that failed them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from extend_mcp.api.models import StepRun, WorkflowRun
from extend_mcp.views.document import ViewPart
from extend_mcp.views.steps import Json, as_object, extracted_fields, objects
from extend_mcp.views.untrusted import FieldPath, Finding, Label
from extend_mcp.workflows.graph import choice, entries

_FIELD = re.compile(r"[A-Za-z_][\w.]*")
_INDEX = re.compile(r"\[(\d+)\]")
_MOST_VALUES = 12


class FailedCheck(ViewPart):
    """A rule or block that a run did not pass; or, inferred from the workflow's graph, the step that led to review."""

    step: Label
    check: Label | None = None
    error: Finding | None = None
    formula: Finding | None = None
    values: dict[FieldPath, Finding] | None = None
    inferred: bool = False
    review_step: Label | None = None

    def line(self) -> str:
        """Return it as a line of text."""
        if self.inferred:
            way = f" by its way {self.error:40}" if self.error else ""
            return (
                f"probably step {self.step:60} (inferred: no step names a failed check; in the workflow this step leads"
                f"{way} to {self.review_step:60})"
            )
        line = f"{self.check:200} did not pass in step {self.step:60}"
        line += f": {self.error}" if self.error else ""
        line += f"; rule {self.formula}" if self.formula else ""
        values = ", ".join(f"{path} {value}" for path, value in (self.values or {}).items())
        return line + (f"; {values}" if values else "")


def failed_checks(run: WorkflowRun, definition: Sequence[Json]) -> list[FailedCheck]:
    """Return every check that did not pass, those of the last step first.

    Args:
        run: a run that waits for a review, or was reviewed.
        definition: the steps of its workflow version; without them values and inferred checks are missing.

    Returns:
        The checks; where no step names one, the step that probably led to the review by the workflow's graph.
    """
    found = [check for step in reversed(run.step_runs) for check in _of_step(step, run, definition)]
    return found or _inferred(run, definition)


def _of_step(step: StepRun, run: WorkflowRun, definition: Sequence[Json]) -> Iterator[FailedCheck]:
    result = as_object(step.result)
    for item in [*objects(result.get("rules")), *objects(result.get("blocks"))]:
        if item.get("valid") is True:
            continue
        each = item.get("validArray")
        places = {place for place, valid in enumerate(each) if valid is not True} if isinstance(each, list) else None
        said = ", ".join(str(item[key]) for key in ("failureReason", "error", "reasoning") if item.get(key))
        items = f" (items {', '.join(map(str, sorted(places)[:20]))})" if places else ""
        formula = _formula(definition, step.step.name, item.get("name"))
        yield FailedCheck(
            step=step.step.name or step.step_type,
            check=item.get("name") or "?",
            error=f"{said}{items}" or None,
            formula=formula or None,
            values=_values(run, formula, places) or None,
        )


def _formula(definition: Sequence[Json], step: str, check: object) -> str:
    rules = [
        rule
        for each in definition
        if each.get("name") == step
        for rule in objects(as_object(each.get("config")).get("rules"))
    ]
    return next((str(rule.get("formula") or "") for rule in rules if rule.get("name") == check), "")


def _values(run: WorkflowRun, formula: str, places: set[int] | None) -> dict[str, str]:
    """Return the extracted values that a formula names; of a list, those of the items that failed."""
    names = set(_FIELD.findall(formula))
    found: dict[str, str] = {}
    for step in run.step_runs if names else ():
        output = as_object(step.child_run.get("output"))
        for path, value, _ in extracted_fields(output.get("value"), None):
            plain, indexes = _INDEX.sub("", path), _INDEX.findall(path)
            is_named = any(name == plain or name.endswith(f".{plain}") for name in names)
            if is_named and (not places or not indexes or int(indexes[0]) in places):
                found[path] = "null" if value is None else str(value)
    return dict(list(found.items())[:_MOST_VALUES])


def _inferred(run: WorkflowRun, definition: Sequence[Json]) -> list[FailedCheck]:
    reviews = {str(each.get("name")) for each in definition if each.get("type") == "HUMAN_REVIEW"}
    before: dict[str, tuple[str | None, Any]] = {
        str(step.get("name")): (choice(step, entry), entry["step"])
        for step in definition
        for _, entry in entries(step)
        if entry.get("step") in reviews
    }
    ran = [step.step.name for step in run.step_runs if step.step.name in before]
    if not ran:
        return []
    way, review = before[ran[-1]]
    return [FailedCheck(step=ran[-1], error=way, inferred=True, review_step=review)]
