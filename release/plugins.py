"""Render plugins for Claude Code, Codex, Gemini CLI and agent-plugins.org, and install links for Cursor and VS Code."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

from extend_mcp.client_config.clients import CLIENTS, SERVER
from release.description import Description

AGENT_PLUGINS = "https://agent-plugins.org/schemas/1.0.0"


def _about(description: Description) -> dict[str, Any]:
    return {
        "name": description.package,
        "version": description.version,
        "description": description.summary,
        "author": {"name": "extend-mcp contributors", "url": description.repository},
        "homepage": description.repository,
        "repository": description.repository,
        "license": "MIT",
        "keywords": ["extend", "documents", "workflows"],
    }


def claude_plugin(description: Description) -> dict[str, Any]:
    """Return Claude Code's plugin.json. It asks for the settings when the plugin is enabled, and stores the key."""
    env = {each.name: f"${{user_config.{each.id}}}" for each in description.variables}
    config: dict[str, Any] = {}
    for each in description.variables:
        setting: dict[str, Any] = {"type": each.kind, "title": each.title, "description": each.help}
        if each.secret:
            setting["sensitive"] = True
        elif each.default is not None:
            setting["default"] = each.default == "true" if each.kind == "boolean" else each.default
        config[each.id] = setting
    return {
        **_about(description),
        "userConfig": config,
        "mcpServers": {
            SERVER: {
                "command": description.launch.command,
                "args": list(description.launch.args),
                "env": env,
            }
        },
    }


def claude_marketplace(description: Description) -> dict[str, Any]:
    """Return the marketplace.json that lists the plugin, next to the plugin's folder."""
    return {
        "name": description.package,
        "description": description.summary,
        "owner": {"name": "extend-mcp contributors", "url": description.repository},
        "plugins": [
            {
                "name": description.package,
                "source": f"./{description.package}",
                "description": description.summary,
                "version": description.version,
            }
        ],
    }


def gemini_extension(description: Description) -> dict[str, Any]:
    """Return Gemini CLI's extension. It asks for the settings when it is installed, and stores the key."""
    return {
        "name": description.package,
        "version": description.version,
        "description": description.summary,
        "mcpServers": {
            SERVER: {
                "command": description.launch.command,
                "args": list(description.launch.args),
                "env": {each.name: f"${{{each.name}}}" for each in description.variables},
            }
        },
        "settings": [
            {
                "name": each.title,
                "description": each.help,
                "envVar": each.name,
                **({"sensitive": True} if each.secret else {}),
            }
            for each in description.variables
        ],
    }


def codex_plugin(description: Description) -> dict[str, Any]:
    """Return Codex's plugin.json, which names the folder of skills and the file of servers next to it."""
    return {**_about(description), "skills": "./skills/", "mcpServers": "./.mcp.json"}


def codex_plugin_servers(description: Description) -> dict[str, Any]:
    """Return its .mcp.json: the entry of Codex's config.toml, which passes the key on from the environment."""
    return {"mcpServers": {SERVER: CLIENTS["codex"].entry(description.launch, description.key)}}


def agent_plugin(description: Description) -> dict[str, Any]:
    """Return the plugin.json of agent-plugins.org."""
    return {"$schema": f"{AGENT_PLUGINS}/plugin.schema.json", **_about(description)}


def agent_plugin_servers(description: Description) -> dict[str, Any]:
    """Return its mcp.json. The format cannot refer to a secret, so the server inherits the key from its host."""
    return {
        "$schema": f"{AGENT_PLUGINS}/mcp.schema.json",
        "mcpServers": {
            SERVER: {
                "type": "stdio",
                "command": description.launch.command,
                "args": list(description.launch.args),
            }
        },
    }


def cursor_link(description: Description) -> str:
    """Return Cursor's install link: the entry as base64."""
    entry = CLIENTS["cursor"].entry(description.launch, description.key)
    packed = base64.b64encode(_minified(entry).encode()).decode()
    return f"cursor://anysphere.cursor-deeplink/mcp/install?name={SERVER}&config={quote(packed, safe='')}"


def vscode_link(description: Description) -> str:
    """Return VS Code's install link: the entry with its name and prompts, as `code --add-mcp` accepts it."""
    client = CLIENTS["vscode"]
    entry = {
        "name": SERVER,
        **client.entry(description.launch, description.key),
        "inputs": client.inputs(description.key),
    }
    return f"vscode:mcp/install?{quote(_minified(entry), safe='')}"


def _minified(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
