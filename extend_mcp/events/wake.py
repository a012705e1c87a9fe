"""Waiting that ends early when one of some resources changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

import anyio
from mcp.server.subscriptions import ResourceUpdated, ServerEvent, SubscriptionBus


class Waker:
    """Waits for a change or for time to pass, whichever is first."""

    def __init__(self) -> None:
        self._changed = anyio.Event()

    async def sleep(self, seconds: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Return after a change since the last call, or after ``seconds``."""
        if not self._changed.is_set():
            async with anyio.create_task_group() as tasks:

                async def time_passes() -> None:
                    await sleep(seconds)
                    tasks.cancel_scope.cancel()

                tasks.start_soon(time_passes)
                await self._changed.wait()
                tasks.cancel_scope.cancel()
        self._changed = anyio.Event()

    def wake(self) -> None:
        """End the current sleep, or the next one."""
        self._changed.set()


@contextmanager
def waking(bus: SubscriptionBus, uris: Collection[str]) -> Iterator[Waker]:
    """Yield a waker for changes of these resources."""
    waker, wanted = Waker(), frozenset(uris)

    def on_event(event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated) and event.uri in wanted:
            waker.wake()

    unsubscribe = bus.subscribe(on_event)
    try:
        yield waker
    finally:
        unsubscribe()
