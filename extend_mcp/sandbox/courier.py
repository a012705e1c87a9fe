"""Carries webhook events to their endpoints. Rules: Extend API reference, Webhooks (delivery and signature)."""

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import anyio

from extend_mcp.sandbox.events import Delivery

if TYPE_CHECKING:
    import httpx

    from extend_mcp.sandbox.sandbox import Sandbox

_TIMEOUT_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.25


class Courier:
    """Sends the due deliveries of a sandbox: when told to, or on its own while `run` runs.

    Deliveries are signed with the real time, since a receiver compares it with its own; retries follow the
    simulated one.
    """

    def __init__(self, sandbox: "Sandbox", wall: Callable[[], float] = time.time) -> None:
        self._sandbox = sandbox
        self._wall = wall
        self._one_round = anyio.Lock()

    async def run(self) -> None:
        """Deliver what becomes due, until cancelled."""
        while True:
            await anyio.sleep(_LOOK_EVERY_SECONDS)
            if self._sandbox.outbox.endpoints:
                await self.deliver()

    async def deliver(self) -> None:
        """Try every due delivery once: one endpoint's in order, endpoints side by side."""
        import httpx

        async with self._one_round:
            with self._sandbox.lock:
                now = self._sandbox.catch_up()
                rounds = defaultdict(list)
                for delivery in self._sandbox.outbox.due(now):
                    rounds[delivery.endpoint_id].append(delivery)
            if not rounds:
                return
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client,
                anyio.create_task_group() as tasks,
            ):
                for deliveries in rounds.values():
                    tasks.start_soon(self._deliver_in_order, client, deliveries, now)

    async def _deliver_in_order(self, client: "httpx.AsyncClient", deliveries: list[Delivery], now: datetime) -> None:
        for delivery in deliveries:
            await self._try(client, delivery, now)

    async def _try(self, client: "httpx.AsyncClient", delivery: Delivery, now: datetime) -> None:
        outbox = self._sandbox.outbox
        with self._sandbox.lock:
            endpoint = outbox.endpoints.get(delivery.endpoint_id)
            if endpoint is None:
                return
            headers = outbox.headers(delivery, int(self._wall()))
        try:
            answer = await client.post(endpoint["url"], content=delivery.body, headers=headers)
            outcome, delivered = f"HTTP {answer.status_code}", answer.is_success
        except Exception as error:
            # A URL or header that no request can carry fails in many ways; the server must outlive them all.
            outcome, delivered = type(error).__name__, False
        with self._sandbox.lock:
            outbox.tried(delivery, outcome, now, delivered=delivered)
