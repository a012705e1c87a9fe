"""Send webhook events to their endpoints. Rules: Extend API reference, Webhooks (delivery and signature)."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

import anyio
import httpx

from extend_mcp.sandbox.engine.webhook_outbox import Delivery, Outbox

_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.25


class WebhookSender:
    """Sends due deliveries when `deliver` is called, or continuously while `run` runs.

    Signatures use the real time, because receivers compare it with their own clock. Retries follow the simulated time.

    Args:
        outbox: the deliveries.
        lock: guards the outbox.
        catch_up: advances the account and returns the simulated time.
    """

    def __init__(self, outbox: Outbox, lock: threading.RLock, catch_up: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._lock = lock
        self._catch_up = catch_up
        self._one_round = anyio.Lock()

    async def run(self) -> None:
        """Send deliveries as they become due, until cancelled."""
        while True:
            await anyio.sleep(_POLL_SECONDS)
            if self._outbox.endpoints:
                await self.deliver()

    async def deliver(self) -> None:
        """Try every due delivery once: in order for each endpoint, with the endpoints in parallel."""
        async with self._one_round:
            with self._lock:
                now = self._catch_up()
                by_endpoint = defaultdict(list)
                for delivery in self._outbox.due(now):
                    by_endpoint[delivery.endpoint_id].append(delivery)
            if not by_endpoint:
                return
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client,
                anyio.create_task_group() as tasks,
            ):
                for deliveries in by_endpoint.values():
                    tasks.start_soon(self._deliver_in_order, client, deliveries, now)

    async def _deliver_in_order(self, client: httpx.AsyncClient, deliveries: list[Delivery], now: datetime) -> None:
        for delivery in deliveries:
            await self._try(client, delivery, now)

    async def _try(self, client: httpx.AsyncClient, delivery: Delivery, now: datetime) -> None:
        with self._lock:
            endpoint = self._outbox.endpoints.get(delivery.endpoint_id)
            if endpoint is None:
                return
            headers = self._outbox.headers(delivery, int(time.time()))
        try:
            response = await client.post(endpoint["url"], content=delivery.body, headers=headers)
            outcome, delivered = f"HTTP {response.status_code}", response.is_success
        except Exception as error:
            # A URL or header that no request can carry fails in many ways. The server must survive all of them.
            outcome, delivered = type(error).__name__, False
        with self._lock:
            self._outbox.tried(delivery, outcome, now, delivered=delivered)
