"""The endpoints of Extend's workflow API, one method each, in the order of Extend's reference."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import httpx
from pydantic import SecretStr
from typing_extensions import Unpack

from extend_mcp.api import requests
from extend_mcp.api.base import BaseClient, Pager
from extend_mcp.api.errors import NotFoundError
from extend_mcp.api.models import (
    BatchStarted,
    ChildRun,
    ChildRuns,
    Deleted,
    File,
    FileSummary,
    WebhookEndpoint,
    WebhookSubscription,
    Workflow,
    WorkflowRun,
    WorkflowRunSummary,
    WorkflowSummary,
    WorkflowVersion,
    WorkflowVersionSummary,
)

UploadProgress = Callable[[int, int], Awaitable[None]]
"""Awaited after each piece of an upload, with the bytes sent and the bytes in total."""

_UPLOAD_PIECE: Final = 256 * 1024


class ExtendClient(BaseClient):
    """Calls Extend's API. One client per key; safe to share between tasks of one event loop.

    Every method raises an `ExtendError` (see `errors` for the kinds) and no error of httpx. A read is repeated after a
    transient failure. A write is sent exactly once: after an error with effect "unknown", check what happened before
    repeating it. An id that cannot be part of a path is an InvalidRequestError, and nothing is sent.
    A `list_` method returns a `Pager`: await it for one page, or iterate over all pages.
    Construction: see `BaseClient`.
    """

    # Workflow runs

    async def create_workflow_run(self, body: requests.CreateWorkflowRun) -> WorkflowRun:
        """Start a workflow on a file or package (`POST /workflow_runs`), and return the new run, which has only begun.

        Creates are not idempotent, and each one costs credits. After an error with effect "unknown", list recent
        runs to see whether the run exists.
        """
        return await self.send(WorkflowRun, "POST", "/workflow_runs", content=body.to_json())

    async def create_workflow_run_batch(self, body: requests.CreateWorkflowRunBatch) -> BatchStarted:
        """Start a workflow on 1 to 1000 files at once (`POST /workflow_runs/batch`).

        The API cannot read a batch: list the runs with its id to follow it.
        """
        return await self.send(BatchStarted, "POST", "/workflow_runs/batch", content=body.to_json())

    async def get_workflow_run(self, run_id: str) -> WorkflowRun:
        """Read one run in full (`GET /workflow_runs/{id}`)."""
        try:
            return await self.send(WorkflowRun, "GET", "/workflow_runs/{id}", run_id)
        except NotFoundError:
            if self.on_run_gone:
                await self.on_run_gone(run_id, False)
            raise

    async def update_workflow_run(self, run_id: str, body: requests.UpdateWorkflowRun) -> WorkflowRun:
        """Rename a run, or merge metadata into its own (`POST /workflow_runs/{id}`); the new keys win."""
        return await self.send(WorkflowRun, "POST", "/workflow_runs/{id}", run_id, content=body.to_json())

    async def cancel_workflow_run(self, run_id: str) -> WorkflowRun:
        """Ask Extend to cancel a run (`POST /workflow_runs/{id}/cancel`, no body), and return the run.

        Extend allows it only in PENDING or PROCESSING, so read the run first. The returned run may still be
        CANCELLING, and may still end as PROCESSED or FAILED.
        """
        return await self.send(WorkflowRun, "POST", "/workflow_runs/{id}/cancel", run_id)

    async def delete_workflow_run(self, run_id: str) -> Deleted:
        """Delete a run and all its data permanently (`DELETE /workflow_runs/{id}`)."""
        deleted = await self.send(Deleted, "DELETE", "/workflow_runs/{id}", run_id)
        if self.on_run_gone:
            await self.on_run_gone(run_id, True)
        return deleted

    def list_workflow_runs(self, **query: Unpack[requests.WorkflowRunQuery]) -> Pager[WorkflowRunSummary]:
        """List workflow runs (`GET /workflow_runs`)."""
        return self.list_of(WorkflowRunSummary, "/workflow_runs", query=query)

    def list_child_runs(self, kind: ChildRuns, **query: Unpack[requests.ChildRunQuery]) -> Pager[ChildRun]:
        """List the runs that workflow runs started, or that one did (`GET /extract_runs` and its like)."""
        query["source"] = "WORKFLOW_RUN"
        return self.list_of(ChildRun, f"/{kind}", query=query)

    # Workflows

    async def create_workflow(self, body: requests.CreateWorkflow) -> Workflow:
        """Create a workflow (`POST /workflows`); without steps it gets TRIGGER and PARSE."""
        return await self.send(Workflow, "POST", "/workflows", content=body.to_json())

    async def get_workflow(self, workflow_id: str) -> Workflow:
        """Read a workflow with the steps of its draft (`GET /workflows/{id}`)."""
        return await self.send(Workflow, "GET", "/workflows/{id}", workflow_id)

    async def update_workflow(self, workflow_id: str, body: requests.UpdateWorkflow) -> Workflow:
        """Rename a workflow, or replace all steps of its draft (`POST /workflows/{id}`)."""
        return await self.send(Workflow, "POST", "/workflows/{id}", workflow_id, content=body.to_json())

    def list_workflows(self, **query: Unpack[requests.ListQuery]) -> Pager[WorkflowSummary]:
        """List workflows (`GET /workflows`)."""
        return self.list_of(WorkflowSummary, "/workflows", query=query)

    # Workflow versions

    async def deploy_workflow_version(self, workflow_id: str, body: requests.DeployWorkflowVersion) -> WorkflowVersion:
        """Publish the draft, or the given steps, as a new version (`POST /workflows/{id}/versions`)."""
        return await self.send(WorkflowVersion, "POST", "/workflows/{id}/versions", workflow_id, content=body.to_json())

    async def get_workflow_version(self, workflow_id: str, version_id: str) -> WorkflowVersion:
        """Read one version with its steps (`GET /workflows/{id}/versions/{versionId}`).

        Its id may also be "draft", "latest" (the newest published, or the draft if none is), or a number.
        """
        return await self.send(WorkflowVersion, "GET", "/workflows/{id}/versions/{version_id}", workflow_id, version_id)

    def list_workflow_versions(
        self, workflow_id: str, **query: Unpack[requests.ListQuery]
    ) -> Pager[WorkflowVersionSummary]:
        """List a workflow's versions, which include the draft (`GET /workflows/{id}/versions`)."""
        return self.list_of(WorkflowVersionSummary, "/workflows/{id}/versions", workflow_id, query=query)

    # Files

    async def upload_file(
        self,
        name: str,
        content: bytes,
        *,
        content_type: str,
        convert_to_pdf: bool | None = None,
        password: SecretStr | None = None,
        on_progress: UploadProgress | None = None,
    ) -> File:
        """Upload a file (`POST /files/upload`, multipart). Extend reads its type from the extension of the name."""
        # httpx can write a multipart body; sending its pieces ourselves makes progress visible.
        form = httpx.Request(
            "POST",
            "http://form.invalid",
            files={"file": (name, content, content_type)},
            data={"password": password.get_secret_value()} if password else None,
        )
        body = form.read()

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), _UPLOAD_PIECE):
                piece = body[start : start + _UPLOAD_PIECE]
                yield piece
                if on_progress:
                    await on_progress(start + len(piece), len(body))

        return await self.send(
            File,
            "POST",
            "/files/upload",
            query={"convert_to_pdf": convert_to_pdf},
            content=pieces(),
            headers={"Content-Type": form.headers["Content-Type"], "Content-Length": str(len(body))},
        )

    async def get_file(self, file_id: str, *, raw_text: bool | None = None) -> File:
        """Read a file (`GET /files/{id}`), with its parsed text on request and a download URL for 15 minutes."""
        return await self.send(File, "GET", "/files/{id}", file_id, query={"raw_text": raw_text})

    def list_files(self, **query: Unpack[requests.FileQuery]) -> Pager[FileSummary]:
        """List files (`GET /files`)."""
        return self.list_of(FileSummary, "/files", query=query)

    async def delete_file(self, file_id: str) -> Deleted:
        """Delete a file permanently (`DELETE /files/{id}`)."""
        return await self.send(Deleted, "DELETE", "/files/{id}", file_id)

    # Webhook endpoints

    async def create_webhook_endpoint(self, body: requests.CreateWebhookEndpoint) -> WebhookEndpoint:
        """Create an endpoint (`POST /webhook_endpoints`). Only this response contains its signing secret."""
        return await self.send(WebhookEndpoint, "POST", "/webhook_endpoints", content=body.to_json())

    async def get_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """Read one endpoint (`GET /webhook_endpoints/{id}`)."""
        return await self.send(WebhookEndpoint, "GET", "/webhook_endpoints/{id}", endpoint_id)

    async def update_webhook_endpoint(self, endpoint_id: str, body: requests.UpdateWebhookEndpoint) -> WebhookEndpoint:
        """Change an endpoint (`POST /webhook_endpoints/{id}`)."""
        return await self.send(WebhookEndpoint, "POST", "/webhook_endpoints/{id}", endpoint_id, content=body.to_json())

    async def delete_webhook_endpoint(self, endpoint_id: str) -> Deleted:
        """Delete an endpoint (`DELETE /webhook_endpoints/{id}`)."""
        return await self.send(Deleted, "DELETE", "/webhook_endpoints/{id}", endpoint_id)

    def list_webhook_endpoints(self, **query: Unpack[requests.ListQuery]) -> Pager[WebhookEndpoint]:
        """List endpoints (`GET /webhook_endpoints`)."""
        return self.list_of(WebhookEndpoint, "/webhook_endpoints", query=query)

    # Webhook subscriptions

    async def create_webhook_subscription(self, body: requests.CreateWebhookSubscription) -> WebhookSubscription:
        """Subscribe an endpoint to one resource's events (`POST /webhook_subscriptions`)."""
        return await self.send(WebhookSubscription, "POST", "/webhook_subscriptions", content=body.to_json())

    async def get_webhook_subscription(self, subscription_id: str) -> WebhookSubscription:
        """Read one subscription (`GET /webhook_subscriptions/{id}`)."""
        return await self.send(WebhookSubscription, "GET", "/webhook_subscriptions/{id}", subscription_id)

    async def update_webhook_subscription(
        self, subscription_id: str, body: requests.UpdateWebhookSubscription
    ) -> WebhookSubscription:
        """Change which events a subscription sends (`POST /webhook_subscriptions/{id}`)."""
        path, content = "/webhook_subscriptions/{id}", body.to_json()
        return await self.send(WebhookSubscription, "POST", path, subscription_id, content=content)

    async def delete_webhook_subscription(self, subscription_id: str) -> Deleted:
        """Delete a subscription (`DELETE /webhook_subscriptions/{id}`)."""
        return await self.send(Deleted, "DELETE", "/webhook_subscriptions/{id}", subscription_id)

    def list_webhook_subscriptions(
        self, **query: Unpack[requests.WebhookSubscriptionQuery]
    ) -> Pager[WebhookSubscription]:
        """List subscriptions (`GET /webhook_subscriptions`)."""
        return self.list_of(WebhookSubscription, "/webhook_subscriptions", query=query)
