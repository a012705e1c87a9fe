"""Describe each MCP client: where it keeps its settings, and how it spells an entry for the server."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import tomlkit

from extend_mcp import __version__
from extend_mcp.settings import Settings

Config = dict[str, Any]

PACKAGE: Final = "extend-mcp"
SERVER: Final = "extend"


class Launch(NamedTuple):
    """A command, its arguments and its environment variables, secrets excepted."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = MappingProxyType({})


def published(version: str = __version__) -> Launch:
    """Start this version from PyPI; without a version, whatever was published last would be started."""
    return Launch("uvx", (f"{PACKAGE}=={version}",))


def this_machine() -> Launch:
    """Return what starts this installation from any folder: the command that runs now, or the interpreter."""
    parts = Path(sys.prefix).parts
    # uv deletes the environments that it makes for one run.
    if "archive-v0" in parts or ("uv" in parts and {"cache", ".cache"} & set(parts)):
        return published()
    program = shutil.which(sys.argv[0])
    if program and Path(program).stem == PACKAGE:
        return Launch(str(Path(program).absolute()))
    return Launch(sys.executable, ("-m", "extend_mcp"))


class Secret(NamedTuple):
    """A setting that must not be written into the file."""

    name: str
    help: str


KEY: Final = Secret("EXTEND_API_KEY", Settings.model_fields["api_key"].description or "")


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        path: its configuration file; see `file`.
        fill: what the user has to fill in.
        reference: how the file refers to a secret, by its name or the id of its prompt; empty where it takes names.
        fixed: what its entry always has.
        table: the key that holds the servers.
    """

    name: str
    title: str
    path: str
    fill: str
    reference: str
    fixed: Config = field(default_factory=dict)
    table: str = "mcpServers"

    def file(
        self, home: Path | None = None, platform: str = sys.platform, environment: Mapping[str, str] = os.environ
    ) -> Path:
        """Return where its configuration file is; a project's is relative to the project's folder."""
        home = home or Path.home()
        settings = dotted = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
        if platform == "win32":
            settings = dotted = environment.get("APPDATA") or f"{home}/AppData/Roaming"
        elif platform == "darwin":
            settings, dotted = f"{home}/Library/Application Support", f"{home}/.config"
        zed = f"{dotted}/{'Zed' if platform == 'win32' else 'zed'}"
        codex = environment.get("CODEX_HOME") or f"{home}/.codex"
        return Path(self.path.format(home=home, settings=settings, dotted=dotted, zed=zed, codex=codex))

    def entry(self, launch: Launch, key: Secret | None = KEY) -> Config:
        """Return the server's entry. The one for the sandbox has no key."""
        env = dict(launch.env)
        if key and self.reference:
            env[key.name] = self.reference % {"name": key.name, "id": input_id(key.name)}
        entry = self.fixed | {"command": launch.command, "args": list(launch.args)} | ({"env": env} if env else {})
        return entry | ({"env_vars": [key.name]} if key and not self.reference else {})

    def document(self, launch: Launch, key: Secret | None = KEY) -> Config:
        """Return a configuration file with this server only."""
        inputs = self.inputs(key)
        return {**({"inputs": inputs} if inputs else {}), self.table: {SERVER: self.entry(launch, key)}}

    def inputs(self, key: Secret | None = KEY) -> list[Config]:
        """Return the prompts for secrets that the file needs next to the servers."""
        if not key or self.reference != _INPUT:
            return []
        return [{"type": "promptString", "id": input_id(key.name), "description": key.help, "password": True}]


def input_id(name: str) -> str:
    """Return the id of VS Code's prompt for a secret."""
    return name.lower().replace("_", "-")


def to_text(document: Config, path: str) -> str:
    """Write a document in the syntax that the file's name implies."""
    if path.endswith(".toml"):
        return tomlkit.dumps(document)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_PLAIN: Final = "${%(name)s}"
_BY_ENV: Final = "${env:%(name)s}"
_INPUT: Final = "${input:%(id)s}"

_EXPORT: Final = "Set EXTEND_API_KEY in the environment that the client starts in."
_IN_FILE: Final = "Replace the reference with your key. The file then holds it in plain text."
_BUNDLE: Final = f"{_IN_FILE} The bundle stores it in the system keychain instead."
_ASKED: Final = "No key to enter here: VS Code prompts for it the first time the server starts, and stores it."
_TYPED: Final = {"type": "stdio"}
# The first start with uvx downloads the package, and Codex's default is 10 seconds.
_CODEX: Final = {"startup_timeout_sec": 60}

_CLIENTS: Final = (
    Client("claude-desktop", "Claude Desktop", "{settings}/Claude/claude_desktop_config.json", _BUNDLE, _PLAIN),
    Client("claude-code", "Claude Code", ".mcp.json", _EXPORT, _PLAIN, _TYPED),
    Client("cursor", "Cursor", "{home}/.cursor/mcp.json", _EXPORT, _BY_ENV),
    Client("vscode", "VS Code", "{settings}/Code/User/mcp.json", _ASKED, _INPUT, _TYPED, "servers"),
    Client("windsurf", "Windsurf", "{home}/.codeium/windsurf/mcp_config.json", _EXPORT, _BY_ENV),
    Client("zed", "Zed", "{zed}/settings.json", _IN_FILE, _PLAIN, {"source": "custom"}, "context_servers"),
    Client("gemini", "Gemini CLI", "{home}/.gemini/settings.json", _EXPORT, _PLAIN),
    Client("codex", "Codex", "{codex}/config.toml", _EXPORT, "", _CODEX, "mcp_servers"),
)
CLIENTS: Final = {client.name: client for client in _CLIENTS}
