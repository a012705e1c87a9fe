"""Waiting for the rate limit: within it, no slower than it, fair between callers, each caller's requests in order."""

from __future__ import annotations

import asyncio
import gc
import itertools
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend_mcp.api.rate_limit import Category, LocalWindow, RateLimiter
from tests.api.simulated_time import Clock, Simulation


@dataclass
class Arrival:
    """One request: seconds after the one before, its caller, and the seconds of waiting after which it gives up."""

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
async def test_requests_that_come_and_give_up_keep_order_and_limit(limit: int, arrivals: list[Arrival]) -> None:
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
                await world.send(arrival.caller, number)
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
    assert sorted({*went, *gave_up}) == list(range(len(arrivals))), "no request is forgotten"
    for caller in "abc":
        own = [number for whose, number, _ in world.sent if whose == caller]
        assert own == sorted(own), "in the order they came"
    assert world.seconds <= at + len(arrivals) / limit + 2.1, "and no slower than the limit"


async def test_many_at_once_are_sent_in_the_order_they_came() -> None:
    world = Simulation(3)
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(world.send, "a", number)
        await world.run()
    assert [number for _, number, _ in world.sent] == list(range(20))
    assert 5.9 <= world.seconds <= 6.1


async def test_a_long_queue_of_one_delays_anothers_request_by_one() -> None:
    world = Simulation(10)
    async with anyio.create_task_group() as tasks:
        for number in range(300):
            tasks.start_soon(world.send, "a", number)
        await world.run(until=2.5)
        before = len(world.sent)
        tasks.start_soon(world.send, "b", 0)
        await world.run()
    assert world.order().index("b") - before <= 1
    assert len(world.sent) == 301


async def test_callers_alternate_whatever_the_length_of_their_queues() -> None:
    world = Simulation(1)
    await world.send("-", 0)
    async with anyio.create_task_group() as tasks:
        for caller, count in (("a", 6), ("b", 3), ("c", 1)):
            for number in range(count):
                tasks.start_soon(world.send, caller, number)
        await world.run()
    assert world.order() == "-abcababaaa"


async def test_a_request_that_gives_up_while_it_sleeps_makes_room() -> None:
    world = Simulation(1)
    await world.send("a", 0)
    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def first() -> None:
            with scope:
                await world.send("a", 1)

        tasks.start_soon(first)
        await world.settle()
        tasks.start_soon(world.send, "a", 2)
        await world.run(until=0.5)
        assert world.asleep == 1
        scope.cancel()
        await world.run()
    assert world.sent == [("a", 0, 0.0), ("a", 2, 1.0)]


async def test_a_request_that_gives_up_just_as_it_could_be_sent_lets_the_next_one_go() -> None:
    world = Simulation(5)

    async def first() -> None:
        await world.send("a", 0)
        # The next one may be sent by now, and has not run yet.
        second.cancel()

    tasks = [asyncio.create_task(first())]
    # A task group would cancel a waiter only where it still waits; asyncio itself does so at any time.
    second = asyncio.create_task(world.send("b", 0))
    tasks += [second, asyncio.create_task(world.send("c", 0))]
    await world.run()
    assert [task.done() for task in tasks] == [True] * 3
    assert second.cancelled()
    assert world.order() == "ac"


async def test_an_error_in_counting_reaches_the_request_that_asked_and_no_other() -> None:
    class Broken(LocalWindow):
        broken = True

        async def take(self, category: Category) -> float:
            if self.broken:
                self.broken = False
                raise RuntimeError
            return await super().take(category)

    clock = Clock()
    limiter = RateLimiter(Broken(1, monotonic=clock.monotonic), sleep=clock.sleep, monotonic=clock.monotonic)
    with pytest.raises(RuntimeError):
        await limiter.acquire("GET", "a")
    assert await limiter.acquire("GET", "b") == 0


def test_nothing_is_kept_of_a_caller_whose_requests_are_sent() -> None:
    async def send() -> None:
        for number in range(20):
            await limiter.acquire("GET", str(number))

    limiter = RateLimiter(LocalWindow(50))
    anyio.run(send)
    gc.collect()
    assert not limiter._caller_queues


async def test_a_short_wait_in_the_queue_is_not_reported_as_one() -> None:
    ticks = itertools.count(0, 0.0001)
    limiter = RateLimiter(LocalWindow(5), sleep=anyio.sleep, monotonic=lambda: next(ticks))
    assert await limiter.acquire("GET") == 0


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [(None, 1), (2.5, 2.5), (0.0, 0), (-1.0, 0), (3600.0, 60), (60.0, 60)]
)
async def test_a_pause_lasts_as_long_as_extend_asks_within_bounds(retry_after: float | None, seconds: float) -> None:
    clock = Clock()
    limiter = clock.limiter(10)
    await limiter.pause("RUN", retry_after)
    assert await limiter.acquire("GET") == 0
    assert await limiter.acquire("RUN") == pytest.approx(seconds, abs=0.01)
