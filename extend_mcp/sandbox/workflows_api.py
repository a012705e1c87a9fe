"""The operations on workflows and their versions. Paths and answers: Extend API reference, Workflows."""

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from extend_mcp.sandbox import query, wire
from extend_mcp.sandbox.definitions import DefinitionReader
from extend_mcp.sandbox.errors import ApiError, InvalidFieldError, JsonObject
from extend_mcp.sandbox.reader import BodyReader
from extend_mcp.sandbox.routing import Call, route
from extend_mcp.sandbox.store import Workflow

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox

_FIRST_STEPS: list[JsonObject] = [
    {"name": "trigger", "type": "TRIGGER", "next": [{"step": "parse"}]},
    {"name": "parse", "type": "PARSE"},
]
"""What a workflow has that is created without steps."""


def workflow_routes(sandbox: "Sandbox") -> list[BaseRoute]:
    """Build the routes under `/workflows`."""
    return [
        route(sandbox, "GET", "/workflows", list_workflows),
        route(sandbox, "POST", "/workflows", create_workflow),
        route(sandbox, "GET", "/workflows/{id}", get_workflow),
        route(sandbox, "POST", "/workflows/{id}", update_workflow),
        route(sandbox, "GET", "/workflows/{id}/versions", list_workflow_versions),
        route(sandbox, "POST", "/workflows/{id}/versions", deploy_workflow_version),
        route(sandbox, "GET", "/workflows/{id}/versions/{version}", get_workflow_version),
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


def create_workflow(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Create a workflow with a draft."""
    body = _body(sandbox, call)
    name = _name(sandbox, body, required=True)
    steps = _steps(sandbox, body, deploying=False) or _FIRST_STEPS
    now = sandbox.engine.now
    draft = wire.version_summary(sandbox.ids("workflow_version_"), "draft", None, now)
    summary = wire.workflow_summary(sandbox.ids("workflow_"), name or "", now, now)
    workflow = Workflow(summary, [draft], None, {draft["id"]: steps})
    sandbox.store.workflows[workflow.id] = workflow
    sandbox.outbox.account_event("workflow.created", workflow.whole(), now)
    return workflow.whole()


def get_workflow(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Return a workflow with its draft."""
    return _workflow(sandbox, call).whole()


def update_workflow(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Rename a workflow, or replace the steps of its draft."""
    workflow, body = _workflow(sandbox, call), _body(sandbox, call)
    name, steps = _name(sandbox, body), _steps(sandbox, body, deploying=False)
    if name is not None:
        workflow.summary["name"] = name
    if steps is not None:
        workflow.change_draft(steps)
    workflow.summary["updatedAt"] = wire.timestamp(sandbox.engine.now)
    return workflow.whole()


def list_workflow_versions(sandbox: "Sandbox", call: Call) -> JsonObject:
    """List summaries of a workflow's versions, the draft included, by the time they were made."""
    settings, workflow = sandbox.settings, _workflow(sandbox, call)
    if "sortBy" in call.query:
        raise InvalidFieldError(settings.validation_status, "Versions are sorted by creation only", "sortBy")
    wanted = query.read_list_query(call.query, (), settings, scope=f"versions of {workflow.id}")
    page, token = query.page_of(
        workflow.versions,
        lambda version: (wire.read_timestamp(version["createdAt"]) or sandbox.started_at, version["id"]),
        wanted,
        settings,
    )
    return query.list_body(page, token, settings)


def deploy_workflow_version(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Publish the draft, or the given steps, as the next version."""
    workflow, body = _workflow(sandbox, call), _body(sandbox, call) if call.body else {}
    name, given = _name(sandbox, body), _steps(sandbox, body, deploying=True)
    steps = given
    if steps is None:
        steps = DefinitionReader(sandbox.settings.validation_status).check(workflow.draft_steps, deploying=True)
    now = sandbox.engine.now
    number = str(len(workflow.versions))  # the draft is one of them, and the new one is not yet
    version = wire.version_summary(sandbox.ids("workflow_version_"), number, name, now)
    workflow.publish(version, steps, from_draft=given is None)
    workflow.summary["updatedAt"] = wire.timestamp(now)
    sandbox.outbox.account_event("workflow.deployed", workflow.whole(), now)
    return workflow.version_in_full(version)


def get_workflow_version(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Return one version with its steps."""
    workflow = _workflow(sandbox, call)
    found = next((version for version in workflow.versions if version["id"] == call.path["version"]), None)
    if found is None:
        raise ApiError(404, "Workflow version not found")
    return workflow.version_in_full(found)


def _workflow(sandbox: "Sandbox", call: Call) -> Workflow:
    workflow = sandbox.store.workflows.get(call.path["id"])
    if workflow is None:
        raise ApiError(404, "Workflow not found")
    return workflow


def _body(sandbox: "Sandbox", call: Call) -> JsonObject:
    return BodyReader(sandbox.settings.validation_status).read_object(call.body, "body")


def _name(sandbox: "Sandbox", body: JsonObject, *, required: bool = False) -> str | None:
    if body.get("name") is None and not required:
        return None
    return BodyReader(sandbox.settings.validation_status).read_text(body.get("name"), "name")


def _steps(sandbox: "Sandbox", body: JsonObject, *, deploying: bool) -> list[JsonObject] | None:
    if body.get("steps") is None:
        return None
    return DefinitionReader(sandbox.settings.validation_status).check(body["steps"], deploying=deploying)
