"""Describe each MCP client: where it keeps its settings, and how it spells an entry for the server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomlkit

from extend_mcp.client_config.launch import Launch
from extend_mcp.settings import Settings

Json = dict[str, Any]
Syntax = Literal["json", "toml", "yaml"]

SERVER = "extend"
TITLE = "Extend workflows"
EXAMPLE_URL = "https://extend-mcp.example.com/mcp"


@dataclass(frozen=True)
class Secret:
    """A setting that must not be written into the file."""

    name: str
    help: str


SECRETS = (Secret("EXTEND_API_KEY", Settings.model_fields["api_key"].description or ""),)


@dataclass(frozen=True)
class Machine:
    """The home, project folder, platform and environment variables that decide where a file is."""

    home: Path = field(default_factory=Path.home)
    project: Path = field(default_factory=Path.cwd)
    platform: str = sys.platform
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def settings(self) -> Path:
        """Return the platform's folder for a user's settings."""
        if self.platform == "win32":
            return Path(self.environment.get("APPDATA") or self.home / "AppData" / "Roaming")
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")

    @property
    def dotted(self) -> Path:
        """Return the same folder for programs that use ``~/.config`` on a Mac too."""
        return self.home / ".config" if self.platform == "darwin" else self.settings


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        file: where its configuration file is.
        fill: what the user has to fill in.
        syntax: of that file.
        table: the key that holds the servers.
        reference: how the file refers to a secret.
        extra: what an entry has in addition to command, arguments and environment.
        names_key: the entry's key that lists the names of secrets, for a client that takes names only.
        prompts: whether the file declares a prompt for each secret.
    """

    name: str
    title: str
    file: Callable[[Machine], Path]
    fill: str
    syntax: Syntax = "json"
    table: str = "mcpServers"
    reference: Callable[[Secret], str] = lambda secret: f"${{{secret.name}}}"
    extra: Mapping[str, Any] = field(default_factory=dict)
    names_key: str | None = None
    prompts: bool = False

    def entry(self, launch: Launch, secrets: Sequence[Secret] = SECRETS) -> Json:
        """Return the server's entry; without ``secrets`` for the sandbox, which needs no key."""
        entry = {**self.extra, "command": launch.command, "args": list(launch.args)}
        env = dict(launch.env)
        if self.names_key and secrets:
            entry[self.names_key] = [each.name for each in secrets]
        else:
            env |= {each.name: self.reference(each) for each in secrets}
        return entry | ({"env": env} if env else {})

    def needed(self, secrets: Sequence[Secret] = SECRETS) -> dict[str, list[Json]]:
        """Return what the file needs next to the servers: lists of objects with an id, by top-level key."""
        if not self.prompts or not secrets:
            return {}
        return {
            "inputs": [
                {"type": "promptString", "id": input_id(each), "description": each.help, "password": True}
                for each in secrets
            ]
        }

    def document(self, launch: Launch, secrets: Sequence[Secret] = SECRETS) -> Json:
        """Return a configuration file with this server only."""
        return {**self.needed(secrets), self.table: {SERVER: self.entry(launch, secrets)}}


class Goose(Client):
    """Goose, which asks for keys itself and keeps them in the system keyring."""

    def entry(self, launch: Launch, secrets: Sequence[Secret] = SECRETS) -> Json:
        """Return the entry in Goose's own keys."""
        return {
            "name": TITLE,
            "type": "stdio",
            "enabled": True,
            "cmd": launch.command,
            "args": list(launch.args),
            "envs": dict(launch.env),
            "env_keys": [each.name for each in secrets],
            "timeout": 300,
        }


class LibreChat(Client):
    """LibreChat, which sends each user's own key to one shared server at a URL."""

    def entry(self, launch: Launch, secrets: Sequence[Secret] = SECRETS) -> Json:
        """Return an entry for a server at a URL."""
        key = (*secrets, *SECRETS)[0]
        return {
            "type": "streamable-http",
            "url": EXAMPLE_URL,
            "headers": {"Authorization": f"Bearer {{{{{key.name}}}}}"},
            "customUserVars": {key.name: {"title": "Extend API key", "description": key.help}},
        }


def input_id(secret: Secret) -> str:
    """Return the id of VS Code's prompt for a secret."""
    return secret.name.lower().replace("_", "-")


def to_text(document: Json, syntax: Syntax) -> str:
    """Write a document as a file's text."""
    if syntax == "toml":
        return tomlkit.dumps(document)
    if syntax == "yaml":
        return "\n".join(_yaml(document, "")) + "\n"
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _yaml(value: Json, indent: str) -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines += [f"{indent}{key}:", *_yaml(item, indent + "  ")]
        elif isinstance(item, list) and item and all(isinstance(each, dict) for each in item):
            lines.append(f"{indent}{key}:")
            for each in item:
                first, *rest = _yaml(each, indent + "    ")
                lines += [f"{indent}  - {first.strip()}", *rest]
        else:
            # JSON is YAML: quoted strings are not mistaken for numbers or dates.
            lines.append(f"{indent}{key}: {json.dumps(item, ensure_ascii=False)}")
    return lines


_EXPORT = "Set EXTEND_API_KEY in the environment that the client starts in."
_KEY_IN_FILE = "Replace the reference with your key. The file then holds it in plain text."
_STDIO = {"type": "stdio"}


def _env(secret: Secret) -> str:
    return f"${{env:{secret.name}}}"


CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client(
            "claude-desktop",
            "Claude Desktop",
            lambda machine: machine.settings / "Claude" / "claude_desktop_config.json",
            f"{_KEY_IN_FILE} The bundle stores it in the system keychain instead.",
        ),
        Client("claude-code", "Claude Code", lambda machine: machine.project / ".mcp.json", _EXPORT, extra=_STDIO),
        Client("cursor", "Cursor", lambda machine: machine.home / ".cursor" / "mcp.json", _EXPORT, reference=_env),
        Client(
            "vscode",
            "VS Code",
            lambda machine: machine.settings / "Code" / "User" / "mcp.json",
            "No key to enter here: VS Code prompts for it the first time the server starts, and stores it.",
            table="servers",
            reference=lambda secret: f"${{input:{input_id(secret)}}}",
            extra=_STDIO,
            prompts=True,
        ),
        Client(
            "windsurf",
            "Windsurf",
            lambda machine: machine.home / ".codeium" / "windsurf" / "mcp_config.json",
            _EXPORT,
            reference=_env,
        ),
        Client(
            "zed",
            "Zed",
            lambda machine: machine.dotted / ("Zed" if machine.platform == "win32" else "zed") / "settings.json",
            _KEY_IN_FILE,
            table="context_servers",
            extra={"source": "custom"},
        ),
        Client("gemini", "Gemini CLI", lambda machine: machine.home / ".gemini" / "settings.json", _EXPORT),
        Client(
            "codex",
            "Codex",
            lambda machine: Path(machine.environment.get("CODEX_HOME") or machine.home / ".codex") / "config.toml",
            _EXPORT,
            syntax="toml",
            table="mcp_servers",
            # The first start with uvx downloads the package, and Codex's default is 10 seconds.
            extra={"startup_timeout_sec": 60},
            names_key="env_vars",
        ),
        Goose(
            "goose",
            "Goose",
            lambda machine: machine.dotted / "goose" / "config.yaml",
            "Nothing in the file: `goose configure` asks for the key.",
            syntax="yaml",
            table="extensions",
        ),
        LibreChat(
            "librechat",
            "LibreChat",
            lambda machine: machine.project / "librechat.yaml",
            "The URL of your server. Each user is asked for their own key.",
            syntax="yaml",
        ),
    )
}
