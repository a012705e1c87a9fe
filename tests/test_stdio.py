"""Cover the failures of the SDK over stdio: a probe that a client gave up, and lines that are no message."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.line import INITIALIZE, Line, notice, request, started
from tests.harness import Box
from tests.http.calls import CALL

SCENARIO = "empty"

ENVELOPE = {"_meta": CALL["params"]["_meta"]}
OPEN = request("initialize", INITIALIZE, 0)
READY = notice("notifications/initialized")
GIVEN_UP = notice("notifications/cancelled", {"requestId": "probe"})


def probe(number: str = "probe") -> bytes:
    return request("server/discover", ENVELOPE, number)


@pytest.fixture
def line(box: Box) -> Iterator[Line]:
    with started(box) as opened:
        yield opened


@pytest.mark.parametrize("sent", [(probe(),), (probe(), probe("again")), (READY, probe())])
def test_a_probe_and_the_handshake_back_to_back_are_both_answered(line: Line, sent: tuple[bytes, ...]) -> None:
    # The client gave up on the probe before the server had started.
    line.send(*sent, OPEN, READY)
    answers = [line.receive() for _ in range(sum(b"discover" in each for each in sent) + 1)]
    assert all("2026-07-28" in answer["result"]["supportedVersions"] for answer in answers[:-1])
    assert (answers[-1]["id"], answers[-1]["result"]["protocolVersion"]) == (0, "2025-11-25")
    line.is_well()
    assert line.close() == 0
    assert b"Traceback" not in line.errors


def test_a_probe_that_was_cancelled_holds_nothing_up(line: Line) -> None:
    line.send(probe(), GIVEN_UP, OPEN, READY)
    first = line.receive()
    opened = line.receive() if first["id"] == "probe" else first
    assert opened["result"]["protocolVersion"] == "2025-11-25"
    line.is_well()


def test_the_handshake_may_also_follow_the_answer_to_the_probe(line: Line) -> None:
    line.send(probe())
    assert "result" in line.receive()
    line.send(OPEN, READY)
    assert line.receive()["result"]["protocolVersion"] == "2025-11-25"
    line.is_well()


def test_a_call_decides_for_the_newer_protocol(line: Line) -> None:
    line.send(probe(), request("tools/list", ENVELOPE, 1))
    assert "result" in line.receive()
    assert "result" in line.receive()
    line.send(OPEN)
    assert line.receive()["error"]["code"] == -32022


def test_what_is_no_message_is_answered_before_and_after_the_handshake(line: Line) -> None:
    broken = {
        "params as a list": (request("tools/list", [], 7), -32600, 7),
        "byte order mark": (b"\xef\xbb\xbf" + request("tools/list", {}, 8), -32700, 8),
        "half a surrogate": (
            request("tools/call", {"name": "list_runs", "arguments": {"batch": "\ud800"}}, 9),
            -32700,
            9,
        ),
        "half an object": (b"{", -32700, None),
        "batch": (b"[]", -32600, None),
    }

    def each_is_answered() -> None:
        for name, (sent, code, number) in broken.items():
            line.send(sent)
            answer = line.receive()
            assert (answer["error"]["code"], answer["id"]) == (code, number), name

    each_is_answered()
    line.send(OPEN, READY)
    assert line.receive()["id"] == 0
    each_is_answered()
    line.is_well()


def test_a_blank_line_an_answer_and_a_notice_get_no_answer(line: Line) -> None:
    line.send(b"", b'{"jsonrpc":"2.0","id":7}', notice("notifications/none", []), OPEN, READY)
    assert line.receive()["id"] == 0
