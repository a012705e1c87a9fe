"""Two callers of one server, each with an Extend account of their own: whatever one tries on the other's fails.

In every test ``ana`` owns the run and ``ben`` tries. Nothing of ana's may be shown to ben, and no request of his may
change anything of hers; what he gets is what he would get for something that does not exist.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference

from extend_mcp.http.auth.tokens import new_token
from extend_mcp.views.uris import batch_uri, run_uri, step_uri, workflow_uri
from tests.calls import Needs, calls
from tests.harness import ERAS, Box, BoxClock, Mode, Person, example_run, facts_of, text_of
from tests.hosting import Host
from tests.http.kit import Running, connected, extend_with, plain_client, serving_http

ANA, BEN = "sk_ana_canary_0001", "sk_ben_canary_0002"
HERS = "workflow_run_belongsToAna00000001"
HIS = "workflow_run_belongsToBen00000001"
BATCH = "batch_ofAna01"
SECRET = "ana-only-9f3c.pdf"


@dataclass
class Two:
    """Two accounts of Extend behind one address."""

    url: str
    ana: Box
    ben: Box

    def untouched(self) -> None:
        """Nothing was written to ana's account, and her run continues."""
        assert [r["path"] for r in self.ana.requests() if r["method"] != "GET"] == []
        assert {run["id"]: run["status"] for run in self.ana.state()["runs"]}[HERS] == "PROCESSING"


@pytest.fixture
def two(host: Host) -> Iterator[Two]:
    with host.room("empty") as hers, host.room("empty") as his:
        ana, ben = Box(hers.base_url, hers.sandbox), Box(his.base_url, his.sandbox)
        run = {**example_run(HERS, "PROCESSING"), "batchId": BATCH}
        run["files"] = [{**run["files"][0], "name": SECRET}]
        ana.load(run)
        ben.load(example_run(HIS, "PROCESSING"))
        with extend_with({ANA: ana, BEN: ben}) as url:
            yield Two(url, ana, ben)


@asynccontextmanager
async def passthrough(two: Two, **settings: Any) -> AsyncIterator[Running]:
    clock = BoxClock(two.ana)
    async with serving_http(two.url, http={"auth": "passthrough"}, clock=clock, sse=True, **settings) as running:
        yield running


def her_objects(ana: Box, workflow: str) -> dict[Needs, str]:
    """Make a file and a webhook endpoint of hers, whose names are secret too."""
    file = ana.api("POST", "/files/upload", files={"file": (SECRET, b"a")})["id"]
    address = {"url": "https://hooks.example/x", "name": SECRET, "apiVersion": "2026-02-09", "enabledEvents": []}
    endpoint = ana.api("POST", "/webhook_endpoints", json=address)["id"]
    ana.forget()
    return {Needs.WORKFLOW: workflow, Needs.FILE: file, Needs.ENDPOINT: endpoint, Needs.SUBSCRIPTION: endpoint}


@pytest.mark.parametrize("mode", ERAS)
async def test_reading_each_tool_and_resource(two: Two, mode: Mode) -> None:
    workflow = two.ana.state()["runs"][0].get("workflowId") or example_run(HERS, "PROCESSING")["workflow"]["id"]
    objects = {**dict.fromkeys(Needs, HERS), Needs.TWIN_RUN: HIS, Needs.BATCH: BATCH, **her_objects(two.ana, workflow)}
    uris = [run_uri(HERS), step_uri(HERS, "1"), batch_uri(BATCH), workflow_uri(workflow), "extend://account"]
    async with (
        passthrough(two, toolsets="all") as running,
        connected(running, ANA, mode=mode) as ana,
        connected(running, BEN, mode=mode) as ben,
    ):
        # Hers first, so that whatever is kept between calls is there to be found.
        assert SECRET in text_of(await ana.call_tool("get_workflow_run", {"run_id": HERS}))
        assert SECRET in text_of(await ana.call_tool("list_runs", {}))
        for call in calls(read_only=True):
            result = await ben.call_tool(call.tool, call.on(objects))
            assert SECRET not in text_of(result) + json.dumps(result.structured_content), call
            assert call.tool == "list_runs" or "PROCESSING: " not in text_of(result)
        for uri in uris:
            try:
                read = str((await ben.read_resource(uri)).contents)
            except MCPError as error:
                read = str(error)
            assert SECRET not in read, uri
            assert ANA not in read, uri
        for prompt in ("investigate_run", "cancel_run_safely"):
            assert SECRET not in str((await ben.get_prompt(prompt, {"run_id": HERS})).messages)
        listed = facts_of(await ben.call_tool("list_runs", {}))
    assert [run["run_id"] for run in listed["runs"]] == [HIS]
    two.untouched()


