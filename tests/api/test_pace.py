"""Waiting for a turn: within the limit, fair between callers, each caller's in order, whoever gives up meanwhile."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.errors import ConnectFailedError
from extend_mcp.api.observe import Observer
from extend_mcp.api.pace import Budget, Category, LocalPermits, PaceTransport, Permits
from extend_mcp.api.transport import DeadlineExceededError, NoTurnError, build_transport


class Clock:
    """Time that passes only by sleeping, or by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.seconds += seconds

    def budget(self, per_second: int) -> Budget:
        return Budget(LocalPermits(per_second, monotonic=self.monotonic), sleep=self.sleep, monotonic=self.monotonic)


class Simulation:
    """Many callers in simulated time: it moves on to the next sleeper's moment when nobody has anything left to do."""

    def __init__(self, per_second: int) -> None:
        self.seconds = 0.0
        self.sent: list[tuple[str, int, float]] = []
        """Who went: caller, number, moment."""
        self.asleep = 0
        self.permits = LocalPermits(per_second, monotonic=self.monotonic)
        self.budget = Budget(self.permits, sleep=self._sleep_as_head, monotonic=self.monotonic)
        self._due: list[tuple[float, int, anyio.Event]] = []
        self._ties = itertools.count()
        self._stirred = 0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self._stirred += 1
        moment = (self.seconds + seconds, next(self._ties), anyio.Event())
        heapq.heappush(self._due, moment)
        try:
            await moment[2].wait()
        finally:
            self._stirred += 1
            if moment in self._due:
                self._due.remove(moment)
                heapq.heapify(self._due)

    async def _sleep_as_head(self, seconds: float) -> None:
        self.asleep += 1
        assert self.asleep == 1, "only the head of a line sleeps"
        try:
            await self.sleep(seconds)
        finally:
            self.asleep -= 1

    async def go(self, caller: str, number: int) -> None:
        """Wait for a turn and note when it came."""
        await self.budget.turn("GET", caller)
        self._stirred += 1
        self.sent.append((caller, number, self.seconds))

    async def settle(self) -> None:
        """Let everybody do what they can at this moment."""
        quiet = 0
        while quiet < 20:
            before = self._stirred
            await anyio.lowlevel.checkpoint()
            quiet = quiet + 1 if before == self._stirred else 0

    async def run(self, until: float = float("inf")) -> None:
        """Let time pass until nobody sleeps any more, or until a moment."""
        await self.settle()
        while self._due and self._due[0][0] <= until:
            self.seconds, _, event = heapq.heappop(self._due)
            event.set()
            await self.settle()
        if until != float("inf"):
            self.seconds = until

    def order(self) -> str:
        """Who went, by their names."""
        return "".join(caller for caller, _, _ in self.sent)


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


def answer_with(*statuses: int, **headers: str) -> httpx.MockTransport:
    """Answer with these statuses in turn, the last one for ever."""
    left = list(statuses)
    return httpx.MockTransport(
        lambda request: httpx.Response(left.pop(0) if len(left) > 1 else left[0], headers=headers, json={})
    )


class Told(Observer):
    """An observer that remembers the waits."""

    def __init__(self) -> None:
        self.waits: list[tuple[str, float]] = []

    def api_request(self, *, method: str, endpoint: str, status: str, seconds: float) -> None:
        pass

    def api_retry(self, *, method: str, endpoint: str, reason: str) -> None:
        pass

    def rate_waited(self, *, category: str, seconds: float) -> None:
        self.waits.append((category, seconds))


async def test_categories_do_not_wait_for_each_other_and_waits_are_told() -> None:
    clock = Clock()
    told = Told()
    transport = PaceTransport(answer_with(200), clock.budget(2), observer=told)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for _ in range(2):
            await client.get("/workflow_runs")
            await client.post("/workflow_runs")
            await client.delete("/workflow_runs/1")
        assert clock.seconds == 0
        assert told.waits == []
        await client.get("/workflow_runs")
        assert clock.seconds >= 1
    assert told.waits == [("GET", clock.seconds)]


async def test_what_the_queue_itself_takes_is_not_a_wait() -> None:
    ticks = itertools.count(0, 0.0001)
    budget = Budget(LocalPermits(5), sleep=hang, monotonic=lambda: next(ticks))
    assert await budget.turn("GET", "a") == 0


