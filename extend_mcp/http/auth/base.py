"""Authentication of HTTP requests: what every way of identifying a caller has in common, and the simplest way."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from extend_mcp.accounts import Account, Caller, fingerprint
from extend_mcp.api.wire import is_header_safe
from extend_mcp.callers import CallerUser

logger = logging.getLogger(__name__)

KEY_HEADER: Final = "X-Extend-Api-Key"  # carries the key where a proxy uses ``Authorization`` itself
# Names the workspace, as in Extend's own API; organization-scoped keys need it.
WORKSPACE_HEADER: Final = "x-extend-workspace-id"
_MOST_CHARS: Final = 500  # the longest key or workspace id that is sent on
_NOT_IN_A_CHALLENGE: Final = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")


class UnidentifiedError(AuthenticationError):
    """The request carries no valid credential, or is ``missing`` one. The text, for log and response, never has it."""

    def __init__(self, text: str, *, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing


class Identify(AuthenticationBackend, ABC):
    """Identifies the caller of a request by its headers, for Starlette's authentication."""

    @abstractmethod
    async def __call__(self, headers: Headers) -> Caller:
        """Identify the caller, or raise an UnidentifiedError."""

    async def still_valid(self, caller: Caller) -> bool:
        """Return whether the credential that a caller came with counts still; its expiry is checked elsewhere."""
        return True

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, CallerUser]:
        """Identify the caller of a request. `Challenge` responds to an `UnidentifiedError`."""
        try:
            caller = await self(conn.headers)
        except UnidentifiedError as error:
            # OAuth clients begin without a token, to learn where to get one.
            logger.log(logging.INFO if error.missing else logging.WARNING, "a request was refused: %s", error)
            raise
        return AuthCredentials(sorted(caller.scopes or ())), CallerUser(caller)


def header(headers: Headers, name: str) -> str:
    """Return the value of a header that identifies somebody. Of two values a proxy may have checked the other one."""
    if len(headers.getlist(name)) > 1:
        raise UnidentifiedError(f"more than one {name} header")
    return headers.get(name, "").strip()


def bearer(headers: Headers) -> str:
    """Return the token of the Authorization header (RFC 6750, section 2.1), or raise an UnidentifiedError."""
    # A header without a token, such as "Bearer", is malformed rather than missing.
    scheme, _, token = header(headers, "Authorization").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnidentifiedError("no bearer token", missing=scheme.lower() != "bearer")
    return token.strip()


def is_sendable(value: str) -> bool:
    """Return whether a key or workspace id can be sent on to Extend in a header."""
    return len(value) <= _MOST_CHARS and is_header_safe(value)


@dataclass
class ExtendKeys(Identify):
    """Identifies callers by the Extend key they send. Extend decides whether the key is valid, and valid still.

    ``Authorization`` carries the key as a bearer token; any other header carries it bare.
    """

    key_header: str = "Authorization"

    async def __call__(self, headers: Headers) -> Caller:
        """Identify the caller by their key and workspace."""
        key = bearer(headers) if self.key_header == "Authorization" else header(headers, self.key_header)
        if not key:
            raise UnidentifiedError(f"no {self.key_header} header", missing=True)
        workspace = header(headers, WORKSPACE_HEADER)
        for name, value in (("Extend key", key), ("workspace id", workspace or "none")):
            if not is_sendable(value):
                raise UnidentifiedError(f"the {name} is too long or holds characters that no header can")
        principal = f"key:{fingerprint(key)}" + (f":{workspace}" if workspace else "")
        return Caller(principal, Account(SecretStr(key), workspace or None), client_id=principal)


@dataclass
class Challenge:
    """Responds to a request without a valid credential, and to one that lacks a scope (RFC 6750, section 3).

    Where the protected resource has metadata, it names them and the scopes that a client should ask for first.
    """

    metadata_url: str | None
    scopes: Sequence[str]

    def unidentified(self, _: HTTPConnection, error: Exception) -> Response:
        """Return 401. Without a credential it has no error code (section 3.1)."""
        scopes = " ".join(self.scopes) if self.metadata_url else ""
        if isinstance(error, UnidentifiedError) and error.missing:
            return self._response(401, "", f"Authentication is required: {error}.", scopes)
        return self._response(401, "invalid_token", f"{error}", scopes)

    def insufficient(self, scope: str) -> Response:
        """Return 403, which names the scope."""
        return self._response(403, "insufficient_scope", f"This call needs the scope {scope}.", scope)

    def _response(self, status: int, error: str, description: str, scope: str) -> Response:
        named = {"error": error, "error_description": description} if error else {}
        sent = {**named, "scope": scope, "resource_metadata": self.metadata_url}
        parts = [f'{name}="{_NOT_IN_A_CHALLENGE.sub("", value)}"' for name, value in sent.items() if value]
        challenge = f"Bearer {', '.join(parts)}".strip()
        return JSONResponse(named or {"message": description}, status, {"WWW-Authenticate": challenge})
