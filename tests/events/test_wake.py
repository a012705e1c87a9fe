from __future__ import annotations

import anyio
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ToolsListChanged

from extend_mcp.events.wake import waking


async def never(_: float) -> None:
    await anyio.sleep_forever()


async def at_once(_: float) -> None:
    return


async def test_a_change_ends_the_waiting_and_only_one_that_is_waited_for() -> None:
    bus = InMemorySubscriptionBus()
    with waking(bus, ["extend://workflow-runs/a"]) as waker, anyio.fail_after(5):
        ended = anyio.Event()

        async def wait() -> None:
            await waker.sleep(60, never)
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await bus.publish(ResourceUpdated("extend://workflow-runs/b"))
            await bus.publish(ToolsListChanged())
            await anyio.wait_all_tasks_blocked()
            assert not ended.is_set()
            await bus.publish(ResourceUpdated("extend://workflow-runs/a"))


async def test_a_change_between_two_waits_is_not_lost_and_counts_once() -> None:
    bus = InMemorySubscriptionBus()
    with waking(bus, ["extend://a"]) as waker, anyio.fail_after(5):
        await bus.publish(ResourceUpdated("extend://a"))
        await waker.sleep(60, never)
        with anyio.move_on_after(0.01) as scope:
            await waker.sleep(60, never)
        assert scope.cancelled_caught
        await waker.sleep(60, at_once)


async def test_nothing_listens_once_the_block_has_ended() -> None:
    bus = InMemorySubscriptionBus()
    with waking(bus, ["extend://a"]):
        assert len(bus._listeners) == 1
    assert bus._listeners == {}
