"""The entry for Docker's MCP catalog."""

from __future__ import annotations

from typing import Any

from extend_mcp.manifests.bundle import setting_id
from extend_mcp.manifests.description import Description


def docker_server(description: Description) -> dict[str, Any]:
    """server.yaml: secrets are kept by Docker, other settings are parameters of a form."""
    name = description.package
    return {
        "name": name,
        "image": f"mcp/{name}",
        "type": "server",
        "meta": {"category": "productivity", "tags": ["documents", "workflows", "extend"]},
        "about": {"title": description.title, "description": description.summary},
        "source": {"project": description.repository, "dockerfile": "deploy/Dockerfile"},
        # The image serves HTTP by itself; the gateway speaks stdio.
        "run": {"command": ["serve", "--transport", "stdio"]},
        "config": {
            "description": "The account that the server works on, and what it may do there",
            "secrets": [
                {
                    "name": f"{name}.{setting_id(each)}",
                    "env": each.name,
                    "example": "<your key>",
                    "description": each.help,
                }
                for each in description.variables
                if each.secret
            ],
            "env": [
                {"name": each.name, "example": each.default or "", "value": f"{{{{{name}.{setting_id(each)}}}}}"}
                for each in description.variables
                if not each.secret
            ],
            "parameters": {
                "type": "object",
                "properties": {
                    setting_id(each): {"type": each.kind, "description": each.help, "default": each.default or ""}
                    for each in description.variables
                    if not each.secret
                },
            },
        },
    }
