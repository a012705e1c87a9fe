"""End serving: calls in flight are answered, streams are closed, and nobody waits for ever."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.subscriptions import ResourceUpdated
from mcp_types import ResourceUpdatedNotification

from extend_mcp.http.auth.tokens import new_token
from extend_mcp.http.lifecycle import Lifecycle
from extend_mcp.views.uris import run_uri
from tests.events.test_receiver import open_subscriptions
from tests.harness import Box, example_run, facts_of
from tests.http.keys import NOW, HandClock
from tests.http.kit import connected, serving_http
from tests.http.test_app import tokens_file

RUN = "workflow_run_stream0000000001"


async def test_a_stream_that_was_being_opened_when_the_others_ended_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend_mcp.http.lifecycle._POLL_SECONDS", 0)
    lifecycle, ended = Lifecycle(), anyio.Event()
    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lifecycle.end_streams)
            while not lifecycle.streams_end:
                await anyio.sleep(0)
            lifecycle.on_end.add(ended.set)
            await ended.wait()
            tasks.cancel_scope.cancel()


async def test_the_end_does_not_wait_for_standing_streams_and_is_in_good_order(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    """Two clients hold streams open that would never end by themselves."""
    with anyio.fail_after(15):
        async with serving_http(box.base_url, limits={"shutdown_seconds": 10}, sse=True) as running:
            host, port = running.url.removeprefix("http://").split(":")
            stream = await anyio.connect_tcp(host, int(port))
            await stream.send(f"GET /sse HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            assert b"endpoint" in await _until(stream, b"session_id")
            begun = anyio.current_time()
        assert anyio.current_time() - begun < 5, "the longest wait is for calls in flight"
        await _drained(stream)
        await stream.aclose()
    assert "without completing" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


async def test_the_answer_of_a_call_in_flight_comes_over_sse_before_the_end(box: Box) -> None:
    """Its call was accepted with 202 long ago: only the long-lived stream can still bring the answer."""
    box.fault(method="GET", path="/workflow_runs", delaySeconds=0.4)
    answers: list[Any] = []
    async with (
        serving_http(box.base_url, sse=True, limits={"shutdown_seconds": 10}) as running,
        Client(sse_client(f"{running.url}/sse"), mode="legacy") as client,
    ):

        async def call() -> None:
            answers.append(facts_of(await client.call_tool("list_runs", {})))

        # The client wants the tools' schemas, and after the end nobody would give them.
        await client.list_tools()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                while not running.app.lifecycle.calls:
                    await anyio.sleep(0.01)
                running.server.should_exit = True
    assert answers[0]["runs"]


async def test_a_stream_ends_with_the_credential_that_opened_it(box: Box, tmp_path: Path) -> None:
    token, entry = new_token("short")
    expires = (NOW + timedelta(seconds=90)).isoformat()
    file = tokens_file(tmp_path, {**entry, "expires": expires})
    # This clock sleeps in no time, so the credential has run out as soon as the stream waits for that.
    async with (
        serving_http(box.base_url, http={"auth": f"token:{file}"}, clock=HandClock()) as running,
        connected(running, token) as client,
    ):
        with anyio.fail_after(5):
            async with client.listen(resource_subscriptions=["extend://account"]) as stream:
                assert [event async for event in stream] == []


CHANGES = ("removed", "replaced by another of the same name", "narrowed")


@pytest.mark.parametrize("change", CHANGES)
async def test_a_stream_is_not_notified_once_its_token_has_changed(box: Box, tmp_path: Path, change: str) -> None:
    uri, clock = run_uri(box.load(example_run(RUN, "PROCESSING"))), HandClock()
    (token, entry), (_, other) = new_token("anna"), new_token("anna")
    file = tokens_file(tmp_path, entry)
    async with (
        serving_http(box.base_url, http={"auth": f"token:{file}"}, clock=clock) as running,
        connected(running, token) as client,
    ):
        with anyio.fail_after(10):
            async with client.listen(resource_subscriptions=[uri]) as stream:
                await running.app.shared.bus.publish(ResourceUpdated(uri))
                assert (await anext(stream)).uri == uri
                left = {"removed": [], "narrowed": [{**entry, "scopes": ["runs:read"]}]}.get(change, [other])
                tokens_file(tmp_path, *left)
                clock.seconds += 2
                await running.app.shared.bus.publish(ResourceUpdated(uri))
                assert [event async for event in stream] == []


@pytest.mark.filterwarnings("ignore:resources/")
async def test_an_older_session_is_not_notified_once_its_token_is_removed(box: Box, tmp_path: Path) -> None:
    uri, clock = run_uri(box.load(example_run(RUN, "PROCESSING"))), HandClock()
    (token, entry), heard = new_token("anna"), []

    async def hear(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.append(str(message.params.uri))

    file = tokens_file(tmp_path, entry)
    async with (
        serving_http(box.base_url, http={"auth": f"token:{file}"}, clock=clock) as running,
        httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False, verify=False
        ) as http,
        Client(streamable_http_client(running.mcp, http_client=http), mode="legacy", message_handler=hear) as client,
    ):
        await client.subscribe_resource(uri)
        with anyio.fail_after(10):
            while not heard:
                await running.app.shared.bus.publish(ResourceUpdated(uri))
                await anyio.sleep(0.01)
            tokens_file(tmp_path)
            clock.seconds += 2
            count = len(heard)
            while open_subscriptions(running):
                await running.app.shared.bus.publish(ResourceUpdated(uri))
                await anyio.sleep(0.01)
    assert len(heard) - count < 2, "one notification may have been on its way"


async def _drained(stream: Any) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            await stream.receive()


async def _until(stream: Any, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        received += await stream.receive()
    return received
