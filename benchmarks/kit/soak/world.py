"""Track the objects at Extend, keep their number small, and inject faults into the servers' calls."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from kit.soak.fleet import Fleet, api

REFRESH_SECONDS = 2.0
FAULT_SECONDS = 2.0
KEPT_RUNS = 120
"""A growing account would make answers grow, and the memory that they need."""

_ENDED = {"PROCESSED", "FAILED", "REJECTED", "CANCELLED"}
_KEPT = 30
_FAULTS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    # A 429 pauses a whole category: many of them, and nothing else would happen.
    ("429 with Retry-After", 1, {"status": 429, "headers": {"Retry-After": "1"}}),
    ("429", 1, {"status": 429}),
    ("500", 8, {"status": 500}),
    ("503", 8, {"status": 503, "times": 2}),
    ("HTML for JSON", 6, {"status": 502, "text": "<html><body>Bad gateway</body></html>"}),
    ("dropped before acting", 8, {"drop": True}),
    ("dropped after acting", 8, {"drop": True, "after": True}),
    ("one second late", 8, {"delaySeconds": 1}),
    ("later than the read time-out", 2, {"delaySeconds": 7}),
    ("broken off in the body", 8, {"truncate": 40}),
    ("403", 3, {"status": 403}),
    ("404", 3, {"status": 404}),
)


@dataclass
class World:
    """The ids that calls may use, and the injected faults."""

    fleet: Fleet
    runs: dict[str, str] = field(default_factory=dict)
    """Status by id, oldest first."""
    workflow_of: dict[str, str] = field(default_factory=dict)
    workflows: list[str] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    stopping: bool = False

    async def keep(self) -> None:
        """Refresh and clean up until stopped."""
        async with api(self.fleet.extend) as client:
            while not self.stopping:
                await self.refresh(client)
                await anyio.sleep(REFRESH_SECONDS)

    async def strike(self, rng: random.Random) -> None:
        """Inject a fault every few seconds until stopped."""
        async with api(self.fleet.extend) as client:
            while not self.stopping:
                name, _, fault = rng.choices(_FAULTS, [weight for _, weight, _ in _FAULTS])[0]
                method = rng.choice(("GET", "GET", "POST", "*"))
                answer = await client.post("/_sandbox/faults", json={"times": 1, "method": method, **fault})
                answer.raise_for_status()
                self.faults[name] += 1
                await anyio.sleep(rng.uniform(0.5, 1.5) * FAULT_SECONDS)
            (await client.delete("/_sandbox/faults")).raise_for_status()

    async def refresh(self, client: httpx.AsyncClient) -> None:
        """Read the objects, and delete old ones."""
        try:
            state = (await client.get("/_sandbox/state")).json()
            await client.delete("/_sandbox/requests")
            runs = sorted(state["runs"], key=lambda run: str(run["createdAt"]))
            self.runs = {run["id"]: run["status"] for run in runs}
            self.workflow_of = {run["id"]: run["workflowId"] for run in runs}
            self.batches = sorted({run["batchId"] for run in state["runs"] if run["batchId"]})
            self.workflows = [each["id"] for each in state["workflows"]][:20]
            self.files = await self._shortened(client, "files")
            endpoints = await self._shortened(client, "webhook_endpoints")
            self.endpoints = [each for each in endpoints if each != self.fleet.endpoint]
            self.subscriptions = await self._shortened(client, "webhook_subscriptions")
            ended = [run for run, status in self.runs.items() if status in _ENDED]
            for run in ended[: max(0, len(self.runs) - KEPT_RUNS)]:
                await client.delete(f"/workflow_runs/{run}")
        except (httpx.HTTPError, ValueError, KeyError):
            # The faults hit these requests too; the next refresh is soon.
            return

    async def _shortened(self, client: httpx.AsyncClient, kind: str) -> list[str]:
        found = (await client.get(f"/{kind}", params={"maxPageSize": 100})).json()["data"]
        ids = [each["id"] for each in found if self.fleet.endpoint not in (each["id"], each.get("webhookEndpointId"))]
        for old in ids[_KEPT:]:
            await client.delete(f"/{kind}/{old}")
        return ids[:_KEPT]
