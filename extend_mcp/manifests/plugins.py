"""Plugins and extensions: what Claude Code, Gemini CLI and agent-plugins.org install as a whole."""

from __future__ import annotations

from typing import Any

from extend_mcp.manifests.bundle import setting_id, setting_title
from extend_mcp.manifests.clients import SERVER
from extend_mcp.manifests.description import Description
from extend_mcp.manifests.launch import PUBLISHED

AGENT_PLUGINS = "https://agent-plugins.org/schemas/1.0.0"


def _about(description: Description) -> dict[str, Any]:
    """What both kinds of plugin say of themselves."""
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
    """Claude Code's plugin.json: it asks for the settings when the plugin is enabled, and keeps the key."""
    env = {each.name: f"${{user_config.{setting_id(each)}}}" for each in description.variables}
    config: dict[str, Any] = {}
    for each in description.variables:
        told: dict[str, Any] = {"type": each.kind, "title": setting_title(each), "description": each.help}
        if each.secret:
            told["sensitive"] = True
        elif each.default is not None:
            told["default"] = each.default == "true" if each.kind == "boolean" else each.default
        config[setting_id(each)] = told
    return {
        **_about(description),
        "userConfig": config,
        "mcpServers": {SERVER: {"command": PUBLISHED.command, "args": list(PUBLISHED.args), "env": env}},
    }


def claude_marketplace(description: Description) -> dict[str, Any]:
    """The marketplace.json that lists the plugin, beside its folder."""
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
    """Gemini CLI's extension: it asks for the settings when it is installed, and keeps the key."""
    return {
        "name": description.package,
        "version": description.version,
        "description": description.summary,
        "mcpServers": {
            SERVER: {
                "command": PUBLISHED.command,
                "args": list(PUBLISHED.args),
                "env": {each.name: f"${{{each.name}}}" for each in description.variables},
            }
        },
        "settings": [
            {
                "name": setting_title(each),
                "description": each.help,
                "envVar": each.name,
                **({"sensitive": True} if each.secret else {}),
            }
            for each in description.variables
        ],
    }


def agent_plugin(description: Description) -> dict[str, Any]:
    """The plugin.json of agent-plugins.org."""
    return {"$schema": f"{AGENT_PLUGINS}/plugin.schema.json", **_about(description)}


def agent_plugin_servers(_: Description) -> dict[str, Any]:
    """Its mcp.json. The format has no way to refer to a secret: the server takes the key from where it is started."""
    return {
        "$schema": f"{AGENT_PLUGINS}/mcp.schema.json",
        "mcpServers": {SERVER: {"type": "stdio", "command": PUBLISHED.command, "args": list(PUBLISHED.args)}},
    }
