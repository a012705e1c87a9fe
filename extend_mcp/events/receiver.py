"""The webhook receiver: checks a delivery, responds at once, and publishes what changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from mcp.server.subscriptions import ResourceUpdated, SubscriptionBus
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from extend_mcp.events.event import NotAnEventError, WebhookEvent, end_of, needs_payload, read_event, resources_of
from extend_mcp.events.payload import PayloadFetcher, PayloadRefusedError
from extend_mcp.events.seen import Seen
from extend_mcp.events.signature import BadSignatureError, verify
from extend_mcp.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_MOST_WAITING = 1000


@dataclass
class Receiver:
    """Takes deliveries, signed with one of the secrets, and turns them into changes on the bus.

    It remembers events, so that one delivered twice is acted on once.
    """

    secrets: Sequence[SecretStr]
    seen: Seen
    bus: SubscriptionBus
    fetcher: PayloadFetcher
    metrics: Metrics
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._put, self._take = anyio.create_memory_object_stream[WebhookEvent](_MOST_WAITING)

    async def receive(self, request: Request) -> Response:
        """Respond to one delivery: 200 (also for one that came before), 400, 401, or 503 for "send it again"."""
        body = await request.body()
        try:
            verify(body, request.headers, self.secrets, now=self.wall())
        except BadSignatureError as error:
            logger.warning("a webhook delivery was refused: %s", error)
            return self._answer("bad_signature", 401)
        try:
            event = read_event(body)
        except NotAnEventError as error:
            logger.warning("a signed webhook delivery is no event: %s", error)
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
        """Work on what was accepted, until cancelled."""
        async for event in self._take:
            try:
                await self.publish(event)
            except Exception:
                # One event that goes wrong must not end the reception of all others.
                logger.exception("an event of type %r could not be passed on", event.type)

    async def publish(self, event: WebhookEvent) -> None:
        """Publish what changed with an event."""
        if needs_payload(event):
            try:
                payload = await self.fetcher.fetch(str(event.payload_url))
            except PayloadRefusedError as error:
                # The event's own content must do: for a run that is its id.
                logger.warning("the payload of a %s event was not fetched: %s", event.type, error)
            else:
                # Whose event it is, the signed part says; the payload may only add to that.
                known = {"id": event.payload["id"]} if event.payload.get("id") else {}
                event = WebhookEvent(event.id, event.type, {**payload, **known})
        if end := end_of(event):
            await self.seen.first(end)
        for uri in resources_of(event):
            await self.bus.publish(ResourceUpdated(uri))

    def close(self) -> None:
        """Release what waits; for when the server has ended."""
        self._put.close()
        self._take.close()

    def _answer(self, outcome: str, status: int) -> Response:
        self.metrics.event(outcome=outcome)
        return JSONResponse({"status": outcome}, status_code=status)
