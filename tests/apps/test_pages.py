"""The pages of the interactive views, and the hosts that list them."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from mcp.client.client import Client
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from extend_mcp.apps import VIEWS, page
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from tests.harness import ERAS, Mode

PAGES = {
    "board": ["list_runs", "summarize_runs"],
    "run": ["get_workflow_run"],
    "review": ["review_queue"],
    "plan": ["cancel_runs", "rerun_workflow_runs"],
}


@pytest.mark.parametrize("view", PAGES)
def test_a_page_is_whole_and_small_and_its_policy_allows_only_its_own_script_and_style(view: str) -> None:
    text = page(view, ["list_runs"])
    script, style = (re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("script", "style"))
    assert (len(script), len(style)) == (1, 1)
    assert len(script[0]) < 25_000
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    for part in (*script, *style):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" in policy[1]
    assert "default-src 'none'; connect-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert "://" not in text
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
        "srcdoc",
        "href",
        ".src",
    ):
        assert sink not in script[0], sink


@pytest.mark.parametrize("mode", ERAS)
async def test_tools_name_their_views_and_only_hosts_that_show_views_see_them_listed(mode: Mode) -> None:
    server, registry = build_server(Settings.model_validate({"sandbox": True}))
    shows = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})
    async with Client(server, mode=mode, extensions=[shows]) as host, Client(server, mode=mode) as other:
        for client in (host, other):
            named = {
                tool.name: tool.meta["ui"]["resourceUri"] for tool in (await client.list_tools()).tools if tool.meta
            }
            assert named == {tool: f"{VIEWS}{view}" for view, tools in PAGES.items() for tool in tools}
            for uri in set(named.values()):
                [content] = (await client.read_resource(uri)).contents
                assert content.mime_type == APP_MIME_TYPE
                assert content.meta
                assert not any(content.meta["ui"]["csp"].values())
        listed = [f"{each.uri}" for each in (await host.list_resources()).resources]
        assert sorted(uri for uri in listed if uri.startswith(VIEWS)) == sorted(f"{VIEWS}{view}" for view in PAGES)
        assert [f"{each.uri}" for each in (await other.list_resources()).resources] == ["extend://account"]
    await registry.aclose()


async def test_a_view_offers_only_what_the_operator_switched_on() -> None:
    server, registry = build_server(Settings.model_validate({"sandbox": True, "read_only": True}))
    async with Client(server) as client:
        [content] = (await client.read_resource(f"{VIEWS}run")).contents
        with pytest.raises(Exception, match="Unknown resource"):
            await client.read_resource(f"{VIEWS}plan")
    await registry.aclose()
    assert "get_step_result" in content.text.partition("<head>")[0]
    assert "cancel_workflow_run" not in content.text.partition("<head>")[0]
