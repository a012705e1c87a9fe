"""Sign URLs that anyone may fetch for a limited time without a key."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

from extend_mcp.sandbox.engine.validation import ApiError


class SignedLinks:
    """Make and check signed URLs under the sandbox's control routes. `base_url` is the sandbox's own URL."""

    def __init__(self, seed: int) -> None:
        self.base_url = "http://sandbox"
        self._key = f"links of sandbox {seed}".encode()

    def make(self, path: str, now: datetime, life: timedelta) -> str:
        """Return a URL for a path, e.g. `/files/file_1`, that works for this simulated time."""
        expires = str(int((now + life).timestamp()))
        return f"{self.base_url}/_sandbox{path}?expires={expires}&signature={self._sign(path, expires)}"

    def check(self, path: str, query: Mapping[str, str], now: datetime) -> None:
        """Check the query of a signed URL.

        Raises:
            ApiError: the signature is wrong or has expired (403).
        """
        expires = query.get("expires", "")
        signed = hmac.compare_digest(self._sign(path, expires).encode(), query.get("signature", "").encode())
        if not signed or now.timestamp() > int(expires):
            raise ApiError(403, "The URL is not valid any more.")

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self._key, f"{path}:{expires}".encode(), hashlib.sha256).hexdigest()
