"""Example calls of every tool: the one catalogue that tests, docs/examples.md and the soak benchmark read.

The calls stand in an order in which one account can make them all. An argument that names an object of the account is a
:class:`Needs`; each reader puts its own object's id in its place. :func:`make_objects` makes one of each.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from extend_mcp.settings import DEFAULT_TOOLSETS
from extend_mcp.tools.base import ExtendTool
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import Box, example


class Needs(Enum):
    """An object that has to exist for a call to succeed."""

    DONE_RUN = "a PROCESSED run with the steps of the example"
    TWIN_RUN = "another PROCESSED run of the same workflow"
    FAILED_RUN = "a FAILED run whose file exists"
    REVIEW_RUN = "a NEEDS_REVIEW run with an EXTRACT step"
    MOVING_RUN = "a PROCESSING run, to be cancelled"
    QUEUED_RUN = "another one"
    OTHER_QUEUED_RUN = "a third one"
    NEW_RUN = "a run that was just started and will end"
    OLD_RUN = "a finished run, to be deleted"
    BATCH = "a batch of runs"
    WORKFLOW = "a workflow with a published version, by name or id"
    WORKFLOW_ID = "its id"
    DRAFT_WORKFLOW = "a workflow to change and deploy"
    FILE = "a file, to be deleted"
    ENDPOINT = "a webhook endpoint, to be changed and deleted"
    SUBSCRIPTION = "a webhook subscription, to be changed and deleted"


Objects = Mapping[Needs, str]


@dataclass(frozen=True)
class ExampleCall:
    """A call that succeeds where the objects that it needs exist.

    Attributes:
        tool: the tool's name.
        name: distinguishes the calls of one tool.
        arguments: the call's arguments, with a :class:`Needs` for each id.
    """

    tool: str
    name: str
    arguments: Mapping[str, Any]

    def on(self, objects: Objects) -> dict[str, Any]:
        """Return the arguments with the ids of these objects."""
        return {name: _filled(value, objects) for name, value in self.arguments.items()}


def _filled(value: Any, objects: Objects) -> Any:
    if isinstance(value, Needs):
        return objects[value]
    return [_filled(each, objects) for each in value] if isinstance(value, list) else value


def _call(tool: str, name: str = "", /, **arguments: Any) -> ExampleCall:
    return ExampleCall(tool=tool, name=name, arguments=arguments)


STEPS = [
    {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
    {"name": "Parse", "type": "PARSE", "next": []},
]
HOOK = "https://hooks.example.com/extend"

# The first call of a tool is the one shown in docs/examples.md.
CALLS: Sequence[ExampleCall] = (
    _call("list_runs", status="FAILED", page_size=3),
    _call("list_runs", "all"),
    _call("list_runs", "of a batch", batch=Needs.BATCH),
    _call("get_workflow_run", run_id=Needs.FAILED_RUN),
    _call("get_workflow_run", "in full", run_id=Needs.DONE_RUN, detail="full"),
    _call("find_runs", text="Acme Tooling", limit=2),
    _call("find_runs", "by metadata", metadata={"customer": "Acme"}),
    _call("get_step_result", run_id=Needs.REVIEW_RUN, step="EXTRACT"),
    _call("get_step_result", "by number", run_id=Needs.DONE_RUN, step="1"),
    _call("summarize_runs", created_since="7d", group_by="failure_reason"),
    _call("summarize_runs", "all"),
    _call("explain_failure", run_id=Needs.FAILED_RUN),
    _call("explain_failure", "of a window", created_since="30d"),
    _call("review_queue"),
    _call("compare_runs", first=Needs.DONE_RUN, second=Needs.TWIN_RUN),
    _call("cancel_workflow_run", run_id=Needs.MOVING_RUN, reason="wrong document"),
    _call("cancel_runs", run_ids=[Needs.QUEUED_RUN, Needs.OTHER_QUEUED_RUN]),
    _call("rerun_workflow_runs", run_ids=[Needs.FAILED_RUN]),
    _call("run_workflow", workflow=Needs.WORKFLOW, text="total: 12.50"),
    _call("run_workflow_batch", workflow=Needs.WORKFLOW, inputs=[{"text": "total: 1"}, {"text": "total: 2"}]),
    _call("wait_for_run", run_ids=[Needs.NEW_RUN], seconds=30),
    _call("wait_for_run", "several", run_ids=[Needs.DONE_RUN, Needs.FAILED_RUN, Needs.REVIEW_RUN]),
    _call("wait_for_run", "of a batch", batch=Needs.BATCH, seconds=1),
    _call("update_workflow_run", run_id=Needs.NEW_RUN, metadata={"ticket": "OPS-17"}),
    _call("delete_workflow_run", run_id=Needs.OLD_RUN),
    _call("list_workflows"),
    _call("get_workflow", workflow=Needs.WORKFLOW),
    _call("get_workflow", "as a diagram", workflow=Needs.WORKFLOW, form="mermaid"),
    _call("get_workflow", "as JSON", workflow=Needs.WORKFLOW, form="json"),
    _call("list_workflow_versions", workflow=Needs.WORKFLOW),
    _call("get_workflow_version", workflow=Needs.WORKFLOW),
    _call("create_workflow", name="Receipts", steps=STEPS),
    _call("update_workflow", workflow=Needs.DRAFT_WORKFLOW, name="Receipts and tickets"),
    _call("update_workflow", "its steps", workflow=Needs.DRAFT_WORKFLOW, steps=STEPS),
    _call("deploy_workflow_version", workflow=Needs.DRAFT_WORKFLOW, name="First"),
    _call("upload_file", text="total: 12.50", name="receipt.txt"),
    _call("get_file", file_id=Needs.FILE),
    _call("get_file", "with text and URL", file_id=Needs.FILE, text=True, download_url=True),
    _call("list_files", page_size=3),
    _call("delete_file", file_id=Needs.FILE),
    _call("create_webhook_endpoint", url=HOOK, name="Ops", events=["workflow.created"]),
    _call("list_webhook_endpoints"),
    _call("list_webhook_endpoints", "one", endpoint_id=Needs.ENDPOINT),
    _call("update_webhook_endpoint", endpoint_id=Needs.ENDPOINT, status="disabled"),
    _call(
        "create_webhook_subscription",
        endpoint_id=Needs.ENDPOINT,
        resource_type="workflow",
        resource_id=Needs.WORKFLOW_ID,
        events=["workflow_run.failed"],
    ),
    _call("list_webhook_subscriptions"),
    _call("check_webhooks"),
    _call("check_webhooks", "of one workflow", workflow=Needs.WORKFLOW_ID, since="1h"),
    _call("list_webhook_subscriptions", "of an endpoint", endpoint_id=Needs.ENDPOINT),
    _call("list_webhook_subscriptions", "one", subscription_id=Needs.SUBSCRIPTION),
    _call(
        "update_webhook_subscription",
        subscription_id=Needs.SUBSCRIPTION,
        events=["workflow_run.failed", "workflow_run.completed"],
    ),
    _call("delete_webhook_subscription", subscription_id=Needs.SUBSCRIPTION),
    _call("delete_webhook_endpoint", endpoint_id=Needs.ENDPOINT),
    _call("export_fields", workflow=Needs.WORKFLOW, path="invoices.csv", fields=["vendor_name", "total"]),
    # Last: the calls above have left lines in the audit.
    _call("list_open_failures", created_since="7d"),
    _call("list_done_twice", created_since="7d"),
    _call("list_actions", page_size=3),
    _call("list_actions", "of a run", run_id=Needs.MOVING_RUN),
)


def tools() -> dict[str, ExtendTool]:
    """Return every tool of the package by its name."""
    return {tool.name: tool for toolset in TOOLSETS.values() for tool in toolset.tools}


def default_tools() -> list[str]:
    """Return the names of the tools that a server offers unless toolsets are chosen, in its order."""
    return [tool.name for toolset in DEFAULT_TOOLSETS for tool in TOOLSETS[toolset].tools]


def is_read_only(tool: str) -> bool:
    """Return True for a tool that is annotated as one that only reads."""
    annotations = tools()[tool].annotations
    return annotations is not None and annotations.read_only_hint is True


def calls(*, read_only: bool | None = None, catalogue: Sequence[ExampleCall] = CALLS) -> Iterator[ExampleCall]:
    """Yield the example calls of all tools, in order.

    Args:
        read_only: only of tools that read, or only of tools that write; None for all.
        catalogue: the calls to choose from.

    Raises:
        AssertionError: a tool has no call, or a call has no tool.
    """
    named = [call.tool for call in catalogue]
    missing = [
        f"{tool} has no example call. Add one to CALLS in tests/calls.py." for tool in tools() if tool not in named
    ]
    unknown = [
        f"tests/calls.py has an example call of {tool}, which is not a tool." for tool in named if tool not in tools()
    ]
    assert not missing + unknown, "\n".join(missing + unknown)
    return (call for call in catalogue if read_only is None or is_read_only(call.tool) == read_only)


def first_calls(*, catalogue: Sequence[ExampleCall] = CALLS) -> dict[str, ExampleCall]:
    """Return the first example call of each tool, by the tool's name and in the catalogue's order."""
    found: dict[str, ExampleCall] = {}
    for call in calls(catalogue=catalogue):
        found.setdefault(call.tool, call)
    return found


_STATUSES = {
    Needs.DONE_RUN: "PROCESSED",
    Needs.TWIN_RUN: "PROCESSED",
    Needs.FAILED_RUN: "FAILED",
    Needs.REVIEW_RUN: "NEEDS_REVIEW",
    Needs.MOVING_RUN: "PROCESSING",
    Needs.QUEUED_RUN: "PROCESSING",
    Needs.OTHER_QUEUED_RUN: "PROCESSING",
    Needs.NEW_RUN: "PROCESSING",
    Needs.OLD_RUN: "REJECTED",
}
_BATCH = "batch_example0000000001"


def make_objects(box: Box) -> dict[Needs, str]:
    """Make one of each object in a sandbox, and return their ids."""
    workflow, draft = (box.api("POST", "/workflows", json={"name": name, "steps": STEPS})["id"] for name in "AB")
    box.api("POST", f"/workflows/{workflow}/versions", json={"name": "one"})
    file = box.api("POST", "/files/upload", files={"file": ("a.txt", b"a")})["id"]
    address = {"url": HOOK, "name": "Ops", "apiVersion": "2026-02-09", "enabledEvents": []}
    endpoint = box.api("POST", "/webhook_endpoints", json=address)["id"]
    ordered = {
        "webhookEndpointId": endpoint,
        "resourceType": "workflow",
        "resourceId": workflow,
        "enabledEvents": ["workflow_run.failed"],
    }
    return {
        Needs.BATCH: _BATCH,
        Needs.WORKFLOW: workflow,
        Needs.WORKFLOW_ID: workflow,
        Needs.DRAFT_WORKFLOW: draft,
        Needs.FILE: file,
        Needs.ENDPOINT: endpoint,
        Needs.SUBSCRIPTION: box.api("POST", "/webhook_subscriptions", json=ordered)["id"],
        **{kind: box.load(_run(kind, workflow=workflow, file=file), live=kind is Needs.NEW_RUN) for kind in _STATUSES},
    }


def _run(kind: Needs, *, workflow: str, file: str) -> dict[str, Any]:
    run = copy.deepcopy(example("workflow_run.allsteps"))
    status = _STATUSES[kind]
    run |= {"id": f"workflow_run_{kind.name.replace('_', ''):0<21}", "status": status, "batchId": _BATCH}
    run |= {"rejectionNote": "no", "reviewed": True, "reviewedByUser": "ana", "metadata": {"customer": "Acme"}}
    run["workflow"] |= {"id": workflow}
    if status == "FAILED":
        run["files"][0] |= {"id": file}
        run |= {"failureReason": "DOCUMENT_PROCESSOR_ERROR", "failureMessage": "it broke"}
        run["stepRuns"][0] |= {"status": "FAILED"}
        run["stepRuns"][0]["result"]["parseRun"] |= {"status": "FAILED", "failureMessage": "bad", "failureReason": "X"}
    if status == "PROCESSING":
        run["stepRuns"][-1] |= {"status": "PROCESSING", "result": None}
    return run
