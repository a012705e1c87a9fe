"""The id of a request, for its log lines, spans and audit lines."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request; None outside of one, as over stdio."""

_ACCEPTED: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_request_id() -> str:
    """Return a random id of 16 characters."""
    return secrets.token_hex(8)


def accept_request_id(given: str | None) -> str:
    """Return the id that a client sent, if it is valid, else a new one.

    Args:
        given: the value of ``X-Request-Id``; accepted are 1 to 64 letters, digits, dots, underscores and dashes, which
            can forge no line of a log.
    """
    return given if given is not None and _ACCEPTED.fullmatch(given) else new_request_id()
