"""Resolve the names that callers give: a workflow's name, a step's name or number."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from extend_mcp.api.models import StepRun, WorkflowSummary
from extend_mcp.callers import CallerContext
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.ids import is_workflow_id
from extend_mcp.scopes import RUNS_READ, WORKFLOWS_READ
from extend_mcp.tools.pagination import read_all
from extend_mcp.views.document import listed
from extend_mcp.views.untrusted import Label, clean

_MOST_CANDIDATES = 8


async def resolve_workflow(app: CallerContext, given: str) -> str:
    """Return the id of a workflow given by id or by its name, in full or as our answers show it.

    Case is ignored if that is unambiguous. A name that no workflow has, or several have, is refused with candidates.
    """
    if is_workflow_id(given):
        return given
    # Both scopes show names of workflows; the scope to write alone must not, not even by an error.
    if not app.caller.has_scope(RUNS_READ, WORKFLOWS_READ):
        raise CallRefusedError("workflow: give its id. This caller has no scope to read the names of workflows.")
    workflows, complete = await read_all(app.api.list_workflows(), most_pages=app.limits.filter_pages)
    # The strictest comparison that finds any.
    forms: tuple[Callable[[str], str], ...] = (str, _shown, lambda name: _shown(name).casefold())
    found = ([each for each in workflows if form(each.name) == form(given)] for form in forms)
    same = next(filter(None, found), [])
    if len(same) == 1:
        return same[0].id
    label = f"{Label(given):120}"
    if same:
        raise CallRefusedError(f"{len(same)} workflows are called {label}; give the id of one: {_names(same)}.")
    near = [workflow for workflow in workflows if _shown(given).casefold() in _shown(workflow.name).casefold()]
    bound = "" if complete else " (more workflows exist than were read)"
    raise CallRefusedError(f"No workflow is called {label}{bound}. There are: {_names(near or workflows) or 'none'}.")


def _shown(name: str) -> str:
    """Return a name as our answers show it, without the marks around it."""
    name = name.strip()
    bare = name[1:-1] if name.startswith("«") and name.endswith("»") else name
    return unicodedata.normalize("NFC", clean(bare))


def _names(workflows: list[WorkflowSummary]) -> str:
    return listed([f"{Label(each.name):60} ({each.id})" for each in workflows], _MOST_CANDIDATES)


def select_step(steps: list[StepRun], wanted: str) -> StepRun:
    """Return the step run with a number (from 1), a name, or an id, or refuse with a list of those that fit."""
    names = [(step.step.name.casefold(), step.step_type.casefold()) for step in steps]
    found = (
        [number for number, step in enumerate(steps) if step.id == wanted]
        or [number for number, step in enumerate(steps) if step.step.name == wanted]
        or [number for number, name in enumerate(names) if wanted.casefold() in name]
        or ([int(wanted) - 1] if wanted.isdecimal() and 1 <= int(wanted) <= len(steps) else [])
    )
    if len(found) == 1:
        return steps[found[0]]
    titles = ", ".join(f"{number + 1}. {Label(steps[number].title):40}" for number in found or range(len(steps)))[:1500]
    if found:
        raise CallRefusedError(f"{len(found)} steps fit {Label(wanted):120}; give the number of one: {titles}.")
    raise CallRefusedError(f"The run has no step {Label(wanted):120}. It has: {titles or 'no steps yet'}.")
