"""The webhook receiver: checks a delivery, responds at once, and publishes what changed.

Extend sends a large payload as a signed URL. It is fetched from hosts that the operator named, and from nowhere else.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx
from mcp.server.subscriptions import ResourceUpdated, SubscriptionBus
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from extend_mcp.api.transport import RefusedAnswerError, download
from extend_mcp.api.wire import decode_json
from extend_mcp.events.event import Seen, WebhookEvent
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.urls import is_secure, split_url

logger = logging.getLogger(__name__)

_MOST_WAITING = 1000
_PAYLOAD_SECONDS: Final = 10.0
_MOST_PAYLOAD_BYTES: Final = 16 * 1024 * 1024

TIMESTAMP_HEADER: Final = "x-extend-request-timestamp"
SIGNATURE_HEADER: Final = "x-extend-request-signature"

OLDEST_SECONDS: Final = 300  # the time for which a signature is valid; Extend's own SDK has the same limit
# The most that the sender's clock may be ahead of our clock; Extend's own SDK has the same limit.
NEWEST_SECONDS: Final = 60


class BadSignatureError(Exception):
    """A delivery that does not prove where and when it comes from. The text is for the log and holds no secret."""


@dataclass
class Receiver:
    """Takes deliveries, signed with one of the secrets, and turns them into changes on the bus.

    It remembers events, so that one delivered twice is acted on once.
    """

    secrets: Sequence[SecretStr]
    seen: Seen
    bus: SubscriptionBus
    payload_hosts: Sequence[str]
    metrics: Metrics
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._put, self._take = anyio.create_memory_object_stream[WebhookEvent](_MOST_WAITING)

    async def receive(self, request: Request) -> Response:
        """Respond to one delivery: 200 (also for one that came before), 400, 401, or 503 for "send it again"."""
        body = await request.body()
        try:
            verify(body, request.headers, self.secrets, now=self.wall())
            event = WebhookEvent.model_validate(decode_json(body))
        except BadSignatureError as error:
            logger.warning("a webhook delivery was refused: %s", error)
            return self._answer("bad_signature", 401)
        except ValueError:
            logger.warning("a signed webhook delivery is no event")
            return self._answer("not_an_event", 400)
        if not await self.seen.first(event.id):
            # Extend sends an event again until it gets a 200.
            return self._answer("duplicate", 200)
        try:
            self._put.send_nowait(event)
        except anyio.WouldBlock:
            await self.seen.forget(event.id)
            return self._answer("full", 503)
        return self._answer("accepted", 200)

    async def run(self) -> None:
        """Work on what was accepted, until cancelled. After that nothing is received."""
        async with self._put, self._take:
            async for event in self._take:
                try:
                    await self.publish(event)
                except Exception:
                    # One event that goes wrong must not end the reception of all others.
                    logger.exception("an event of type %r could not be passed on", event.type)

    async def publish(self, event: WebhookEvent) -> None:
        """Publish what changed with an event."""
        if event.payload_url:
            try:
                payload = await fetch_payload(event.payload_url, self.payload_hosts)
            except Exception as error:
                # The event's own content must do: for a run that is its id. Other texts would quote the URL.
                problem = error if isinstance(error, RefusedAnswerError) else type(error).__name__
                logger.warning("the payload of a %s event was not fetched: %s", event.type, problem)
            else:
                # Whose event it is, the signed part says; the payload may only add to that.
                known = {"id": event.payload["id"]} if event.payload.get("id") else {}
                event = event.model_copy(update={"payload": {**payload, **known}})
        if event.end:
            await self.seen.first(event.end)
        for uri in event.resources:
            await self.bus.publish(ResourceUpdated(uri))

    def _answer(self, outcome: str, status: int) -> Response:
        self.metrics.count("webhook_events_total", outcome=outcome)
        return JSONResponse({"status": outcome}, status_code=status)


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
    keys = [secret.get_secret_value().encode() for secret in secrets]
    fits = [hmac.compare_digest(hmac.digest(key, signed, "sha256").hex().encode(), given) for key in keys]
    if not any(fits):
        raise BadSignatureError("the signature is not of a secret we know")
    # Judged after the signature: only who can sign may learn about our clock.
    age = now - int(timestamp)
    if age > OLDEST_SECONDS or age < -NEWEST_SECONDS:
        raise BadSignatureError("the timestamp is too far from now")


async def fetch_payload(
    url: str, hosts: Sequence[str], transport: httpx.AsyncBaseTransport | None = None
) -> dict[str, Any]:
    """Fetch a payload. No redirect is followed and no credential is sent.

    A host is a name or ``name:port``; https only, except on loopback addresses.

    Raises:
        RefusedAnswerError: the host is not allowed, or what it sent is no payload.
        Exception: whatever httpx and the clock raise; the text may quote the URL, which is a credential.
    """
    parts, allowed = split_url(url), {host.lower() for host in hosts}
    if parts is None or not is_secure(url):
        raise RefusedAnswerError("its URL is malformed, carries credentials or is not https")
    host, port = (parts.hostname or "").lower(), parts.port
    named = f"{host}:{port}" if port else host
    if named not in allowed and not (port in (None, 443) and host in allowed):
        raise RefusedAnswerError("its host is not among EXTEND_MCP_WEBHOOK_PAYLOAD_HOSTS")
    client = httpx.AsyncClient(transport=transport, timeout=_PAYLOAD_SECONDS, trust_env=False)
    with anyio.fail_after(_PAYLOAD_SECONDS):
        document = decode_json(await download(client, url, max_bytes=_MOST_PAYLOAD_BYTES))
    if not isinstance(document, dict):
        raise RefusedAnswerError("it is no JSON object")
    return document
