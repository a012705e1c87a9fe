"""Confirmation tokens: sealed claims that only this service can issue and read."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from mcp.server.mcpserver import AESGCMRequestStateCodec, InvalidRequestState

Purpose = Literal["confirmation token", "request state", "stored plan"]

_VERSION = 3


class SealingKeys:
    """Keys that encrypt and authenticate what leaves this process and must come back unchanged.

    Each purpose has its own keys, derived from the operator's: a sealed value of one kind cannot be
    presented as another kind. AES-256-GCM, by the SDK's request state codec.

    Args:
        keys: secrets of at least 32 bytes. The first one seals, all unseal. Empty: one random key of this process.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys = [key.encode() for key in keys] or [os.urandom(32)]

    @classmethod
    def of_account(cls, api_key: str, base_url: str) -> SealingKeys:
        """Return the key that every process acting on this account derives; the API key cannot be found from it."""
        return cls([hmac.new(api_key.encode(), f"extend-mcp account\n{base_url}".encode(), "sha256").hexdigest()])

    def name(self, text: str) -> str:
        """Return a name for ``text`` that only a holder of the first key can compute."""
        return hmac.new(self._keys[0], f"extend-mcp name\n{text}".encode(), "sha256").hexdigest()[:32]

    def codec(self, purpose: Purpose) -> AESGCMRequestStateCodec:
        """Return the codec for one purpose."""
        return AESGCMRequestStateCodec(
            [hmac.digest(key, f"extend-mcp {purpose}".encode(), "sha256") for key in self._keys]
        )


class ConfirmationTokens:
    """Issues and verifies confirmation tokens, valid for ``lifetime`` seconds.

    The ``audience`` must be equal where a token is issued and used, such as the account. A token holds its digest only.
    """

    def __init__(self, keys: SealingKeys, *, audience: str, lifetime: float) -> None:
        self._codec = keys.codec("confirmation token")
        self._audience = audience
        self._lifetime = lifetime

    def issue(self, claims: dict[str, Any], *, principal: str, now: datetime) -> str:
        """Issue a token with ``claims`` to ``principal``, valid from ``now``."""
        envelope = {"v": _VERSION, "exp": now.timestamp() + self._lifetime, "for": self._digest(principal)}
        return self._codec.seal(json.dumps({**envelope, "claims": claims}, separators=(",", ":")).encode())

    def verify(self, token: str, *, principal: str, now: datetime) -> dict[str, Any] | None:
        """Return the claims of a token; None if it was altered, has expired, or was issued by or for someone else."""
        read = self._read(token, principal, now)
        return read if isinstance(read, dict) else None

    def problem(self, token: str, *, principal: str, now: datetime) -> str | None:
        """Say what is wrong with a token; None if nothing is."""
        read = self._read(token, principal, now)
        return read if isinstance(read, str) else None

    def _read(self, token: str, principal: str, now: datetime) -> dict[str, Any] | str:
        try:
            envelope = json.loads(self._codec.unseal(token.strip()))
        except (InvalidRequestState, ValueError):
            return (
                "it is no confirmation token, was altered, or comes from a server process with another key "
                "(give every process the same EXTEND_API_KEY and EXTEND_BASE_URL, or EXTEND_MCP_STATE_KEYS)"
            )
        if envelope["v"] != _VERSION:
            return "another version of this server issued it"
        if envelope["for"] != self._digest(principal):
            return "it was issued to another caller, or for another Extend account"
        if now.timestamp() >= envelope["exp"]:
            return f"it has expired: a token counts for {self._lifetime:,.0f} seconds"
        claims: dict[str, Any] = envelope["claims"]
        return claims

    def _digest(self, principal: str) -> str:
        return hashlib.sha256(f"{self._audience}\n{principal}".encode()).hexdigest()[:32]
