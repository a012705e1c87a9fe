"""Render every file of ``manifests/``, and the page that lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from extend_mcp.client_config.clients import CLIENTS, to_text
from extend_mcp.prompts import PROMPTS
from extend_mcp.settings import DEFAULT_TOOLSETS
from extend_mcp.skills import SKILLS
from extend_mcp.tools.toolsets import TOOLSETS
from release import bundle, plugins, registries
from release.description import Description

NOT_VALIDATED = "not validated"


@dataclass(frozen=True)
class Manifest:
    """One file.

    Attributes:
        path: its path in ``manifests/``.
        title: its reader.
        goes: where it belongs.
        fill: what the user fills in.
        checked: how it is validated, or ``not validated`` with the reason.
        make: returns its document.
    """

    path: str
    title: str
    goes: str
    fill: str
    checked: str
    make: Callable[[Description], dict[str, Any]]


def _of_client(name: str, path: str, goes: str, checked: str) -> Manifest:
    client = CLIENTS[name]
    return Manifest(
        path,
        client.title,
        goes,
        client.fill,
        checked,
        lambda about: client.document(about.launch, about.key),
    )


def _bundle(description: Description) -> dict[str, Any]:
    tools = [(tool.name, tool.description) for name in DEFAULT_TOOLSETS for tool in TOOLSETS[name].tools]
    return bundle.bundle_manifest(description, tools, [(each.name, each.description or "") for each in PROMPTS])


_ASKED = "Nothing: it asks for the key when it is installed, and stores it."

MANIFESTS = (
    Manifest(
        "registry/server.json",
        "MCP Registry",
        "published with `mcp-publisher`",
        "Nothing: clients ask their users for each secret.",
        "schema 2025-12-11, with check-jsonschema and skillsaw",
        registries.server_json,
    ),
    Manifest(
        "self-hosted/server.json",
        "A private registry, for a server that you host",
        "your registry",
        "The URL of your server, and your own name for it.",
        "schema 2025-12-11, with check-jsonschema and skillsaw",
        registries.self_hosted,
    ),
    Manifest(
        "bundle/manifest.json",
        "MCP Bundle, for Claude Desktop",
        "packed into a `.mcpb` file by `.ci/manifests`; open that",
        _ASKED + " The host needs uv.",
        "`mcpb validate`; packed, unpacked and started",
        _bundle,
    ),
    _of_client(
        "claude-desktop",
        "claude-desktop/claude_desktop_config.json",
        "Settings, Developer, Edit Config",
        f"{NOT_VALIDATED}: there is no schema",
    ),
    _of_client("claude-code", "claude-code/.mcp.json", "a project's folder", "skillsaw"),
    Manifest(
        "claude-plugin/.claude-plugin/marketplace.json",
        "Claude Code's marketplace",
        "`/plugin marketplace add <this folder>`",
        "Nothing.",
        "`claude plugin validate`",
        plugins.claude_marketplace,
    ),
    Manifest(
        "claude-plugin/extend-mcp/.claude-plugin/plugin.json",
        "Claude Code's plugin",
        "`/plugin install extend-mcp@extend-mcp`",
        _ASKED,
        "`claude plugin validate`",
        plugins.claude_plugin,
    ),
    _of_client("cursor", "cursor/.cursor/mcp.json", "a project's folder, or `~`", "skillsaw"),
    _of_client("vscode", "vscode/.vscode/mcp.json", "a project's folder", "skillsaw"),
    _of_client(
        "windsurf",
        "windsurf/mcp_config.json",
        "`~/.codeium/windsurf/`",
        f"{NOT_VALIDATED}: no schema is published",
    ),
    _of_client(
        "zed", "zed/settings.json", "merged into Zed's settings", f"{NOT_VALIDATED}: sources disagree on the form"
    ),
    Manifest(
        "gemini/gemini-extension.json",
        "Gemini CLI's extension",
        "`gemini extensions install <this folder>`",
        _ASKED,
        "`gemini extensions validate`",
        plugins.gemini_extension,
    ),
    _of_client("codex", "codex/config.toml", "`~/.codex/`, merged", "read by `codex mcp list`"),
    Manifest(
        "codex-plugin/.codex-plugin/plugin.json",
        "Codex's plugin",
        "a folder of a Codex marketplace",
        "Nothing.",
        "skillsaw",
        plugins.codex_plugin,
    ),
    Manifest(
        "codex-plugin/.mcp.json",
        "Codex's plugin, its servers",
        "the root of the plugin",
        "Export the key where Codex is started.",
        "skillsaw",
        plugins.codex_plugin_servers,
    ),
    Manifest(
        "agent-plugins/plugin.json",
        "agent-plugins.org",
        "the root of a plugin",
        "Nothing.",
        "schema 1.0.0, with check-jsonschema and skillsaw",
        plugins.agent_plugin,
    ),
    Manifest(
        "agent-plugins/mcp.json",
        "agent-plugins.org, its servers",
        "next to `plugin.json`",
        "The format cannot refer to a secret. Export the key where the host is started.",
        "schema 1.0.0, with check-jsonschema and skillsaw",
        plugins.agent_plugin_servers,
    ),
    Manifest(
        "docker/server.yaml",
        "Docker's MCP catalog",
        "`servers/extend-mcp/` of docker/mcp-registry",
        "Nothing: Docker asks for the key and stores it.",
        f"{NOT_VALIDATED}: its validator is part of that repository",
        registries.docker_server,
    ),
    Manifest(
        "goose/config.yaml",
        "Goose",
        "merged into Goose's config.yaml",
        "Nothing in the file: `goose configure` asks for the key.",
        f"{NOT_VALIDATED}: no schema is published",
        registries.goose,
    ),
    Manifest(
        "librechat/librechat.yaml",
        "LibreChat",
        "merged into LibreChat's librechat.yaml",
        "The URL of your server. Each user is asked for their own key.",
        f"{NOT_VALIDATED}: not run here",
        registries.librechat,
    ),
)


SKILL_FOLDERS = ("claude-plugin/extend-mcp/skills", "codex-plugin/skills", "agent-plugins/skills")
"""The folders of the plugins that contain the skills."""


def render_all(description: Description) -> dict[str, str]:
    """Return the text of each file by its path in ``manifests/``."""
    made = {each.path: _text(each.make(description), each.path) for each in MANIFESTS}
    skills = {f"{folder}/{each.name}/SKILL.md": each.text for folder in SKILL_FOLDERS for each in SKILLS}
    return {**made, **skills, "README.md": _readme(description)}


def _text(document: dict[str, Any], path: str) -> str:
    return str(yaml.safe_dump(document, sort_keys=False)) if path.endswith(".yaml") else to_text(document, path)


def _readme(description: Description) -> str:
    rows = "\n".join(
        f"| [{each.path}]({each.path}) | {each.title} | {each.goes} | {each.fill} | {each.checked} |"
        for each in MANIFESTS
    )
    settings = "\n".join(
        f"| `{each.name}` | {each.help} | {each.default or '-'} | {'yes' if each.secret else 'no'} |"
        for each in description.variables
    )
    skills = "\n".join(f"- `{each.name}`: {each.description}" for each in SKILLS)
    return f"""# Files for clients and registries

Version {description.version}. `python -m release manifests` renders this folder from the package's metadata and
settings. Do not edit it by hand: CI renders it again and fails on a difference.

`extend-mcp install CLIENT` prints the block for one client with the command that starts the server on your machine, and
`--write` merges it into that client's own file. The files here are for once the package is on PyPI: they start it with
`uvx {description.package}=={description.version}`, which needs [uv](https://docs.astral.sh/uv/).

| File | For | Where it goes | What you fill in | How it is checked |
|---|---|---|---|---|
{rows}

The plugins for Claude Code, Codex and agent-plugins.org contain the server's skills. The server serves them too:

{skills}

Install links:

- Cursor: `{plugins.cursor_link(description)}`
- VS Code: `{plugins.vscode_link(description)}`

These files offer the following settings. The [others](../docs/configuration.md) are environment variables too.

| Variable | Meaning | Default | Secret |
|---|---|---|---|
{settings}
"""
