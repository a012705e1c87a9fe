"""Every method of the client with arguments that work, and what kind of call it is."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from extend_mcp.api.base import BaseClient
from extend_mcp.api.client import ExtendClient
from extend_mcp.api.requests import (
    BatchInput,
    CreateWebhookEndpoint,
    CreateWebhookSubscription,
    CreateWorkflow,
    CreateWorkflowRun,
    CreateWorkflowRunBatch,
    DeployWorkflowVersion,
    FileFromId,
    UpdateWebhookEndpoint,
    UpdateWebhookSubscription,
    UpdateWorkflow,
    UpdateWorkflowRun,
    WorkflowTarget,
)

Kind = Literal["read", "write", "create"]

_KINDS: Mapping[str, Kind] = {
    "list": "read",
    "get": "read",
    "update": "write",
    "cancel": "write",
    "delete": "write",
    "create": "create",
    "upload": "create",
    "deploy": "create",
}

_TARGET = WorkflowTarget(id="workflow_1")
_FILE = FileFromId(id="file_1")
_SUBSCRIPTION = CreateWebhookSubscription(
    webhook_endpoint_id="wh_1", resource_type="workflow", resource_id="workflow_1", enabled_events=["a.b"]
)
_ENDPOINT = CreateWebhookEndpoint(url="https://hooks.test", name="n", enabled_events=[])

CALLS: Mapping[str, Callable[[ExtendClient], Awaitable[Any]]] = {
    "list_workflow_runs": lambda api: api.list_workflow_runs(),
    "get_workflow_run": lambda api: api.get_workflow_run("thing_1"),
    "list_child_runs": lambda api: api.list_child_runs("extract_runs", source_id="thing_1"),
    "create_workflow_run": lambda api: api.create_workflow_run(CreateWorkflowRun(workflow=_TARGET, file=_FILE)),
    "create_workflow_run_batch": lambda api: api.create_workflow_run_batch(
        CreateWorkflowRunBatch(workflow=_TARGET, inputs=[BatchInput(file=_FILE)])
    ),
    "update_workflow_run": lambda api: api.update_workflow_run("thing_1", UpdateWorkflowRun(name="n")),
    "cancel_workflow_run": lambda api: api.cancel_workflow_run("thing_1"),
    "delete_workflow_run": lambda api: api.delete_workflow_run("thing_1"),
    "list_workflows": lambda api: api.list_workflows(),
    "get_workflow": lambda api: api.get_workflow("thing_1"),
    "create_workflow": lambda api: api.create_workflow(CreateWorkflow(name="n")),
    "update_workflow": lambda api: api.update_workflow("thing_1", UpdateWorkflow(name="n")),
    "list_workflow_versions": lambda api: api.list_workflow_versions("thing_1"),
    "get_workflow_version": lambda api: api.get_workflow_version("thing_1", "version_1"),
    "deploy_workflow_version": lambda api: api.deploy_workflow_version("thing_1", DeployWorkflowVersion()),
    "upload_file": lambda api: api.upload_file("a.txt", b"some text", content_type="text/plain"),
    "get_file": lambda api: api.get_file("thing_1"),
    "list_files": lambda api: api.list_files(),
    "delete_file": lambda api: api.delete_file("thing_1"),
    "list_webhook_endpoints": lambda api: api.list_webhook_endpoints(),
    "get_webhook_endpoint": lambda api: api.get_webhook_endpoint("thing_1"),
    "create_webhook_endpoint": lambda api: api.create_webhook_endpoint(_ENDPOINT),
    "update_webhook_endpoint": lambda api: api.update_webhook_endpoint("thing_1", UpdateWebhookEndpoint(name="n")),
    "delete_webhook_endpoint": lambda api: api.delete_webhook_endpoint("thing_1"),
    "list_webhook_subscriptions": lambda api: api.list_webhook_subscriptions(),
    "get_webhook_subscription": lambda api: api.get_webhook_subscription("thing_1"),
    "create_webhook_subscription": lambda api: api.create_webhook_subscription(_SUBSCRIPTION),
    "update_webhook_subscription": lambda api: api.update_webhook_subscription(
        "thing_1", UpdateWebhookSubscription(enabled_events=["a.b"])
    ),
    "delete_webhook_subscription": lambda api: api.delete_webhook_subscription("thing_1"),
}


def methods() -> set[str]:
    """The client's operations: its public methods apart from what they all share."""
    found = inspect.getmembers(ExtendClient, inspect.isfunction)
    return {name for name, _ in found if not name.startswith("_") and not hasattr(BaseClient, name)}


def kind_of(method: str) -> Kind:
    """Return whether a method reads, changes or creates; a KeyError for a name that does not say."""
    return _KINDS[method.partition("_")[0]]
