"""Errors as the API reports them: a flat JSON body with code, message, retryable and requestId."""

import json
from typing import Any

from starlette.responses import Response

JsonObject = dict[str, Any]

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


class ApiError(Exception):
    """A request that is answered with an error of this HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class InvalidFieldError(ApiError):
    """A body or query value that breaks a documented rule; the message names the path to it."""

    def __init__(self, status: int, message: str, path: str) -> None:
        super().__init__(status, f"{message}; Path: {path}")


def error_body(status: int, request_id: str, message: str | None = None) -> JsonObject:
    """Build the documented error body for a status, with a default message where none is given."""
    fallback = "Internal server error" if status >= 500 else "The request could not be served."
    return {
        "code": _CODES.get(status, "INTERNAL_ERROR" if status >= 500 else "INVALID_REQUEST"),
        "message": message or _MESSAGES.get(status, fallback),
        "retryable": status == 429 or status >= 500,
        "requestId": request_id,
    }


def json_response(payload: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON in pure ASCII, so that a lone surrogate in loaded data cannot break the encoding."""
    content = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    return Response(content, status, headers, media_type="application/json")
