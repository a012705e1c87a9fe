"""OAuth: callers bring an access token of the operator's authorization server, a signed JWT made out for this server.

This is the resource server's part of MCP's authorization specification (2025-11-25, 2026-07-28): the token must be
signed by the issuer's key, be for this server and no other (RFC 8707), and be in its time (RFC 9068).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from starlette.datastructures import Headers

from extend_mcp.accounts import Account, Caller, fingerprint
from extend_mcp.clock import Clock
from extend_mcp.http.auth.base import Identify, UnidentifiedError, bearer
from extend_mcp.http.auth.jwks import ALGORITHMS, Fetch, Key, KeySet, is_secure
from extend_mcp.settings import SettingsError

LEEWAY_SECONDS: Final = 30.0
"""The most that the issuer's clock may be ahead. The end of a token is exact, since later checks use it."""

MAX_CHARS: Final = 16_384
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt", "jwt"})
_REASONS: Final[dict[type[Exception], str]] = {
    jwt.InvalidIssuerError: "the token is of another issuer",
    jwt.InvalidAudienceError: "the token is for another audience",
}
_OPTIONS: Final[jwt.types.Options] = {"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}
"""PyJWT goes by the system's clock; `_in_time` by the one given."""

_LATEST: Final = 253_402_300_799
"""The last second of the year 9999; Python has no later time."""


class OAuth(Identify):
    """Identifies callers by their access token, until it expires. All act on one account, within their scopes.

    The issuer is the authorization server's identifier, letter for letter as in its tokens; the audience this server's
    public MCP URL, as clients name it when they ask for a token.

    Raises:
        SettingsError: an address cannot be used.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        default: Account,
        fetch: Fetch | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not is_secure(issuer) or urlsplit(issuer).query:
            raise SettingsError("the OAuth issuer must be an https URL without credentials, query or fragment")
        if not audience.strip("/"):
            raise SettingsError("OAuth needs this server's public URL, which its tokens are made out for")
        self._issuer = issuer
        self._audience = [audience.rstrip("/"), audience.rstrip("/") + "/"]
        self._default = default
        self._clock = clock or Clock()
        self._keys = KeySet(issuer, clock=self._clock, fetch=fetch)

    async def __call__(self, headers: Headers) -> Caller:
        """Identify the caller by their access token."""
        token = bearer(headers)
        algorithm, kid = _header(token)
        keys = await self._keys.find(kid, algorithm)
        if not keys:
            raise UnidentifiedError("the token is signed with a key that the issuer does not show")
        claims = self._claims(token, algorithm, keys)
        expires_at = self._in_time(claims)
        client_id = _name(claims, "client_id") or _name(claims, "azp")
        subject = _name(claims, "sub")
        if not client_id and not subject:
            raise UnidentifiedError("the token names neither subject nor client")
        return Caller(
            f"oauth:{fingerprint(json.dumps([self._issuer, client_id, subject]))}",
            self._default,
            scopes=_scopes(claims),
            expires_at=expires_at,
            client_id=client_id or "",
            issuer=self._issuer,
            subject=subject,
        )

    def _claims(self, token: str, algorithm: str, keys: Sequence[Key]) -> dict[str, Any]:
        """Return the token's claims once signature, issuer and audience are verified."""
        for key in keys:
            try:
                # Each key fits the algorithm by its type, not by what the token says.
                return jwt.decode(
                    token, key.public, [algorithm], _OPTIONS, issuer=self._issuer, audience=self._audience
                )
            except jwt.InvalidSignatureError:
                continue
            # Reasons are our own: PyJWT's texts may quote the token.
            except jwt.MissingRequiredClaimError as error:
                reason = f"the token lacks the claim {error.claim}"
            except (jwt.PyJWTError, ValueError, RecursionError) as error:
                reason = _REASONS.get(type(error), "the token's content is malformed")
            raise UnidentifiedError(reason)
        raise UnidentifiedError("the token's signature is wrong")

    def _in_time(self, claims: dict[str, Any]) -> int:
        """Return the token's end in Unix seconds, if it is valid now."""
        now = self._clock.now().timestamp()
        for name in ("nbf", "iat"):
            if name in claims and _seconds(claims, name) > now + LEEWAY_SECONDS:
                raise UnidentifiedError(f"the token does not count yet ({name})")
        expires = int(_seconds(claims, "exp"))
        if expires <= now:
            raise UnidentifiedError("the token has expired")
        return expires


def _header(token: str) -> tuple[str, str | None]:
    """Return the algorithm and key id that a token names, which are not verified yet."""
    header: dict[str, Any] | None = None
    if len(token) <= MAX_CHARS and _FORM.fullmatch(token):
        with suppress(jwt.PyJWTError, ValueError, RecursionError):
            header = jwt.get_unverified_header(token)
    if header is None:
        raise UnidentifiedError("the token is no signed JWT")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise UnidentifiedError("the token's algorithm is not accepted")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise UnidentifiedError("the token's type is not that of an access token")
    if kid is not None and not isinstance(kid, str):
        raise UnidentifiedError("the token's key id is malformed")
    return algorithm, kid


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    # NaN is between no two numbers.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LATEST:
        raise UnidentifiedError(f"the token's {name} is no time")
    return value


def _name(claims: dict[str, Any], name: str) -> str | None:
    """Return a claim that names somebody; None where it is missing or empty."""
    value = claims.get(name)
    if value is None or value == "":
        return None
    # It goes into logs.
    if not isinstance(value, str) or len(value) > 500 or not value.isprintable():
        raise UnidentifiedError(f"the token's {name} is malformed")
    return value


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """Return the token's scopes; without a claim, none."""
    value = claims.get("scope", claims.get("scp", ""))
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UnidentifiedError("the token's scopes are malformed")
    return frozenset(names)
