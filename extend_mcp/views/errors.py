"""A failed call in words: Extend's own text is quoted, since it may repeat what came from outside."""

from __future__ import annotations

from extend_mcp.api.errors import ExtendError
from extend_mcp.views.untrusted import quote, word


def error_words(error: ExtendError) -> str:
    """Say in one sentence, without its full stop, what failed.

    Args:
        error: what the API client raised.

    Returns:
        Status, code, message and request id as far as they are known; never a secret.
    """
    if error.status is None:
        return error.message.removesuffix(".")
    code = f" {word(error.code, 100)}" if error.code else ""
    request = f" (request {word(error.request_id, 100)})" if error.request_id else ""
    return f"Extend answered {error.status}{code}: {quote(error.message, 300)}{request}"
