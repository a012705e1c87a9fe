"""Events, the resources they change, which came before, and waiting that a change ends early.

Source: Extend API reference, Webhooks (envelope and payloads).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import anyio
from mcp.server.subscriptions import ResourceUpdated, ServerEvent, SubscriptionBus
from pydantic import BaseModel, ConfigDict, Field

from extend_mcp.views.uris import batch_uri, run_uri, workflow_uri

REMEMBERED_SECONDS: Final = 24 * 3600  # the time for which an event's id is kept: far longer than a signature is valid
_MOST_REMEMBERED = 100_000
_LONGEST_ID: Final = 255

# The event of each final status of a workflow run.
END_EVENTS: Final = {
    "PROCESSED": "workflow_run.completed",
    "FAILED": "workflow_run.failed",
    "REJECTED": "workflow_run.rejected",
    "CANCELLED": "workflow_run.cancelled",
}
# The events after which somebody may have to act.
RUN_EVENTS: Final = (*END_EVENTS.values(), "workflow_run.needs_review")


class WebhookEvent(BaseModel):
    """One event, such as ``workflow_run.completed``, and the object it is about, or where that can be had."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    id: str = Field(alias="eventId", min_length=1, max_length=_LONGEST_ID)
    type: str = Field(alias="eventType")
    payload: dict[str, Any]

    @property
    def payload_url(self) -> str | None:
        """Return where the payload is that was too large to be sent along, if the event says too little without it."""
        url = self.payload.get("data") if self.payload.get("object") == "signed_data_url" else None
        return url if isinstance(url, str) and self.type.startswith("workflow_run.") else None

    @property
    def resources(self) -> list[str]:
        """Return the URIs of the resources that changed; empty where none of our resources did."""
        fields: dict[str, Callable[[str], str]] = {}
        if self.type == "workflow_run.step_run.processed":
            fields = {"workflowRunId": run_uri}
        elif self.type.startswith("workflow_run."):
            fields = {"id": run_uri, "batchId": batch_uri}
        elif self.type.startswith("workflow."):
            fields = {"id": workflow_uri}
        return [uri(named) for name, uri in fields.items() if (named := self._id(name))]

    @property
    def end(self) -> str | None:
        """Return the name of the run's end that the event reports; None where it reports none."""
        run_id = self._id("id")
        return end_mark(self.type, run_id) if self.type in END_EVENTS.values() and run_id else None

    def _id(self, name: str) -> str | None:
        found = self.payload.get(name)
        return found if isinstance(found, str) and 0 < len(found) <= _LONGEST_ID else None


def end_mark(event_type: str, run_id: str) -> str:
    """Return the name under which the end of a run is remembered. No id of an event has a space."""
    return f"{event_type} {run_id}"


class Seen:
    """Remembers the ids of events, and which runs' ends were received, in this process.

    Extend delivers at least once, so the same event may come again.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._since = now()
        self._noted: OrderedDict[str, float] = OrderedDict()

    async def first(self, event_id: str) -> bool:
        """Note an event; False where it was noted before."""
        gone = self._now() - REMEMBERED_SECONDS
        while self._noted and (len(self._noted) > _MOST_REMEMBERED or next(iter(self._noted.values())) <= gone):
            self._since = self._noted.popitem(last=False)[1]
        if event_id in self._noted:
            return False
        self._noted[event_id] = self._now()
        return True

    async def forget(self, event_id: str) -> None:
        """Take a note back, so that the event may come again."""
        self._noted.pop(event_id, None)

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """Return which of these were noted."""
        return self._noted.keys() & set(event_ids)

    async def since(self) -> float:
        """Return the Unix seconds since which every note is kept."""
        return max(self._since, self._now() - REMEMBERED_SECONDS)


@contextmanager
def waking(
    bus: SubscriptionBus, uris: Collection[str], sleep: Callable[[float], Awaitable[None]]
) -> Iterator[Callable[[float], Awaitable[None]]]:
    """Yield a sleep that ends early after a change of these resources, also one since the last sleep."""
    changed, sleeping = False, anyio.CancelScope()

    def on_event(event: ServerEvent) -> None:
        nonlocal changed
        if isinstance(event, ResourceUpdated) and event.uri in uris:
            changed = True
            sleeping.cancel()

    async def sleep_or_wake(seconds: float) -> None:
        nonlocal changed, sleeping
        if not changed:
            with anyio.CancelScope() as sleeping:
                await sleep(seconds)
        changed = False

    unsubscribe = bus.subscribe(on_event)
    try:
        yield sleep_or_wake
    finally:
        unsubscribe()
