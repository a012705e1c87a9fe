"""A client that gives up, in every phase of every tool: no task, socket or request is left, and the next call works."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitResult

from tests.calls import first_calls, make_objects, tools
from tests.harness import ERAS, Box, BoxClock, Mode, Person, serving
from tests.http.calls import CALL, HEADERS
from tests.http.kit import connected, serving_http
from tests.robustness.holding_proxy import HoldingProxy, holding_proxy

pytestmark = pytest.mark.thorough

SCENARIO = "empty"
TOOLS = {name: tool for name, tool in tools().items() if name != "list_actions"}
"""Those that ask Extend."""
MOST = 10
"""Requests of one call, each held in order; beyond that a tool that waits asks the same over and over."""
PROMPT = 10.0
"""Seconds; a third of what reading may take."""
FDS = Path("/proc/self/fd")


@pytest.fixture(scope="module")
def proxy() -> Iterator[HoldingProxy]:
    async def nothing(*_: object) -> None: ...

    with holding_proxy(nothing) as proxy:
        yield proxy


@pytest.fixture
def behind(box: Box, proxy: HoldingProxy) -> Box:
    """The sandbox reached through the proxy."""
    proxy.app = box.sandbox.app
    proxy.again(hold=0)
    return Box(proxy.base_url, box.sandbox)


class Halt:
    """Something that never continues once it was reached."""

    def __init__(self) -> None:
        self.reached = False
        self.armed = False

    async def __call__(self) -> None:
        if self.armed:
            self.reached = True
            await anyio.sleep_forever()


class Hesitant(Person):
    """A person who does not answer while armed, and says yes otherwise."""

    def __init__(self, halt: Halt) -> None:
        super().__init__()
        self.halt = halt

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        await self.halt()
        return await super().answer(context, params)


def sockets() -> int:
    """Count the open sockets of this process."""
    links = []
    for entry in FDS.iterdir():
        # The folder's own descriptor is gone when it is read.
        try:
            links.append(os.readlink(entry))  # noqa: PTH115
        except FileNotFoundError:
            continue
    return sum(link.startswith("socket:") for link in links)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for another thread or for tasks that are ending."""
    with anyio.move_on_after(10):
        while not condition():
            await anyio.sleep(0.002)
        return
    raise AssertionError(what)


@asynccontextmanager
async def no_socket_left(box: Box) -> AsyncIterator[None]:
    """No socket is open after the block that was not before; idle connections may be kept within."""
    box.api("GET", "/workflows")
    before = sockets()
    yield
    await until(lambda: sockets() <= before, "sockets are left")


async def given_up(client: Client, tool: str, arguments: dict[str, Any], reached: Callable[[], bool]) -> bool:
    """Call a tool and give up where it has got to a point; False if it ends before."""
    ended = False

    async def call() -> None:
        nonlocal ended
        await client.call_tool(tool, arguments)
        ended = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await until(lambda: ended or reached(), f"{tool} hangs")
        tasks.cancel_scope.cancel()
        given_up_at = anyio.current_time()
    # A call that continues all the same ends with the time that is allowed for reading, or is tried again and works.
    assert anyio.current_time() - given_up_at < PROMPT, "the call continues"
    return not ended


async def settled_requests(box: Box) -> list[dict[str, Any]]:
    """Return the requests of the sandbox once those that were sent at the same time have all arrived."""
    sent: list[dict[str, Any]] = []
    while len(now := box.requests()) != len(sent):
        sent = now
        await anyio.sleep(0.05)
    return sent


@asynccontextmanager
async def nothing_left(box: Box, client: Client, proxy: HoldingProxy) -> AsyncIterator[None]:
    """Nothing stays of what is begun and given up in the block."""
    await client.call_tool("list_workflows", {})
    idle = len(asyncio.all_tasks())
    yield
    await until(lambda: len(asyncio.all_tasks()) <= idle, "tasks are left")
    sent = await settled_requests(box)
    # A request that was left behind would go before this one, or with it.
    proxy.again(hold=0)
    assert not (await client.call_tool("list_workflows", {})).is_error
    assert [each["path"] for each in box.requests()[len(sent) :]] == ["/workflows"]


