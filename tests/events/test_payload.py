"""Payloads are fetched from the hosts that the operator named and from nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from extend_mcp.api.transport import RefusedAnswerError
from extend_mcp.events import receiver as module
from extend_mcp.events.event import Seen, WebhookEvent
from extend_mcp.events.receiver import fetch_payload
from extend_mcp.sandbox.sandbox_server import running_app
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.views.uris import run_uri


@pytest.fixture(scope="module")
def files() -> Iterator[tuple[str, list[dict[str, str]]]]:
    asked: list[dict[str, str]] = []

    async def good(request: Request) -> Response:
        asked.append(dict(request.headers))
        return JSONResponse({"id": "workflow_run_1"})

    async def away(_: Request) -> Response:
        return RedirectResponse("/good")

    async def text(_: Request) -> Response:
        return PlainTextResponse("no json")

    async def listed(_: Request) -> Response:
        return JSONResponse(["a"])

    async def large(_: Request) -> Response:
        return PlainTextResponse("x" * 2_000_000)

    routes = [Route(f"/{each.__name__}", each) for each in (good, away, text, listed, large)]
    with running_app(Starlette(routes=routes)) as url:
        yield url, asked


async def test_a_named_host_is_asked_without_any_credential(files: tuple[str, list[dict[str, str]]]) -> None:
    url, asked = files
    assert await fetch_payload(f"{url}/good?sig=x", [url.removeprefix("http://")]) == {"id": "workflow_run_1"}
    assert "authorization" not in asked[-1]
    assert "cookie" not in asked[-1]


@pytest.mark.parametrize("path", ["away", "text", "listed", "large", "missing"])
async def test_whatever_else_comes_back_is_no_payload(
    files: tuple[str, list[dict[str, str]]], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = files
    monkeypatch.setattr(module, "_MOST_PAYLOAD_BYTES", 1_000_000)
    before = len(asked)
    with pytest.raises((RefusedAnswerError, ValueError)) as refused:
        await fetch_payload(f"{url}/{path}?sig=canary", [url.removeprefix("http://")])
    assert "canary" not in str(refused.value)
    assert len(asked) == before, "a redirect is not followed"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "https://files.example.evil.example/x",
        "https://evil.example/files.example",
        "https://files.example@evil.example/x",
        "https://user:canary@files.example/x",
        "http://files.example/x",
        "https://files.example:8443/x",
        "ftp://files.example/x",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1/x",
        "http://[::1]:1/x",
        "https://files.example:port/x",
        "https://[/x",
        "",
        "data:application/json,{}",
    ],
)
async def test_no_other_address_is_asked(url: str) -> None:
    import httpx

    def asked(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.url} was asked")

    with pytest.raises(RefusedAnswerError) as refused:
        await fetch_payload(url, ["files.example"], httpx.MockTransport(asked))
    assert "canary" not in str(refused.value)


async def test_by_default_nobody_is_asked() -> None:
    with pytest.raises(RefusedAnswerError, match="EXTEND_MCP_WEBHOOK_PAYLOAD_HOSTS"):
        await fetch_payload("https://api.extend.ai/x", [])


async def test_a_host_is_matched_without_case_and_with_the_port_of_https() -> None:
    import httpx

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b'{"a": 1}'))

    for url in ("https://FILES.example/x", "https://files.example:443/x"):
        assert await fetch_payload(url, ["Files.Example"], httpx.MockTransport(answer)) == {"a": 1}


async def test_a_payload_that_cannot_be_had_leaves_the_event_and_no_url_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    changed: list[ServerEvent] = []
    bus = InMemorySubscriptionBus()
    bus.subscribe(changed.append)
    receiver = module.Receiver([], Seen(), bus, ["127.0.0.1:1", "localhost:1"], Metrics())
    for url in ("http://127.0.0.1:1/x?sig=canary", "http://localhost:1/canary\n", "https://canary.example/x"):
        signed = {"object": "signed_data_url", "data": url, "id": "workflow_run_1"}
        await receiver.publish(WebhookEvent(eventId="e", eventType="workflow_run.failed", payload=signed))
    with anyio.move_on_after(0):
        await receiver.run()
    assert changed == [ResourceUpdated(run_uri("workflow_run_1"))] * 3
    assert len(caplog.records) == 3
    assert "canary" not in caplog.text
