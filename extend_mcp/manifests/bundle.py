"""The MCP Bundle (.mcpb) that Claude Desktop installs with a click: its manifest, and what is packed with it.

Source: the manifest's schema 0.4.
"""

from __future__ import annotations

from typing import Any

from extend_mcp.manifests.description import Description, Variable

CONTENTS = ("pyproject.toml", "README.md", "LICENSE", "extend_mcp")
"""What of the repository goes into a bundle, beside the manifest."""

_ENTRY_POINT = "extend_mcp/__main__.py"


def bundle_manifest(
    description: Description, tools: list[tuple[str, str]], prompts: list[tuple[str, str]]
) -> dict[str, Any]:
    """The manifest.

    A bundle of type ``python`` would have to carry every dependency, some of them compiled for one system and one
    Python; with ``uv`` the host gets the right ones from ``pyproject.toml`` when it first starts the server.

    Args:
        description: of the server.
        tools: name and description of each that is offered by default.
        prompts: likewise.
    """
    return {
        "manifest_version": "0.4",
        "name": description.package,
        "display_name": description.title,
        "version": description.version,
        "description": description.summary,
        "author": {"name": "extend-mcp contributors", "url": description.repository},
        "repository": {"type": "git", "url": f"{description.repository}.git"},
        "homepage": description.repository,
        "documentation": f"{description.repository}/tree/main/docs",
        "support": f"{description.repository}/issues",
        "server": {
            "type": "uv",
            "entry_point": _ENTRY_POINT,
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", "--no-dev", description.package],
                "env": {each.name: f"${{user_config.{setting_id(each)}}}" for each in description.variables},
            },
        },
        "tools": [{"name": name, "description": about} for name, about in tools],
        "tools_generated": True,
        "prompts": [{"name": name, "description": about, "text": about} for name, about in prompts],
        "prompts_generated": True,
        "keywords": ["extend", "documents", "workflows"],
        "license": "MIT",
        "compatibility": {"platforms": ["darwin", "win32", "linux"], "runtimes": {"python": ">=3.10"}},
        "user_config": {setting_id(each): _setting(each) for each in description.variables},
    }


def setting_id(variable: Variable) -> str:
    """What a form calls a setting."""
    return variable.name.removeprefix("EXTEND_").removeprefix("MCP_").lower()


def _setting(variable: Variable) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": variable.kind,
        "title": setting_title(variable),
        "description": variable.help,
        "required": False,
        # An empty setting is none to the server; without a default a host might hand over the reference itself.
        "default": _default(variable),
    }
    if variable.secret:
        told["sensitive"] = True
    return told


def setting_title(variable: Variable) -> str:
    """What a person reads beside a field."""
    return setting_id(variable).replace("_", " ").capitalize().replace("Api", "API").replace(" id", " ID")


def _default(variable: Variable) -> str | bool:
    if variable.kind == "boolean":
        return variable.default == "true"
    return variable.default or ""
