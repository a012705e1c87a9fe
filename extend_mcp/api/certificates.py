"""The certificate authorities that connections trust."""

import os
import ssl
from functools import cache

import httpx


def certificates() -> ssl.SSLContext:
    """What httpx would trust by itself, read once: that takes longer than several calls, and each account connects.

    Raises:
        OSError: `SSL_CERT_FILE` or `SSL_CERT_DIR` names what is not there.
    """
    return _read(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _read(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
