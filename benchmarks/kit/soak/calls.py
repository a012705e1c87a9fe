"""Choose the next tool and its arguments: every tool, on objects that exist, and sometimes on ones that do not."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from kit.soak.world import World
from tests.calls import Needs, calls

Arguments = dict[str, Any]

_RARE = {"create_workflow": 0.1, "deploy_workflow_version": 0.3, "update_workflow": 0.3, "rerun_workflow_runs": 0.3}
"""The API cannot delete workflows and versions, so these only make the account grow."""
_OFTEN = {"list_runs": 4.0, "get_workflow_run": 6.0, "cancel_workflow_run": 3.0, "run_workflow": 3.0}
_HOOK = "https://127.0.0.1:9/soak"
"""Nothing listens there, and its endpoints are disabled."""


class Chooser:
    """Chooses calls.

    Args:
        world: the objects that exist.
        rng: the source of randomness.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng

    def next(self, tools: list[str]) -> tuple[str, Arguments]:
        """Return one of ``tools``, and arguments for it."""
        [tool] = self._rng.choices(tools, [_OFTEN.get(tool, 1.0) * _RARE.get(tool, 1.0) for tool in tools])
        if self._rng.random() < 0.01:
            return tool, {"no_such_argument": "x" * 20}
        if tool in _OWN:
            return tool, _OWN[tool](self)
        call = self._dice.choice([call for call in calls() if call.tool == tool])
        return tool, call.on({kind: choose(self) for kind, choose in _OBJECTS.items()})

    def run(self, *statuses: str) -> str:
        """Return a run, in one of these statuses if possible."""
        fitting = [run for run, status in self._world.runs.items() if status in statuses]
        return self._one(fitting or list(self._world.runs), "workflow_run_thereIsNoneSuch00001")

    def twins(self) -> Arguments:
        """Return two runs of one workflow, which may be the same."""
        first = self.run("PROCESSED")
        workflow = self._world.workflow_of.get(first)
        alike = [run for run, its in self._world.workflow_of.items() if its == workflow]
        return {"first": first, "second": self._one(alike, first)}

    def workflow(self) -> str:
        """Return a workflow's id."""
        return self._one(self._world.workflows, "workflow_thereIsNoneSuch00001")

    def batch(self) -> str:
        """Return a batch's id."""
        return self._one(self._world.batches, "batch_thereIsNoneSuch00001")

    def file(self) -> str:
        """Return a file's id."""
        return self._one(self._world.files, "file_thereIsNoneSuch00001")

    def endpoint(self) -> str:
        """Return an endpoint's id, never the soak's own."""
        return self._one(self._world.endpoints, "wh_thereIsNoneSuch00001")

    def subscription(self) -> str:
        """Return a subscription's id, never one of the soak's own."""
        return self._one(self._world.subscriptions, "whes_thereIsNoneSuch00001")

    def either(self, *choices: Any) -> Any:
        """Return one of these."""
        return self._rng.choice(choices)

    def _one(self, known: list[str], otherwise: str) -> str:
        return self._rng.choice(known) if known and self._rng.random() > 0.02 else otherwise


def _run_workflow(at: Chooser) -> Arguments:
    text = {"text": "invoice\ntotal: 12.50", "file_name": at.either("a.txt", "review.txt", "corrupt.pdf")}
    source = at.either(text, text, {"file_url": "https://files.example/invoice.pdf"}, {"file_id": at.file()})
    return {"workflow": at.workflow(), "metadata": {"by": "soak"}, **source}


# Where a soak wants more variety, or less of a strain, than the example calls.
_OWN: dict[str, Callable[[Chooser], Arguments]] = {
    "summarize_runs": lambda at: {"group_by": at.either("workflow", "failure_reason", "status"), "created_since": "1h"},
    "compare_runs": lambda at: at.twins(),
    "run_workflow": _run_workflow,
    "run_workflow_batch": lambda at: {
        "workflow": at.workflow(),
        "inputs": [{"file": f"https://files.example/{number}.pdf"} for number in range(3)],
    },
    "wait_for_run": lambda at: at.either(
        {"run_ids": [at.run("PROCESSING")], "seconds": 3}, {"batch": at.batch(), "seconds": 2}
    ),
    "create_webhook_endpoint": lambda at: {
        "url": _HOOK,
        "name": "soak",
        "events": ["workflow.created"],
        "status": "disabled",
    },
}

_OBJECTS: dict[Needs, Callable[[Chooser], str]] = {
    Needs.DONE_RUN: lambda at: at.run("PROCESSED"),
    Needs.TWIN_RUN: lambda at: at.run("PROCESSED"),
    Needs.FAILED_RUN: lambda at: at.run("FAILED", "CANCELLED"),
    Needs.REVIEW_RUN: lambda at: at.run("NEEDS_REVIEW"),
    Needs.MOVING_RUN: lambda at: at.run("PENDING", "PROCESSING"),
    Needs.QUEUED_RUN: lambda at: at.run("PENDING", "PROCESSING"),
    Needs.OTHER_QUEUED_RUN: lambda at: at.run("PROCESSING"),
    Needs.NEW_RUN: Chooser.run,
    Needs.OLD_RUN: lambda at: at.run("PROCESSED", "CANCELLED"),
    Needs.BATCH: Chooser.batch,
    Needs.WORKFLOW: Chooser.workflow,
    Needs.WORKFLOW_ID: Chooser.workflow,
    Needs.DRAFT_WORKFLOW: Chooser.workflow,
    Needs.FILE: Chooser.file,
    Needs.ENDPOINT: Chooser.endpoint,
    Needs.SUBSCRIPTION: Chooser.subscription,
}
