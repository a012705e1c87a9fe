"""Events, the resources they change, and which came before.

Source: Extend API reference, Webhooks (envelope and payloads).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from extend_mcp.api.wire import decode_json
from extend_mcp.views.uris import batch_uri, run_uri, workflow_uri

REMEMBERED_SECONDS: Final = 24 * 3600
"""The time for which an event's id is kept: far longer than a signature is valid."""

_MOST_REMEMBERED = 100_000
_LONGEST_ID = 255

END_EVENTS: Final = {
    "PROCESSED": "workflow_run.completed",
    "FAILED": "workflow_run.failed",
    "REJECTED": "workflow_run.rejected",
    "CANCELLED": "workflow_run.cancelled",
}
"""The event of each final status of a workflow run."""

RUN_EVENTS: Final = (*END_EVENTS.values(), "workflow_run.needs_review")
"""The events after which somebody may have to act."""


class NotAnEventError(ValueError):
    """A body that is no event of Extend's."""


@dataclass(frozen=True)
class WebhookEvent:
    """One event, such as ``workflow_run.completed``, and the object it is about, or where that can be had."""

    id: str
    type: str
    payload: dict[str, Any]

    @property
    def payload_url(self) -> str | None:
        """Return where the payload is, when it was too large to be sent along."""
        url = self.payload.get("data") if self.payload.get("object") == "signed_data_url" else None
        return url if isinstance(url, str) else None


def read_event(body: bytes) -> WebhookEvent:
    """Read the body of a delivery, or raise a NotAnEventError."""
    try:
        document = decode_json(body)
    except ValueError:
        raise NotAnEventError("the body is not JSON") from None
    if not isinstance(document, dict):
        raise NotAnEventError("the body is not a JSON object")
    event_id, kind, payload = (document.get(name) for name in ("eventId", "eventType", "payload"))
    if not _is_id(event_id) or not isinstance(kind, str) or not isinstance(payload, dict):
        raise NotAnEventError("eventId, eventType or payload is missing")
    return WebhookEvent(str(event_id), kind, payload)


def needs_payload(event: WebhookEvent) -> bool:
    """Return whether an event with its payload at a URL says too little without it: a step's run, a run's batch."""
    return event.payload_url is not None and event.type.startswith("workflow_run.")


def resources_of(event: WebhookEvent) -> list[str]:
    """Return the URIs of the resources that changed with an event; empty where none of our resources did."""

    def named(field: str, uri: Callable[[str], str]) -> list[str]:
        found = event.payload.get(field)
        return [uri(str(found))] if _is_id(found) else []

    if event.type == "workflow_run.step_run.processed":
        return named("workflowRunId", run_uri)
    if event.type.startswith("workflow_run."):
        return named("id", run_uri) + named("batchId", batch_uri)
    return named("id", workflow_uri) if event.type.startswith("workflow.") else []


def end_of(event: WebhookEvent) -> str | None:
    """Return a name for the end of a run that an event reports; None where it reports none."""
    run_id = event.payload.get("id")
    return end_mark(event.type, run_id) if event.type in END_EVENTS.values() and _is_id(run_id) else None


def end_mark(event_type: str, run_id: object) -> str:
    """Return the name under which the end of a run is remembered. No id of an event has a space."""
    return f"{event_type} {run_id}"


class Seen:
    """Remembers the ids of events, and which runs' ends were received, in this process.

    Extend delivers at least once, so the same event may come again.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._since = monotonic()
        self._until: OrderedDict[str, float] = OrderedDict()

    async def first(self, event_id: str) -> bool:
        """Note an event; False where it was noted before."""
        now = self._monotonic()
        while self._until and (len(self._until) > _MOST_REMEMBERED or next(iter(self._until.values())) <= now):
            _, until = self._until.popitem(last=False)
            self._since = max(self._since, until - REMEMBERED_SECONDS)
        if event_id in self._until:
            return False
        self._until[event_id] = now + REMEMBERED_SECONDS
        return True

    async def forget(self, event_id: str) -> None:
        """Take a note back, so that the event may come again."""
        self._until.pop(event_id, None)

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """Return which of these were noted."""
        return self._until.keys() & set(event_ids)

    async def since(self) -> float:
        """Return the Unix seconds since which every note is kept."""
        now = self._monotonic()
        return self._wall() - (now - max(self._since, now - REMEMBERED_SECONDS))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID
