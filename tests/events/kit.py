"""Deliveries as Extend would send them."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

SECRET = "wss_canary_signing_secret"


def event(event_id: str, kind: str = "workflow_run.completed", **payload: Any) -> bytes:
    """The body of a delivery."""
    return json.dumps({"eventId": event_id, "eventType": kind, "payload": payload}).encode()


def signed(body: bytes, at: float, secret: str = SECRET) -> dict[str, str]:
    """The headers of a delivery, signed at a time in Unix seconds."""
    stamp = str(int(at))
    signature = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "x-extend-request-timestamp": stamp,
        "x-extend-request-signature": signature,
    }
