"""Waiting that ends early when one of some resources changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

import anyio
from mcp.server.subscriptions import ResourceUpdated, ServerEvent, SubscriptionBus


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
