"""Reading workflows and their versions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from extend_mcp.api.errors import NotFoundError
from extend_mcp.api.models import WorkflowSummary, WorkflowVersion
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.args import PageNumber, PageSize, PageToken, SortBy, SortDir, VersionRef, WorkflowRef
from extend_mcp.tools.name_resolution import resolve_workflow
from extend_mcp.tools.pagination import read_page
from extend_mcp.tools.toolsets import READ_ONLY, WORKFLOWS
from extend_mcp.views import workflows as views
from extend_mcp.views.tables import list_view
from extend_mcp.views.untrusted import Label

WorkflowForm = Annotated[
    Literal["graph", "mermaid", "json"], Field(description="graph: a line a step; json: definitions to edit")
]


@WORKFLOWS.tool(title="List workflows", annotations=READ_ONLY)
async def list_workflows(
    ctx: Ctx,
    sort_by: SortBy = "createdAt",
    sort_dir: SortDir = "desc",
    page_size: Annotated[PageSize, Field(description="Workflows per page")] = 50,
    page_token: PageToken | None = None,
) -> views.WorkflowListView:
    """List workflows with ids and names. Not needed before other tools: they take a workflow's name."""
    app = caller_context(ctx)
    given = {"sort_by": sort_by, "sort_dir": sort_dir, "page_size": page_size}
    items, token_after = await read_page(list_workflows, app.api.list_workflows, page_token, **given)
    return list_view(views.WorkflowListView, items, token_after=token_after, limit=app.limits.answer_chars)


@WORKFLOWS.tool(title="Show a workflow", annotations=READ_ONLY)
async def get_workflow(
    workflow: WorkflowRef, ctx: Ctx, form: WorkflowForm = "graph", page: PageNumber = 1
) -> views.WorkflowView:
    """Show a workflow's draft: steps, processors and routing, in pages. For what runs now, use get_workflow_version."""
    app = caller_context(ctx)
    found = await app.api.get_workflow(await resolve_workflow(app, workflow))
    return views.workflow_view(found, found.draft_version, form=form, page=page, limit=app.limits.answer_chars)


@WORKFLOWS.tool(title="List a workflow's versions", annotations=READ_ONLY)
async def list_workflow_versions(
    workflow: WorkflowRef,
    ctx: Ctx,
    sort_dir: SortDir = "desc",
    page_size: Annotated[PageSize, Field(description="Versions per page")] = 50,
    page_token: PageToken | None = None,
) -> views.VersionListView:
    """List a workflow's versions, the draft included, with the time each was made."""
    app = caller_context(ctx)
    workflow_id = await resolve_workflow(app, workflow)
    given = {"workflow": workflow_id, "sort_dir": sort_dir, "page_size": page_size}
    read, limit = app.api.list_workflow_versions, app.limits.answer_chars
    items, token_after = await read_page(
        list_workflow_versions, lambda workflow, **query: read(workflow, **query), page_token, **given
    )
    return list_view(views.VersionListView, items, workflow_id=workflow_id, token_after=token_after, limit=limit)


@WORKFLOWS.tool(title="Show a workflow version", annotations=READ_ONLY)
async def get_workflow_version(
    workflow: WorkflowRef, ctx: Ctx, version: VersionRef = "newest", form: WorkflowForm = "graph", page: PageNumber = 1
) -> views.WorkflowView:
    """Show one version of a workflow, by default the newest published: what runs without a version use."""
    app = caller_context(ctx)
    workflow_id = await resolve_workflow(app, workflow)
    found = await read_version(app, workflow_id, version)
    known = WorkflowSummary(id=workflow_id)
    return views.workflow_view(known, found, form=form, page=page, limit=app.limits.answer_chars)


async def read_version(app: CallerContext, workflow_id: str, wanted: str) -> WorkflowVersion:
    """Return a version with its steps by number, ``draft``, ``newest`` or id; refuse another with a list of those."""
    try:
        return await app.api.get_workflow_version(workflow_id, "latest" if wanted == "newest" else wanted)
    except NotFoundError:
        versions = await app.api.list_workflow_versions(workflow_id, sort_dir="desc", max_page_size=20)
    there = ", ".join(f"{Label(each.version):20}" for each in versions.data) or "none"
    raise CallRefusedError(f"The workflow has no version {Label(wanted):60}. It has: {there}.")


async def read_published(app: CallerContext, workflow_id: str) -> WorkflowVersion | None:
    """Return the newest published version with its steps; None when none is published."""
    latest = await app.api.get_workflow_version(workflow_id, "latest")
    return None if latest.version == "draft" else latest


async def resolve_version(app: CallerContext, workflow_id: str, wanted: str | None) -> str | None:
    """Return a version as a new run names it: a number or ``draft``; None for the newest published one."""
    if wanted is None or wanted == "newest":
        return None
    return wanted if wanted == "draft" or wanted.isdecimal() else (await read_version(app, workflow_id, wanted)).version
