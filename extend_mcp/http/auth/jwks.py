"""The keys an OAuth issuer signs its access tokens with: found, fetched, kept, and fetched again when they change."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
from jwt import PyJWK

from extend_mcp.api.transport import RefusedAnswerError, certificates, download
from extend_mcp.api.wire import decode_json
from extend_mcp.clock import Clock
from extend_mcp.urls import is_encrypted, split_url

logger = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets the body at a URL; raises whatever it likes when it cannot."""

FRESH_SECONDS: Final = 600.0
"""The time for which keys are used without asking the issuer again."""

STALE_SECONDS: Final = 3600.0
"""The time for which keys are used while the issuer is out of reach."""

RETRY_SECONDS: Final = 10.0
"""The issuer is not asked more often than this, whatever key ids callers make up."""

FETCH_SECONDS: Final = 5.0
MAX_BYTES: Final = 1_000_000
MOST_TRIED: Final = 8
"""The most keys to try for one token, which need not name the one that signed it."""

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""The signatures that are accepted: asymmetric ones only, since the keys are public."""


class KeySet:
    """The keys of one issuer, as its metadata names them; one fetch may take so many seconds, metadata included."""

    def __init__(
        self, issuer: str, *, clock: Clock, fetch: Fetch | None = None, seconds: float = FETCH_SECONDS
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._fetch = fetch or download_keys
        self._seconds = seconds
        self._keys: list[PyJWK] = []
        self._fetched = self._tried = -inf
        self._fetching = anyio.Lock()

    async def find(self, kid: str | None, algorithm: str) -> Sequence[PyJWK]:
        """Return the keys that a token may be signed with; none where the issuer has none or is out of reach."""
        # While one caller asks the issuer, the others continue with the previous keys.
        is_old = self._age() >= FRESH_SECONDS and not self._fetching.locked()
        if is_old or not self._matching(kid, algorithm):
            await self._refresh()
        return self._matching(kid, algorithm)

    def _age(self) -> float:
        return self._clock.monotonic() - self._fetched

    def _matching(self, kid: str | None, algorithm: str) -> Sequence[PyJWK]:
        keys = self._keys if self._age() < STALE_SECONDS else []
        return [key for key in keys if key.algorithm_name == algorithm and kid in (None, key.key_id)][:MOST_TRIED]

    async def _refresh(self) -> None:
        async with self._fetching:
            # A caller that waited for another's fetch finds it done here.
            if self._clock.monotonic() - self._tried < RETRY_SECONDS:
                return
            self._tried = self._clock.monotonic()
            try:
                # A caller who hangs up must not take the answer from those who wait for it.
                with anyio.CancelScope(shield=True), anyio.fail_after(self._seconds):
                    self._keys = await self._load()
            except Exception as error:  # whatever the network or the response holds, calls continue with the old keys
                logger.warning("The keys of the OAuth issuer could not be read: %s", _reason(error))
            else:
                self._fetched = self._clock.monotonic()

    async def _load(self) -> list[PyJWK]:
        entries = (await self._document(await self._discover())).get("keys")
        if not isinstance(entries, list):
            raise RefusedAnswerError("the key set has no keys")
        return [key for entry in entries for key in read_key(entry)]

    async def _discover(self) -> str:
        """Return where the issuer's metadata says that its keys are."""
        reasons = []
        for url in metadata_urls(self._issuer):
            try:
                document = await self._document(url)
            except Exception as error:  # there may be metadata at the next address
                reasons.append(_reason(error))
                continue
            # RFC 8414, section 3.3: otherwise one issuer could speak for another.
            ours, where = document.get("issuer") == self._issuer, document.get("jwks_uri")
            if ours and isinstance(where, str):
                return where
            reasons.append("the metadata names no keys" if ours else "the metadata is of another issuer")
        raise RefusedAnswerError("; ".join(reasons))

    async def _document(self, url: str) -> dict[str, Any]:
        if not is_secure(url):
            raise RefusedAnswerError("an address is not https")
        document = decode_json(await self._fetch(url))
        if not isinstance(document, dict):
            raise RefusedAnswerError("an answer is no JSON object")
        return document


async def download_keys(url: str) -> bytes:
    """Get a body of at most :data:`MAX_BYTES`; errors as for `extend_mcp.api.transport.download`."""
    # Loading certificates takes long enough to hold up other calls.
    client = await anyio.to_thread.run_sync(lambda: httpx.AsyncClient(verify=certificates(), timeout=FETCH_SECONDS))
    return await download(client, url, max_bytes=MAX_BYTES)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, RefusedAnswerError) else type(error).__name__


def metadata_urls(issuer: str) -> list[str]:
    """Return where an issuer's metadata may be, in the order of MCP's authorization specification.

    RFC 8414, section 3.1, puts the well-known part before the issuer's path; OpenID Connect Discovery after it.
    """
    parts = urlsplit(issuer)
    root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    before = [f"{root}/.well-known/{kind}{path}" for kind in ("oauth-authorization-server", "openid-configuration")]
    return list(dict.fromkeys([*before, f"{root}{path}/.well-known/openid-configuration"]))


def is_secure(url: str) -> bool:
    """Return whether keys may be fetched from a URL: https, or http on this machine; no credentials, no fragment."""
    parts = split_url(url)
    if parts is None or not parts.hostname or "@" in parts.netloc or parts.fragment:
        return False
    return is_encrypted(parts)


def read_key(entry: Any) -> list[PyJWK]:
    """Read one JSON Web Key (RFC 7517), once for each algorithm that it may be used with; none where it is no such key.

    With a secret or private key published, anybody could sign.
    """
    keys: list[PyJWK] = []
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.keys() & {"d", "k"}:
        return keys
    for algorithm in ALGORITHMS:
        with suppress(Exception):  # one odd key must not cost the others
            key = PyJWK(entry, algorithm)
            # Preparing checks the curve.
            too_short = key.Algorithm.check_key_length(key.Algorithm.prepare_key(key.key))
            if not too_short and entry.get("alg", algorithm) == algorithm:
                keys.append(key)
    return keys
