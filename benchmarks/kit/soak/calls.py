"""Choose the next tool and its arguments: every tool, on objects that exist, and sometimes on ones that do not."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from kit.soak.world import World

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
        return tool, _MAKERS[tool](self)

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


_MAKERS: dict[str, Callable[[Chooser], Arguments]] = {
    "list_runs": lambda at: at.either({}, {"status": "FAILED"}, {"workflow": at.workflow()}, {"page_size": 5}),
    "get_workflow_run": lambda at: {"run_id": at.run(), "detail": at.either("concise", "full")},
    "get_step_result": lambda at: {"run_id": at.run("PROCESSED"), "step": at.either("1", "2", "EXTRACT")},
    "cancel_workflow_run": lambda at: {"run_id": at.run("PENDING", "PROCESSING"), "reason": "soak"},
    "summarize_runs": lambda at: {"group_by": at.either("workflow", "failure_reason", "status"), "created_since": "1h"},
    "explain_failure": lambda at: {"run_id": at.run("FAILED")},
    "review_queue": lambda at: {"limit": 5},
    "compare_runs": lambda at: at.twins(),
    "cancel_runs": lambda at: at.either(
        {"run_ids": [at.run("PENDING", "PROCESSING"), at.run("PROCESSING")]}, {"batch": at.batch()}
    ),
    "rerun_workflow_runs": lambda at: {"run_ids": [at.run("FAILED"), at.run("CANCELLED")]},
    "run_workflow": _run_workflow,
    "run_workflow_batch": lambda at: {
        "workflow": at.workflow(),
        "inputs": [{"file": f"https://files.example/{number}.pdf"} for number in range(3)],
    },
    "update_workflow_run": lambda at: {"run_id": at.run(), "metadata": {"seen": at.either("yes", "no")}},
    "delete_workflow_run": lambda at: {"run_id": at.run("PROCESSED", "CANCELLED")},
    "wait_for_run": lambda at: at.either(
        {"run_ids": [at.run("PROCESSING")], "seconds": 3}, {"batch": at.batch(), "seconds": 2}
    ),
    "list_workflows": lambda at: {},
    "get_workflow": lambda at: {"workflow": at.workflow(), "form": at.either("graph", "json")},
    "list_workflow_versions": lambda at: {"workflow": at.workflow()},
    "get_workflow_version": lambda at: {"workflow": at.workflow()},
    "create_workflow": lambda at: {"name": "Soak"},
    "update_workflow": lambda at: {"workflow": at.workflow(), "name": at.either("Soak one", "Soak two")},
    "deploy_workflow_version": lambda at: {"workflow": at.workflow()},
    "upload_file": lambda at: {"text": "total: 3.20", "name": "soak.txt"},
    "get_file": lambda at: {"file_id": at.file(), "text": at.either(True, False)},
    "list_files": lambda at: {"page_size": 5},
    "delete_file": lambda at: {"file_id": at.file()},
    "list_webhook_endpoints": lambda at: {},
    "create_webhook_endpoint": lambda at: {
        "url": _HOOK,
        "name": "soak",
        "events": ["workflow.created"],
        "status": "disabled",
    },
    "update_webhook_endpoint": lambda at: {"endpoint_id": at.endpoint(), "name": at.either("one", "two")},
    "delete_webhook_endpoint": lambda at: {"endpoint_id": at.endpoint()},
    "list_webhook_subscriptions": lambda at: {},
    "create_webhook_subscription": lambda at: {
        "endpoint_id": at.endpoint(),
        "resource_id": at.workflow(),
        "events": ["workflow_run.completed"],
    },
    "update_webhook_subscription": lambda at: {
        "subscription_id": at.subscription(),
        "events": [at.either("workflow_run.failed", "workflow_run.completed")],
    },
    "delete_webhook_subscription": lambda at: {"subscription_id": at.subscription()},
}
