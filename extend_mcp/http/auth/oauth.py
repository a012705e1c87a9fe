"""OAuth: callers bring an access token of the operator's authorization server, a signed JWT made out for this server.

This is the resource server's part of MCP's authorization specification (2025-11-25, 2026-07-28): the token must be
signed by the issuer's key, be for this server and no other (RFC 8707), and be in its time (RFC 9068).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import jwt
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from starlette.datastructures import Headers

from extend_mcp.accounts import Account, Caller, fingerprint
from extend_mcp.clock import Clock
from extend_mcp.http.auth.base import Identify, UnidentifiedError, bearer
from extend_mcp.http.auth.jwks import ALGORITHMS, Fetch, KeySet, is_secure
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
"""PyJWT goes by the system's clock; `_check_time` by the one given."""


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError
    return value


_Time = Annotated[float, Field(strict=True, ge=0, le=253_402_300_799)]  # Python has no time after the year 9999
_Name = Annotated[str, Field(max_length=500), AfterValidator(_printable)]  # it goes into logs


class _Claims(BaseModel):
    """The claims that are read, whatever else a token has."""

    exp: _Time
    nbf: _Time = 0
    iat: _Time = 0
    sub: _Name | None = None
    client_id: _Name | None = None
    azp: _Name | None = None
    scope: str | list[str] | None = None
    scp: str | list[str] | None = None


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
        claims = self._verified(token, algorithm, keys)
        self._check_time(claims)
        client_id, subject = claims.client_id or claims.azp or None, claims.sub or None
        if not client_id and not subject:
            raise UnidentifiedError("the token names neither subject nor client")
        granted = (claims.scp if claims.scope is None else claims.scope) or ()
        return Caller(
            f"oauth:{fingerprint(json.dumps([self._issuer, client_id, subject]))}",
            self._default,
            scopes=frozenset(granted.split() if isinstance(granted, str) else granted),
            expires_at=int(claims.exp),
            client_id=client_id or "",
            issuer=self._issuer,
            subject=subject,
        )

    def _verified(self, token: str, algorithm: str, keys: Sequence[jwt.PyJWK]) -> _Claims:
        """Return the token's claims once signature, issuer and audience are verified."""
        reason = "the token's signature is wrong"
        for key in keys:
            try:
                # Each key has the algorithm that was fixed when it was read, not what the token says.
                return _Claims.model_validate(
                    jwt.decode(token, key, [algorithm], _OPTIONS, issuer=self._issuer, audience=self._audience)
                )
            except jwt.InvalidSignatureError:
                continue
            # Reasons are our own: PyJWT's texts may quote the token.
            except jwt.MissingRequiredClaimError as error:
                reason = f"the token lacks the claim {error.claim}"
            except ValidationError as error:
                reason = f"the token's {error.errors()[0]['loc'][0]} is malformed"
            except (jwt.PyJWTError, ValueError, RecursionError) as error:
                reason = _REASONS.get(type(error), "the token's content is malformed")
            break
        raise UnidentifiedError(reason)

    def _check_time(self, claims: _Claims) -> None:
        now = self._clock.now().timestamp()
        for name, begins in (("nbf", claims.nbf), ("iat", claims.iat)):
            if begins > now + LEEWAY_SECONDS:
                raise UnidentifiedError(f"the token does not count yet ({name})")
        if int(claims.exp) <= now:
            raise UnidentifiedError("the token has expired")


def _header(token: str) -> tuple[str, str | None]:
    """Return the algorithm and key id that a token names, which are not verified yet."""
    header: dict[str, Any] | None = None
    if len(token) <= MAX_CHARS and _FORM.fullmatch(token):
        with suppress(jwt.PyJWTError, ValueError, RecursionError):
            header = jwt.get_unverified_header(token)
    if header is None:
        raise UnidentifiedError("the token is no signed JWT")
    if header.get("alg") not in ALGORITHMS:
        raise UnidentifiedError("the token's algorithm is not accepted")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise UnidentifiedError("the token's type is not that of an access token")
    return header["alg"], header.get("kid")
