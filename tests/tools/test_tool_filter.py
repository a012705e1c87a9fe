"""`?tools=` on the HTTP endpoint narrows what a client sees and can call, and never widens it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import uvicorn
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.transport import ExtendTransport, network_transport
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from extend_mcp.tools.toolsets import TOOLSETS
from tests.calls import tools
from tests.harness import ERAS, KEY, Box, Mode, facts_of


@asynccontextmanager
async def serving_http(box: Box, **settings: Any) -> AsyncIterator[str]:
    """Our server over streamable HTTP, in this process; yields the endpoint's URL."""
    chosen = Settings.model_validate({"api_key": KEY, "base_url": box.base_url, **settings})
    config = ClientConfig(api_key=SecretStr(KEY), base_url=box.base_url)
    transport = ExtendTransport(network_transport(box.base_url))
    server, app = build_server(chosen, connect=lambda _: ExtendClient(config, transport), local_files=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        web = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_config=None))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: web.serve(sockets=[listener]))
            while not web.started:
                await anyio.lowlevel.checkpoint()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            web.should_exit = True
    await app.aclose()
    await transport.inner.aclose()


async def names(url: str, mode: Mode) -> set[str]:
    async with Client(url, mode=mode) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


async def refusal(url: str, mode: Mode) -> str:
    async with Client(url, mode=mode) as client:
        with pytest.raises(MCPError) as refused:
            await client.list_tools()
    return str(refused.value)


@pytest.mark.parametrize("mode", ERAS)
async def test_toolsets_and_single_tools_can_be_named(box: Box, mode: Mode) -> None:
    async with serving_http(box, toolsets="all") as url:
        everything = await names(url, mode)
        files = await names(f"{url}?tools=files", mode)
        mixed = await names(f"{url}?tools=files,%20list_runs", mode)
    assert everything == tools().keys()
    assert files == {tool.name for tool in TOOLSETS["files"].tools}
    assert mixed == files | {"list_runs"}


@pytest.mark.parametrize("mode", ERAS)
async def test_a_hidden_tool_cannot_be_called_and_a_shown_one_can(box: Box, mode: Mode) -> None:
    async with serving_http(box, toolsets="all") as url, Client(f"{url}?tools=runs", mode=mode) as client:
        assert facts_of(await client.call_tool("list_runs", {}))["runs"]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("list_files", {})
    assert not any(request["path"] == "/files" for request in box.requests())


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("query", ["", "?tools=runs"])
@pytest.mark.parametrize("name", ["no_such_tool", "list_files", ""])
async def test_an_unknown_tool_is_the_callers_error(box: Box, mode: Mode, query: str, name: str) -> None:
    async with serving_http(box) as url, Client(f"{url}{query}", mode=mode) as client:
        with pytest.raises(MCPError, match=f"Unknown tool: «{name}»") as refused:
            await client.call_tool(name, {})
    assert refused.value.error.code == INVALID_PARAMS


@pytest.mark.parametrize("mode", ERAS)
async def test_nothing_is_added_to_what_the_operator_switched_on(box: Box, mode: Mode) -> None:
    async with serving_http(box, read_only=True) as url:
        reading = await names(f"{url}?tools=runs", mode)
        assert "Toolsets: runs, workflows;" in await refusal(f"{url}?tools=files", mode)
    assert "cancel_workflow_run" not in reading
    assert "list_runs" in reading


@pytest.mark.parametrize("given", ["", ",", "no_such_tool"])
async def test_what_names_no_tool_is_refused_in_words(box: Box, given: str) -> None:
    async with serving_http(box) as url:
        assert "single tools by name" in await refusal(f"{url}?tools={given}", "auto")


async def test_paths_of_this_machine_are_off_over_http(box: Box, tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("x")
    async with serving_http(box, toolsets="files", file_roots=[tmp_path]) as url, Client(url) as client:
        result = await client.call_tool("upload_file", {"path": "a.txt"})
    assert result.is_error
    assert box.requests() == []
