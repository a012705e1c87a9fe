"""Waiting that ends early when one of some resources changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress

import anyio
from mcp.server.subscriptions import ResourceUpdated, ServerEvent, SubscriptionBus


@contextmanager
def waking(
    bus: SubscriptionBus, uris: Collection[str], sleep: Callable[[float], Awaitable[None]]
) -> Iterator[Callable[[float], Awaitable[None]]]:
    """Yield a sleep that ends early after a change of these resources, also one since the last sleep."""
    changed, changes = anyio.create_memory_object_stream[None](1)

    def on_event(event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated) and event.uri in uris:
            with suppress(anyio.WouldBlock):
                changed.send_nowait(None)

    async def sleep_or_wake(seconds: float) -> None:
        with suppress(anyio.WouldBlock):
            changes.receive_nowait()
            return
        async with anyio.create_task_group() as tasks:

            async def time_passes() -> None:
                await sleep(seconds)
                tasks.cancel_scope.cancel()

            tasks.start_soon(time_passes)
            await changes.receive()
            tasks.cancel_scope.cancel()

    unsubscribe = bus.subscribe(on_event)
    with changed, changes:
        try:
            yield sleep_or_wake
        finally:
            unsubscribe()
