"""Check that what `extend_mcp.mcp_compat` uses of the SDK is still there, still needed, and means what it did."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client.client import Client
from mcp.server.connection import Connection
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.server.session import ServerSession
from pydantic import ValidationError
from sse_starlette.sse import AppStatus
from starlette.types import Message, Receive, Scope, Send

from extend_mcp import mcp_compat
from extend_mcp.accounts import Account, Caller
from extend_mcp.callers import CallerUser
from extend_mcp.mcp_compat import (
    ArgModelBase,
    FuncMetadata,
    auth_context_var,
    connection_of,
    is_validation_text,
    let_event_streams_finish,
)

PACKAGE = Path(mcp_compat.__file__).parent


def test_no_other_module_uses_what_the_sdk_does_not_export() -> None:
    hidden = re.compile(
        r"mcp\.server\.mcpserver\.(utilities|prompts\.base)|auth_context import auth_context_var|session\._|AppStatus"
        r"|errors\.pydantic\.dev|from mcp[\w.]* import _|\b_lowlevel_server\b"
    )
    using = [path.name for path in PACKAGE.rglob("*.py") if hidden.search(path.read_text(encoding="utf-8"))]
    assert using == ["mcp_compat.py"]


async def test_our_authentication_reaches_the_handlers_by_the_sdk_s_variable() -> None:
    from mcp.server.auth.middleware.auth_context import AuthContextMiddleware

    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(auth_context_var.get())

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    user = CallerUser(Caller("token:ana", Account(None)))
    await AuthContextMiddleware(app)({"type": "http", "user": user}, receive, send)
    assert seen == [user]


def test_a_tool_takes_a_model_of_arguments_and_metadata_of_our_own() -> None:
    class Arguments(ArgModelBase, extra="forbid"):
        a: int

    metadata = FuncMetadata(arg_model=Arguments)
    assert metadata.validate_arguments({"a": 1})
    with pytest.raises(ValidationError):
        metadata.validate_arguments({"a": 1, "b": 2})
    assert {"fn_metadata", "context_kwarg", "is_async", "parameters"} <= set(Tool.model_fields)
    assert {"arg_model", "output_schema", "output_model"} <= set(FuncMetadata.model_fields)


async def test_a_request_leads_to_its_connection() -> None:
    found: list[object] = []

    async def middleware(ctx: Any, call_next: Any) -> Any:
        if ctx.method == "tools/list":
            found.append(connection_of(ctx))
        return await call_next(ctx)

    async with Client(MCPServer("test", middleware=[middleware])) as client:
        await client.list_tools()
    assert [type(each) for each in found] == [Connection]
    assert not [name for name in dir(ServerSession) if name == "connection"], "there is a public way now: use it"
    assert {"state", "exit_stack", "outbound"} <= set(dir(found[0]))


def test_event_streams_are_left_to_our_lifecycle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AppStatus, "enable_automatic_graceful_drain", True)
    let_event_streams_finish()
    assert AppStatus.enable_automatic_graceful_drain is False
    monkeypatch.setattr(AppStatus, "should_exit", False)
    monkeypatch.setattr(AppStatus, "original_handler", None)
    AppStatus.handle_exit()
    assert AppStatus.should_exit is False, "the library does not look at this any more"


async def test_the_sdk_s_report_on_a_malformed_message_is_recognized() -> None:
    app = MCPServer("test").streamable_http_app(stateless_http=True)
    transport = httpx.ASGITransport(app)
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        answer = await client.post("/mcp", content=b'{"jsonrpc": "2.0", "canary": 1}', headers=headers)
    assert answer.status_code == 400
    assert is_validation_text(answer.content)
    assert not is_validation_text(b'{"error": {"message": "Parse error"}}')
