"""Limit what one caller can take of a server, so that enough is left for the others."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.shared.exceptions import MCPError

from extend_mcp.http.auth.tokens import new_token
from tests.harness import Box
from tests.http.calls import CALL, HEADERS
from tests.http.kit import Running, connected, plain_client, serving_http
from tests.http.test_app import tokens_file
from tests.http.test_connections import HALF_A_REQUEST, connections

LEGACY = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
LIMITS = {"requests": 40, "sessions": 40, "subscriptions": 40, "connections": 150}
SHARE = 10


def initialize(version: Any = "2025-11-25") -> dict[str, Any]:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


class Callers:
    """Two callers by token, and the settings that know them."""

    def __init__(self, folder: Path) -> None:
        (greedy, first), (other, second) = new_token("greedy"), new_token("other")
        self.http = {"auth": f"token:{tokens_file(folder, first, second)}"}
        self.greedy = {"Authorization": f"Bearer {greedy}"}
        self.other = {"Authorization": f"Bearer {other}"}


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    return Callers(tmp_path)


async def open_stream(exits: AsyncExitStack, client: httpx.AsyncClient, method: str, url: str, **options: Any) -> int:
    """Send a request and keep its response open; return the status."""
    response = await exits.enter_async_context(client.stream(method, url, **options))
    return response.status_code


async def take_sessions(running: Running, caller: dict[str, str]) -> list[str]:
    """Open sessions until one is refused."""
    sessions: list[str] = []
    while len(sessions) < 100:
        answer = await running.post(initialize(), {**LEGACY, **caller})
        if answer.status_code != 200:
            assert answer.status_code == 503
            break
        sessions.append(answer.headers["mcp-session-id"])
    return sessions


async def test_with_one_caller_holding_all_it_can_get_others_are_answered_within_a_second(
    box: Box, callers: Callers
) -> None:
    async with (
        serving_http(box.base_url, http=callers.http, limits=LIMITS, sse=True) as running,
        AsyncExitStack() as exits,
    ):
        client = await exits.enter_async_context(plain_client())
        sessions = await take_sessions(running, callers.greedy)
        assert len(sessions) == SHARE

        statuses = []
        for session in sessions[: SHARE // 2]:
            headers = {**LEGACY, **callers.greedy, "Mcp-Session-Id": session}
            statuses.append(await open_stream(exits, client, "GET", running.mcp, headers=headers))
        while statuses[-1] == 200 and len(statuses) < 100:
            statuses.append(await open_stream(exits, client, "GET", f"{running.url}/sse", headers=callers.greedy))
        assert statuses == [200] * SHARE + [429], "streams of /mcp and /sse count together"
        for sent in (b"", HALF_A_REQUEST):
            await exits.enter_async_context(connections(running, 160, sent))

        for path in ("/healthz", "/readyz"):
            with anyio.fail_after(1):
                assert (await running.get(path)).status_code == 200
        with anyio.fail_after(1):
            assert (await running.post(CALL, {**HEADERS, **callers.other})).status_code == 200
        with anyio.fail_after(1):
            assert (await running.post(initialize(), {**LEGACY, **callers.other})).status_code == 200
        assert (await running.post(CALL, {**HEADERS, **callers.greedy})).status_code == 429
        assert 'extend_mcp_refused_requests_total{reason="share"}' in (await running.get("/metrics")).text


async def test_subscriptions_of_one_caller_leave_room_for_another(box: Box, callers: Callers) -> None:
    async with (
        serving_http(box.base_url, http=callers.http, limits=LIMITS) as running,
        AsyncExitStack() as exits,
    ):
        for caller, most in ((callers.greedy, LIMITS["subscriptions"] // 10), (callers.other, 1)):
            client = await exits.enter_async_context(connected(running, headers=caller))
            for _ in range(most):
                await exits.enter_async_context(client.listen(resource_subscriptions=["extend://account"]))
            if caller is callers.greedy:
                with pytest.raises(MCPError, match="Too many subscriptions"):
                    async with client.listen(resource_subscriptions=["extend://account"]):
                        pass
        assert running.app.lifecycle.calls == 0


async def test_calls_over_sse_count_for_their_caller(box: Box, callers: Callers) -> None:
    """Over /sse a request is accepted at once, and its call runs on."""
    box.fault(method="GET", path="/workflow_runs", delaySeconds=1, times=10)
    async with (
        serving_http(box.base_url, http=callers.http, limits={"requests": 8}, sse=True) as running,
        plain_client() as client,
        client.stream("GET", f"{running.url}/sse", headers=callers.greedy) as stream,
    ):
        lines = stream.aiter_lines()
        messages = await anext(line async for line in lines if line.startswith("data: "))
        address = f"{running.url}{messages.removeprefix('data: ')}"
        headers = {"Content-Type": "application/json", **callers.greedy}
        await client.post(address, json=initialize(), headers=headers)
        await client.post(address, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
        for number in range(2, 6):
            call = {"name": "list_runs", "arguments": {}}
            body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
            assert (await client.post(address, json=body, headers=headers)).status_code == 202
        with anyio.fail_after(5):
            refusals = [await anext(line async for line in lines if "of your calls are in progress" in line)]
            refusals.append(await anext(line async for line in lines if "of your calls are in progress" in line))
        assert running.app.lifecycle.calls == 2, "the other two are in progress still"
        assert "in progress" not in (await running.post(CALL, {**HEADERS, **callers.other})).text
    assert all("2 of your calls" in refusal for refusal in refusals)
    assert len(refusals) == 2, "two of four calls are more than a quarter of eight"


@pytest.mark.parametrize(
    "body",
    [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}},
        {"jsonrpc": "2.0", "id": 1, "method": "initialize"},
        initialize(version=5),
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
    ],
    ids=["no parameters", "no params", "wrong version", "not initialize", "notification"],
)
async def test_a_refused_initialize_keeps_no_session(box: Box, body: dict[str, Any]) -> None:
    async with serving_http(box.base_url, limits={"sessions": 2}) as running:
        for _ in range(4):
            refused = await running.post(body, LEGACY)
            assert refused.status_code != 503
            assert "result" not in refused.text
        assert (await running.post(initialize(), LEGACY)).status_code == 200
