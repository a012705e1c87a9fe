"""Serve the operations on workflows and versions. Paths and responses: Extend API reference, Workflows."""

from starlette.routing import BaseRoute

from extend_mcp.sandbox.api import list_query
from extend_mcp.sandbox.api.routing import Call, route
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.definitions import DefinitionReader, complete_steps
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.store import Workflow
from extend_mcp.sandbox.engine.validation import ApiError, BodyReader, InvalidFieldError, JsonObject

_FIRST_STEPS: list[JsonObject] = [
    {"name": "trigger", "type": "TRIGGER", "next": [{"step": "parse"}]},
    {"name": "parse", "type": "PARSE"},
]
"""Steps of a workflow that is created without any."""


def workflow_routes(account: SandboxAccount) -> list[BaseRoute]:
    """Build the routes under `/workflows`."""
    return [
        route(account, "GET", "/workflows", list_workflows),
        route(account, "POST", "/workflows", create_workflow),
        route(account, "GET", "/workflows/{id}", get_workflow),
        route(account, "POST", "/workflows/{id}", update_workflow),
        route(account, "GET", "/workflows/{id}/versions", list_workflow_versions),
        route(account, "POST", "/workflows/{id}/versions", deploy_workflow_version),
        route(account, "GET", "/workflows/{id}/versions/{version}", get_workflow_version),
    ]


def list_workflows(account: SandboxAccount, call: Call) -> JsonObject:
    """List summaries of workflows, sorted, page by page."""
    settings = account.settings
    wanted = list_query.read_list_query(call.query, (), settings, scope="workflows")
    page, token = list_query.page_of(
        account.store.workflows.values(),
        lambda workflow: (wire.read_timestamp(workflow.summary[wanted.sort_by]) or account.started_at, workflow.id),
        wanted,
        settings,
    )
    return list_query.list_body([workflow.summary for workflow in page], token, settings)


def create_workflow(account: SandboxAccount, call: Call) -> JsonObject:
    """Create a workflow with a draft."""
    body = _body(account, call)
    name = _name(account, body, required=True)
    steps = complete_steps(_steps(account, body, deploying=False) or _FIRST_STEPS, [])
    now = account.engine.now
    draft = wire.version_summary(account.ids("workflow_version_"), "draft", None, now)
    summary = wire.workflow_summary(account.ids("workflow_"), name or "", now, now)
    workflow = Workflow(summary, [draft], None, {draft["id"]: steps})
    account.store.workflows[workflow.id] = workflow
    account.outbox.account_event("workflow.created", workflow.whole(), now)
    return workflow.whole()


def get_workflow(account: SandboxAccount, call: Call) -> JsonObject:
    """Return a workflow with its draft."""
    return _workflow(account, call).whole()


def update_workflow(account: SandboxAccount, call: Call) -> JsonObject:
    """Rename a workflow, or replace the steps of its draft, except for what the new ones leave out."""
    workflow, body = _workflow(account, call), _body(account, call)
    name, steps = _name(account, body), _steps(account, body, deploying=False)
    if steps is not None:
        steps = complete_steps(steps, workflow.draft_steps)
        # What the draft keeps must fit the new steps, such as the branches that they route to.
        workflow.change_draft(DefinitionReader(account.settings.validation_status).check(steps, deploying=False))
    if name is not None:
        workflow.summary["name"] = name
    workflow.summary["updatedAt"] = wire.timestamp(account.engine.now)
    return workflow.whole()


def list_workflow_versions(account: SandboxAccount, call: Call) -> JsonObject:
    """List summaries of a workflow's versions, including the draft, by creation time."""
    settings, workflow = account.settings, _workflow(account, call)
    if "sortBy" in call.query:
        raise InvalidFieldError(settings.validation_status, "Versions are sorted by creation only", "sortBy")
    wanted = list_query.read_list_query(call.query, (), settings, scope=f"versions of {workflow.id}")
    page, token = list_query.page_of(
        workflow.versions,
        lambda version: (wire.read_timestamp(version["createdAt"]) or account.started_at, version["id"]),
        wanted,
        settings,
    )
    return list_query.list_body(page, token, settings)


def deploy_workflow_version(account: SandboxAccount, call: Call) -> JsonObject:
    """Publish the draft, or the given steps, as the next version."""
    workflow, body = _workflow(account, call), _body(account, call) if call.body else {}
    name, given = _name(account, body), _steps(account, body, deploying=True)
    if given is None:
        steps = DefinitionReader(account.settings.validation_status).check(workflow.draft_steps, deploying=True)
    else:
        steps = complete_steps(given, [])
    now = account.engine.now
    number = str(len(workflow.versions))  # The draft is in the list, the new version is not.
    version = wire.version_summary(account.ids("workflow_version_"), number, name, now)
    workflow.publish(version, steps, from_draft=given is None)
    workflow.summary["updatedAt"] = wire.timestamp(now)
    account.outbox.account_event("workflow.deployed", workflow.whole(), now)
    return workflow.version_in_full(version)


def get_workflow_version(account: SandboxAccount, call: Call) -> JsonObject:
    """Return one version with its steps, by `draft`, `latest`, number or ID."""
    workflow, wanted = _workflow(account, call), call.path["version"]
    by_name = workflow.version(None if wanted == "latest" else wanted)
    found = by_name or next((version for version in workflow.versions if version["id"] == wanted), None)
    if found is None:
        raise ApiError(404, "Workflow version not found")
    return workflow.version_in_full(found)


def _workflow(account: SandboxAccount, call: Call) -> Workflow:
    workflow = account.store.workflows.get(call.path["id"])
    if workflow is None:
        raise ApiError(404, "Workflow not found")
    return workflow


def _body(account: SandboxAccount, call: Call) -> JsonObject:
    return BodyReader(account.settings.validation_status).read_object(call.body, "body")


def _name(account: SandboxAccount, body: JsonObject, *, required: bool = False) -> str | None:
    if body.get("name") is None and not required:
        return None
    return BodyReader(account.settings.validation_status).read_text(body.get("name"), "name")


def _steps(account: SandboxAccount, body: JsonObject, *, deploying: bool) -> list[JsonObject] | None:
    if body.get("steps") is None:
        return None
    return DefinitionReader(account.settings.validation_status).check(body["steps"], deploying=deploying)
