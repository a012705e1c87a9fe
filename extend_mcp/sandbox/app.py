"""The API's routes. Paths and answers: Extend API reference, Workflow runs and Workflows."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from extend_mcp.sandbox import query, wire
from extend_mcp.sandbox.control import control_routes
from extend_mcp.sandbox.create import RunRequestReader
from extend_mcp.sandbox.engine import NotPossibleError
from extend_mcp.sandbox.errors import ApiError, JsonObject, error_body, json_response
from extend_mcp.sandbox.gate import Gate

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class Call:
    """One API call whose body and query have been read."""

    query: dict[str, str]
    path: dict[str, str]
    body: Any


Operation = Callable[["Sandbox", Call], JsonObject]


def build_app(sandbox: "Sandbox") -> Starlette:
    """Build the ASGI application: control routes under `/_sandbox`, the API everywhere else."""
    # A fixed path such as /workflow_runs/batch must stand before the route with an id at its place.
    api = Starlette(
        routes=[
            _route(sandbox, "GET", "/workflow_runs", list_workflow_runs),
            _route(sandbox, "POST", "/workflow_runs", create_workflow_run),
            _route(sandbox, "GET", "/workflow_runs/{id}", get_workflow_run),
            _route(sandbox, "POST", "/workflow_runs/{id}/cancel", cancel_workflow_run),
            _route(sandbox, "GET", "/workflows", list_workflows),
        ],
        exception_handlers=_ERROR_ANSWERS,
    )
    control = Starlette(routes=control_routes(sandbox), exception_handlers=_ERROR_ANSWERS)
    api.router.redirect_slashes = control.router.redirect_slashes = False
    return Starlette(routes=[Mount("/_sandbox", control), Mount("/", Gate(api, sandbox))])


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


def get_workflow_run(sandbox: "Sandbox", call: Call) -> JsonObject:
    """Return one run with its step runs."""
    return sandbox.record(call.path["id"]).run


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


def _route(sandbox: "Sandbox", method: str, path: str, operation: Operation) -> Route:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        with sandbox.lock:
            sandbox.catch_up()
            call = Call(
                query=query.single_values(request.query_params.multi_items(), sandbox.settings),
                path=request.path_params,
                body=_parse(raw, sandbox),
            )
            return json_response(operation(sandbox, call))

    return Route(path, endpoint, methods=[method])


def _parse(raw: bytes, sandbox: "Sandbox") -> Any:
    if not raw.strip():
        return None
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError(sandbox.settings.validation_status, "The request body is not valid JSON.") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _answer_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return json_response(error_body(error.status, _request_id(request), error.message), error.status)


def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    message = f"Method not allowed: {where}" if error.status_code == 405 else f"No such route: {where}"
    body = error_body(error.status_code, _request_id(request), message)
    return json_response(body, error.status_code, dict(error.headers or {}))


def _request_id(request: Request) -> str:
    # Control routes do not pass the gate and have no request id of their own.
    return str(getattr(request.state, "request_id", "req_sandbox"))


_ERROR_ANSWERS = {ApiError: _answer_api_error, HTTPException: _answer_http_error}
