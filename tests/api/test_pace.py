"""Waiting for a turn: within the limit, fair between callers, each caller's in order, whoever gives up meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_mcp.api.pace import Budget, Category, LocalPermits
from tests.api.pacing import Clock, Simulation


@dataclass
class Arrival:
    """One request: how long after the one before, whose, and after how many seconds of waiting it gives up."""

    gap: float
    caller: str
    patience: float | None


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        gap=st.sampled_from([0.0, 0.0, 0.0, 0.05, 0.3]) | st.floats(0, 1.5),
        caller=st.sampled_from("abc"),
        patience=st.sampled_from([None, None, None, 0.0]) | st.floats(0, 2),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60)
@given(st.integers(1, 6), ARRIVALS)
async def test_whoever_comes_and_whoever_gives_up_the_line_stays_sound(limit: int, arrivals: list[Arrival]) -> None:
    world = Simulation(limit)
    gave_up: set[int] = set()

    async def arrive(number: int, at: float, arrival: Arrival) -> None:
        await world.sleep(at)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as both:

                async def lose_patience(seconds: float) -> None:
                    await world.sleep(seconds)
                    scope.cancel()

                if arrival.patience is not None:
                    both.start_soon(lose_patience, arrival.patience)
                await world.go(arrival.caller, number)
                both.cancel_scope.cancel()
        if scope.cancel_called:
            gave_up.add(number)

    at = 0.0
    async with anyio.create_task_group() as tasks:
        for number, arrival in enumerate(arrivals):
            at += arrival.gap
            tasks.start_soon(arrive, number, at, arrival)
        await world.run()

    moments = [moment for _, _, moment in world.sent]
    for index, moment in enumerate(moments):
        # Sums of floats are a hair off.
        assert sum(1 for other in moments[index:] if other < moment + 1 - 1e-9) <= limit
    went = [number for _, number, _ in world.sent]
    assert sorted({*went, *gave_up}) == list(range(len(arrivals))), "nobody is forgotten"
    for caller in "abc":
        own = [number for whose, number, _ in world.sent if whose == caller]
        assert own == sorted(own), "in the order they came"
    assert world.seconds <= at + len(arrivals) / limit + 2.1, "and no slower than the limit"


async def test_many_at_once_go_in_the_order_they_came() -> None:
    world = Simulation(3)
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(world.go, "a", number)
        await world.run()
    assert [number for _, number, _ in world.sent] == list(range(20))
    assert 5.9 <= world.seconds <= 6.1


async def test_a_long_queue_of_one_delays_anothers_request_by_one() -> None:
    world = Simulation(10)
    async with anyio.create_task_group() as tasks:
        for number in range(300):
            tasks.start_soon(world.go, "a", number)
        await world.run(until=2.5)
        before = len(world.sent)
        tasks.start_soon(world.go, "b", 0)
        await world.run()
    assert world.order().index("b") - before <= 1
    assert len(world.sent) == 301


async def test_callers_take_turns_whatever_the_length_of_their_queues() -> None:
    world = Simulation(1)
    async with anyio.create_task_group() as tasks:
        for caller, count in (("a", 6), ("b", 3), ("c", 1)):
            for number in range(count):
                tasks.start_soon(world.go, caller, number)
        await world.run()
    assert world.order() == "abcababaaa"


async def test_the_head_that_gives_up_asleep_makes_room() -> None:
    world = Simulation(1)
    await world.go("a", 0)
    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def head() -> None:
            with scope:
                await world.go("a", 1)

        tasks.start_soon(head)
        await world.settle()
        tasks.start_soon(world.go, "a", 2)
        await world.run(until=0.5)
        assert world.asleep == 1
        scope.cancel()
        await world.run()
    assert world.sent == [("a", 0, 0.0), ("a", 2, 1.0)]


async def test_one_who_gives_up_at_the_moment_of_being_called_passes_the_call_on() -> None:
    world = Simulation(5)

    async def first() -> None:
        await world.go("a", 0)
        # The next one has been called by now and has not run yet.
        second.cancel()

    tasks = [asyncio.create_task(first())]
    # A task group would cancel a waiter only where it still waits; asyncio itself does so at any time.
    second = asyncio.create_task(world.go("b", 0))
    tasks += [second, asyncio.create_task(world.go("c", 0))]
    await world.run()
    assert [task.done() for task in tasks] == [True] * 3
    assert second.cancelled()
    assert world.order() == "ac"


async def test_an_error_in_counting_reaches_the_one_who_asked_and_nobody_else() -> None:
    class Broken(LocalPermits):
        broken = True

        async def take(self, category: Category) -> float:
            if self.broken:
                self.broken = False
                raise RuntimeError
            return await super().take(category)

    clock = Clock()
    budget = Budget(Broken(1, monotonic=clock.monotonic), sleep=clock.sleep, monotonic=clock.monotonic)
    with pytest.raises(RuntimeError):
        await budget.turn("GET", "a")
    assert await budget.turn("GET", "b") == 0
