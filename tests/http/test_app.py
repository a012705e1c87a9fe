"""The application as a whole: probes, metrics, audit, sessions, SSE, and the three ways to tell callers apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

from extend_mcp.http.auth.tokens import new_token
from extend_mcp.scopes import SCOPES
from extend_mcp.telemetry.redaction import REDACTED, Redactor
from tests.harness import ERAS, KEY, Box, BoxClock, Mode, Person, example_run, facts_of, text_of
from tests.http.calls import CALL, HEADERS
from tests.http.keys import NOW, RSA, RSA_LATER, HandClock, claims, issuers, public, sign
from tests.http.kit import connected, plain_client, serving_http

RUN = "workflow_run_httpDoor000000000001"


async def test_probes_need_no_credential_and_tell_when_the_end_is_near(box: Box) -> None:
    async with serving_http(box.base_url, http={"auth": "passthrough"}) as running:
        assert (await running.get("/healthz")).text == "ok"
        assert (await running.get("/readyz")).status_code == 200
        running.app.lifecycle.draining = True
        assert (await running.get("/readyz")).status_code == 503
        assert (await running.get("/healthz")).status_code == 200
        assert (await running.get("/sse")).status_code == 404
        assert (await running.get("/webhooks/extend")).status_code == 404


async def test_metrics_count_calls_by_tool_and_outcome(box: Box) -> None:
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


async def test_a_key_is_a_secret_once_extend_accepted_it(box: Box) -> None:
    # Neither looks like a key, so that only what was learned is taken out.
    redactor, made_up, accepted = Redactor(), "workflow_runs_are_listed", "quiet-harbor-window-seven"
    said = f"{made_up} with {accepted}"
    refusal = {"code": "UNAUTHORIZED", "message": "no", "retryable": False}
    async with serving_http(box.base_url, http={"auth": "passthrough"}, redactor=redactor) as running:
        box.fault(method="GET", path="/workflow_runs", status=401, body=refusal)
        async with connected(running, made_up) as client:
            assert (await client.call_tool("list_runs", {})).is_error
        assert redactor(said) == said
        async with connected(running, accepted) as client:
            assert not (await client.call_tool("list_runs", {})).is_error
    assert redactor(said) == f"{made_up} with {REDACTED}"


@pytest.mark.parametrize("mode", ERAS)
async def test_sessions_are_bounded(box: Box, mode: Mode) -> None:
    async with (
        serving_http(box.base_url, limits={"sessions": 1}) as running,
        connected(running, mode=mode) as client,
    ):
        await client.list_tools()
        second = await running.post(
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _INITIALIZE},
            {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"},
        )
    # A client of the new protocol holds no session, so there is room for one.
    assert second.status_code == (503 if mode == "legacy" else 200)


_INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


@pytest.mark.parametrize("sse", [False, True])
async def test_the_endpoint_answers_with_a_slash_too(box: Box, sse: bool) -> None:
    async with serving_http(box.base_url, http={"auth": "passthrough"}, sse=sse) as running:
        good = {**HEADERS, "Authorization": f"Bearer {KEY}"}
        answer = await running.post(CALL, good, path="/mcp/")
        assert answer.status_code == 200
        assert answer.json()["result"]["structuredContent"]["runs"]
        assert (await running.post(CALL, {**good, "Host": "evil.example"}, path="/mcp/")).status_code == 421
        assert (await running.post(CALL, HEADERS, path="/mcp/")).status_code == 401


@pytest.mark.parametrize("stateless", [False, True])
async def test_a_stream_that_is_to_be_resumed_begins_again_or_is_refused(box: Box, stateless: bool) -> None:
    wanted = {"Accept": "application/json, text/event-stream", "Last-Event-ID": "7"}
    async with serving_http(box.base_url, http={"stateless": stateless}) as running, plain_client() as client:
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _INITIALIZE}
        opened = await running.post(body, {"Content-Type": "application/json", **wanted})
        session = opened.headers.get("mcp-session-id")
        if session:
            async with client.stream("GET", running.mcp, headers={**wanted, "Mcp-Session-Id": session}) as stream:
                assert stream.status_code == 200
                assert stream.headers["content-type"].startswith("text/event-stream")
        for more in ({}, {"MCP-Protocol-Version": "2026-07-28"}, {"Mcp-Session-Id": "unknown"}):
            async with client.stream("GET", running.mcp, headers={**wanted, **more}) as stream:
                # Without sessions each GET is a stream that nothing is sent on.
                assert stream.status_code == 200 or 400 <= stream.status_code < 500


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


class TestOAuth:
    """The resource server of the MCP specification, with an issuer on a real socket."""

    @staticmethod
    def http(issuer: Any) -> dict[str, Any]:
        return {"auth": f"oauth:{issuer.url}", "public_url": "https://mcp.example.com/mcp"}

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
        # RFC 6750, section 3.1: no error code where no credential was sent.
        assert "error" not in refused.headers["www-authenticate"]
        assert 'scope="runs:read workflows:read"' in refused.headers["www-authenticate"]

    @pytest.mark.parametrize(
        ("settings", "scopes"),
        [
            ({}, {"runs:read", "runs:write", "runs:cancel", "runs:delete", "workflows:read"}),
            ({"read_only": True}, {"runs:read", "workflows:read"}),
            ({"toolsets": "files"}, {"files:read", "files:write"}),
            ({"toolsets": "workflow-authoring"}, {"workflows:write"}),
        ],
    )
    async def test_the_metadata_lists_the_scopes_of_what_is_offered(
        self, box: Box, settings: dict[str, Any], scopes: set[str]
    ) -> None:
        with issuers() as served:
            async with serving_http(box.base_url, http=self.http(served.new()), **settings) as running:
                metadata = (await running.get("/.well-known/oauth-protected-resource/mcp")).json()
                challenge = (await running.post(CALL, HEADERS)).headers["www-authenticate"]
        assert set(metadata["scopes_supported"]) == scopes
        first = {scope for scope in scopes if scope.endswith(":read")} or scopes
        assert f'scope="{" ".join(scope for scope in SCOPES if scope in first)}"' in challenge

    async def test_a_refused_token_is_answered_with_the_reason(self, box: Box) -> None:
        clock = HandClock()
        with issuers() as served:
            issuer = served.new()
            issuer.shows(public(RSA, "k1"))
            good = {**claims(issuer.url, scope="runs:read"), "aud": "https://mcp.example.com/mcp"}
            valid = sign(good, RSA, kid="k1")
            reasons = {
                sign({**good, "exp": int(NOW.timestamp()) - 1}, RSA, kid="k1"): "the token has expired",
                sign({**good, "aud": "https://other.example/mcp"}, RSA, kid="k1"): "the token is for another audience",
                sign(good, RSA_LATER, kid="k1"): "the token's signature is wrong",
                'x"y\\z': "the token is no signed JWT",
            }
            async with serving_http(box.base_url, http=self.http(issuer), clock=clock) as running:
                assert (await running.post(CALL, {**HEADERS, "Authorization": f"Bearer {valid}"})).status_code == 200
                for token, reason in reasons.items():
                    answer = await running.post(CALL, {**HEADERS, "Authorization": f"Bearer {token}"})
                    assert answer.status_code == 401
                    challenge = answer.headers["www-authenticate"]
                    assert challenge.startswith(f'Bearer error="invalid_token", error_description="{reason}", scope=')
                    assert answer.json() == {"error": "invalid_token", "error_description": reason}

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
                    {**CALL, "params": {**CALL["params"], "name": "cancel_workflow_run", "arguments": {"run_id": RUN}}},
                    {**HEADERS, "Mcp-Name": "cancel_workflow_run", "Authorization": f"Bearer {bearer}"},
                )
        assert challenged.status_code == 403
        assert 'error="insufficient_scope"' in challenged.headers["www-authenticate"]
        assert 'scope="runs:cancel"' in challenged.headers["www-authenticate"]
        assert box.requests("POST") == []


class TestTokens:
    """Static tokens, hashed in a file."""

    async def test_the_scope_to_write_alone_reads_no_metadata_and_no_names(self, box: Box, tmp_path: Path) -> None:
        box.load({**example_run(RUN, "PROCESSED"), "metadata": {"customer": "canary-metadata"}})
        writer, entry = new_token("writer")
        file = tokens_file(tmp_path, {**entry, "scopes": ["runs:write"]})
        async with (
            serving_http(box.base_url, http={"auth": f"token:{file}"}) as running,
            connected(running, writer) as client,
        ):
            arguments = {"run_id": RUN, "metadata": {"customer": "new"}}
            changed = await client.call_tool("update_workflow_run", arguments)
            known = await client.call_tool("run_workflow", {"workflow": "Invoice Processing", "text": "a"})
            unknown = await client.call_tool("run_workflow", {"workflow": "Invoices", "text": "a"})
            by_id = await client.call_tool("run_workflow", {"workflow": box.workflow(), "text": "a"})
        assert facts_of(changed)["outcome"] == "done"
        assert "canary-metadata" not in text_of(changed)
        assert text_of(known) == text_of(unknown)
        assert "give its id" in text_of(known)
        assert facts_of(by_id)["outcome"] == "started"

    async def test_a_read_only_token_reads_and_cannot_cancel(self, box: Box, tmp_path: Path) -> None:
        box.load(example_run(RUN, "PROCESSING"))
        reader, entry = new_token("reader")
        file = tokens_file(tmp_path, {**entry, "toolsets": ["runs"], "read_only": True})
        async with serving_http(box.base_url, http={"auth": f"token:{file}"}) as running:
            async with connected(running, reader, person=Person()) as client:
                assert facts_of(await client.call_tool("list_runs", {}))["runs"]
                with pytest.raises(MCPError):
                    await client.call_tool("cancel_workflow_run", {"run_id": RUN})
            assert (
                await running.post(CALL, {**HEADERS, "Authorization": "Bearer wrong-token-wrong-token"})
            ).status_code == 401
        assert box.requests("POST") == []

    @pytest.mark.parametrize("denied_by", ["scopes", "read-only mode", "toolsets"])
    async def test_a_denied_call_leaves_an_audit_line_and_is_counted(
        self, box: Box, tmp_path: Path, denied_by: str
    ) -> None:
        why = {"scopes": "error response", "read-only mode": "read-only", "toolsets": "runs, is switched off"}[
            denied_by
        ]
        box.load(example_run(RUN, "PROCESSING"))
        token, entry = new_token("reader")
        file = tokens_file(tmp_path, {**entry, "scopes": ["runs:read"]} if denied_by == "scopes" else entry)
        log = tmp_path / "audit.jsonl"
        async with (
            serving_http(
                box.base_url,
                http={"auth": f"token:{file}"},
                audit=str(log),
                read_only=denied_by == "read-only mode",
                toolsets="workflows" if denied_by == "toolsets" else "runs,workflows",
            ) as running,
            connected(running, token, headers={"X-Request-Id": "from-the-proxy"}) as client,
        ):
            with pytest.raises(MCPError, match=why):
                await client.call_tool("cancel_workflow_run", {"run_id": RUN})
            with pytest.raises(MCPError, match=r"^Unknown tool: «?no_such_tool»?$"):
                await client.call_tool("no_such_tool", {"run_id": RUN})
            metrics = (await running.get("/metrics")).text
        [line] = [json.loads(each) for each in log.read_text().splitlines()]
        assert (line["who"], line["tool"], line["outcome"]) == ("token:reader", "cancel_workflow_run", "denied")
        assert (line["sent"], line["call_id"]) == (False, "from-the-proxy")
        assert 'extend_mcp_tool_calls_total{outcome="denied",tool="cancel_workflow_run"} 1.0' in metrics
        assert "no_such_tool" not in metrics
        assert box.requests("POST") == []

    async def test_the_log_and_the_response_say_why_a_token_is_refused(
        self, box: Box, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("WARNING")
        (_, entry), (old, expired) = new_token("reader"), new_token("old")
        file = tokens_file(tmp_path, entry, {**expired, "expires": "2020-01-01T00:00:00Z"})
        async with serving_http(box.base_url, http={"auth": f"token:{file}"}) as running:
            for token, reason in {
                "a-token-that-nobody-gave-out": "no such token",
                old: "the token old has expired",
                "emcp_x": "what was sent is too short, too long or not plain enough for a token",
            }.items():
                caplog.clear()
                answer = await running.post(CALL, {**HEADERS, "Authorization": f"Bearer {token}"})
                assert answer.status_code == 401
                expected = f'Bearer error="invalid_token", error_description="{reason}"'
                assert answer.headers["www-authenticate"] == expected
                assert reason in caplog.text
                assert token not in caplog.text
            caplog.clear()
            missing = await running.post(CALL, HEADERS)
        assert missing.headers["www-authenticate"] == "Bearer"
        assert missing.json() == {"message": "Authentication is required: no bearer token."}
        assert caplog.text == ""


def tokens_file(folder: Path, *entries: dict[str, Any]) -> Path:
    file = folder / "tokens.json"
    file.write_text(json.dumps({"tokens": [*entries]}))
    return file


async def test_the_card_says_where_to_connect_and_nothing_of_tools_or_callers(box: Box) -> None:
    async with serving_http(box.base_url, http={"auth": "passthrough"}) as running:
        card = (await running.get("/mcp/server-card")).json()
        assert set(card) == {"$schema", "name", "title", "description", "version", "icons", "remotes"}
        assert len(card["description"]) <= 100
        [remote] = card["remotes"]
        assert remote["url"] == f"{running.url}/mcp"
        assert remote["supportedProtocolVersions"][-1] == "2026-07-28"
        assert remote["headers"] == [{"name": "Authorization", "isRequired": True, "isSecret": True}]
        assert (await running.get("/mcp/server-card", headers={"Host": "evil.test"})).status_code == 421
    public = {"auth": "none", "public_url": "https://mcp.example.com/mcp"}
    async with serving_http(box.base_url, http=public) as running:
        [remote] = (await running.get("/mcp/server-card")).json()["remotes"]
        assert remote["url"] == "https://mcp.example.com/mcp"
        assert "headers" not in remote


async def test_lists_may_be_cached_by_the_caller_alone(box: Box) -> None:
    async with serving_http(box.base_url) as running, connected(running) as client:
        for listed in (await client.list_tools(), await client.list_prompts(), await client.list_resources()):
            assert (listed.ttl_ms, listed.cache_scope) == (300_000, "private")
