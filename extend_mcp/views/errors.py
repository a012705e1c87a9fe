"""Describe a failed call. Extend's own text is quoted, since it may repeat text from outside."""

from __future__ import annotations

from extend_mcp.api.errors import ExtendError
from extend_mcp.views.untrusted import Code, Id, Note


def error_words(error: ExtendError) -> str:
    """Say in one sentence, without its full stop, what failed.

    Args:
        error: what the API client raised.

    Returns:
        Status, code, message and request id as far as they are known; never a secret.
    """
    if error.status is None:
        return error.message.removesuffix(".")
    code = f" {Code(error.code)}" if error.code else ""
    request = f" (request {Id(error.request_id)})" if error.request_id else ""
    return f"Extend answered {error.status}{code}: {Note(error.message):300}{request}"
