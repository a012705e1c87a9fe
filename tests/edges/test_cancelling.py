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

from extend_mcp.tools.toolsets import TOOLSETS
from tests.edges.gate import Gate, gated
from tests.harness import ERAS, Box, BoxClock, Mode, Person, example_run, serving
from tests.http.calls import CALL, HEADERS
from tests.http.kit import connected, serving_http

pytestmark = pytest.mark.thorough

SCENARIO = "empty"
TOOLS = {tool.name: tool for toolset in TOOLSETS.values() for tool in toolset.tools}
MOST = 10
"""Requests of one call, each held in its turn; beyond that a tool that waits asks the same over and over."""
PROMPT = 10.0
"""Seconds; a third of what reading may take."""
FDS = Path("/proc/self/fd")


def arguments_of(box: Box) -> dict[str, dict[str, Any]]:
    """Good arguments for every tool, on objects made for them."""
    done = box.load(example_run("workflow_run_cancel00000000001", "PROCESSED"))
    live = box.load(example_run("workflow_run_cancel00000000002", "PROCESSING"))
    failed = box.load(example_run("workflow_run_cancel00000000003", "FAILED"))
    workflow = box.api("POST", "/workflows", json={"name": "Cancelling"})["id"]
    box.api("POST", f"/workflows/{workflow}/versions", json={})
    file = box.api("POST", "/files/upload", files={"file": ("a.txt", b"a")})["id"]
    address = {"url": "https://hooks.example/x", "name": "Ops", "apiVersion": "2026-02-09", "enabledEvents": []}
    endpoint = box.api("POST", "/webhook_endpoints", json=address)["id"]
    ordered = {
        "webhookEndpointId": endpoint,
        "resourceType": "workflow",
        "resourceId": workflow,
        "enabledEvents": ["workflow_run.failed"],
    }
    subscription = box.api("POST", "/webhook_subscriptions", json=ordered)["id"]
    return {
        "list_runs": {},
        "get_workflow_run": {"run_id": done},
        "get_step_result": {"run_id": done, "step": "1"},
        "summarize_runs": {"group_by": "failure_reason"},
        "explain_failure": {"run_id": failed},
        "review_queue": {},
        "compare_runs": {"first": done, "second": failed},
        "wait_for_run": {"run_ids": [live]},
        "run_workflow": {"workflow": "Cancelling", "text": "a"},
        "run_workflow_batch": {"workflow": "Cancelling", "inputs": [{"text": "a"}]},
        "update_workflow_run": {"run_id": done, "metadata": {"a": 1}},
        "cancel_workflow_run": {"run_id": live},
        "cancel_runs": {"run_ids": [live]},
        "rerun_workflow_runs": {"run_ids": [failed]},
        "delete_workflow_run": {"run_id": done},
        "list_workflows": {},
        "get_workflow": {"workflow": workflow},
        "list_workflow_versions": {"workflow": workflow},
        "get_workflow_version": {"workflow": workflow},
        "create_workflow": {"name": "More"},
        "update_workflow": {"workflow": workflow, "name": "Renamed"},
        "deploy_workflow_version": {"workflow": workflow},
        "upload_file": {"text": "a", "name": "a.txt"},
        "get_file": {"file_id": file},
        "list_files": {},
        "delete_file": {"file_id": file},
        "create_webhook_endpoint": {"url": "https://hooks.example/x", "name": "Ops", "events": []},
        "update_webhook_endpoint": {"endpoint_id": endpoint, "status": "disabled"},
        "list_webhook_endpoints": {},
        "delete_webhook_endpoint": {"endpoint_id": endpoint},
        "create_webhook_subscription": {
            "endpoint_id": endpoint,
            "resource_id": workflow,
            "events": ["workflow_run.failed"],
        },
        "update_webhook_subscription": {"subscription_id": subscription, "events": ["workflow_run.completed"]},
        "list_webhook_subscriptions": {"endpoint_id": endpoint},
        "delete_webhook_subscription": {"subscription_id": subscription},
    }


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    async def nothing(*_: object) -> None: ...

    with gated(nothing) as gate:
        yield gate