async def test_each_attempt_of_a_retry_counts() -> None:
    clock = Clock()
    transport = build_transport(
        answer_with(503, 503, 200), total_timeout=60, max_attempts=4, budget=clock.budget(1), sleep=clock.sleep
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/workflow_runs")).status_code == 200
    assert clock.seconds >= 2


@pytest.mark.parametrize(("headers", "seconds"), [({"retry-after": "7"}, 7), ({}, 1), ({"retry-after": "soon"}, 1)])
async def test_a_429_holds_everybody_back_in_its_category(headers: dict[str, str], seconds: float) -> None:
    clock = Clock()
    budget = clock.budget(10)
    alice = PaceTransport(answer_with(429, 200, **headers), budget, caller="alice")
    bob = PaceTransport(answer_with(200), budget, caller="bob")
    async with (
        httpx.AsyncClient(transport=alice, base_url="http://x") as hers,
        httpx.AsyncClient(transport=bob, base_url="http://x") as his,
    ):
        assert (await hers.post("/workflow_runs")).status_code == 429
        await his.get("/workflow_runs")
        assert clock.seconds == 0
        await his.post("/workflow_runs")
        assert clock.seconds == pytest.approx(seconds, abs=0.01)
        for _ in range(5):
            await hers.post("/workflow_runs")
    assert clock.seconds >= seconds + 1, "five a second from now on"


@dataclass
class Stream(httpx.AsyncByteStream):
    """A body that remembers being closed."""

    closed: list[bool] = field(default_factory=list)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{}"

    async def aclose(self) -> None:
        self.closed.append(True)


async def test_an_answer_is_closed_when_the_call_ends_while_its_429_is_being_passed_on() -> None:
    class Slow(LocalPermits):
        async def refused(self, category: Category, retry_after: float | None) -> None:
            scope.cancel()
            await anyio.sleep_forever()

    stream = Stream()
    transport = PaceTransport(httpx.MockTransport(lambda request: httpx.Response(429, stream=stream)), Budget(Slow(1)))
    with anyio.CancelScope() as scope:
        await transport.handle_async_request(httpx.Request("GET", "http://x"))
    assert scope.cancelled_caught
    assert stream.closed


async def hang(seconds: float) -> None:
    await anyio.sleep_forever()


async def paused(kind: Category) -> Permits:
    """Permits that let nothing of this category go for a minute."""
    permits = LocalPermits(10)
    await permits.refused(kind, 60.0)
    return permits


async def test_a_call_that_ends_before_its_turn_is_known_not_to_have_been_sent() -> None:
    def send(request: httpx.Request) -> httpx.Response:
        raise AssertionError

    budget = Budget(await paused("RUN"), sleep=hang)
    transport = build_transport(httpx.MockTransport(send), total_timeout=0.01, max_attempts=1, budget=budget)
    with pytest.raises(NoTurnError):
        await transport.handle_async_request(httpx.Request("POST", "http://x/workflow_runs"))

    config = ClientConfig(SecretStr("sk_1"), "http://x", total_timeout=0.01)
    async with ExtendClient(config, transport=httpx.MockTransport(send), budget=budget) as client:
        with pytest.raises(ConnectFailedError) as failed:
            await client.call("POST", "/workflow_runs", content=b"{}")
    assert failed.value.effect == "none"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_call_that_was_sent_is_not_taken_for_one_that_was_not(method: str) -> None:
    """Neither while its answer is awaited, nor while a later attempt waits for its turn."""

    async def send(request: httpx.Request) -> httpx.Response:
        if method == "POST":
            await anyio.sleep_forever()
        return httpx.Response(429, headers={"retry-after": "0.005"}, json={})

    async def skip(seconds: float) -> None:
        await anyio.lowlevel.checkpoint()

    budget = Budget(LocalPermits(1, monotonic=Clock().monotonic), sleep=hang)
    transport = build_transport(
        httpx.MockTransport(send), total_timeout=0.02, max_attempts=4, budget=budget, sleep=skip
    )
    with pytest.raises(DeadlineExceededError):
        await transport.handle_async_request(httpx.Request(method, "http://x/workflow_runs"))


def clients(clock: Clock, config: ClientConfig, *budgets: Budget | None) -> list[ExtendClient]:
    return [
        ExtendClient(
            config,
            transport=answer_with(200),
            budget=budget,
            caller=str(number),
            sleep=clock.sleep,
            monotonic=clock.monotonic,
        )
        for number, budget in enumerate(budgets)
    ]


Budgets = Callable[[Clock], list[Budget | None]]


@pytest.mark.parametrize(
    ("budgets", "seconds"),
    [
        (lambda clock: [None, None], 0),
        (lambda clock: [clock.budget(2)] * 2, 1),
    ],
    ids=["each its own", "one for both"],
)
async def test_sessions_share_the_budget_that_they_are_given(budgets: Budgets, seconds: float) -> None:
    clock = Clock()
    config = ClientConfig(SecretStr("sk_1"), "http://x", requests_per_second=2)
    both = clients(clock, config, *budgets(clock))
    for client in both:
        for _ in range(2):
            await client.call("GET", "/workflow_runs")
    assert clock.seconds == pytest.approx(seconds, abs=0.01)
    # New connections have not forgotten.
    for client in both:
        await client.aclose()
        await client.call("GET", "/workflow_runs")
        await client.aclose()
    assert clock.seconds == pytest.approx(seconds + 1, abs=0.01)


async def test_sessions_that_share_a_budget_take_turns() -> None:
    clock = Clock()
    sent: list[str] = []

    def client(caller: str) -> ExtendClient:
        def send(request: httpx.Request) -> httpx.Response:
            sent.append(caller)
            return httpx.Response(200, json={})

        config = ClientConfig(SecretStr("sk_1"), "http://x")
        return ExtendClient(config, transport=httpx.MockTransport(send), budget=budget, caller=caller)

    async def call(client: ExtendClient) -> None:
        await client.call("GET", "/workflow_runs")

    budget = clock.budget(1)
    async with client("a") as busy, client("b") as other, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call, busy)
        tasks.start_soon(call, other)
    assert sent.index("b") <= 2
    assert len(sent) == 21


async def test_a_session_without_a_limit_waits_for_nothing() -> None:
    clock = Clock()
    [client] = clients(clock, ClientConfig(SecretStr("sk_1"), "http://x"), None)
    async with client:
        for _ in range(50):
            await client.call("GET", "/workflow_runs")
    assert clock.seconds == 0
