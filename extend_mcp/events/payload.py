"""Fetching the payload of a large event from the signed URL it names, and from nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx

from extend_mcp.api.transport import RefusedAnswerError, download
from extend_mcp.api.wire import decode_json
from extend_mcp.urls import is_loopback

_SECONDS: Final = 10.0
_MOST_BYTES: Final = 16 * 1024 * 1024


class PayloadRefusedError(Exception):
    """A payload that is not fetched, or could not be. The text names no URL: a signed one is a credential."""


class PayloadFetcher:
    """Fetches payloads from hosts that the operator named. No redirect is followed and no credential is sent.

    A host is a name or ``name:port``; https only, except on loopback addresses.
    """

    def __init__(self, hosts: Sequence[str], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._transport = transport

    async def fetch(self, url: str) -> dict[str, Any]:
        """Fetch a payload.

        Raises:
            PayloadRefusedError: the host is not allowed, or no JSON object came from it in time.
        """
        self._check(url)
        client = httpx.AsyncClient(transport=self._transport, timeout=_SECONDS, trust_env=False)
        try:
            with anyio.fail_after(_SECONDS):
                document = decode_json(await download(client, url, max_bytes=_MOST_BYTES))
        except RefusedAnswerError as error:
            problem = str(error)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            problem = type(error).__name__
        else:
            if isinstance(document, dict):
                return document
            problem = "not a JSON object"
        # Raised out here, so that it is not chained to an exception that quotes the URL.
        raise PayloadRefusedError(f"the payload could not be read: {problem}")

    def _check(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise PayloadRefusedError("the payload's URL is malformed") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
            raise PayloadRefusedError("the payload's URL is not https")
        if parts.username or parts.password:
            raise PayloadRefusedError("the payload's URL carries credentials")
        named = f"{host}:{port}" if port else host
        if named not in self._hosts and not (port in (None, 443) and host in self._hosts):
            raise PayloadRefusedError("the payload's host is not among EXTEND_MCP_WEBHOOK_PAYLOAD_HOSTS")
