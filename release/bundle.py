"""Build the MCP Bundle (.mcpb) that Claude Desktop installs with a click: its manifest and its folder.

Source: the manifest's schema 0.4.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from release.description import Description, Variable

_CONTENTS = ("pyproject.toml", "README.md", "LICENSE", "extend_mcp")
_ENTRY_POINT = "extend_mcp/__main__.py"


def bundle_manifest(
    description: Description, tools: list[tuple[str, str]], prompts: list[tuple[str, str]]
) -> dict[str, Any]:
    """Return the manifest, with the name and description of each default tool and prompt.

    A bundle of type ``python`` would have to contain every dependency, some compiled for one system and one Python.
    With ``uv`` the host installs them from ``pyproject.toml`` when it first starts the server.
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
                "env": {each.name: f"${{user_config.{each.id}}}" for each in description.variables},
            },
        },
        "tools": [{"name": name, "description": about} for name, about in tools],
        "tools_generated": True,
        "prompts": [{"name": name, "description": about, "text": about} for name, about in prompts],
        "prompts_generated": True,
        "keywords": ["extend", "documents", "workflows"],
        "license": "MIT",
        "compatibility": {"platforms": ["darwin", "win32", "linux"], "runtimes": {"python": ">=3.10"}},
        "user_config": {each.id: _setting(each) for each in description.variables},
    }


def _setting(variable: Variable) -> dict[str, Any]:
    setting: dict[str, Any] = {
        "type": variable.kind,
        "title": variable.title,
        "description": variable.help,
        "required": False,
        # Without a default, a host might pass the reference itself. The server treats an empty setting as not set.
        "default": variable.default == "true" if variable.kind == "boolean" else variable.default or "",
    }
    return setting | ({"sensitive": True} if variable.secret else {})


def lay_out(repository: Path, folder: Path) -> None:
    """Copy the manifest and the package into ``folder``, for ``mcpb pack``.

    Raises:
        OSError: the folder exists, or the repository does not.
    """
    folder.mkdir(parents=True)
    shutil.copy(repository / "manifests" / "bundle" / "manifest.json", folder)
    for name in _CONTENTS:
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]"))
        else:
            shutil.copy(source, folder / name)
