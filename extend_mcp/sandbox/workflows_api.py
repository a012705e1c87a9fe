"""The operations on workflows and their versions. Paths and answers: Extend API reference, Workflows."""

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from extend_mcp.sandbox import query, wire
from extend_mcp.sandbox.errors import JsonObject
from extend_mcp.sandbox.routing import Call, route

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox


def workflow_routes(sandbox: "Sandbox") -> list[BaseRoute]:
    """Build the routes under `/workflows`."""
    return [
        route(sandbox, "GET", "/workflows", list_workflows),
    ]


def list_workflows(sandbox: "Sandbox", call: Call) -> JsonObject:
    """List summaries of workflows, sorted, page by page."""
    settings = sandbox.settings
    wanted = query.read_list_query(call.query, (), settings, scope="workflows")
    page, token = query.page_of(
        sandbox.store.workflows.values(),
        lambda workflow: (wire.read_timestamp(workflow.summary[wanted.sort_by]) or sandbox.started_at, workflow.id),
        wanted,
        settings,
    )
    return query.list_body([workflow.summary for workflow in page], token, settings)
