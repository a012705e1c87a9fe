"""Refusals before MCP sees a request: their status, and that nothing was acted on."""

from __future__ import annotations

import re
from typing import Any

import anyio
import httpx
import pytest

from extend_mcp.http import middleware
from tests.harness import KEY, Box
from tests.http.calls import CALL, HEADERS
from tests.http.kit import plain_client, serving_http


async def test_the_call_that_the_refusals_below_vary_is_a_good_one(box: Box) -> None:
    async with serving_http(box.base_url, http={"auth": "passthrough"}) as running:
        answer = await running.post(CALL, {**HEADERS, "Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200
    assert answer.json()["result"]["structuredContent"]["runs"]
    assert [request["path"] for request in box.requests()] == ["/workflow_runs"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:8000"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Authorization": ""}, 401),
        ({"Authorization": "Basic c2s6"}, 401),
        ({"Authorization": "Bearer two words"}, 401),
        ({"Content-Type": "text/plain"}, 400),
    ],
)
async def test_a_bad_header_is_refused_and_nothing_is_acted_on(box: Box, headers: dict[str, str], status: int) -> None:
    async with serving_http(box.base_url, http={"auth": "passthrough"}, limits={"body_seconds": 2}) as running:
        answer = await running.post(CALL, {**HEADERS, "Authorization": f"Bearer {KEY}", **headers})
        counted = (await running.get("/metrics")).text
    assert answer.status_code == status
    assert box.requests() == []
    assert ("extend_mcp_refused_requests_total{" in counted) == (status != 400)


async def test_a_key_has_a_header_to_itself_where_a_proxy_uses_authorization(box: Box) -> None:
    async with serving_http(box.base_url, http={"auth": "passthrough-header"}) as running:
        sent = {**HEADERS, "Authorization": "Bearer of-the-proxy"}
        taken = await running.post(CALL, {**sent, "X-Extend-Api-Key": KEY})
        refused = await running.post(CALL, {**HEADERS, "Authorization": f"Bearer {KEY}"})
        card = await running.get("/mcp/server-card")
    assert (taken.status_code, refused.status_code) == (200, 401)
    assert [each["name"] for each in card.json()["remotes"][0]["headers"]] == ["X-Extend-Api-Key"]


async def test_a_public_name_and_a_browser_are_taken_where_the_operator_named_them(box: Box) -> None:
    http = {
        "auth": "passthrough",
        "public_url": "https://mcp.example.com/mcp",
        "allowed_hosts": "inside.example:*",
        "allowed_origins": "https://chat.example.com",
    }
    good = {**HEADERS, "Authorization": f"Bearer {KEY}"}
    async with serving_http(box.base_url, http=http) as running:
        for more in (
            {"Host": "mcp.example.com"},
            {"Host": "inside.example:8000"},
            {"Origin": "https://chat.example.com"},
        ):
            answer = await running.post(CALL, {**good, **more})
            assert answer.status_code == 200, more
        assert answer.headers["access-control-allow-origin"] == "https://chat.example.com"
        for more in ({"Host": "other.example"}, {"Origin": "http://localhost:3000"}):
            assert (await running.post(CALL, {**good, **more})).status_code in (403, 421)


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:6274", "http://[::1]:80", "http://localhost"]
)
async def test_a_browser_on_loopback_is_taken_by_default(box: Box, origin: str) -> None:
    async with serving_http(box.base_url, http={"auth": "passthrough"}) as running, plain_client() as client:
        preflight = await client.options(running.mcp, headers={"Origin": origin, **PREFLIGHT})
        sent = {**HEADERS, "Authorization": f"Bearer {KEY}", "Origin": origin}
        answer = await running.post(CALL, sent)
        refused = await running.post(CALL, {**HEADERS, "Origin": origin})
    assert preflight.status_code == 200
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert answer.status_code == 200
    assert refused.status_code == 401
    for each in (preflight, answer, refused):
        assert each.headers["access-control-allow-origin"] in (origin, "*")
    assert "mcp-session-id" in answer.headers["access-control-expose-headers"].lower()
    assert "www-authenticate" in refused.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example", "null"])
