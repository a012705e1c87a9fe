"""ExtendKeys: callers bring their own Extend key and act on its account, with everything that the operator offers."""

from __future__ import annotations

from typing import Final

from pydantic import SecretStr
from starlette.datastructures import Headers

from extend_mcp.accounts import Account, Caller, fingerprint
from extend_mcp.api.wire import is_header_safe
from extend_mcp.http.auth.base import Identify, UnidentifiedError, bearer

KEY_HEADER: Final = "X-Extend-Api-Key"
"""Carries the key where a proxy uses ``Authorization`` itself."""

WORKSPACE_HEADER: Final = "x-extend-workspace-id"
"""Names the workspace, as in Extend's own API; organization-scoped keys need it."""

MAX_CHARS: Final = 500
"""The longest key or workspace id that is sent on."""


class ExtendKeys(Identify):
    """Identifies callers by the Extend key they send. Extend decides whether the key is valid, and valid still.

    ``Authorization`` carries the key as a bearer token; any other header carries it bare, or after ``Bearer``.
    """

    def __init__(self, key_header: str = "Authorization") -> None:
        self._key_header = key_header.lower()

    async def __call__(self, headers: Headers) -> Caller:
        """Identify the caller by their key and workspace."""
        # Of two values a proxy may have checked one and this server taken the other.
        for name in (self._key_header, WORKSPACE_HEADER):
            if len(headers.getlist(name)) > 1:
                raise UnidentifiedError(f"more than one {name} header")
        key = self._key(headers)
        if not is_sendable(key):
            raise UnidentifiedError("the Extend key is too long or holds characters that no header can")
        workspace = headers.get(WORKSPACE_HEADER, "").strip()
        if workspace and not is_sendable(workspace):
            raise UnidentifiedError("the workspace id is too long or holds characters that no header can")
        principal = f"key:{fingerprint(key)}" + (f":{workspace}" if workspace else "")
        return Caller(principal, Account(SecretStr(key), workspace or None), client_id=principal)

    def _key(self, headers: Headers) -> str:
        if self._key_header == "authorization":
            return bearer(headers)
        value = headers.get(self._key_header, "").strip()
        scheme, _, rest = value.partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else value
        if not key:
            raise UnidentifiedError(f"no {self._key_header} header", missing=True)
        return key


def is_sendable(value: str) -> bool:
    """Return whether a key or workspace id can be sent on to Extend in a header."""
    return len(value) <= MAX_CHARS and is_header_safe(value)
