"""Describe each MCP client: where it keeps its settings, and how it spells an entry for the server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import tomlkit

from extend_mcp.client_config.launch import Launch
from extend_mcp.settings import Settings

Json = dict[str, Any]
Syntax = Literal["json", "toml", "yaml"]

SERVER: Final = "extend"
TITLE: Final = "Extend workflows"
EXAMPLE_URL: Final = "https://extend-mcp.example.com/mcp"


class Secret(NamedTuple):
    """A setting that must not be written into the file."""

    name: str
    help: str


KEY: Final = Secret("EXTEND_API_KEY", Settings.model_fields["api_key"].description or "")

MakeEntry: TypeAlias = Callable[[Launch, "Secret | None"], Json]
"""Makes the server's entry from how it is started and the key; without one for the sandbox, which needs none."""


@dataclass(frozen=True)
class Machine:
    """The home, project folder, platform and environment variables that decide where a file is."""

    home: Path = field(default_factory=Path.home)
    project: Path = field(default_factory=Path.cwd)
    platform: str = sys.platform
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def folders(self) -> dict[str, Path]:
        """The folders that files of clients are in, by the name that `Client.path` has for them."""
        home, environment = self.home, self.environment
        settings = dotted = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        if self.platform == "win32":
            settings = dotted = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
        elif self.platform == "darwin":
            settings, dotted = home / "Library" / "Application Support", home / ".config"
        return {
            "home": home,
            "project": self.project,
            "settings": settings,
            "dotted": dotted,
            "zed": dotted / ("Zed" if self.platform == "win32" else "zed"),
            "codex": Path(environment.get("CODEX_HOME") or home / ".codex"),
        }


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        path: its configuration file, after one of `Machine.folders`.
        fill: what the user has to fill in.
        table: the key that holds the servers.
        prompts: whether the file declares a prompt for each secret.
    """

    name: str
    title: str
    path: str
    fill: str
    entry: MakeEntry
    table: str = "mcpServers"
    prompts: bool = False

    @property
    def syntax(self) -> Syntax:
        """The syntax of its file."""
        return {"json": "json", "toml": "toml", "yaml": "yaml"}[self.path.rpartition(".")[2]]  # type: ignore[return-value]

    def file(self, machine: Machine) -> Path:
        """Return where its configuration file is."""
        folder, _, name = self.path.partition("/")
        return machine.folders[folder] / name

    def inputs(self, key: Secret | None = KEY) -> list[Json]:
        """Return the prompts for secrets that the file needs next to the servers."""
        if not self.prompts or not key:
            return []
        return [{"type": "promptString", "id": input_id(key), "description": key.help, "password": True}]

    def document(self, launch: Launch, key: Secret | None = KEY) -> Json:
        """Return a configuration file with this server only."""
        inputs = self.inputs(key)
        return {**({"inputs": inputs} if inputs else {}), self.table: {SERVER: self.entry(launch, key)}}


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


def _entry(reference: str, *, names_key: str = "", **extra: Any) -> MakeEntry:
    """Describe an entry with a command.

    Args:
        reference: how the file refers to a secret, by its name or by the id of its prompt.
        names_key: the key that lists the names of secrets, for a client that takes names only.
        extra: what the entry has in addition to command, arguments and environment.
    """

    def make(launch: Launch, key: Secret | None) -> Json:
        entry = {**extra, "command": launch.command, "args": list(launch.args)}
        env = dict(launch.env)
        if key and names_key:
            entry[names_key] = [key.name]
        elif key:
            env[key.name] = reference % {"name": key.name, "id": input_id(key)}
        return entry | ({"env": env} if env else {})

    return make


def _goose(launch: Launch, key: Secret | None) -> Json:
    """Name the key, which Goose asks for and keeps in the system keyring."""
    return {
        "name": TITLE,
        "type": "stdio",
        "enabled": True,
        "cmd": launch.command,
        "args": list(launch.args),
        "envs": dict(launch.env),
        "env_keys": [key.name] if key else [],
        "timeout": 300,
    }


def _librechat(_: Launch, key: Secret | None) -> Json:
    """Name a shared server at a URL, to which LibreChat sends each user's own key."""
    name, text = key or KEY
    return {
        "type": "streamable-http",
        "url": EXAMPLE_URL,
        "headers": {"Authorization": f"Bearer {{{{{name}}}}}"},
        "customUserVars": {name: {"title": "Extend API key", "description": text}},
    }


_PLAIN = "${%(name)s}"
_ENV = "${env:%(name)s}"
_INPUT = "${input:%(id)s}"

_EXPORT = "Set EXTEND_API_KEY in the environment that the client starts in."
_IN_FILE = "Replace the reference with your key. The file then holds it in plain text."
_BUNDLE = f"{_IN_FILE} The bundle stores it in the system keychain instead."
_ASKED = "No key to enter here: VS Code prompts for it the first time the server starts, and stores it."
_GOOSE = "Nothing in the file: `goose configure` asks for the key."
_URL = "The URL of your server. Each user is asked for their own key."

# The first start with uvx downloads the package, and Codex's default is 10 seconds.
_CODEX = _entry(_PLAIN, names_key="env_vars", startup_timeout_sec=60)
_VSCODE = _entry(_INPUT, type="stdio")
_ZED = _entry(_PLAIN, source="custom")

_CLIENTS = (
    Client("claude-desktop", "Claude Desktop", "settings/Claude/claude_desktop_config.json", _BUNDLE, _entry(_PLAIN)),
    Client("claude-code", "Claude Code", "project/.mcp.json", _EXPORT, _entry(_PLAIN, type="stdio")),
    Client("cursor", "Cursor", "home/.cursor/mcp.json", _EXPORT, _entry(_ENV)),
    Client("vscode", "VS Code", "settings/Code/User/mcp.json", _ASKED, _VSCODE, table="servers", prompts=True),
    Client("windsurf", "Windsurf", "home/.codeium/windsurf/mcp_config.json", _EXPORT, _entry(_ENV)),
    Client("zed", "Zed", "zed/settings.json", _IN_FILE, _ZED, table="context_servers"),
    Client("gemini", "Gemini CLI", "home/.gemini/settings.json", _EXPORT, _entry(_PLAIN)),
    Client("codex", "Codex", "codex/config.toml", _EXPORT, _CODEX, table="mcp_servers"),
    Client("goose", "Goose", "dotted/goose/config.yaml", _GOOSE, _goose, table="extensions"),
    Client("librechat", "LibreChat", "project/librechat.yaml", _URL, _librechat),
)
CLIENTS: Final = {client.name: client for client in _CLIENTS}
