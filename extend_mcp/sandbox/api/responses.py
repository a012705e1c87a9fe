"""Build JSON responses. Errors have Extend's flat body: code, message, retryable and requestId."""

import json

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from extend_mcp.sandbox.engine.validation import ApiError, JsonObject

# Extend API reference, Errors. The codes of 402, 403, 405 and 422 are assumptions.
_CODES = {
    400: "INVALID_REQUEST",
    401: "UNAUTHORIZED",
    402: "USAGE_BLOCKED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    422: "INVALID_REQUEST",
    429: "RATE_LIMIT_EXCEEDED",
}

_MESSAGES = {
    402: "Your organization is out of credits.",
    403: "You do not have access to this resource.",
    404: "Resource not found",
    429: "Too many requests. Please slow down.",
}


def json_response(payload: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Build a JSON response in ASCII, so that a lone surrogate in loaded data cannot break the encoding."""
    content = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    return Response(content, status, headers, media_type="application/json")


def error_body(status: int, request_id: str, message: str | None = None) -> JsonObject:
    """Build the documented error body for a status, with a default message if none is given."""
    fallback = "Internal server error" if status >= 500 else "The request could not be served."
    return {
        "code": _CODES.get(status, "INTERNAL_ERROR" if status >= 500 else "INVALID_REQUEST"),
        "message": message or _MESSAGES.get(status, fallback),
        "retryable": status == 429 or status >= 500,
        "requestId": request_id,
    }


def error_response(error: ApiError, request_id: str) -> Response:
    """Build the response to a refused request."""
    return json_response(error_body(error.status, request_id, error.message), error.status)


def _handle_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error, _request_id(request))


def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    message = f"Method not allowed: {where}" if error.status_code == 405 else f"No such route: {where}"
    body = error_body(error.status_code, _request_id(request), message)
    return json_response(body, error.status_code, dict(error.headers or {}))


def _request_id(request: Request) -> str:
    # Control routes are not logged and have no request ID.
    return str(getattr(request.state, "request_id", "req_sandbox"))


ERROR_HANDLERS = {ApiError: _handle_api_error, HTTPException: _handle_http_error}
"""Starlette exception handlers that give every error Extend's body."""
