"""The operations on workflow runs. Paths and answers: Extend API reference, Workflow runs."""

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from extend_mcp.sandbox import query
from extend_mcp.sandbox.create import RunRequestReader
from extend_mcp.sandbox.engine import NotPossibleError
from extend_mcp.sandbox.errors import ApiError, JsonObject
from extend_mcp.sandbox.routing import Call, route

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox


def run_routes(sandbox: "Sandbox") -> list[BaseRoute]:
    """Build the routes under `/workflow_runs`."""
    # A fixed path must stand before the route with an id at its place.
    return [
        route(sandbox, "GET", "/workflow_runs", list_workflow_runs),
        route(sandbox, "POST", "/workflow_runs", create_workflow_run),
        route(sandbox, "POST", "/workflow_runs/batch", create_workflow_run_batch),
        route(sandbox, "GET", "/workflow_runs/{id}", get_workflow_run),
        route(sandbox, "POST", "/workflow_runs/{id}", update_workflow_run),
        route(sandbox, "DELETE", "/workflow_runs/{id}", delete_workflow_run),
        route(sandbox, "POST", "/workflow_runs/{id}/cancel", cancel_workflow_run),
    ]


def list_workflow_runs(sandbox: "Sandbox", call: Call) -> JsonObject:
    """List summaries of runs, filtered, sorted, page by page."""
    settings = sandbox.settings
    wanted = query.read_list_query(call.query, query.RUN_FILTERS, settings, scope="workflow_runs")
    runs = query.filter_runs(sandbox.store, call.query, settings)
    page, token = query.page_of(
        runs,
        lambda record: (record.created_at if wanted.sort_by == "createdAt" else record.updated_at, record.id),
        wanted,
        settings,
    )
    return query.list_body([record.summary() for record in page], token, settings)


def create_workflow_run(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Start a run and answer with it, PENDING."""
    return sandbox.create_run(RunRequestReader(sandbox.store, sandbox.settings).read(call.body)).run


def create_workflow_run_batch(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Start a run for each input, all of one batch, and answer with the batch's id."""
    requests = RunRequestReader(sandbox.store, sandbox.settings).read_batch(call.body)
    batch_id = sandbox.ids("batch_")
    for request in requests:
        sandbox.create_run(request, batch_id=batch_id)
    return {"batchId": batch_id}


def get_workflow_run(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Return one run with its step runs."""
    return sandbox.record(call.path["id"]).run


def update_workflow_run(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Rename a run or merge metadata into what it has; incoming keys win."""
    reader = RunRequestReader(sandbox.store, sandbox.settings)
    change = reader.read_update(call.body)
    record = sandbox.record(call.path["id"])
    present = record.run.get("metadata")
    merged = (present if isinstance(present, dict) else {}) | change.metadata
    reader.check_metadata(merged)
    record.run["metadata"] = merged
    # No answer shows a run's name (Extend API reference, WorkflowRun), so it is kept beside the run.
    record.name = change.name or record.name
    record.updated_at = sandbox.engine.now
    return record.run


def delete_workflow_run(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Remove a run for good."""
    record = sandbox.record(call.path["id"])
    if sandbox.settings.delete_refuses_moving_runs and record.status in ("PENDING", "PROCESSING", "CANCELLING"):
        raise ApiError(
            sandbox.settings.validation_status, f"Workflow run {record.id} is {record.status}; end it first."
        )
    sandbox.store.delete_run(record)
    return {"id": record.id}


def cancel_workflow_run(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Begin to cancel a run; clients send no body or an empty object."""
    if call.body is not None and not isinstance(call.body, dict):
        raise ApiError(sandbox.settings.validation_status, "Expected an object; Path: body")
    record = sandbox.record(call.path["id"])
    try:
        sandbox.engine.cancel(record)
    except NotPossibleError as refusal:
        raise ApiError(sandbox.settings.cancel_refusal_status, str(refusal)) from refusal
    return record.run
