"""What every way of telling callers apart has in common."""

from __future__ import annotations

import logging
from typing import Protocol

from starlette.authentication import AuthCredentials, AuthenticationBackend
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from extend_mcp.accounts import Caller
from extend_mcp.callers import CallerUser
from extend_mcp.telemetry.redaction import Redactor

logger = logging.getLogger(__name__)

_KEY_CHARS = 16


class UnidentifiedError(Exception):
    """The request carries no credential that counts. The text is for the log; it never holds the credential."""


class Identify(Protocol):
    """Tells who sends a request from its headers."""

    async def __call__(self, headers: Headers) -> Caller:
        """Identify the caller.

        Raises:
            UnidentifiedError: no credential, or none that counts.
        """
        ...


def bearer(headers: Headers) -> str:
    """The token of the Authorization header (RFC 6750, section 2.1).

    Raises:
        UnidentifiedError: there is none, or more than one: which of them a proxy looked at, nobody knows.
    """
    given = headers.getlist("authorization")
    if len(given) > 1:
        raise UnidentifiedError("more than one Authorization header")
    scheme, _, token = (given[0] if given else "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnidentifiedError("no bearer token")
    return token.strip()


class IdentityBackend(AuthenticationBackend):
    """Starlette's authentication by an `Identify`.

    Args:
        identify: tells who sends a request.
        redactor: learns each key that is presented, so that no log line can hold it.
    """

    def __init__(self, identify: Identify, redactor: Redactor) -> None:
        self._identify = identify
        self._redactor = redactor

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, CallerUser] | None:
        """Identify the caller of a request; None where nobody is, which gets 401."""
        try:
            caller = await self._identify(conn.headers)
        except UnidentifiedError as error:
            logger.info("a request was refused: %s", error)
            return None
        key = caller.account.api_key.get_secret_value() if caller.account.api_key else ""
        # A short word that someone presents as a key is left in the logs: it would take other words out of them.
        if len(key) >= _KEY_CHARS:
            self._redactor.add(key)
        return AuthCredentials(sorted(caller.scopes or ())), CallerUser(caller)
