"""Conditions of a call: deadlines, cancellation, proxies, and settings that cannot work."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.errors import ConnectFailedError, MissingApiKeyError, RateLimitedError, ServerError
from extend_mcp.api.transport import network_transport
from tests.api.server import Answer, answering, calling

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


async def no_sleep(_: float) -> None:
    """Return at once."""


def client_at(url: str, **given: Any) -> AbstractAsyncContextManager[ExtendClient]:
    return calling(url, **{"api_key": SecretStr("sk_canary_19ae"), "sleep": no_sleep, **given})


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no proxy."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


async def test_an_answer_in_hand_is_kept_if_the_wait_would_outlast_the_deadline() -> None:
    limited = Answer(429, b"{}", {"retry-after": "20"})
    async with answering(limited, Answer()) as server, client_at(server.url, total_timeout=10) as client:
        with pytest.raises(RateLimitedError) as problem:
            await client.get_workflow_run("workflow_run_1")
    assert problem.value.retry_after == 20
    assert len(server.seen) == 1


async def test_the_number_of_attempts_is_the_configured_one() -> None:
    async with answering(Answer(503, b"{}")) as server, client_at(server.url, max_attempts=1) as client:
        with pytest.raises(ServerError):
            await client.get_workflow_run("workflow_run_1")
    assert len(server.seen) == 1


async def test_a_cancelled_call_ends_as_cancelled_and_is_not_sent_again() -> None:
    async with answering(Answer(wait=asyncio.Event())) as server, client_at(server.url) as client:
        task = asyncio.ensure_future(client.get_workflow_run("workflow_run_1"))
        with anyio.fail_after(5):
            while not server.seen:
                await anyio.lowlevel.checkpoint()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(server.seen) == 1


async def test_a_scope_around_the_call_is_left_as_if_the_call_were_not_there() -> None:
    async with answering(Answer(wait=asyncio.Event())) as server, client_at(server.url) as client:
        with anyio.move_on_after(0.1) as scope:
            await client.get_workflow_run("workflow_run_1")
    assert scope.cancelled_caught


async def test_many_reads_at_once_each_keep_their_own_count_of_attempts() -> None:
    async with answering(Answer(503, b"{}")) as server, client_at(server.url, max_attempts=3) as client:
        calls = [client.get_workflow_run(f"workflow_run_{number}") for number in range(10)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ServerError}
    paths = [seen.path for seen in server.seen]
    assert {path: paths.count(path) for path in paths} == {f"/workflow_runs/workflow_run_{n}": 3 for n in range(10)}


@pytest.mark.parametrize("scheme", ["http://", ""], ids=["as a URL", "as host and port"])
@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
async def test_the_proxy_the_environment_names_is_used(
    environment: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    async with answering() as proxy:
        environment.setenv(variable, scheme + proxy.url.removeprefix("http://"))
        async with client_at("http://extend.test") as client:
            await client.get_workflow_run("workflow_run_1")
    assert [seen.path for seen in proxy.seen] == ["http://extend.test/workflow_runs/workflow_run_1"]


async def test_a_host_excepted_from_the_proxy_is_called_directly(environment: pytest.MonkeyPatch) -> None:
    async with answering() as proxy, answering() as server:
        environment.setenv("http_proxy", proxy.url)
        environment.setenv("no_proxy", "other.test,127.0.0.1")
        async with client_at(server.url) as client:
            await client.get_workflow_run("workflow_run_1")
    assert (len(proxy.seen), len(server.seen)) == (0, 1)


@pytest.mark.parametrize(
    ("variable", "value", "url"),
    [
        ("http_proxy", "weird://user:pw_canary@proxy.test:1", "http://extend.test"),
        ("SSL_CERT_FILE", "/pw_canary/no/such/file", "https://extend.test"),
        ("no_proxy", "*", "http://1.2.3.999"),
    ],
    ids=["proxy", "certificates", "address"],
)
def test_settings_that_cannot_work_are_refused_and_not_quoted(
    environment: pytest.MonkeyPatch, variable: str, value: str, url: str
) -> None:
    environment.setenv(variable, value)
    with pytest.raises(ConnectFailedError, match="cannot be used") as problem:
        network_transport(url)
    error = problem.value
    assert error.effect == "none"
    assert error.__context__ is None
    assert "pw_canary" not in "".join(traceback.format_exception(type(error), error, error.__traceback__))


@pytest.mark.parametrize("key", ["sk_canary\nX-Evil: 1", "sk canary", "sk_canary_ä"])
async def test_a_key_that_cannot_be_sent_is_refused_and_not_quoted(key: str) -> None:
    async with answering() as server:
        async with client_at(server.url, api_key=SecretStr(key)) as client:
            with pytest.raises(MissingApiKeyError) as problem:
                await client.get_workflow_run("workflow_run_1")
        assert server.seen == []
    assert "canary" not in str(problem.value)
