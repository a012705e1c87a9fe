"""Routes under /_sandbox with which a test or a person controls the sandbox. They need no key and are not logged."""

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from extend_mcp.sandbox.api.fault_injection import FaultQueue, read_fault
from extend_mcp.sandbox.api.request_log import LoggedRequest
from extend_mcp.sandbox.api.responses import json_response
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.run_engine import NotPossibleError
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.validation import ApiError, InvalidFieldError, JsonObject

ControlOperation = Callable[[Request, Any], JsonObject]


def control_routes(account: SandboxAccount, faults: FaultQueue, log: list[LoggedRequest]) -> list[BaseRoute]:
    """Build the control routes of one sandbox."""
    control = _Control(account, faults, log)
    return [
        _route(account, "GET", "/state", lambda request, body: account.state()),
        _route(account, "GET", "/requests", control.list_requests),
        _route(account, "DELETE", "/requests", control.clear_requests),
        _route(account, "POST", "/clock", control.advance_clock),
        _route(account, "GET", "/faults", control.list_faults),
        _route(account, "POST", "/faults", control.add_fault),
        _route(account, "DELETE", "/faults", control.clear_faults),
        _route(account, "POST", "/runs", control.load_run),
        _route(account, "POST", "/runs/{id}/review", control.review_run),
        _route(account, "POST", "/runs/{id}/finish", control.finish_run),
    ]


class _Control:
    def __init__(self, account: SandboxAccount, faults: FaultQueue, log: list[LoggedRequest]) -> None:
        self._account = account
        self._faults = faults
        self._log = log

    def list_requests(self, request: Request, body: Any) -> JsonObject:
        return {"requests": [entry.to_json() for entry in self._log]}

    def clear_requests(self, request: Request, body: Any) -> JsonObject:
        self._log.clear()
        return {"requests": []}

    def advance_clock(self, request: Request, body: Any) -> JsonObject:
        seconds = _object(body).get("advanceSeconds")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise InvalidFieldError(400, "Expected a number", "advanceSeconds")
        try:
            return {"now": wire.timestamp(self._account.advance(seconds))}
        except (ValueError, OverflowError) as error:
            raise InvalidFieldError(400, str(error), "advanceSeconds") from error

    def list_faults(self, request: Request, body: Any) -> JsonObject:
        return {"faults": [fault.to_json() for fault in self._faults.pending()]}

    def add_fault(self, request: Request, body: Any) -> JsonObject:
        self._faults.add(read_fault(body))
        return self.list_faults(request, None)

    def clear_faults(self, request: Request, body: Any) -> JsonObject:
        self._faults.clear()
        return self.list_faults(request, None)

    def load_run(self, request: Request, body: Any) -> JsonObject:
        record = self._account.load_run(_object(body), live=request.query_params.get("live") == "true")
        return {"id": record.id, "status": record.status}

    def review_run(self, request: Request, body: Any) -> JsonObject:
        decision, note = _object(body).get("decision"), body.get("note")
        if decision not in ("approve", "reject"):
            raise InvalidFieldError(400, "Expected approve or reject", "decision")
        if note is not None and not isinstance(note, str):
            raise InvalidFieldError(400, "Expected a string", "note")
        return _run_state(self._account.review(request.path_params["id"], decision, note))

    def finish_run(self, request: Request, body: Any) -> JsonObject:
        status = _object(body).get("status")
        if status not in ("PROCESSED", "FAILED"):
            raise InvalidFieldError(400, "Expected PROCESSED or FAILED", "status")
        before_cancel = body.get("beforeCancel") is True
        return _run_state(self._account.finish_run(request.path_params["id"], status, before_cancel=before_cancel))


def _run_state(run: JsonObject) -> JsonObject:
    return {"id": run["id"], "status": run.get("status")}


def _object(body: Any) -> JsonObject:
    if not isinstance(body, dict):
        raise ApiError(400, "Expected a JSON object; Path: body")
    return body


def _route(account: SandboxAccount, method: str, path: str, operation: ControlOperation) -> Route:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        with account.lock:
            account.catch_up()
            try:
                return json_response(operation(request, json.loads(raw) if raw else None))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ApiError(400, "The request body is not valid JSON.") from error
            except NotPossibleError as refusal:
                raise ApiError(400, str(refusal)) from refusal

    return Route(path, endpoint, methods=[method])
