"""The id of a request, for its log lines, spans and audit lines."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request; None outside of one, as over stdio."""

_ACCEPTED: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def accept_request_id(given: str | None) -> str:
    """Return the ``X-Request-Id`` that a client sent, or 16 random characters if it could forge a line of a log."""
    return given if given is not None and _ACCEPTED.fullmatch(given) else secrets.token_hex(8)
