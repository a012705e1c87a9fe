"""Sealing what must survive between two calls into a token that only this service can open.

The token is encrypted and authenticated by the SDK's own request-state codec (AES-256-GCM), so any
replica that shares the keys can open it and nobody else can read, alter or make one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mcp.server.mcpserver import AESGCMRequestStateCodec, InvalidRequestState

_VERSION = 1


class SealKeys:
    """The keys of all seals.

    Args:
        keys: secrets of at least 32 bytes; the first seals, all open. Empty: one random key of this process.

    Attributes:
        codec: seals and opens with them.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.codec = AESGCMRequestStateCodec(list(keys) or [os.urandom(32)])


class Seal:
    """Makes and opens sealed claims.

    Args:
        keys: what they are sealed with.
        audience: who the tokens are for: anything that must be equal where they are made and used, such as
            the account. Only its digest goes in.
        lifetime: seconds that a token stays good.
    """

    def __init__(self, keys: SealKeys, *, audience: str, lifetime: float) -> None:
        self._codec = keys.codec
        self._audience = audience
        self._lifetime = lifetime

    def close(self, claims: dict[str, Any], *, principal: str, now: datetime) -> str:
        """Seal ``claims`` for ``principal``, good from ``now`` for the seal's lifetime."""
        envelope = {
            "v": _VERSION,
            "exp": now.timestamp() + self._lifetime,
            "for": self._digest(principal),
            "claims": claims,
        }
        return self._codec.seal(json.dumps(envelope, separators=(",", ":")).encode())

    def open(self, token: str, *, principal: str, now: datetime) -> dict[str, Any] | None:
        """Open a token.

        Returns:
            Its claims, or None when it is altered, expired, not ours, or another's.
        """
        try:
            envelope = json.loads(self._codec.unseal(token.strip()))
        except (InvalidRequestState, ValueError):
            return None
        good = (
            envelope["v"] == _VERSION
            and now.timestamp() < envelope["exp"]
            and envelope["for"] == self._digest(principal)
        )
        return envelope["claims"] if good else None

    def _digest(self, principal: str) -> str:
        return hashlib.sha256(f"{self._audience}\n{principal}".encode()).hexdigest()[:32]
