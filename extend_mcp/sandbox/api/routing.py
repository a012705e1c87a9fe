"""Turn an API operation into a route: read the query and body, catch up with the clock, send the result."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from extend_mcp.sandbox.api.list_query import single_values
from extend_mcp.sandbox.api.responses import json_response
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.validation import ApiError, JsonObject


@dataclass(frozen=True)
class FormFile:
    """A file in a multipart form."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Call:
    """An API call whose query and body have been read. `form` is the body of an operation that takes a form."""

    query: dict[str, str]
    path: dict[str, str]
    body: Any = None
    form: dict[str, str | FormFile] = field(default_factory=dict)


Operation = Callable[[SandboxAccount, Call], JsonObject]


def route(account: SandboxAccount, method: str, path: str, operation: Operation, *, takes_form: bool = False) -> Route:
    """Build the route of an operation.

    Args:
        account: the account that the operation reads or changes. It is locked and caught up meanwhile.
        method: the HTTP method.
        path: the path, with `{id}` for IDs.
        operation: returns a JSON object or raises ApiError.
        takes_form: whether the body is a multipart form. Otherwise it is JSON.
    """

    async def endpoint(request: Request) -> Response:
        form = await _read_form(request, account) if takes_form else {}
        raw = b"" if takes_form else await request.body()
        with account.lock:
            account.catch_up()
            call = Call(
                query=single_values(request.query_params.multi_items(), account.settings),
                path=request.path_params,
                body=_parse(raw, account),
                form=form,
            )
            return json_response(operation(account, call))

    return Route(path, endpoint, methods=[method])


async def _read_form(request: Request, account: SandboxAccount) -> dict[str, str | FormFile]:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(account.settings.validation_status, "Expected a multipart form; Path: body")
    try:
        async with request.form(max_files=1, max_fields=10) as form:
            return {
                name: FormFile(part.filename or "", await part.read()) if isinstance(part, UploadFile) else part
                for name, part in form.items()
            }
    except HTTPException as error:
        raise ApiError(account.settings.validation_status, f"Malformed form: {error.detail}; Path: body") from error


def _parse(raw: bytes, account: SandboxAccount) -> Any:
    if not raw.strip():
        return None
    try:
        return json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError(account.settings.validation_status, "The request body is not valid JSON.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
