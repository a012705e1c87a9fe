"""Reading URLs and hosts, so that the one that is shown is the one that is sent."""

from __future__ import annotations

import ipaddress
import unicodedata
from urllib.parse import SplitResult, urlsplit

from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

from extend_mcp.api.wire import is_header_safe

_URL = TypeAdapter(AnyHttpUrl)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; a name that is not localhost counts as public."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def split_url(address: str) -> SplitResult | None:
    """Split a URL; return None if it is not one. The errors of urllib would quote it, credentials included."""
    try:
        url = urlsplit(address)
        # The port is checked only when it is read.
        return url if is_header_safe(address) and url.port != 0 else None
    except ValueError:
        return None


def is_secure(address: str) -> bool:
    """Return whether secrets may be exchanged with a URL: https, or http on this machine; no credentials, no fragment.

    Nobody on the network can then read what is sent.
    """
    url = split_url(address)
    if url is None or not url.hostname or "@" in url.netloc or url.fragment:
        return False
    return url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname))


def normalize_url(text: str) -> str:
    """Return the normalized form of an http or https URL, to show and to send: host in ASCII, path percent-encoded.

    Raises:
        ValueError: it is no http or https URL, or holds a character that programs read in different ways.
    """
    # Programs disagree on where the host ends when a URL holds one of these (WHATWG URL Standard against RFC 3986).
    if "\\" in text or any(unicodedata.category(char) in _HIDDEN for char in text):
        raise ValueError("must not contain backslashes, spaces, or control or invisible characters")
    try:
        return str(_URL.validate_python(text))
    except ValidationError:
        raise ValueError("must be an http or https URL") from None
