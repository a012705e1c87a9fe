"""OAuth: callers bring an access token of the operator's authorization server, a signed JWT made out for this server.

This is the resource server's part of MCP's authorization specification (2025-11-25, 2026-07-28): the token must be
signed by the issuer's key, be for this server and no other (RFC 8707), and be in its time (RFC 9068).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
import jwt
from mcp.client.auth.utils import build_oauth_authorization_server_metadata_discovery_urls as metadata_urls
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from starlette.datastructures import Headers

from extend_mcp.accounts import Account, Caller, fingerprint
from extend_mcp.api.transport import RefusedAnswerError, certificates, download
from extend_mcp.api.wire import decode_json
from extend_mcp.clock import Clock
from extend_mcp.http.auth.base import Identify, UnidentifiedError, bearer
from extend_mcp.settings import SettingsError
from extend_mcp.urls import is_secure

logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 600.0  # the time for which keys are used without asking the issuer again
STALE_SECONDS: Final = 3600.0  # the time for which keys are used while the issuer is out of reach
RETRY_SECONDS: Final = 10.0  # the issuer is not asked more often than this, whatever key ids callers make up
FETCH_SECONDS: Final = 5.0
MAX_BYTES: Final = 1_000_000
MOST_TRIED: Final = 8  # the most keys to try for one token, which need not name the one that signed it
# The signatures that are accepted: asymmetric ones only, since the keys are public.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# The most that the issuer's clock may be ahead. The end of a token is exact, since later checks use it.
LEEWAY_SECONDS: Final = 30.0
MAX_CHARS: Final = 16_384
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt", "jwt"})
_REASONS: Final[dict[type[Exception], str]] = {
    jwt.InvalidSignatureError: "the token's signature is wrong",
    jwt.InvalidIssuerError: "the token is of another issuer",
    jwt.InvalidAudienceError: "the token is for another audience",
}
# PyJWT goes by the system's clock; `OAuth` by the one given.
_OPTIONS: Final[jwt.types.Options] = {"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}


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


async def download_keys(url: str) -> bytes:
    """Get a body of at most :data:`MAX_BYTES`; errors as for `extend_mcp.api.transport.download`."""
    # Loading certificates takes long enough to hold up other calls.
    client = await anyio.to_thread.run_sync(lambda: httpx.AsyncClient(verify=certificates(), timeout=FETCH_SECONDS))
    return await download(client, url, max_bytes=MAX_BYTES)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, RefusedAnswerError) else type(error).__name__


def read_key(entry: Any) -> list[jwt.PyJWK]:
    """Read one JSON Web Key (RFC 7517), once for each algorithm that it may be used with; none where it is no such key.

    With a secret or private key published, anybody could sign.
    """
    keys: list[jwt.PyJWK] = []
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.keys() & {"d", "k"}:
        return keys
    for algorithm in ALGORITHMS:
        with suppress(Exception):  # one odd key must not cost the others
            key = jwt.PyJWK(entry, algorithm)
            # Preparing checks the curve.
            too_short = key.Algorithm.check_key_length(key.Algorithm.prepare_key(key.key))
            if not too_short and entry.get("alg", algorithm) == algorithm:
                keys.append(key)
    return keys


@dataclass
class OAuth(Identify):
    """Identifies callers by their access token, until it expires. All act on one account, within their scopes.

    The issuer is the authorization server's identifier, letter for letter as in its tokens; the audience this server's
    public MCP URL, as clients name it when they ask for a token. The issuer's keys are found by its metadata, kept, and
    fetched again when they change; a fetch, metadata included, may take ``fetch_seconds``.

    Raises:
        SettingsError: the issuer's address cannot be used.
    """

    issuer: str
    audience: str
    default: Account
    clock: Clock = field(default_factory=Clock)
    fetch: Callable[[str], Awaitable[bytes]] = download_keys
    fetch_seconds: float = FETCH_SECONDS

    def __post_init__(self) -> None:
        if not is_secure(self.issuer) or urlsplit(self.issuer).query:
            raise SettingsError("the OAuth issuer must be an https URL without credentials, query or fragment")
        self._audience = [self.audience.rstrip("/"), self.audience.rstrip("/") + "/"]
        self._keys: list[jwt.PyJWK] = []
        self._fetched = self._tried = -inf
        self._fetching = anyio.Lock()

    async def __call__(self, headers: Headers) -> Caller:
        """Identify the caller by their access token."""
        token = bearer(headers)
        algorithm, kid = _header(token)
        keys = await self.keys(kid, algorithm)
        if not keys:
            raise UnidentifiedError("the token is signed with a key that the issuer does not show")
        claims, now = self._verified(token, algorithm, keys), self.clock.now().timestamp()
        if max(claims.nbf, claims.iat) > now + LEEWAY_SECONDS:
            raise UnidentifiedError("the token does not count yet")
        if int(claims.exp) <= now:
            raise UnidentifiedError("the token has expired")
        client_id, subject = claims.client_id or claims.azp or None, claims.sub or None
        if not client_id and not subject:
            raise UnidentifiedError("the token names neither subject nor client")
        granted = (claims.scp if claims.scope is None else claims.scope) or ()
        return Caller(
            f"oauth:{fingerprint(json.dumps([self.issuer, client_id, subject]))}",
            self.default,
            scopes=frozenset(granted.split() if isinstance(granted, str) else granted),
            expires_at=int(claims.exp),
            client_id=client_id or "",
            issuer=self.issuer,
            subject=subject,
        )

    def _verified(self, token: str, algorithm: str, keys: Sequence[jwt.PyJWK]) -> _Claims:
        """Return the token's claims once signature, issuer and audience are verified."""
        # Each key has the algorithm that was fixed when it was read, not what the token says.
        for key in keys:
            try:
                return _Claims.model_validate(
                    jwt.decode(token, key, [algorithm], _OPTIONS, issuer=self.issuer, audience=self._audience)
                )
            # Reasons are our own: PyJWT's texts may quote the token.
            except jwt.MissingRequiredClaimError as error:
                reason = f"the token lacks the claim {error.claim}"
            except ValidationError as error:
                reason = f"the token's {error.errors()[0]['loc'][0]} is malformed"
            except (jwt.PyJWTError, ValueError, RecursionError) as error:
                reason = _REASONS.get(type(error), "the token's content is malformed")
                if isinstance(error, jwt.InvalidSignatureError):
                    continue
            break
        raise UnidentifiedError(reason)

    async def keys(self, kid: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        """Return the keys that a token may be signed with; none where the issuer has none or is out of reach."""

        def fitting() -> list[jwt.PyJWK]:
            keys = self._keys if self.clock.monotonic() - self._fetched < STALE_SECONDS else []
            return [key for key in keys if key.algorithm_name == algorithm and kid in (None, key.key_id)][:MOST_TRIED]

        # While one caller asks the issuer, the others continue with the previous keys.
        is_old = self.clock.monotonic() - self._fetched >= FRESH_SECONDS and not self._fetching.locked()
        if is_old or not fitting():
            await self._refresh()
        return fitting()

    async def _refresh(self) -> None:
        async with self._fetching:
            # A caller that waited for another's fetch finds it done here.
            if self.clock.monotonic() - self._tried < RETRY_SECONDS:
                return
            self._tried = self.clock.monotonic()
            try:
                # A caller who hangs up must not take the answer from those who wait for it.
                with anyio.CancelScope(shield=True), anyio.fail_after(self.fetch_seconds):
                    self._keys = await self._load()
            except Exception as error:  # whatever the network or the response holds, calls continue with the old keys
                logger.warning("The keys of the OAuth issuer could not be read: %s", _reason(error))
            else:
                self._fetched = self.clock.monotonic()

    async def _load(self) -> list[jwt.PyJWK]:
        reasons = []
        for url in metadata_urls(self.issuer, self.issuer):
            try:
                metadata = await self._document(url)
            except Exception as error:  # there may be metadata at the next address
                reasons.append(_reason(error))
                continue
            # RFC 8414, section 3.3: otherwise one issuer could speak for another.
            if metadata.get("issuer") != self.issuer:
                reasons.append("the metadata is of another issuer")
            elif not isinstance(where := metadata.get("jwks_uri"), str):
                reasons.append("the metadata names no keys")
            elif not isinstance(entries := (await self._document(where)).get("keys"), list):
                reasons.append("the key set has no keys")
            else:
                return [key for entry in entries for key in read_key(entry)]
        raise RefusedAnswerError("; ".join(reasons))

    async def _document(self, url: str) -> dict[str, Any]:
        if not is_secure(url):
            raise RefusedAnswerError("an address is not https")
        document = decode_json(await self.fetch(url))
        if not isinstance(document, dict):
            raise RefusedAnswerError("an answer is no JSON object")
        return document


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