async def test_another_browser_is_not_taken(box: Box, origin: str) -> None:
    async with serving_http(box.base_url) as running, plain_client() as client:
        preflight = await client.options(running.mcp, headers={"Origin": origin, **PREFLIGHT})
        answer = await running.post(CALL, {**HEADERS, "Origin": origin})
    assert (preflight.status_code, answer.status_code) == (400, 403)
    assert "access-control-allow-origin" not in {**preflight.headers, **answer.headers}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "10.1.2.3:8000"}, 200),
        ({"Host": "[fd00::1]:8000"}, 200),
        ({"Host": "inside.example:8000"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "10.1.2.3.evil.example"}, 421),
        ({"Host": "10.1.2.3", "Origin": "https://evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://chat.example.com"}, 200),
    ],
)
async def test_metrics_are_for_scrapers_and_not_for_web_pages(box: Box, headers: dict[str, str], status: int) -> None:
    http = {"allowed_hosts": "inside.example:*", "allowed_origins": "https://chat.example.com"}
    async with serving_http(box.base_url, http=http) as running:
        answer = await running.get("/metrics", headers)
    assert answer.status_code == status
    assert ("extend_mcp_calls_in_flight" in answer.text) == (status == 200)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_body_over_the_limit_is_refused_however_it_comes(box: Box) -> None:
    large = {**CALL, "padding": "x" * 40_000}

    async def pieces() -> Any:
        for _ in range(8):
            yield b" " * 8192

    async with serving_http(box.base_url, limits={"body_bytes": 32 * 1024}) as running:
        declared = await running.post(large, HEADERS)
        async with plain_client() as client:
            chunked = await client.post(running.mcp, content=pieces(), headers=HEADERS)
        small = await running.post(CALL, HEADERS)
    assert (declared.status_code, chunked.status_code, small.status_code) == (413, 413, 200)
    assert len(box.requests()) == 1


@pytest.mark.parametrize("framing", ["Content-Length: 6000000", "Transfer-Encoding: chunked"])
async def test_the_sender_of_a_large_body_gets_to_see_the_refusal(
    box: Box, framing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends everything before it looks at the response, as many clients do."""
    # Another process may hold up this one.
    monkeypatch.setattr(middleware, "_LINGER_SECONDS", 5)
    body = b"x" * 6_000_000
    if "chunked" in framing:
        body = b"5b8d80\r\n" + body + b"\r\n0\r\n\r\n"
    async with serving_http(box.base_url, limits={"body_bytes": 1000}) as running:
        host, port = running.url.removeprefix("http://").split(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\n{framing}\r\n\r\n".encode() + body)
            with anyio.fail_after(10):
                assert (await stream.receive()).startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_does_not_come_is_answered_408_and_the_connection_ends(box: Box) -> None:
    async with serving_http(box.base_url, limits={"body_seconds": 0.2}) as running:
        host, port = running.url.removeprefix("http://").split(":")
        head = "\r\n".join(f"{name}: {value}" for name, value in HEADERS.items())
        stream = await anyio.connect_tcp(host, int(port))
        async with stream:
            await stream.send(
                f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\n{head}\r\nContent-Length: 500\r\n\r\n{{".encode()
            )
            received = b""
            with anyio.fail_after(10):
                try:
                    while True:
                        received += await stream.receive()
                except anyio.EndOfStream:
                    pass
    assert received.startswith(b"HTTP/1.1 408 ")
    assert box.requests() == []


async def test_every_answer_names_its_request_and_a_forged_name_is_not_taken(box: Box) -> None:
    async with serving_http(box.base_url) as running:
        for given in ("a", "A-1_b.c", "0" * 64):
            assert (await running.get("/healthz", {"X-Request-Id": given})).headers["x-request-id"] == given
        made = set()
        for forged in ('x" level="root', "a" * 65, "a b", "\xe4", "\xb2", ""):
            answer = await running.get("/healthz", httpx.Headers({"X-Request-Id": forged}, "latin-1"))
            made.add(answer.headers["x-request-id"])
            assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
        assert len(made) == 6


async def test_a_full_server_says_so_and_its_probes_still_answer(box: Box) -> None:
    async with serving_http(box.base_url, limits={"requests": 1}) as running:
        host, port = running.url.removeprefix("http://").split(":")
        # A request whose body is still to come takes the only place.
        async with await anyio.connect_tcp(host, int(port)) as first:
            await first.send(f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 5\r\n\r\n{{".encode())
            with anyio.fail_after(5):
                while (answer := await running.post(CALL, HEADERS)).status_code != 503:
                    await anyio.sleep(0.01)
            assert answer.headers["retry-after"] == "1"
            assert (await running.get("/healthz")).status_code == 200
            assert (await running.get("/readyz")).status_code == 200
        with anyio.fail_after(5):
            while (await running.post(CALL, HEADERS)).status_code != 200:
                await anyio.sleep(0.01)