@pytest.fixture
def behind(box: Box, gate: Gate) -> Box:
    """The sandbox as it is reached through the gate."""
    gate.app = box.sandbox.app
    gate.again(hold=0)
    return Box(gate.base_url, box.sandbox)


class Halt:
    """Something that never goes on once it was reached."""

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
    """How many sockets this process has open."""
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
    # What goes on all the same ends with the time that is allowed for reading, or is tried again and works.
    assert anyio.current_time() - given_up_at < PROMPT, "the call goes on"
    return not ended


@asynccontextmanager
async def nothing_left(box: Box, client: Client, gate: Gate) -> AsyncIterator[None]:
    """Nothing stays of what is begun and given up in the block."""
    await client.call_tool("list_workflows", {})
    idle = len(asyncio.all_tasks())
    yield
    sent = box.requests()
    await until(lambda: len(asyncio.all_tasks()) <= idle, "tasks are left")
    # A request that was left behind would go before this one, or with it.
    gate.again(hold=0)
    assert not (await client.call_tool("list_workflows", {})).is_error
    assert [each["path"] for each in box.requests()[len(sent) :]] == ["/workflows"]


async def give_up_everywhere(
    box: Box, client: Client, gate: Gate, tool: str, halts: tuple[Halt, ...] = (), most: int = MOST
) -> tuple[int, int]:
    """Call a tool again and again, each time given up at a later point; how many requests and halts were reached."""
    arguments = arguments_of(box)[tool]
    for halt in halts:
        halt.armed = True
    requests = halted = 0
    while requests < most:
        async with nothing_left(box, client, gate):
            gate.again(hold=requests + 1)
            going = await given_up(
                client, tool, arguments, lambda: gate.held.is_set() or any(halt.reached for halt in halts)
            )
            if gate.held.is_set():
                await until(gate.left.is_set, f"request {requests + 1} goes on")
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
    behind: Box, gate: Gate, mode: Mode, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, sleeping = Halt(), Halt()
    sleep = BoxClock.sleep

    async def hesitant_sleep(clock: BoxClock, seconds: float) -> None:
        await sleeping()
        await sleep(clock, seconds)

    monkeypatch.setattr(BoxClock, "sleep", hesitant_sleep)
    async with (
        no_socket_left(behind),
        serving(behind, mode=mode, person=Hesitant(asking), toolsets="all") as client,
    ):
        requests, halted = await give_up_everywhere(behind, client, gate, tool, (asking, sleeping))
    assert requests
    annotations = TOOLS[tool].annotations
    assert annotations
    # A person is asked before whatever destroys, and a tool that waits sleeps.
    assert halted >= (annotations.destructive_hint is True or tool == "wait_for_run")


@pytest.mark.skipif(not FDS.exists(), reason="sockets are counted in /proc")
@pytest.mark.parametrize("mode", ERAS)
async def test_nothing_is_left_over_http_either(behind: Box, gate: Gate, mode: Mode) -> None:
    async with (
        no_socket_left(behind),
        serving_http(behind.base_url, toolsets="all", confirmation="trusted", clock=BoxClock(behind)) as running,
        connected(running, mode=mode) as client,
    ):
        for tool in TOOLS:
            requests, _ = await give_up_everywhere(behind, client, gate, tool, most=1)
            assert requests, tool
        await until(lambda: not running.parts.lifecycle.calls, "calls are left")


async def test_a_client_that_goes_away_takes_its_call_with_it(behind: Box, gate: Gate) -> None:
    """No cancellation is sent: the connection just ends."""
    async with no_socket_left(behind), serving_http(behind.base_url) as running, connected(running) as client:
        async with nothing_left(behind, client, gate):
            gate.again(hold=1)
            host, _, port = running.url.removeprefix("http://").partition(":")
            stream = await anyio.connect_tcp(host, int(port))
            body = json.dumps(CALL)
            head = "".join(f"{name}: {value}\r\n" for name, value in {**HEADERS, "Host": f"{host}:{port}"}.items())
            await stream.send(f"POST /mcp HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            await until(gate.held.is_set, "no request came")
            await stream.aclose()
            await until(gate.left.is_set, "the request goes on")
        await until(lambda: not running.parts.lifecycle.calls, "calls are left")
