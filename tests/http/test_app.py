"""The application as a whole: what is refused at the door, with which status, and that nothing behind it happened."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

from extend_mcp.http.settings import WITHOUT_AUTHENTICATION, HttpSettings
from extend_mcp.http.tokens import new_token
from extend_mcp.settings import SettingsError, load
from tests.harness import ERAS, KEY, Box, BoxClock, Mode, Person, example_run, facts_of
from tests.http.keys import NOW, RSA, RSA_LATER, HandClock, claims, issuers, public, sign
from tests.http.kit import Running, connected, serving_http

RUN = "workflow_run_httpDoor000000000001"
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "list_runs",
        "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "list_runs",
}


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
    async with serving_http(box.base_url, http={"auth": "passthrough", "body_seconds": 2}) as running:
        answer = await running.post(CALL, {**HEADERS, "Authorization": f"Bearer {KEY}", **headers})
        counted = (await running.get("/metrics")).text
    assert answer.status_code == status
    assert box.requests() == []
    assert ("extend_mcp_refused_requests_total{" in counted) == (status != 400)


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


async def test_a_body_over_the_limit_is_refused_however_it_comes(box: Box) -> None:
    large = {**CALL, "padding": "x" * 40_000}

    async def pieces() -> Any:
        for _ in range(8):
            yield b" " * 8192

    async with serving_http(box.base_url, http={"body_kilobytes": 32}) as running:
        declared = await running.post(large, HEADERS)
        from tests.http.kit import plain_client

        async with plain_client() as client:
            chunked = await client.post(running.mcp, content=pieces(), headers=HEADERS)
        small = await running.post(CALL, HEADERS)
    assert (declared.status_code, chunked.status_code, small.status_code) == (413, 413, 200)
    assert len(box.requests()) == 1


async def test_a_body_that_does_not_come_is_answered_408_and_the_connection_ends(box: Box) -> None:
    async with serving_http(box.base_url, http={"body_seconds": 0.2}) as running:
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


async def test_probes_need_no_credential_and_tell_when_the_end_is_near(box: Box) -> None:
    async with serving_http(box.base_url, http={"auth": "passthrough"}) as running:
        assert (await running.get("/healthz")).text == "ok"
        assert (await running.get("/readyz")).status_code == 200
        running.served.lifecycle.draining = True
        assert (await running.get("/readyz")).status_code == 503
        assert (await running.get("/healthz")).status_code == 200
        assert (await running.get("/sse")).status_code == 404
        assert (await running.get("/webhooks/extend")).status_code == 404


async def test_metrics_count_calls_by_tool_and_outcome_and_can_be_switched_off(box: Box) -> None:
    done = box.load(example_run(RUN, "PROCESSED"))
    async with serving_http(box.base_url) as running:
        async with connected(running) as client:
            await client.call_tool("cancel_workflow_run", {"run_id": done})
            await client.call_tool("get_workflow_run", {"run_id": 5})
        text = (await running.get("/metrics")).text
    assert 'extend_mcp_tool_calls_total{outcome="already_finished",tool="cancel_workflow_run"} 1.0' in text
    assert 'extend_mcp_tool_calls_total{outcome="wrong_arguments",tool="get_workflow_run"} 1.0' in text
    assert 'extend_mcp_guard_refusals_total{tool="cancel_workflow_run",verdict="already_finished"} 1.0' in text
    assert 'extend_mcp_api_requests_total{endpoint="/workflow_runs/{id}",method="GET",status="200"} 1.0' in text
    assert "extend_mcp_calls_in_flight 0.0" in text
    assert KEY not in text
    assert RUN not in text
    async with serving_http(box.base_url, http={"metrics": False}) as running:
        assert (await running.get("/metrics")).status_code == 404


async def test_every_answer_names_its_request_and_a_forged_name_is_not_taken(box: Box) -> None:
    async with serving_http(box.base_url) as running:
        given = await running.get("/healthz", {"X-Request-Id": "abc-123"})
        forged = await running.get("/healthz", {"X-Request-Id": 'x" level="root'})
    assert given.headers["x-request-id"] == "abc-123"
    assert forged.headers["x-request-id"] != 'x" level="root'
    assert len(forged.headers["x-request-id"]) == 16


async def test_the_audit_line_names_the_caller_and_the_request(box: Box, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    box.load(example_run(RUN, "PROCESSED"))
    async with (
        serving_http(box.base_url, http={"auth": "passthrough"}, audit=str(log)) as running,
        connected(running, KEY, headers={"X-Request-Id": "from-the-proxy"}) as client,
    ):
        await client.call_tool("cancel_workflow_run", {"run_id": RUN})
    line = json.loads(log.read_text())
    assert line["who"].startswith("key:")
    assert (line["call_id"], line["verdict"], line["outcome"]) == (
        "from-the-proxy",
        "already_finished",
        "already_finished",
    )
    assert KEY not in log.read_text()


@pytest.mark.parametrize("mode", ERAS)
async def test_sessions_are_bounded(box: Box, mode: Mode) -> None:
    async with (
        serving_http(box.base_url, http={"max_sessions": 1}) as running,
        connected(running, mode=mode) as client,
    ):
        await client.list_tools()
        second = await running.post(
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _INITIALIZE},
            {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"},
        )
    # A client of the new era holds no session, so there is room for one.
    assert second.status_code == (503 if mode == "legacy" else 200)


async def test_a_full_server_says_so_and_its_probes_still_answer(box: Box) -> None:
    async with serving_http(box.base_url, http={"requests_at_once": 1}) as running:
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


_INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


async def test_an_older_client_calls_over_sse_and_is_known_there_too(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    person = Person()
    bearer = {"Authorization": f"Bearer {KEY}"}
    async with serving_http(box.base_url, http={"auth": "passthrough"}, sse=True, clock=BoxClock(box)) as running:
        async with Client(
            sse_client(f"{running.url}/sse", headers=bearer), mode="legacy", elicitation_callback=person.answer
        ) as client:
            facts = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))
        unknown = await running.get("/sse")
        posted = await running.post(CALL, path="/messages/?session_id=00")
    assert facts["outcome"] == "cancelled"
    assert len(person.asked) == 1
    assert (unknown.status_code, posted.status_code) == (401, 401)


async def test_the_end_does_not_wait_for_standing_streams_and_is_in_good_order(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    """Two clients hold streams open that would never end by themselves."""
    with anyio.fail_after(15):
        async with serving_http(box.base_url, http={"shutdown_seconds": 10}, sse=True) as running:
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
    """Its call was accepted with 202 long ago: only the standing stream can still bring the answer."""
    box.fault(method="GET", path="/workflow_runs", delaySeconds=0.4)
    answers: list[Any] = []
    async with (
        serving_http(box.base_url, sse=True, http={"shutdown_seconds": 10}) as running,
        Client(sse_client(f"{running.url}/sse"), mode="legacy") as client,
    ):

        async def call() -> None:
            answers.append(facts_of(await client.call_tool("list_runs", {})))

        # The client wants the tools' schemas, and after the end nobody would give them.
        await client.list_tools()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                while not running.served.lifecycle.calls:
                    await anyio.sleep(0.01)
                running.server.should_exit = True
    assert answers[0]["runs"]


async def test_a_stream_ends_with_the_credential_that_opened_it(box: Box, tmp_path: Path) -> None:
    token, entry = new_token("short")
    expires = (NOW + timedelta(seconds=90)).isoformat()
    file = _tokens(tmp_path, {**entry, "expires": expires})
    # This clock sleeps in no time, so the credential has run out as soon as the stream waits for that.
    async with (
        serving_http(box.base_url, http={"auth": "token", "tokens_file": file}, clock=HandClock()) as running,
        connected(running, token) as client,
    ):
        with anyio.fail_after(5):
            async with client.listen(resource_subscriptions=["extend://account"]) as stream:
                assert [event async for event in stream] == []


async def _drained(stream: Any) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            await stream.receive()


async def _until(stream: Any, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        received += await stream.receive()
    return received


class TestOAuth:
    """The resource server of the MCP specification, with an issuer on a real socket."""

    @staticmethod
    def http(issuer: Any) -> dict[str, Any]:
        return {"auth": "oauth", "oauth_issuer": issuer.url, "public_url": "https://mcp.example.com/mcp"}

    async def test_bad_tokens_are_refused_and_a_rotated_key_is_taken(self, box: Box) -> None:
        clock = HandClock()
        with issuers() as served:
            issuer = served.new()
            issuer.shows(public(RSA, "k1"))

            def token(key: Any = RSA, kid: str = "k1", **more: Any) -> str:
                content = claims(issuer.url, scope="runs:read", **more)
                return sign({**content, "aud": more.get("aud", "https://mcp.example.com/mcp")}, key, kid=kid)

            async with serving_http(box.base_url, http=self.http(issuer), clock=clock) as running:

                async def status(bearer: str) -> int:
                    return (await running.post(CALL, {**HEADERS, "Authorization": f"Bearer {bearer}"})).status_code

                assert await status(token()) == 200
                box.forget()
                now = int(NOW.timestamp())
                assert await status(token(aud="https://other.example.com/mcp")) == 401
                assert await status(token(exp=now - 1)) == 401
                assert await status(token(iss="https://evil.example")) == 401
                assert await status(token()[:-6] + "AAAAAA") == 401
                rotated = token(RSA_LATER, "k2")
                assert await status(rotated) == 401
                assert box.requests() == []
                issuer.shows(public(RSA_LATER, "k2"))
                clock.seconds += 60
                assert await status(rotated) == 200
                assert await status(token()) == 401, "a key that is not shown any more does not count"

    async def test_the_challenge_names_the_metadata_and_the_metadata_the_issuer(self, box: Box) -> None:
        with issuers() as served:
            issuer = served.new()
            async with serving_http(box.base_url, http=self.http(issuer)) as running:
                refused = await running.post(CALL, HEADERS)
                metadata = (await running.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert refused.status_code == 401
        address = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{address}"' in refused.headers["www-authenticate"]
        assert metadata["resource"] == "https://mcp.example.com/mcp"
        assert metadata["authorization_servers"] == [issuer.url]
        assert "runs:cancel" in metadata["scopes_supported"]

    @pytest.mark.parametrize("mode", ERAS)
    async def test_scopes_decide_what_is_listed_and_served(self, box: Box, mode: Mode) -> None:
        box.load(example_run(RUN, "PROCESSING"))
        clock = HandClock()
        with issuers() as served:
            issuer = served.new()
            issuer.shows(public(RSA, "k1"))
            content = claims(issuer.url, scope="runs:read", aud="https://mcp.example.com/mcp")
            bearer = sign(content, RSA, kid="k1")
            async with (
                serving_http(box.base_url, http=self.http(issuer), clock=clock) as running,
                connected(running, bearer, mode=mode, person=Person()) as client,
            ):
                tools = {tool.name for tool in (await client.list_tools()).tools}
                prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
                assert "list_runs" in tools
                assert not tools & {"cancel_workflow_run", "cancel_runs", "run_workflow", "list_workflows"}
                assert "release_a_workflow_version" not in prompts
                with pytest.raises(MCPError):
                    await client.call_tool("cancel_workflow_run", {"run_id": RUN})
                with pytest.raises(MCPError, match="workflows:read"):
                    await client.read_resource(f"extend://workflows/{box.workflow()}")
                with pytest.raises(MCPError, match="workflows:read"):
                    await client.get_prompt("release_a_workflow_version", {"workflow": "x"})
                challenged = await running.post(
                    {**CALL, "params": {**CALL["params"], "name": "cancel_workflow_run", "arguments": {"run_id": RUN}}},  # type: ignore[dict-item]
                    {**HEADERS, "Mcp-Name": "cancel_workflow_run", "Authorization": f"Bearer {bearer}"},
                )
        assert challenged.status_code == 403
        assert 'error="insufficient_scope"' in challenged.headers["www-authenticate"]
        assert 'scope="runs:cancel"' in challenged.headers["www-authenticate"]
        assert box.requests("POST") == []


class TestTokens:
    """Static tokens, hashed in a file."""

    async def test_a_read_only_token_reads_and_cannot_cancel(self, box: Box, tmp_path: Path) -> None:
        box.load(example_run(RUN, "PROCESSING"))
        reader, entry = new_token("reader")
        file = _tokens(tmp_path, {**entry, "toolsets": ["runs"], "read_only": True})
        async with serving_http(box.base_url, http={"auth": "token", "tokens_file": file}) as running:
            async with connected(running, reader, person=Person()) as client:
                assert facts_of(await client.call_tool("list_runs", {}))["runs"]
                with pytest.raises(MCPError):
                    await client.call_tool("cancel_workflow_run", {"run_id": RUN})
            assert (
                await running.post(CALL, {**HEADERS, "Authorization": "Bearer wrong-token-wrong-token"})
            ).status_code == 401
        assert box.requests("POST") == []


def _tokens(folder: Path, *entries: dict[str, Any]) -> Path:
    file = folder / "tokens.json"
    file.write_text(json.dumps({"tokens": [*entries]}))
    return file


class TestSettings:
    """Settings that do not fit together are found at start."""

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"host": "0.0.0.0"}, "EXTEND_MCP_AUTH is none"),
            ({"host": "10.1.2.3", "without_authentication": "yes"}, "EXTEND_MCP_WITHOUT_AUTHENTICATION"),
            ({"auth": "token"}, "EXTEND_MCP_TOKENS_FILE"),
            ({"auth": "oauth"}, "EXTEND_MCP_OAUTH_ISSUER"),
        ],
    )
    def test_a_server_that_would_be_open_or_could_not_work_is_not_started(
        self, given: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(SettingsError, match=said):
            load(HttpSettings, **given)

    def test_in_words_an_open_server_can_be_had(self) -> None:
        assert load(HttpSettings, host="0.0.0.0", without_authentication=WITHOUT_AUTHENTICATION).auth == "none"
        assert load(HttpSettings, host="0.0.0.0", auth="passthrough").host == "0.0.0.0"
        assert load(HttpSettings, host="::1").auth == "none"

    def test_no_secret_is_in_a_repr(self) -> None:
        http = load(HttpSettings, redis_url="redis://:canary@127.0.0.1/0", webhook_secrets="wss_canary")
        assert "canary" not in repr(http) + str(http)
        assert http.secrets == ["redis://:canary@127.0.0.1/0", "wss_canary"]


async def test_a_port_that_is_taken_is_said_in_a_line(box: Box) -> None:
    from tests.e2e.test_commands import run

    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = await anyio.to_thread.run_sync(
            lambda: run("serve", "--transport", "http", "--port", str(taken.getsockname()[1]), "--sandbox")
        )
    assert ended.returncode == 1
    assert "cannot listen on 127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_running_says_where(box: Box) -> None:
    assert Running("http://127.0.0.1:1", None, None).mcp == "http://127.0.0.1:1/mcp"  # type: ignore[arg-type]
