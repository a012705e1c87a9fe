"""The data a sandbox starts with."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from extend_mcp.sandbox.engine.run_engine import Engine
from extend_mcp.sandbox.engine.seeded_random import IdMaker
from extend_mcp.sandbox.engine.store import Store, Workflow
from extend_mcp.sandbox.scenarios import default, large
from extend_mcp.sandbox.scenarios.sample_workflows import make_workflows

Populate = Callable[[dict[str, Workflow], Engine, IdMaker, datetime], None]


def _nothing(workflows: dict[str, Workflow], engine: Engine, ids: IdMaker, start: datetime) -> None:
    """Leave the account without runs."""


SCENARIOS: dict[str, Populate] = {
    "default": default.populate,
    "empty": _nothing,
    "large": large.populate,
    "huge": partial(large.populate, runs=large.MORE_RUNS),
}


def load_scenario(name: str, store: Store, engine: Engine, ids: IdMaker, start: datetime) -> None:
    """Put a scenario's workflows into the store and its runs on the engine's heap.

    Raises:
        ValueError: there is no scenario of that name.
    """
    if name not in SCENARIOS:
        raise ValueError(f"unknown scenario {name!r}; there are {', '.join(sorted(SCENARIOS))}")
    workflows = make_workflows(ids, start)
    store.workflows.update({workflow.id: workflow for workflow in workflows.values()})
    SCENARIOS[name](workflows, engine, ids, start)
