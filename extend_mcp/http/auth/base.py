"""Authentication of HTTP requests: what every way of identifying a caller has in common."""

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
    """The request carries no valid credential. The text is for the log and never contains the credential."""


class Identify(Protocol):
    """Identifies the caller of a request by its headers."""

    async def __call__(self, headers: Headers) -> Caller:
        """Identify the caller.

        Raises:
            UnidentifiedError: no valid credential.
        """
        ...


def bearer(headers: Headers) -> str:
    """Return the token of the Authorization header (RFC 6750, section 2.1).

    Raises:
        UnidentifiedError: no token, or more than one header: a proxy may have checked the other one.
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
        identify: identifies the caller; None for nobody.
        redactor: learns each key that is presented, so that no log line can hold it.
    """

    def __init__(self, identify: Identify | None, redactor: Redactor) -> None:
        self._identify = identify
        self._redactor = redactor

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, CallerUser] | None:
        """Identify the caller of a request; None where nobody is, which gets 401."""
        if self._identify is None:
            return None
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
