"""What the MCP Registry reads: server.json, of the package that users start and of a server that a team hosts.

Source: the registry's schema of 2025-12-11.
"""

from __future__ import annotations

from typing import Any

from extend_mcp.manifests.clients import EXAMPLE_URL
from extend_mcp.manifests.description import Description, Variable

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"


def server_json(description: Description) -> dict[str, Any]:
    """The package on PyPI, started over stdio."""
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
    """An example for a team that hosts the server: callers bring their own key (`EXTEND_MCP_AUTH=passthrough`).

    The public registry lists only what everyone can reach, so this is for a registry of one's own.
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
    told: dict[str, Any] = {"name": variable.name, "description": variable.help}
    if variable.kind == "boolean":
        told["format"] = "boolean"
    if variable.default is not None:
        told["default"] = variable.default
    if variable.choices:
        told["choices"] = list(variable.choices)
    if variable.secret:
        told["isSecret"] = True
    return told
