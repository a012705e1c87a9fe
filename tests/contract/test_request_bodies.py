"""For the same operation the official SDK and our client send the same request, as the sandbox logged it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from extend_mcp.api import requests
from extend_mcp.api.client import ExtendClient
from tests.api.server import calling
from tests.contract.judge import Judge
from tests.contract.test_workflows import STEPS

SCENARIO = "empty"

URL = {"url": "https://files.example/a.pdf", "name": "a.pdf"}
METADATA: dict[str, Any] = {"customer": "Kestrel", "nested": {"empty": None, "list": [1, None, "é"]}}


@dataclass(frozen=True)
class Ids:
    """The objects that the operations act on: a fresh run, a workflow and an endpoint with a subscription."""

    run: str
    workflow: str
    version: str
    file: str
    endpoint: str
    subscription: str


Theirs = Callable[[Any, Ids], Any]
Ours = Callable[[ExtendClient, Ids], Awaitable[Any]]


def _target(ids: Ids, version: str | None = None) -> requests.WorkflowTarget:
    return requests.WorkflowTarget(id=ids.workflow, version=version)


CASES: dict[str, tuple[Theirs, Ours]] = {
    "create from url": (
        lambda sdk, ids: sdk.workflow_runs.create(
            workflow={"id": ids.workflow, "version": "1"},
            file=URL,
            outputs=[{"processor_id": "ex_1", "output": {"value": {"total": None}, "metadata": {}}}],
            priority=7,
            metadata=METADATA,
            secrets={"erp": "canary", "nested": {"a": 1}},
        ),
        lambda api, ids: api.create_workflow_run(
            requests.CreateWorkflowRun(
                workflow=_target(ids, "1"),
                file=requests.FileFromUrl(**URL),
                outputs=[
                    requests.OutputOverride(processor_id="ex_1", output={"value": {"total": None}, "metadata": {}})
                ],
                priority=7,
                metadata=METADATA,
                secrets={"erp": "canary", "nested": {"a": 1}},
            )
        ),
    ),
    "create from id": (
        lambda sdk, ids: sdk.workflow_runs.create(workflow={"id": ids.workflow}, file={"id": ids.file}),
        lambda api, ids: api.create_workflow_run(
            requests.CreateWorkflowRun(workflow=_target(ids), file=requests.FileFromId(id=ids.file))
        ),
    ),
    "create from text": (
        lambda sdk, ids: sdk.workflow_runs.create(workflow={"id": ids.workflow}, file={"text": "Total 5", "name": "n"}),
        lambda api, ids: api.create_workflow_run(
            requests.CreateWorkflowRun(workflow=_target(ids), file=requests.FileFromText(text="Total 5", name="n"))
        ),
    ),
    "create a package": (
        lambda sdk, ids: sdk.workflow_runs.create(
            workflow={"id": ids.workflow}, package={"files": [URL, {"id": ids.file}]}
        ),
        lambda api, ids: api.create_workflow_run(
            requests.CreateWorkflowRun(
                workflow=_target(ids),
                package=requests.PackageFiles(files=[requests.FileFromUrl(**URL), requests.FileFromId(id=ids.file)]),
            )
        ),
    ),
    "batch": (
        lambda sdk, ids: sdk.workflow_runs.create_batch(
            workflow={"id": ids.workflow},
            inputs=[{"file": URL, "metadata": METADATA, "secrets": {"a": "canary"}}, {"file": {"id": ids.file}}],
            priority=90,
        ),
        lambda api, ids: api.create_workflow_run_batch(
            requests.CreateWorkflowRunBatch(
                workflow=_target(ids),
                inputs=[
                    requests.BatchInput(
                        file=requests.FileFromUrl(**URL),
                        metadata=METADATA,
                        secrets={"a": "canary"},
                    ),
                    requests.BatchInput(file=requests.FileFromId(id=ids.file)),
                ],
                priority=90,
            )
        ),
    ),
    "update": (
        lambda sdk, ids: sdk.workflow_runs.update(ids.run, name="New", metadata=METADATA),
        lambda api, ids: api.update_workflow_run(ids.run, requests.UpdateWorkflowRun(name="New", metadata=METADATA)),
    ),
    "update the metadata alone": (
        lambda sdk, ids: sdk.workflow_runs.update(ids.run, metadata={"a": None}),
        lambda api, ids: api.update_workflow_run(ids.run, requests.UpdateWorkflowRun(metadata={"a": None})),
    ),
    "cancel": (
        lambda sdk, ids: sdk.workflow_runs.cancel(ids.run),
        lambda api, ids: api.cancel_workflow_run(ids.run),
    ),
    "delete": (
        lambda sdk, ids: sdk.workflow_runs.delete(ids.run),
        lambda api, ids: api.delete_workflow_run(ids.run),
    ),
    "get": (
        lambda sdk, ids: sdk.workflow_runs.retrieve(ids.run),
        lambda api, ids: api.get_workflow_run(ids.run),
    ),
    "list with all filters": (
        lambda sdk, ids: sdk.workflow_runs.list(
            status="PROCESSED",
            workflow_id=ids.workflow,
            batch_id="batch_a",
            file_name_contains="a b&c",
            sort_by="createdAt",
            sort_dir="asc",
            max_page_size=5,
        ),
        lambda api, ids: api.list_workflow_runs(
            status="PROCESSED",
            workflow_id=ids.workflow,
            batch_id="batch_a",
            file_name_contains="a b&c",
            sort_by="createdAt",
            sort_dir="asc",
            max_page_size=5,
        ),
    ),
    "list without": (
        lambda sdk, ids: sdk.workflow_runs.list(),
        lambda api, ids: api.list_workflow_runs(),
    ),
    "list workflows": (
        lambda sdk, ids: sdk.workflows.list(sort_by="createdAt", sort_dir="asc", max_page_size=3),
        lambda api, ids: api.list_workflows(sort_by="createdAt", sort_dir="asc", max_page_size=3),
    ),
    "get workflow": (
        lambda sdk, ids: sdk.workflows.retrieve(ids.workflow),
        lambda api, ids: api.get_workflow(ids.workflow),
    ),
    "create workflow": (
        lambda sdk, ids: sdk.workflows.create(name="New", steps=STEPS),
        lambda api, ids: api.create_workflow(requests.CreateWorkflow(name="New", steps=STEPS)),
    ),
    "update workflow": (
        lambda sdk, ids: sdk.workflows.update(ids.workflow, name="Newer", steps=STEPS),
        lambda api, ids: api.update_workflow(ids.workflow, requests.UpdateWorkflow(name="Newer", steps=STEPS)),
    ),
    "list versions": (
        lambda sdk, ids: sdk.workflow_versions.list(ids.workflow, sort_dir="asc", max_page_size=2),
        lambda api, ids: api.list_workflow_versions(ids.workflow, sort_dir="asc", max_page_size=2),
    ),
    "get version": (
        lambda sdk, ids: sdk.workflow_versions.retrieve(ids.workflow, ids.version),
        lambda api, ids: api.get_workflow_version(ids.workflow, ids.version),
    ),
    "deploy": (
        lambda sdk, ids: sdk.workflow_versions.create(ids.workflow, name="v9"),
        lambda api, ids: api.deploy_workflow_version(ids.workflow, requests.DeployWorkflowVersion(name="v9")),
    ),
    "deploy steps": (
        lambda sdk, ids: sdk.workflow_versions.create(ids.workflow, steps=STEPS),
        lambda api, ids: api.deploy_workflow_version(ids.workflow, requests.DeployWorkflowVersion(steps=STEPS)),
    ),
    "list files": (
        lambda sdk, ids: sdk.files.list(name_contains="a", sort_dir="asc", max_page_size=2),
        lambda api, ids: api.list_files(name_contains="a", sort_dir="asc", max_page_size=2),
    ),
    "get file": (
        lambda sdk, ids: sdk.files.retrieve(ids.file, raw_text=True),
        lambda api, ids: api.get_file(ids.file, raw_text=True),
    ),
    "delete file": (
        lambda sdk, ids: sdk.files.delete(ids.file),
        lambda api, ids: api.delete_file(ids.file),
    ),
    "create endpoint": (
        lambda sdk, ids: sdk.webhook_endpoints.create(
            url="https://hooks.example/x",
            name="Ops",
            enabled_events=["workflow.created"],
            api_version="2026-02-09",
            status="disabled",
        ),
        lambda api, ids: api.create_webhook_endpoint(
            requests.CreateWebhookEndpoint(
                url="https://hooks.example/x",
                name="Ops",
                enabled_events=["workflow.created"],
                status="disabled",
            )
        ),
    ),
    "list endpoints": (
        lambda sdk, ids: sdk.webhook_endpoints.list(sort_dir="asc", max_page_size=2),
        lambda api, ids: api.list_webhook_endpoints(sort_dir="asc", max_page_size=2),
    ),
    "get endpoint": (
        lambda sdk, ids: sdk.webhook_endpoints.retrieve(ids.endpoint),
        lambda api, ids: api.get_webhook_endpoint(ids.endpoint),
    ),
    "update endpoint": (
        lambda sdk, ids: sdk.webhook_endpoints.update(ids.endpoint, name="Other", status="disabled"),
        lambda api, ids: api.update_webhook_endpoint(
            ids.endpoint, requests.UpdateWebhookEndpoint(name="Other", status="disabled")
        ),
    ),
    "delete endpoint": (
        lambda sdk, ids: sdk.webhook_endpoints.delete(ids.endpoint),
        lambda api, ids: api.delete_webhook_endpoint(ids.endpoint),
    ),
    "create subscription": (
        lambda sdk, ids: sdk.webhook_subscriptions.create(
            webhook_endpoint_id=ids.endpoint,
            resource_type="workflow",
            resource_id=ids.workflow,
            enabled_events=["workflow_run.failed"],
        ),
        lambda api, ids: api.create_webhook_subscription(
            requests.CreateWebhookSubscription(
                webhook_endpoint_id=ids.endpoint,
                resource_type="workflow",
                resource_id=ids.workflow,
                enabled_events=["workflow_run.failed"],
            )
        ),
    ),
    "list subscriptions": (
        lambda sdk, ids: sdk.webhook_subscriptions.list(
            webhook_endpoint_id=ids.endpoint, resource_id=ids.workflow, sort_dir="asc", max_page_size=2
        ),
        lambda api, ids: api.list_webhook_subscriptions(
            webhook_endpoint_id=ids.endpoint, resource_id=ids.workflow, sort_dir="asc", max_page_size=2
        ),
    ),
    "get subscription": (
        lambda sdk, ids: sdk.webhook_subscriptions.retrieve(ids.subscription),
        lambda api, ids: api.get_webhook_subscription(ids.subscription),
    ),
    "update subscription": (
        lambda sdk, ids: sdk.webhook_subscriptions.update(ids.subscription, enabled_events=["workflow_run.failed"]),
        lambda api, ids: api.update_webhook_subscription(
            ids.subscription, requests.UpdateWebhookSubscription(enabled_events=["workflow_run.failed"])
        ),
    ),
    "delete subscription": (
        lambda sdk, ids: sdk.webhook_subscriptions.delete(ids.subscription),
        lambda api, ids: api.delete_webhook_subscription(ids.subscription),
    ),
}


@pytest.mark.parametrize("operation", CASES)
async def test_both_send_the_same(judge: Judge, operation: str) -> None:
    theirs, ours = CASES[operation]
    ids = objects(judge)
    theirs(judge.sdk, ids)
    sent_by_sdk = _last(judge, ids)
    ids = objects(judge)
    async with calling(judge.base_url) as client:
        await ours(client, ids)
    sent_by_us = _last(judge, ids)
    assert sent_by_us == sent_by_sdk
    assert sent_by_us["status"] == 200


def objects(judge: Judge) -> Ids:
    """Fresh objects for one operation to act on."""
    sdk = judge.sdk
    workflow = judge.sandbox.state()["workflows"][0]["id"]
    run = sdk.workflow_runs.create(workflow={"id": workflow}, file={"text": "a"})
    endpoint = sdk.webhook_endpoints.create(
        url="https://hooks.example/x", name="Ops", enabled_events=[], api_version="2026-02-09"
    )
    subscription = sdk.webhook_subscriptions.create(
        webhook_endpoint_id=endpoint.id,
        resource_type="workflow",
        resource_id=workflow,
        enabled_events=["workflow_run.completed"],
    )
    version = sdk.workflow_versions.list(workflow).data[0].id
    file = sdk.files.upload(file=("a.pdf", b"x"))
    return Ids(run.id, workflow, version, file.id, endpoint.id, subscription.id)


def _last(judge: Judge, ids: Ids) -> dict[str, Any]:
    """The request that came last, with the ids of this round's objects replaced by their names."""
    names = {value: name for name, value in vars(ids).items()}

    def rename(value: Any) -> Any:
        if isinstance(value, str):
            for given, name in names.items():
                value = value.replace(given, f"<{name}>")
            return value
        if isinstance(value, dict):
            return {key: rename(item) for key, item in value.items()}
        return [rename(item) for item in value] if isinstance(value, list) else value

    entry = judge.sandbox.log[-1].to_json()
    return {name: rename(entry[name]) for name in ("method", "path", "query", "body", "status")}
