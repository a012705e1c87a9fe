"""The endpoints of Extend's workflow API, one method each, in the order of Extend's reference."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import httpx
from pydantic import SecretStr
from typing_extensions import Unpack

from extend_mcp.api.base import API_VERSION, BaseClient, Pager, Query, path_segment
from extend_mcp.api.errors import NotFoundError
from extend_mcp.api.models import (
    BatchStarted,
    ChildRun,
    ChildRuns,
    Deleted,
    File,
    FileSummary,
    Page,
    WebhookEndpoint,
    WebhookSubscription,
    Workflow,
    WorkflowRun,
    WorkflowRunSummary,
    WorkflowSummary,
    WorkflowVersion,
    WorkflowVersionSummary,
)
from extend_mcp.api.requests import (
    PAGE_SIZE,
    CreateWebhookEndpoint,
    CreateWebhookSubscription,
    CreateWorkflow,
    CreateWorkflowRun,
    CreateWorkflowRunBatch,
    DeployWorkflowVersion,
    FileQuery,
    UpdateWebhookEndpoint,
    UpdateWebhookSubscription,
    UpdateWorkflow,
    UpdateWorkflowRun,
    WebhookEndpointQuery,
    WebhookSubscriptionQuery,
    WorkflowQuery,
    WorkflowRunQuery,
    WorkflowVersionQuery,
)

__all__ = ["API_VERSION", "ExtendClient", "UploadProgress"]

UploadProgress = Callable[[int, int], Awaitable[None]]
"""Awaited after each piece of an upload, with the bytes sent and the bytes in total."""

_UPLOAD_PIECE: Final = 256 * 1024


class ExtendClient(BaseClient):
    """Calls Extend's API. One client per key; safe to share between tasks of one event loop.

    Every method raises an `ExtendError` (see `errors` for the kinds) and no error of httpx. A read is repeated after a
    transient failure. A write is sent exactly once: after an error with effect "unknown", check what happened before
    repeating it. An id that cannot be part of a path is an InvalidRequestError, and nothing is sent.
    A `list_` method reads one page; the `iter_` method of the same name iterates over the whole list.
    Construction: see `BaseClient`.
    """

    # Workflow runs

    async def create_workflow_run(self, body: CreateWorkflowRun) -> WorkflowRun:
        """Start a workflow on a file or package (`POST /workflow_runs`), and return the new run, which has only begun.

        Creates are not idempotent, and each one costs credits. After an error with effect "unknown", list recent
        runs to see whether the run exists.
        """
        return await self.send(WorkflowRun, "POST", "/workflow_runs", content=body.to_json())

    async def create_workflow_run_batch(self, body: CreateWorkflowRunBatch) -> BatchStarted:
        """Start a workflow on 1 to 1000 files at once (`POST /workflow_runs/batch`).

        The API cannot read a batch: list the runs with its id to follow it.
        """
        return await self.send(BatchStarted, "POST", "/workflow_runs/batch", content=body.to_json())

    async def get_workflow_run(self, run_id: str) -> WorkflowRun:
        """Read one run in full (`GET /workflow_runs/{id}`)."""
        try:
            return await self.send(WorkflowRun, "GET", f"/workflow_runs/{path_segment(run_id)}")
        except NotFoundError:
            if self.on_run_gone:
                await self.on_run_gone(run_id, False)
            raise

    async def update_workflow_run(self, run_id: str, body: UpdateWorkflowRun) -> WorkflowRun:
        """Rename a run, or merge metadata into its own (`POST /workflow_runs/{id}`); the new keys win."""
        return await self.send(WorkflowRun, "POST", f"/workflow_runs/{path_segment(run_id)}", content=body.to_json())

    async def cancel_workflow_run(self, run_id: str) -> WorkflowRun:
        """Ask Extend to cancel a run (`POST /workflow_runs/{id}/cancel`, no body), and return the run.

        Extend allows it only in PENDING or PROCESSING, so read the run first. The returned run may still be
        CANCELLING, and may still end as PROCESSED or FAILED.
        """
        return await self.send(WorkflowRun, "POST", f"/workflow_runs/{path_segment(run_id)}/cancel")

    async def delete_workflow_run(self, run_id: str) -> Deleted:
        """Delete a run and all its data permanently (`DELETE /workflow_runs/{id}`)."""
        deleted = await self.send(Deleted, "DELETE", f"/workflow_runs/{path_segment(run_id)}")
        if self.on_run_gone:
            await self.on_run_gone(run_id, True)
        return deleted

    async def list_workflow_runs(
        self,
        *,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
        **query: Unpack[WorkflowRunQuery],
    ) -> Page[WorkflowRunSummary]:
        """Read one page of workflow runs (`GET /workflow_runs`).

        Args:
            next_page_token: From the page before; the query must be the same as for that page.
            max_page_size: Most runs on the page, 1 to 1000; 10 by default.
            query: Filters and order.
        """
        return await self.get_page(WorkflowRunSummary, "/workflow_runs", next_page_token, max_page_size, query)

    def iter_workflow_runs(
        self, *, page_size: int = PAGE_SIZE, **query: Unpack[WorkflowRunQuery]
    ) -> Pager[WorkflowRunSummary]:
        """Iterate over workflow runs."""
        return self.get_pages(WorkflowRunSummary, "/workflow_runs", page_size, query)

    async def get_child_runs(
        self,
        kind: ChildRuns,
        run_id: str,
        *,
        status: str | None = None,
        max_page_size: int | None = None,
    ) -> Page[ChildRun]:
        """Read one page of the runs that a workflow run started (`GET /extract_runs` and its like).

        Args:
            kind: The collection.
            run_id: The workflow run.
            status: Their status.
            max_page_size: Most runs on the page.
        """
        query: Query = {"status": status, "source": "WORKFLOW_RUN", "source_id": run_id}
        return await self.get_page(ChildRun, f"/{kind}", None, max_page_size, query)

    # Workflows

    async def create_workflow(self, body: CreateWorkflow) -> Workflow:
        """Create a workflow (`POST /workflows`); without steps it gets TRIGGER and PARSE."""
        return await self.send(Workflow, "POST", "/workflows", content=body.to_json())

    async def get_workflow(self, workflow_id: str) -> Workflow:
        """Read a workflow with the steps of its draft (`GET /workflows/{id}`)."""
        return await self.send(Workflow, "GET", f"/workflows/{path_segment(workflow_id)}")

    async def update_workflow(self, workflow_id: str, body: UpdateWorkflow) -> Workflow:
        """Rename a workflow, or replace all steps of its draft (`POST /workflows/{id}`)."""
        return await self.send(Workflow, "POST", f"/workflows/{path_segment(workflow_id)}", content=body.to_json())

    async def list_workflows(
        self,
        *,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
        **query: Unpack[WorkflowQuery],
    ) -> Page[WorkflowSummary]:
        """Read one page of workflows (`GET /workflows`)."""
        return await self.get_page(WorkflowSummary, "/workflows", next_page_token, max_page_size, query)

    def iter_workflows(self, *, page_size: int = PAGE_SIZE, **query: Unpack[WorkflowQuery]) -> Pager[WorkflowSummary]:
        """Iterate over workflows."""
        return self.get_pages(WorkflowSummary, "/workflows", page_size, query)

    # Workflow versions

    async def deploy_workflow_version(self, workflow_id: str, body: DeployWorkflowVersion) -> WorkflowVersion:
        """Publish the draft, or the given steps, as a new version (`POST /workflows/{id}/versions`)."""
        path = f"/workflows/{path_segment(workflow_id)}/versions"
        return await self.send(WorkflowVersion, "POST", path, content=body.to_json())

    async def get_workflow_version(self, workflow_id: str, version_id: str) -> WorkflowVersion:
        """Read one version with its steps (`GET /workflows/{id}/versions/{versionId}`).

        Args:
            workflow_id: The workflow's id.
            version_id: "draft", "latest" (the newest published, or the draft if none is), a number or an id.
        """
        path = f"/workflows/{path_segment(workflow_id)}/versions/{path_segment(version_id)}"
        return await self.send(WorkflowVersion, "GET", path)

    async def list_workflow_versions(
        self,
        workflow_id: str,
        *,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
        **query: Unpack[WorkflowVersionQuery],
    ) -> Page[WorkflowVersionSummary]:
        """Read one page of a workflow's versions, which include the draft (`GET /workflows/{id}/versions`)."""
        path = f"/workflows/{path_segment(workflow_id)}/versions"
        return await self.get_page(WorkflowVersionSummary, path, next_page_token, max_page_size, query)

    def iter_workflow_versions(
        self, workflow_id: str, *, page_size: int = PAGE_SIZE, **query: Unpack[WorkflowVersionQuery]
    ) -> Pager[WorkflowVersionSummary]:
        """Iterate over a workflow's versions."""
        path = f"/workflows/{path_segment(workflow_id)}/versions"
        return self.get_pages(WorkflowVersionSummary, path, page_size, query)

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
        """Upload a file (`POST /files/upload`, multipart).

        Args:
            name: Its name; Extend reads the type from the extension.
            content: Its bytes.
            content_type: Its media type.
            convert_to_pdf: Whether Extend should convert it to PDF.
            password: Opens it, if it is protected.
            on_progress: Awaited after each piece that was sent.
        """
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

    async def get_file(self, file_id: str, *, raw_text: bool | None = None, markdown: bool | None = None) -> File:
        """Read a file (`GET /files/{id}`), with a URL to download it that works for 15 minutes.

        Args:
            file_id: The file.
            raw_text: Whether to include the parsed contents as plain text.
            markdown: Whether to include the parsed contents as markdown.
        """
        query: Query = {"raw_text": raw_text, "markdown": markdown}
        return await self.send(File, "GET", f"/files/{path_segment(file_id)}", query=query)

    async def list_files(
        self,
        *,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
        **query: Unpack[FileQuery],
    ) -> Page[FileSummary]:
        """Read one page of files (`GET /files`)."""
        return await self.get_page(FileSummary, "/files", next_page_token, max_page_size, query)

    def iter_files(self, *, page_size: int = PAGE_SIZE, **query: Unpack[FileQuery]) -> Pager[FileSummary]:
        """Iterate over files."""
        return self.get_pages(FileSummary, "/files", page_size, query)

    async def delete_file(self, file_id: str) -> Deleted:
        """Delete a file permanently (`DELETE /files/{id}`)."""
        return await self.send(Deleted, "DELETE", f"/files/{path_segment(file_id)}")

    # Webhook endpoints

    async def create_webhook_endpoint(self, body: CreateWebhookEndpoint) -> WebhookEndpoint:
        """Create an endpoint (`POST /webhook_endpoints`). Only this response contains its signing secret."""
        return await self.send(WebhookEndpoint, "POST", "/webhook_endpoints", content=body.to_json())

    async def get_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """Read one endpoint (`GET /webhook_endpoints/{id}`)."""
        return await self.send(WebhookEndpoint, "GET", f"/webhook_endpoints/{path_segment(endpoint_id)}")

    async def update_webhook_endpoint(self, endpoint_id: str, body: UpdateWebhookEndpoint) -> WebhookEndpoint:
        """Change an endpoint (`POST /webhook_endpoints/{id}`)."""
        path = f"/webhook_endpoints/{path_segment(endpoint_id)}"
        return await self.send(WebhookEndpoint, "POST", path, content=body.to_json())

    async def delete_webhook_endpoint(self, endpoint_id: str) -> Deleted:
        """Delete an endpoint (`DELETE /webhook_endpoints/{id}`)."""
        return await self.send(Deleted, "DELETE", f"/webhook_endpoints/{path_segment(endpoint_id)}")

    async def list_webhook_endpoints(
        self,
        *,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
        **query: Unpack[WebhookEndpointQuery],
    ) -> Page[WebhookEndpoint]:
        """Read one page of endpoints (`GET /webhook_endpoints`)."""
        return await self.get_page(WebhookEndpoint, "/webhook_endpoints", next_page_token, max_page_size, query)

    def iter_webhook_endpoints(
        self, *, page_size: int = PAGE_SIZE, **query: Unpack[WebhookEndpointQuery]
    ) -> Pager[WebhookEndpoint]:
        """Iterate over webhook endpoints."""
        return self.get_pages(WebhookEndpoint, "/webhook_endpoints", page_size, query)

    # Webhook subscriptions

    async def create_webhook_subscription(self, body: CreateWebhookSubscription) -> WebhookSubscription:
        """Subscribe an endpoint to one resource's events (`POST /webhook_subscriptions`)."""
        return await self.send(WebhookSubscription, "POST", "/webhook_subscriptions", content=body.to_json())

    async def get_webhook_subscription(self, subscription_id: str) -> WebhookSubscription:
        """Read one subscription (`GET /webhook_subscriptions/{id}`)."""
        path = f"/webhook_subscriptions/{path_segment(subscription_id)}"
        return await self.send(WebhookSubscription, "GET", path)

    async def update_webhook_subscription(
        self, subscription_id: str, body: UpdateWebhookSubscription
    ) -> WebhookSubscription:
        """Change which events a subscription sends (`POST /webhook_subscriptions/{id}`)."""
        path = f"/webhook_subscriptions/{path_segment(subscription_id)}"
        return await self.send(WebhookSubscription, "POST", path, content=body.to_json())

    async def delete_webhook_subscription(self, subscription_id: str) -> Deleted:
        """Delete a subscription (`DELETE /webhook_subscriptions/{id}`)."""
        return await self.send(Deleted, "DELETE", f"/webhook_subscriptions/{path_segment(subscription_id)}")

    async def list_webhook_subscriptions(
        self,
        *,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
        **query: Unpack[WebhookSubscriptionQuery],
    ) -> Page[WebhookSubscription]:
        """Read one page of subscriptions (`GET /webhook_subscriptions`)."""
        return await self.get_page(WebhookSubscription, "/webhook_subscriptions", next_page_token, max_page_size, query)

    def iter_webhook_subscriptions(
        self, *, page_size: int = PAGE_SIZE, **query: Unpack[WebhookSubscriptionQuery]
    ) -> Pager[WebhookSubscription]:
        """Iterate over webhook subscriptions."""
        return self.get_pages(WebhookSubscription, "/webhook_subscriptions", page_size, query)
