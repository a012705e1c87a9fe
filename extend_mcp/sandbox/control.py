"""Routes under /_sandbox with which a test or a person steers the sandbox. They need no key and are not logged."""

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from extend_mcp.sandbox import wire
from extend_mcp.sandbox.engine import NotPossibleError
from extend_mcp.sandbox.errors import ApiError, InvalidFieldError, JsonObject, json_response
from extend_mcp.sandbox.faults import read_fault

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox

ControlOperation = Callable[["Sandbox", Request, Any], JsonObject]


def control_routes(sandbox: "Sandbox") -> list[BaseRoute]:
    """Build the control routes of one sandbox."""
    return [
        _route(sandbox, "GET", "/state", lambda sandbox, request, body: sandbox.state()),
        _route(sandbox, "GET", "/requests", _list_requests),
        _route(sandbox, "DELETE", "/requests", _forget_requests),
        _route(sandbox, "POST", "/clock", _advance_clock),
        _route(sandbox, "GET", "/faults", _list_faults),
        _route(sandbox, "POST", "/faults", _add_fault),
        _route(sandbox, "DELETE", "/faults", _clear_faults),
        _route(sandbox, "POST", "/runs", _load_run),
        _route(sandbox, "POST", "/runs/{id}/review", _review_run),
        _route(sandbox, "POST", "/runs/{id}/finish", _finish_run),
    ]


def _list_requests(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    return {"requests": [entry.to_json() for entry in sandbox.log]}


def _forget_requests(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    sandbox.log.clear()
    return {"requests": []}


def _advance_clock(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    seconds = _object(body).get("advanceSeconds")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidFieldError(400, "Expected a number", "advanceSeconds")
    try:
        return {"now": wire.timestamp(sandbox.advance(seconds))}
    except (ValueError, OverflowError) as error:
        raise InvalidFieldError(400, str(error), "advanceSeconds") from error


def _list_faults(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    return {"faults": [fault.to_json() for fault in sandbox.faults.pending()]}


def _add_fault(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    sandbox.faults.add(read_fault(body))
    return _list_faults(sandbox, request, None)


def _clear_faults(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    sandbox.faults.clear()
    return _list_faults(sandbox, request, None)


def _load_run(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    record = sandbox.load_run(_object(body), live=request.query_params.get("live") == "true")
    return {"id": record.id, "status": record.status}


def _review_run(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    decision, note = _object(body).get("decision"), body.get("note")
    if decision not in ("approve", "reject"):
        raise InvalidFieldError(400, "Expected approve or reject", "decision")
    if note is not None and not isinstance(note, str):
        raise InvalidFieldError(400, "Expected a string", "note")
    return _run_state(sandbox.review(request.path_params["id"], decision, note))


def _finish_run(sandbox: "Sandbox", request: Request, body: Any) -> JsonObject:
    status = _object(body).get("status")
    if status not in ("PROCESSED", "FAILED"):
        raise InvalidFieldError(400, "Expected PROCESSED or FAILED", "status")
    before_cancel = body.get("beforeCancel") is True
    return _run_state(sandbox.finish_run(request.path_params["id"], status, before_cancel=before_cancel))


def _run_state(run: JsonObject) -> JsonObject:
    return {"id": run["id"], "status": run.get("status")}


def _object(body: Any) -> JsonObject:
    if not isinstance(body, dict):
        raise ApiError(400, "Expected a JSON object; Path: body")
    return body


def _route(sandbox: "Sandbox", method: str, path: str, operation: ControlOperation) -> Route:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        with sandbox.lock:
            sandbox.catch_up()
            try:
                return json_response(operation(sandbox, request, json.loads(raw) if raw else None))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ApiError(400, "The request body is not valid JSON.") from error
            except NotPossibleError as refusal:
                raise ApiError(400, str(refusal)) from refusal

    handler: Callable[[Request], Awaitable[Response]] = endpoint
    return Route(path, handler, methods=[method])
