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
    with waking(bus, ["extend://workflow-runs/a"], never) as sleep, anyio.fail_after(5):
        ended = anyio.Event()

        async def wait() -> None:
            await sleep(60)
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
    with waking(bus, ["extend://a"], never) as sleep, anyio.fail_after(5):
        await bus.publish(ResourceUpdated("extend://a"))
        await sleep(60)
        with anyio.move_on_after(0.01) as scope:
            await sleep(60)
        assert scope.cancelled_caught


async def test_time_ends_the_waiting_and_nothing_listens_once_the_block_has_ended() -> None:
    bus = InMemorySubscriptionBus()
    with waking(bus, ["extend://a"], at_once) as sleep:
        assert len(bus._listeners) == 1
        await sleep(60)
    assert bus._listeners == {}
