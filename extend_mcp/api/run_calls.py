"""Operations on workflow runs (Extend API reference, Workflow runs)."""

from extend_mcp.api.models import BatchStarted, Deleted, Page, WorkflowRun, WorkflowRunSummary
from extend_mcp.api.requests import CreateWorkflowRun, CreateWorkflowRunBatch, UpdateWorkflowRun
from extend_mcp.api.session import Query, Session, path_segment


class RunCalls(Session):
    """List, read, start, change, cancel and delete workflow runs."""

    async def list_workflow_runs(
        self,
        *,
        status: str | None = None,
        workflow_id: str | None = None,
        batch_id: str | None = None,
        file_name_contains: str | None = None,
        sort_by: str | None = None,
        sort_dir: str | None = None,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
    ) -> Page[WorkflowRunSummary]:
        """List workflow runs (`GET /workflow_runs`), one page per call.

        Args:
            status: Only runs in this one status.
            workflow_id: Only runs of this workflow.
            batch_id: Only runs of this batch.
            file_name_contains: Only runs with this text in a file name.
            sort_by: "updatedAt" or "createdAt".
            sort_dir: "asc" (earliest first) or "desc".
            next_page_token: From the page before; the other arguments must be the same as for that page.
            max_page_size: Most runs on the page; Extend states no range.
        """
        query: Query = {
            "status": status,
            "workflowId": workflow_id,
            "batchId": batch_id,
            "fileNameContains": file_name_contains,
            "sortBy": sort_by,
            "sortDir": sort_dir,
            "nextPageToken": next_page_token,
            "maxPageSize": max_page_size,
        }
        return await self.get_list(WorkflowRunSummary, "/workflow_runs", query)

    async def get_workflow_run(self, run_id: str) -> WorkflowRun:
        """Read one run in full (`GET /workflow_runs/{id}`)."""
        return await self.send(WorkflowRun, "GET", f"/workflow_runs/{path_segment(run_id)}")

    async def create_workflow_run(self, body: CreateWorkflowRun) -> WorkflowRun:
        """Start a workflow on a file or package (`POST /workflow_runs`), and return the new run, which has only begun.

        Creates are not idempotent, and each one costs credits. After an error with effect "unknown", list recent
        runs to see whether the run exists.
        """
        return await self.send(WorkflowRun, "POST", "/workflow_runs", content=body.to_json())

    async def create_workflow_run_batch(self, body: CreateWorkflowRunBatch) -> BatchStarted:
        """Start a workflow on 1 to 1000 files at once (`POST /workflow_runs/batch`).

        The batch has no object of its own: list the runs with its id to follow it.
        """
        return await self.send(BatchStarted, "POST", "/workflow_runs/batch", content=body.to_json())

    async def update_workflow_run(self, run_id: str, body: UpdateWorkflowRun) -> WorkflowRun:
        """Rename a run, or merge metadata into what it has (`POST /workflow_runs/{id}`); incoming keys win."""
        return await self.send(WorkflowRun, "POST", f"/workflow_runs/{path_segment(run_id)}", content=body.to_json())

    async def cancel_workflow_run(self, run_id: str) -> WorkflowRun:
        """Ask Extend to cancel a run (`POST /workflow_runs/{id}/cancel`, no body), and return the run.

        Extend allows it only in PENDING or PROCESSING, so a caller must have just read the run. The run returned
        may still be CANCELLING, and may still end as PROCESSED or FAILED.
        """
        return await self.send(WorkflowRun, "POST", f"/workflow_runs/{path_segment(run_id)}/cancel")

    async def delete_workflow_run(self, run_id: str) -> Deleted:
        """Delete a run with all its data, for good (`DELETE /workflow_runs/{id}`)."""
        return await self.send(Deleted, "DELETE", f"/workflow_runs/{path_segment(run_id)}")
