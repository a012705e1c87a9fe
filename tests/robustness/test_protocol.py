"""Messages that no good client sends, over stdio and HTTP: refused or dropped, and a good one is answered next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from tests.e2e.line import ABSURD, INITIALIZE, Line, notice, request, started
from tests.harness import Box, Mode, facts_of
from tests.http.calls import CALL, HEADERS
from tests.http.kit import Running, connected, serving_http

pytestmark = pytest.mark.thorough

SCENARIO = "empty"


# What is no message, with the code and the id that its answer has over stdio.
NO_MESSAGE: dict[str, tuple[bytes, int, Any]] = {
    "no JSON": (b"hello", -32700, None),
    "half an object": (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/', -32700, None),
    "deep": (b"[" * 100_000, -32700, None),
    "not UTF-8": (b"\xff\xfe\x00\x80", -32700, None),
    "null byte": (b"\x00", -32700, None),
    "byte order mark": (b"\xef\xbb\xbf" + request("ping"), -32700, ABSURD),
    "half a surrogate": (
        request("tools/call", {"name": "list_runs", "arguments": {"file_name_contains": "\ud800"}}),
        -32700,
        ABSURD,
    ),
    "null": (b"null", -32600, None),
    "number": (b"5", -32600, None),
    "text": (b'"tools/list"', -32600, None),
    "empty batch": (b"[]", -32600, None),
    "batch": (b"[" + request("ping") + b"]", -32600, None),
    "another JSON-RPC": (request("ping").replace(b"2.0", b"1.0"), -32600, ABSURD),
    "no version": (b'{"id": 1, "method": "ping"}', -32600, 1),
    "method of a wrong type": (request(5), -32600, ABSURD),
    "empty params": (request("tools/list", []), -32600, ABSURD),
    "params of a wrong type": (request("tools/list", [1]), -32600, ABSURD),
}

# What gets no answer: notices, answers, and what the SDK takes for one of these.
NOISE = {
    "empty line": b"",
    "blank": b"  \t ",
    "no method": b'{"jsonrpc": "2.0"}',
    "no result": b'{"jsonrpc": "2.0", "id": 4711}',
    "null id": request("ping", number=None),
    "id of a wrong type": request("ping", number={"a": 1}),
    "notice with params of a wrong type": notice("notifications/none", [1]),
    "answer to nothing": b'{"jsonrpc": "2.0", "id": 4711, "result": {}}',
    "error to nothing": b'{"jsonrpc": "2.0", "id": 4711, "error": {"code": 1, "message": "x"}}',
    "unknown notice": notice("notifications/none"),
    "cancel of nothing": notice("notifications/cancelled", {"requestId": 4711}),
    "cancel without an id": notice("notifications/cancelled", {}),
    "cancel of a wrong type": notice("notifications/cancelled", {"requestId": [1]}),
    "progress of nothing": notice("notifications/progress", {"progressToken": "x", "progress": 1}),
}

# Messages with an id get an error that says what is wrong.
WRONG = {
    "unknown method": (request("tools/none"), "Method not found"),
    "no params": (request("tools/call"), "Invalid request parameters"),
    "name of a wrong type": (request("tools/call", {"name": 5}), "Invalid request parameters"),
    "arguments of a wrong type": (
        request("tools/call", {"name": "list_runs", "arguments": "x"}),
        "Invalid request parameters",
    ),
    "unknown tool": (request("tools/call", {"name": "none", "arguments": {}}), "Unknown tool"),
    "address of a wrong type": (request("resources/read", {"uri": 5}), "Invalid request parameters"),
    "unknown resource": (request("resources/read", {"uri": "extend://none"}), "Unknown resource"),
    "completion of nothing": (request("completion/complete", {}), "Invalid request parameters"),
    "huge argument": (
        request("tools/call", {"name": "list_runs", "arguments": {"file_name_contains": "x" * 5_000_000}}),
        "at most 255 characters",
    ),
    "initialize without params": (request("initialize"), "Invalid request parameters"),
}


@pytest.fixture
def line(box: Box) -> Iterator[Line]:
    with started(box) as opened:
        yield opened


def begin(line: Line) -> None:
    line.send(request("initialize", INITIALIZE, 0))
    assert line.receive()["result"]["protocolVersion"] == "2025-11-25"
    line.send(notice("notifications/initialized"))


def test_stdio_takes_anything_and_goes_on(line: Line, box: Box) -> None:
    # Before anything was agreed on, a request is refused, and the handshake is still taken.
    for early in (request("tools/list"), request("tools/call", {"name": "list_runs", "arguments": {}})):
        line.send(early)
        assert line.receive()["error"]["code"] == -32602
    line.send(*NOISE.values())
    begin(line)
    line.is_well()
    for noise in NOISE.values():
        line.send(noise)
        line.is_well()
    for name, (noise, code, number) in NO_MESSAGE.items():
        line.send(noise)
        answer = line.receive()
        assert (answer["error"]["code"], answer["id"]) == (code, number), name
        line.is_well()
    for name, (wrong, said) in WRONG.items():
        line.send(wrong)
        answer = line.receive()
        assert answer["id"] == ABSURD, name
        assert said in json.dumps(answer), name
        assert len(json.dumps(answer)) < 600, name
        line.is_well()
    # A second handshake does not undo the first.
    begin(line)
    line.is_well()
    assert len(box.requests()) == len(NOISE) + len(NO_MESSAGE) + len(WRONG) + 2, "nothing else went to Extend"
    assert b"Traceback" not in line.errors
    assert line.process.stdin
    line.process.stdin.close()
    assert line.process.wait(10) == 0


def test_many_requests_at_once_and_cancels_out_of_order(line: Line, box: Box) -> None:
    begin(line)
    many = [request("tools/call", {"name": "list_runs", "arguments": {}}, f"n{number}") for number in range(300)]
    # Cancelled before they are sent, twice, by numbers that are text elsewhere, and after they were answered.
    early = [notice("notifications/cancelled", {"requestId": f"n{number}"}) for number in range(20)]
    line.send(*early, *early, *many)
    answered = {line.receive()["id"] for _ in many}
    assert answered == {f"n{number}" for number in range(300)}
    line.send(*early, notice("notifications/cancelled", {"requestId": 1}))
    line.is_well()
    assert len(box.requests()) == 301


def test_one_id_twice_does_not_confuse_the_server(line: Line) -> None:
    begin(line)
    line.send(request("ping", number=7), request("tools/list", number=7), request("ping", number=7))
    assert [line.receive()["id"] for _ in range(3)] == [7, 7, 7]
    line.is_well()


async def is_well(running: Running) -> None:
    """A good call is answered."""
    answer = await running.post(CALL, HEADERS)
    assert answer.status_code == 200
    assert '"isError":false' in answer.text


async def test_http_takes_anything_and_goes_on(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    async with serving_http(box.base_url) as running:
        await is_well(running)
        noise = NOISE | {name: sent for name, (sent, *_) in NO_MESSAGE.items()}
        for name, sent in (noise | {name: sent for name, (sent, _) in WRONG.items()}).items():
            for version in ("2026-07-28", "2025-11-25"):
                method = json.loads(sent).get("method", "") if sent[:1] == b"{" and sent[-1:] == b"}" else ""
                headers = {**HEADERS, "MCP-Protocol-Version": version, "Mcp-Method": str(method)}
                answer = await running.post(sent, headers)
                # 202 is for notices, 200 for answers that say what is wrong.
                assert 200 <= answer.status_code < 500, (name, version, answer.text)
                if answer.status_code == 202:
                    assert (name in noise, answer.text) == (True, "")
                else:
                    assert answer.status_code == 413 or '"error"' in answer.text or '"isError":true' in answer.text, (
                        name,
                        version,
                        answer.text,
                    )
                assert len(answer.text) < 600, (name, answer.text)
                assert "pydantic" not in answer.text
                assert "Traceback" not in answer.text
            await is_well(running)
        for bad in (
            {"Mcp-Session-Id": "none"},
            {"Mcp-Session-Id": "x" * 5000},
            {"MCP-Protocol-Version": "3000-01-01"},
            {"Content-Type": "text/plain"},
            {"Accept": "text/html"},
        ):
            answer = await running.post(CALL, {**HEADERS, **bad})
            assert 400 <= answer.status_code < 500 or "Mcp-Session-Id" in bad, (bad, answer.text)
            await is_well(running)
    assert not [record for record in caplog.records if record.exc_info]


async def test_both_eras_in_turn_on_one_server(box: Box) -> None:
    turns: tuple[Mode, ...] = ("auto", "legacy", "auto", "legacy")
    async with serving_http(box.base_url) as running:
        async with connected(running, mode="auto") as new, connected(running, mode="legacy") as old:
            for _ in range(3):
                for client in (new, old, old, new):
                    assert facts_of(await client.call_tool("list_runs", {}))["runs"] == []
        for mode in turns:
            async with connected(running, mode=mode) as client:
                assert facts_of(await client.call_tool("list_runs", {}))["runs"] == []
                assert (await client.list_tools()).tools
        async with connected(running, mode="auto") as new, connected(running, mode="legacy") as old:
            async with anyio.create_task_group() as tasks:
                for number in range(60):
                    tasks.start_soon((new, old)[number % 2].call_tool, "list_runs", {})
            await is_well(running)
