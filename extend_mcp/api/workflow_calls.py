"""Operations on workflows and their versions (Extend API reference, Workflows)."""

from extend_mcp.api.models import Page, Workflow, WorkflowSummary, WorkflowVersion, WorkflowVersionSummary
from extend_mcp.api.requests import CreateWorkflow, DeployWorkflowVersion, UpdateWorkflow
from extend_mcp.api.session import Query, Session, path_segment


class WorkflowCalls(Session):
    """List, read, create, change and deploy workflows."""

    async def list_workflows(
        self,
        *,
        sort_by: str | None = None,
        sort_dir: str | None = None,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
    ) -> Page[WorkflowSummary]:
        """List workflows (`GET /workflows`), one page per call; arguments as for `list_workflow_runs`."""
        query: Query = {
            "sortBy": sort_by,
            "sortDir": sort_dir,
            "nextPageToken": next_page_token,
            "maxPageSize": max_page_size,
        }
        return await self.get_list(WorkflowSummary, "/workflows", query)

    async def get_workflow(self, workflow_id: str) -> Workflow:
        """Read a workflow with the steps of its draft (`GET /workflows/{id}`)."""
        return await self.send(Workflow, "GET", f"/workflows/{path_segment(workflow_id)}")

    async def create_workflow(self, body: CreateWorkflow) -> Workflow:
        """Create a workflow (`POST /workflows`); without steps it gets TRIGGER and PARSE."""
        return await self.send(Workflow, "POST", "/workflows", content=body.to_json())

    async def update_workflow(self, workflow_id: str, body: UpdateWorkflow) -> Workflow:
        """Rename a workflow, or replace all steps of its draft (`POST /workflows/{id}`)."""
        return await self.send(Workflow, "POST", f"/workflows/{path_segment(workflow_id)}", content=body.to_json())

    async def list_workflow_versions(
        self,
        workflow_id: str,
        *,
        sort_dir: str | None = None,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
    ) -> Page[WorkflowVersionSummary]:
        """List a workflow's versions, the draft included (`GET /workflows/{id}/versions`), one page per call."""
        query: Query = {"sortDir": sort_dir, "nextPageToken": next_page_token, "maxPageSize": max_page_size}
        path = f"/workflows/{path_segment(workflow_id)}/versions"
        return await self.get_list(WorkflowVersionSummary, path, query)

    async def get_workflow_version(self, workflow_id: str, version_id: str) -> WorkflowVersion:
        """Read one version with its steps (`GET /workflows/{id}/versions/{versionId}`)."""
        path = f"/workflows/{path_segment(workflow_id)}/versions/{path_segment(version_id)}"
        return await self.send(WorkflowVersion, "GET", path)

    async def deploy_workflow_version(self, workflow_id: str, body: DeployWorkflowVersion) -> WorkflowVersion:
        """Publish the draft, or the given steps, as a new version (`POST /workflows/{id}/versions`)."""
        path = f"/workflows/{path_segment(workflow_id)}/versions"
        return await self.send(WorkflowVersion, "POST", path, content=body.to_json())
