"""The same faults through real tools: what a model reads names what happened, whether anything changed, what is next.

Each tool's write meets the fault; what it reads before or after is answered well, unless nobody answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from extend_mcp.api.transport import ExtendTransport
from extend_mcp.tools.toolsets import TOOLSETS
from tests.calls import Needs, first_calls
from tests.harness import Box, Person, serving, text_of
from tests.robustness.client_calls import Kind
from tests.robustness.fault_rules import ATTEMPTS, SMALL, Cell, Fault, expected, faults
from tests.robustness.faulty_server import KEY, faulty, unreachable
from tests.robustness.leaping_clock import LeapingLoop

pytestmark = pytest.mark.thorough

SCENARIO = "empty"
SAME = {
    "400": ("422", "error as a wrapped text (400)", "HTML error (400)"),
    "429, Retry-After: 2": ("429, Retry-After: a date 5 s ahead", "429, Retry-After: 90"),
    "500": ("502", "503", "504"),
    "reset before the headers": ("reset in the body", "body shorter than announced"),
    "truncated JSON": ("HTML instead of JSON", "empty body", "truncated gzip"),
    "body above 64 MB": ("gzip bomb",),
    "wrong content type, JSON inside": ("60 MB run",),
}
"""Faults that the client makes the same kind of error of as the first, as test_faults.py proves."""

CHOSEN = [fault for fault in faults() if not any(fault.name in others for others in SAME.values())]


@dataclass(frozen=True)
class Tool:
    """A tool to call.

    Attributes:
        name: of the tool.
        kind: of the one call that meets the fault.
        path: where that call goes.
    """

    name: str
    kind: Kind
    path: str


# The server of the faults answers for any id.
OBJECTS = dict.fromkeys(Needs, "workflow_run_1") | {
    Needs.WORKFLOW: "workflow_1abcdefghij",
    Needs.FILE: "file_1",
}
TOOLS = [
    Tool(name="get_workflow_run", kind="read", path="/workflow_runs/workflow_run_1"),
    Tool(name="update_workflow_run", kind="write", path="/workflow_runs/workflow_run_1"),
    Tool(name="run_workflow", kind="create", path="/workflow_runs"),
    Tool(name="run_workflow_batch", kind="create", path="/workflow_runs/batch"),
    Tool(name="create_workflow", kind="create", path="/workflows"),
    Tool(name="upload_file", kind="create", path="/files/upload"),
    Tool(name="create_webhook_endpoint", kind="create", path="/webhook_endpoints"),
    Tool(name="delete_file", kind="write", path="/files/file_1"),
]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Time-outs take no time here: see leaping_clock.py."""
    return "asyncio", {"loop_factory": LeapingLoop}


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit that the bodies of the rules are made for."""
    defaults = ExtendTransport.__init__.__kwdefaults__
    assert defaults
    monkeypatch.setitem(defaults, "max_bytes", SMALL)


@pytest.fixture
def nowhere() -> Iterator[dict[str, str]]:
    with unreachable() as urls:
        yield urls


def _cells() -> list[Any]:
    return [pytest.param(tool, fault, id=f"{tool.name}: {fault.name}") for tool in TOOLS for fault in CHOSEN]


@pytest.mark.parametrize(("tool", "fault"), _cells())
async def test_a_model_reads_what_happened_what_changed_and_what_is_next(
    box: Box, nowhere: dict[str, str], tool: Tool, fault: Fault
) -> None:
    cell = expected(fault, tool.kind)
    async with faulty() as server:
        server.wire = fault.wire
        if tool.kind != "read":
            server.strikes = frozenset({"POST", "DELETE"})
        behind = Box({"server": server.url, **nowhere}[fault.wire.where], box.sandbox)
        async with serving(behind, key=KEY, person=Person(), toolsets=tuple(TOOLSETS)) as client:
            result = await client.call_tool(tool.name, first_calls()[tool.name].on(OBJECTS))
    text = text_of(result)
    if cell.error is None:
        assert not result.is_error
        return
    assert result.is_error == (cell.changed != "unclear"), text
    assert KEY not in text
    check_text(text, cell, tool.kind)
    struck = [path for verb, path in server.seen if path == tool.path and (verb == "GET") == (tool.kind == "read")]
    assert len(struck) == cell.requests <= (ATTEMPTS if tool.kind == "read" else 1)


def check_text(text: str, cell: Cell, kind: Kind) -> None:
    assert cell.says in text
    if cell.changed != "unclear":
        assert cell.advice in text
        assert ("Nothing was changed." in text) == (kind != "read"), text
        return
    assert "Nothing was changed" not in text
    assert text.startswith("unknown: No clear answer came"), text
    assert "look" in text.lower(), text
    assert "not sent again" in text, text


def test_what_is_left_out_is_the_same_kind_of_error_with_the_same_effect() -> None:
    by_name = {fault.name: fault for fault in faults()}
    for first, others in SAME.items():
        kinds = {(by_name[name].error, by_name[name].unclear) for name in (first, *others)}
        assert len(kinds) == 1, first
    assert len(CHOSEN) + sum(map(len, SAME.values())) == len(by_name)
