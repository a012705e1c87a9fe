"""Render what registries read: server.json of the MCP Registry (schema 2025-12-11) and Docker's server.yaml."""

from __future__ import annotations

from typing import Any

from extend_mcp.client_config.clients import SERVER
from release.description import Description, Variable

EXAMPLE_URL = "https://extend-mcp.example.com/mcp"
SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"


def server_json(description: Description) -> dict[str, Any]:
    """Return server.json for the package on PyPI, started over stdio."""
    return {
        **_head(description),
        "packages": [
            {
                "registryType": "pypi",
                "registryBaseUrl": "https://pypi.org",
                "identifier": description.package,
                "version": description.version,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [_input(each) for each in description.variables],
            }
        ],
    }


def self_hosted(description: Description) -> dict[str, Any]:
    """Return an example for a team that hosts the server; callers send their own key (`EXTEND_MCP_AUTH=passthrough`).

    The public registry lists only servers that everyone can reach, so this is for a private registry.
    """
    key = next(each for each in description.variables if each.secret)
    header = {
        "name": "Authorization",
        "description": "Your own Extend key; the server acts with it.",
        "isRequired": True,
        "isSecret": True,
        "value": "Bearer {key}",
        "variables": {"key": {"description": key.help, "isRequired": True, "isSecret": True}},
    }
    head = _head(description)
    return {
        **head,
        "name": "com.example/extend-mcp",
        "remotes": [{"type": "streamable-http", "url": EXAMPLE_URL, "headers": [header]}],
    }


def goose(description: Description) -> dict[str, Any]:
    """Return Goose's configuration. Goose asks for the key and keeps it in the system keyring."""
    entry = {
        "name": description.title,
        "type": "stdio",
        "enabled": True,
        "cmd": description.launch.command,
        "args": list(description.launch.args),
        "env_keys": [description.key.name],
        "timeout": 300,
    }
    return {"extensions": {SERVER: entry}}


def librechat(description: Description) -> dict[str, Any]:
    """Return LibreChat's configuration of a shared server, to which it sends each user's own key."""
    key = next(each for each in description.variables if each.secret)
    entry = {
        "type": "streamable-http",
        "url": EXAMPLE_URL,
        "headers": {"Authorization": f"Bearer {{{{{key.name}}}}}"},
        "customUserVars": {key.name: {"title": "Extend API key", "description": key.help}},
    }
    return {"mcpServers": {SERVER: entry}}


def docker_server(description: Description) -> dict[str, Any]:
    """Return server.yaml of Docker's MCP catalog. Docker stores secrets; other settings are parameters of a form."""
    name = description.package
    return {
        "name": name,
        "image": f"mcp/{name}",
        "type": "server",
        "meta": {"category": "productivity", "tags": ["documents", "workflows", "extend"]},
        "about": {"title": description.title, "description": description.summary},
        "source": {"project": description.repository, "dockerfile": "deploy/Dockerfile"},
        # The image serves HTTP by default, and the gateway speaks stdio.
        "run": {"command": ["serve", "--transport", "stdio"]},
        "config": {
            "description": "The account that the server works on, and what it may do there",
            "secrets": [
                {
                    "name": f"{name}.{each.id}",
                    "env": each.name,
                    "example": "<your key>",
                    "description": each.help,
                }
                for each in description.variables
                if each.secret
            ],
            "env": [
                {"name": each.name, "example": each.default or "", "value": f"{{{{{name}.{each.id}}}}}"}
                for each in description.variables
                if not each.secret
            ],
            "parameters": {
                "type": "object",
                "properties": {
                    each.id: {"type": each.kind, "description": each.help, "default": each.default or ""}
                    for each in description.variables
                    if not each.secret
                },
            },
        },
    }


def _head(description: Description) -> dict[str, Any]:
    return {
        "$schema": SCHEMA,
        "name": description.registry_name,
        "title": description.title,
        "description": description.summary,
        "repository": {"url": description.repository, "source": "github"},
        "version": description.version,
    }


def _input(variable: Variable) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": variable.name, "description": variable.help}
    if variable.kind == "boolean":
        entry["format"] = "boolean"
    if variable.default is not None:
        entry["default"] = variable.default
    if variable.choices:
        entry["choices"] = list(variable.choices)
    if variable.secret:
        entry["isSecret"] = True
    return entry
