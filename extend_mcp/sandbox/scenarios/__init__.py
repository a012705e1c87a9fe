"""Fill an account with the workflows and runs that a sandbox starts with."""

from collections.abc import Callable
from functools import partial

from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.store import Workflow
from extend_mcp.sandbox.scenarios import default, incident, large
from extend_mcp.sandbox.scenarios.sample_workflows import make_workflows

Populate = Callable[[SandboxAccount, dict[str, Workflow]], None]

SCENARIOS: dict[str, Populate] = {
    "default": default.populate,
    "empty": lambda account, workflows: None,
    "large": large.populate,
    "incident": incident.populate,
    "huge": partial(large.populate, runs=large.HUGE_RUNS),
}


def load_scenario(name: str, account: SandboxAccount) -> None:
    """Add the workflows and runs of a scenario to an account, and advance it to its start.

    Raises:
        ValueError: the scenario does not exist.
    """
    if name not in SCENARIOS:
        raise ValueError(f"unknown scenario {name!r}. Use one of: {', '.join(sorted(SCENARIOS))}")
    workflows = make_workflows(account.ids, account.started_at)
    account.store.workflows.update({workflow.id: workflow for workflow in workflows.values()})
    SCENARIOS[name](account, workflows)
    account.engine.advance_to(account.started_at)