@pytest.mark.parametrize("mode", ERAS)
async def test_writing_with_a_yes_of_his_own_reaches_nothing_of_hers(two: Two, mode: Mode) -> None:
    async with passthrough(two) as running, connected(running, BEN, mode=mode, person=Person()) as ben:
        cancelled = facts_of(await ben.call_tool("cancel_workflow_run", {"run_id": HERS}))
        many = facts_of(await ben.call_tool("cancel_runs", {"run_ids": [HERS]}))
        batch = facts_of(await ben.call_tool("cancel_runs", {"batch": BATCH}))
        deleted = facts_of(await ben.call_tool("delete_workflow_run", {"run_id": HERS}))
        changed = facts_of(await ben.call_tool("update_workflow_run", {"run_id": HERS, "metadata": {"mine": True}}))
        again = await ben.call_tool("rerun_workflow_runs", {"run_ids": [HERS]})
    assert {cancelled["outcome"], deleted["outcome"], changed["outcome"]} == {"not_found"}
    assert (many["outcome"], batch["outcome"]) == ("nothing_to_do", "nothing_to_do")
    assert facts_of(again)["outcome"] == "nothing_to_do"
    two.untouched()


@pytest.mark.parametrize("tool", ["cancel_workflow_run", "cancel_runs"])
@pytest.mark.parametrize("mode", ERAS)
async def test_a_confirmation_token_of_hers_is_worthless_to_him(two: Two, mode: Mode, tool: str) -> None:
    arguments = {"run_id": HERS} if tool == "cancel_workflow_run" else {"run_ids": [HERS]}
    async with (
        passthrough(two) as running,
        connected(running, ANA, mode=mode) as ana,
        connected(running, BEN, mode=mode) as ben,
    ):
        token = facts_of(await ana.call_tool(tool, arguments))["confirmation_token"]
        # The same run exists for both here, so that only whose token it is can decide.
        two.ben.load(example_run(HERS, "PROCESSING"))
        tried = facts_of(await ben.call_tool(tool, {**arguments, "confirmation_token": token}))
        alone = await ben.call_tool("cancel_runs", {"confirmation_token": token})
        assert tried["outcome"] == "confirmation_required"
        assert facts_of(alone)["outcome"] == "refused"
        assert two.ben.requests("POST") == []
        two.untouched()
        # It was good all the while: for her.
        assert facts_of(await ana.call_tool(tool, {**arguments, "confirmation_token": token}))["outcome"] in (
            "cancelled",
            "done",
        )


async def test_the_sealed_state_of_her_round_is_worthless_to_him(two: Two) -> None:
    """2026-07-28: he repeats her call word for word, with her state and a yes of his own."""
    two.ben.load(example_run(HERS, "PROCESSING"))
    async with passthrough(two) as running:
        asked = (await running.post(_cancel(), _headers(ANA))).json()["result"]
        assert asked["resultType"] == "input_required"
        answer = {"inputResponses": {"confirm": {"action": "accept", "content": {"confirm": True}}}}
        retry = _cancel(requestState=asked["requestState"], **answer)
        his = (await running.post(retry, _headers(BEN))).json()
        nobodys = await running.post(retry, _headers("sk_of_nobody_at_all"))
        altered = (
            await running.post(_cancel(requestState=asked["requestState"][:-2] + "AA", **answer), _headers(ANA))
        ).json()
        assert "Invalid or expired requestState" in his["error"]["message"]
        assert "Invalid or expired requestState" in nobodys.json()["error"]["message"]
        assert "Invalid or expired requestState" in altered["error"]["message"]
        assert two.ben.requests("POST") == []
        two.untouched()
        hers = (await running.post(retry, _headers(ANA))).json()["result"]
    assert hers["structuredContent"]["outcome"] == "cancelled"


async def test_her_session_is_not_there_for_him(two: Two) -> None:
    """2025-11-25: neither calls nor the long-lived stream, nor ending it."""
    initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    base = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    async with passthrough(two) as running:
        opened = await running.post(
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize},
            {**base, "Authorization": f"Bearer {ANA}"},
        )
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        his = {**base, **session, "Authorization": f"Bearer {BEN}"}
        assert (await running.post(call, his)).status_code == 404
        assert (await running.get("/mcp", his)).status_code == 404
        async with plain_client() as client:
            assert (await client.delete(running.mcp, headers=his)).status_code == 404
        assert (await running.post(call, {**base, **session})).status_code == 401
        hers = await running.post(
            {"jsonrpc": "2.0", "method": "notifications/initialized"}, {**his, "Authorization": f"Bearer {ANA}"}
        )
    assert hers.status_code == 202


