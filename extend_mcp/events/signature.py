"""Signatures of webhook deliveries. Rules: Extend API reference, Webhooks (signature)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import SecretStr

TIMESTAMP_HEADER: Final = "x-extend-request-timestamp"
SIGNATURE_HEADER: Final = "x-extend-request-signature"

OLDEST_SECONDS: Final = 300
"""The time for which a signature is valid; Extend's own SDK has the same limit."""

NEWEST_SECONDS: Final = 60
"""The most that the sender's clock may be ahead of our clock; Extend's own SDK has the same limit."""


class BadSignatureError(Exception):
    """A delivery that does not prove where and when it comes from. The text is for the log and holds no secret."""


def verify(body: bytes, headers: Mapping[str, str], secrets: Sequence[SecretStr], *, now: float) -> None:
    """Check the signature of a delivery: the lower-case hex HMAC-SHA256 of ``v0:{timestamp}:{body}``.

    Several secrets may count: one for each endpoint, or the old and the new one while they change.

    Raises:
        BadSignatureError: it is absent, malformed, of another secret, or too old or new.
    """
    timestamp, signature = headers.get(TIMESTAMP_HEADER), headers.get(SIGNATURE_HEADER)
    if not timestamp or not signature:
        raise BadSignatureError("no signature")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadSignatureError("the timestamp is no number of seconds")
    signed = f"v0:{timestamp}:".encode() + body
    given = signature.encode("utf-8", "surrogateescape")
    # Every secret is tried, whichever fits: how long it takes says nothing about them.
    fits = [hmac.compare_digest(_sign(secret, signed), given) for secret in secrets]
    if not any(fits):
        raise BadSignatureError("the signature is not of a secret we know")
    # Judged after the signature: only who can sign may learn about our clock.
    age = now - int(timestamp)
    if age > OLDEST_SECONDS or age < -NEWEST_SECONDS:
        raise BadSignatureError("the timestamp is too far from now")


def _sign(secret: SecretStr, signed: bytes) -> bytes:
    return hmac.new(secret.get_secret_value().encode(), signed, hashlib.sha256).hexdigest().encode()
