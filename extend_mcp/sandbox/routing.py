"""How an operation of the API becomes a route: its query and body are read, the clock caught up, its answer sent."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from extend_mcp.sandbox import query
from extend_mcp.sandbox.errors import ApiError, JsonObject, error_body, json_response

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class Call:
    """One API call whose body and query have been read; `form` is the body of an operation that takes a form."""

    query: dict[str, str]
    path: dict[str, str]
    body: Any = None
    form: dict[str, "str | FormFile"] = field(default_factory=dict)


@dataclass(frozen=True)
class FormFile:
    """A file in a multipart form."""

    name: str
    content: bytes


Operation = Callable[["Sandbox", Call], JsonObject]


def route(sandbox: "Sandbox", method: str, path: str, operation: Operation, *, takes_form: bool = False) -> Route:
    """Make a route of an operation.

    Args:
        sandbox: what the operation works on; it is locked and caught up while the operation runs.
        method: the HTTP method.
        path: the path, with `{id}` for ids.
        operation: answers with a JSON object, or raises ApiError.
        takes_form: whether the body is a multipart form; otherwise it is JSON.
    """

    async def endpoint(request: Request) -> Response:
        form = await _read_form(request, sandbox) if takes_form else {}
        raw = b"" if takes_form else await request.body()
        with sandbox.lock:
            sandbox.catch_up()
            call = Call(
                query=query.single_values(request.query_params.multi_items(), sandbox.settings),
                path=request.path_params,
                body=_parse(raw, sandbox),
                form=form,
            )
            return json_response(operation(sandbox, call))

    return Route(path, endpoint, methods=[method])


async def _read_form(request: Request, sandbox: "Sandbox") -> dict[str, "str | FormFile"]:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(sandbox.settings.validation_status, "Expected a multipart form; Path: body")
    try:
        async with request.form(max_files=1, max_fields=10) as form:
            return {
                name: FormFile(part.filename or "", await part.read()) if isinstance(part, UploadFile) else part
                for name, part in form.items()
            }
    except HTTPException as error:
        raise ApiError(sandbox.settings.validation_status, f"Malformed form: {error.detail}; Path: body") from error


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


ERROR_ANSWERS = {ApiError: _answer_api_error, HTTPException: _answer_http_error}
"""Exception handlers that answer every error in the API's form."""