async def test_her_sse_session_takes_no_message_of_his(two: Two) -> None:
    async with passthrough(two) as running:
        host, port = running.url.removeprefix("http://").split(":")
        stream = await anyio.connect_tcp(host, int(port))
        async with stream:
            await stream.send(
                f"GET /sse HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {ANA}\r\n\r\n".encode()
            )
            received = b""
            while b"session_id=" not in received:
                received += await stream.receive()
            path = "/messages/?session_id=" + received.split(b"session_id=")[1].split()[0].decode()
            call = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            json_type = {"Content-Type": "application/json"}
            his = await running.post(call, {**json_type, "Authorization": f"Bearer {BEN}"}, path)
            nobodys = await running.post(call, json_type, path)
            hers = await running.post(call, {**json_type, "Authorization": f"Bearer {ANA}"}, path)
    assert (his.status_code, nobodys.status_code, hers.status_code) == (404, 401, 202)


@pytest.mark.filterwarnings("ignore:resources/subscribe")
@pytest.mark.parametrize("uri", [run_uri(HERS), step_uri(HERS, "1"), batch_uri(BATCH)])
async def test_subscribing_to_what_is_hers(two: Two, uri: str) -> None:
    async with passthrough(two) as running:
        async with connected(running, BEN) as ben:
            with pytest.raises(MCPError, match="no such object"):
                async with ben.listen(resource_subscriptions=[run_uri(HIS), uri]):
                    pass
        async with connected(running, BEN, mode="legacy") as ben:
            with pytest.raises(MCPError, match="no such object"):
                await ben.subscribe_resource(uri)
        async with connected(running, ANA) as ana, ana.listen(resource_subscriptions=[uri]) as hers:
            with anyio.fail_after(5):
                await running.app.shared.bus.publish(ResourceUpdated(run_uri(HERS)))
                await running.app.shared.bus.publish(ResourceUpdated(batch_uri(BATCH)))
                assert (await hers.__anext__()).uri == uri  # type: ignore[union-attr]


async def test_an_event_of_hers_is_not_heard_of_on_his_stream(two: Two) -> None:
    async with (
        passthrough(two) as running,
        connected(running, BEN) as ben,
        ben.listen(resource_subscriptions=[run_uri(HIS)]) as his,
    ):
        await running.app.shared.bus.publish(ResourceUpdated(run_uri(HERS)))
        await running.app.shared.bus.publish(ResourceUpdated(run_uri(HIS)))
        with anyio.fail_after(5):
            first = await his.__anext__()
    assert first == ResourceUpdated(run_uri(HIS))


@pytest.mark.parametrize("mode", ERAS)
async def test_completing_from_what_is_hers(two: Two, mode: Mode) -> None:
    async def complete(client: Client, name: str, typed: str, template: str) -> list[str]:
        found = await client.complete(ResourceTemplateReference(uri=template), {"name": name, "value": typed})
        return found.completion.values

    run = "extend://workflow-runs/{run_id}"
    async with (
        passthrough(two) as running,
        connected(running, ANA, mode=mode) as ana,
        connected(running, BEN, mode=mode) as ben,
    ):
        assert await complete(ana, "run_id", "", run) == [HERS]
        assert await complete(ana, "run_id", "ana-only", run) == [HERS]
        assert await complete(ben, "run_id", "", run) == [HIS]
        assert await complete(ben, "run_id", "ana-only", run) == []
        assert await complete(ben, "batch_id", "", "extend://batches/{batch_id}") == []


async def test_two_tokens_on_one_account_still_do_not_share_consent_or_budget_line(two: Two, tmp_path: Path) -> None:
    """They may read the same runs, that is the operator's wish; a yes given to one is no yes to the other."""
    ops, ops_entry = new_token("ops")
    bot, bot_entry = new_token("bot")
    key = tmp_path / "key"
    key.write_text(ANA)
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": [{**each, "api_key_file": str(key)} for each in (ops_entry, bot_entry)]}))
    async with (
        serving_http(two.url, http={"auth": f"token:{file}"}, clock=BoxClock(two.ana)) as running,
        connected(running, ops) as first,
        connected(running, bot) as second,
    ):
        assert SECRET in text_of(await second.call_tool("get_workflow_run", {"run_id": HERS}))
        token = facts_of(await first.call_tool("cancel_workflow_run", {"run_id": HERS}))["confirmation_token"]
        tried = facts_of(await second.call_tool("cancel_workflow_run", {"run_id": HERS, "confirmation_token": token}))
        assert tried["outcome"] == "confirmation_required"
        two.untouched()


async def test_a_call_without_a_caller_gets_nobody_s_rights(two: Two) -> None:
    """Should authentication ever let one through, the server itself refuses, rather than act on the configured key."""
    from extend_mcp.callers import UnknownCallerError

    async with passthrough(two) as running:
        with pytest.raises(UnknownCallerError):
            running.app.registry.current()
        assert running.app.identify is not None


_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}


def _cancel(**more: Any) -> dict[str, Any]:
    params = {"name": "cancel_workflow_run", "arguments": {"run_id": HERS}, "_meta": _META, **more}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def _headers(key: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "cancel_workflow_run",
        "Authorization": f"Bearer {key}",
    }
