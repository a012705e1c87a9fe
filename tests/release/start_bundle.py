"""Starts the server of an unpacked bundle as its manifest says, as a host would, and compares its tools and prompts.

python tests/release/start_bundle.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters


def filled_in(text: str, folder: Path, settings: dict[str, object]) -> str:
    """Put the folder and the settings into a text of the manifest."""
    text = text.replace("${__dirname}", str(folder))
    for name, value in settings.items():
        text = text.replace(f"${{user_config.{name}}}", str(value).lower() if isinstance(value, bool) else str(value))
    return text


async def start(folder: Path) -> None:
    """List what it offers, and call a tool on the sandbox."""
    manifest = json.loads((folder / "manifest.json").read_text())
    config = manifest["server"]["mcp_config"]
    settings = {name: setting["default"] for name, setting in manifest["user_config"].items()} | {"sandbox": True}
    environment = {name: filled_in(value, folder, settings) for name, value in config["env"].items()}
    assert not any("${" in value for value in environment.values()), environment
    server = StdioServerParameters(
        command=config["command"],
        args=[filled_in(each, folder, settings) for each in config["args"]],
        # uv fetches packages as this machine does: through its proxy, and trusting its certificates.
        env={name: value for name, value in os.environ.items() if not name.startswith("EXTEND_")}
        | {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
        | environment,
    )
    with anyio.fail_after(120):
        async with Client(server) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
            answer = await client.call_tool("list_runs", {"page_size": 1})
    assert tools == {tool["name"] for tool in manifest["tools"]}, tools
    assert prompts == {prompt["name"] for prompt in manifest["prompts"]}, prompts
    assert not answer.is_error
    print(f"started by {config['command']}: {len(tools)} tools and {len(prompts)} prompts, as the manifest lists them")


if __name__ == "__main__":
    anyio.run(start, Path(sys.argv[1]))