async def give_up_everywhere(
    box: Box, client: Client, proxy: HoldingProxy, tool: str, halts: tuple[Halt, ...] = (), most: int = MOST
) -> tuple[int, int]:
    """Call a tool repeatedly, giving up later each time; return how many requests and halts were reached."""
    arguments = first_calls()[tool].on(make_objects(box))
    for halt in halts:
        halt.armed = True
    requests = halted = 0
    while requests < most:
        async with nothing_left(box, client, proxy):
            proxy.again(hold=requests + 1)
            going = await given_up(
                client, tool, arguments, lambda: proxy.held.is_set() or any(halt.reached for halt in halts)
            )
            if proxy.held.is_set():
                await until(proxy.left.is_set, f"request {requests + 1} continues")
                requests += 1
            for halt in halts:
                if halt.reached:
                    halt.armed = halt.reached = False
                    halted += 1
        if not going:
            break
    return requests, halted


@pytest.mark.skipif(not FDS.exists(), reason="sockets are counted in /proc")
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("mode", ERAS)
async def test_nothing_is_left_of_a_call_given_up(
    behind: Box, proxy: HoldingProxy, mode: Mode, tool: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asking, sleeping = Halt(), Halt()
    sleep = BoxClock.sleep

    async def hesitant_sleep(clock: BoxClock, seconds: float) -> None:
        await sleeping()
        await sleep(clock, seconds)

    monkeypatch.setattr(BoxClock, "sleep", hesitant_sleep)
    async with (
        no_socket_left(behind),
        serving(behind, mode=mode, person=Hesitant(asking), toolsets="all", file_roots=[tmp_path]) as client,
    ):
        requests, halted = await give_up_everywhere(behind, client, proxy, tool, (asking, sleeping))
    assert requests
    annotations = TOOLS[tool].annotations
    assert annotations
    # A person is asked before whatever destroys, and a tool that waits sleeps.
    assert halted >= (annotations.destructive_hint is True or tool == "wait_for_run")


@pytest.mark.skipif(not FDS.exists(), reason="sockets are counted in /proc")
@pytest.mark.parametrize("mode", ERAS)
async def test_nothing_is_left_over_http_either(behind: Box, proxy: HoldingProxy, mode: Mode) -> None:
    async with (
        no_socket_left(behind),
        serving_http(behind.base_url, toolsets="all", confirmation="trusted", clock=BoxClock(behind)) as running,
        connected(running, mode=mode) as client,
    ):
        for tool in TOOLS.keys() - {"export_fields"}:  # It is refused where files are not the caller's own.
            requests, _ = await give_up_everywhere(behind, client, proxy, tool, most=1)
            assert requests, tool
        await until(lambda: not running.app.lifecycle.calls, "calls are left")


async def test_a_client_that_goes_away_takes_its_call_with_it(behind: Box, proxy: HoldingProxy) -> None:
    """No cancellation is sent: the connection just ends."""
    async with no_socket_left(behind), serving_http(behind.base_url) as running, connected(running) as client:
        async with nothing_left(behind, client, proxy):
            proxy.again(hold=1)
            host, _, port = running.url.removeprefix("http://").partition(":")
            stream = await anyio.connect_tcp(host, int(port))
            body = json.dumps(CALL)
            head = "".join(f"{name}: {value}\r\n" for name, value in {**HEADERS, "Host": f"{host}:{port}"}.items())
            await stream.send(f"POST /mcp HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            await until(proxy.held.is_set, "no request came")
            await stream.aclose()
            await until(proxy.left.is_set, "the request continues")
        await until(lambda: not running.app.lifecycle.calls, "calls are left")
