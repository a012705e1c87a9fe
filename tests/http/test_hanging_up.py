"""An older client that hangs up while a person is asked leaves no call in flight."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from tests.e2e.line import INITIALIZE
from tests.harness import Box, Person, example_run, facts_of
from tests.hosting import Host
from tests.http.kit import Running, connected, plain_client, serving_http

SCENARIO = "empty"

RUN = "workflow_run_hangUp0000000000001"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def message(method: str, params: dict[str, Any], number: int | None = None) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "method": method, "params": params, **({} if number is None else {"id": number})}
    ).encode()


@asynccontextmanager
async def asked(running: Running, client: httpx.AsyncClient) -> AsyncIterator[dict[str, str]]:
    """A session in which a question is open; yields its headers."""
    params = {**INITIALIZE, "capabilities": {"elicitation": {}}}
    opened = await client.post(running.mcp, content=message("initialize", params, 0), headers=HEADERS)
    session = {**HEADERS, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
    await client.post(running.mcp, content=message("notifications/initialized", {}), headers=session)
    call = message("tools/call", {"name": "cancel_workflow_run", "arguments": {"run_id": RUN}}, 1)
    async with client.stream("POST", running.mcp, content=call, headers=session) as answer:
        async for line in answer.aiter_lines():
            if "elicitation/create" in line:
                break
        assert running.app.lifecycle.calls == 1
        yield session


async def no_call_is_left(running: Running) -> None:
    with anyio.fail_after(5):
        while running.app.lifecycle.calls:
            await anyio.sleep(0.02)


@pytest.mark.parametrize("way", ["the stream is closed", "the session is deleted", "nobody answers"])
async def test_no_call_is_left_and_nothing_is_sent(box: Box, way: str) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    seconds = 1 if way == "nobody answers" else 300
    async with serving_http(box.base_url, confirmation_seconds=seconds) as running, plain_client() as client:
        async with asked(running, client) as session:
            if way == "the session is deleted":
                await client.delete(running.mcp, headers=session)
            if way == "nobody answers":
                await no_call_is_left(running)
        await no_call_is_left(running)
    assert box.requests("POST") == []


async def test_a_person_may_take_their_time(host: Host) -> None:
    # The clock runs: the server waits until the run is CANCELLED.
    with host.room(SCENARIO, speed=60) as sandbox:
        await cancel_slowly(Box(sandbox.base_url, sandbox.sandbox))


async def cancel_slowly(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))

    class Slow(Person):
        async def answer(self, context: Any, params: Any) -> Any:
            await anyio.sleep(1.2)
            return await super().answer(context, params)

    async with (
        serving_http(box.base_url) as running,
        connected(running, mode="legacy", person=Slow()) as client,
    ):
        assert facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))["request_sent"]
