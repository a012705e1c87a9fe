"""The clients that start the server: where each keeps its settings, and how an entry for the server looks there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from extend_mcp.manifests.description import Description, Variable
from extend_mcp.manifests.launch import Launch

Json = dict[str, Any]
Syntax = Literal["json", "toml", "yaml"]

SERVER = "extend"
"""What the server is called in a client."""
EXAMPLE_URL = "https://extend-mcp.example.com/mcp"


@dataclass(frozen=True)
class Machine:
    """Whose computer it is: what a path to a configuration file depends on.

    Attributes:
        home: the user's folder.
        project: the folder that a project's own settings stand in.
        platform: as `sys.platform` says.
        environment: its variables.
    """

    home: Path = field(default_factory=Path.home)
    project: Path = field(default_factory=Path.cwd)
    platform: str = sys.platform
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def settings(self) -> Path:
        """Where programs keep a user's settings."""
        if self.platform == "win32":
            return Path(self.environment.get("APPDATA") or self.home / "AppData" / "Roaming")
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")

    def dotted(self) -> Path:
        """Where programs that go by ``~/.config`` on a Mac too keep them."""
        return self.home / ".config" if self.platform == "darwin" else self.settings()


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        name: what the command line calls it.
        title: what its makers call it.
        syntax: of its configuration file.
        table: the key that holds the servers.
        file: where that file is.
        fill: what the user has to fill in, in a sentence.
        reference: how a value that must not stand in the file is referred to there.
        also: what an entry holds besides command, arguments and environment.
        named: whether settings from the environment are named in a list rather than referred to.
        beside: what else the file needs, by its top-level key: items of lists that have an id.
    """

    name: str
    title: str
    syntax: Syntax
    table: str
    file: Callable[[Machine], Path]
    fill: str
    reference: Callable[[Variable], str] = lambda variable: f"${{{variable.name}}}"
    also: Callable[[Description], Json] = lambda _: {}
    named: str | None = None
    beside: Callable[[Description], Json] = lambda _: {}

    def entry(self, launch: Launch, description: Description, *, keyless: bool = False) -> Json:
        """What stands under the server's name.

        Args:
            launch: how the server is started.
            description: of the server.
            keyless: leave out the key, which the sandbox does not need.
        """
        entry = {**self.also(description), "command": launch.command, "args": list(launch.args)}
        secrets = [] if keyless else [each for each in description.variables if each.secret]
        if self.named and secrets:
            entry[self.named] = [each.name for each in secrets]
        elif secrets:
            entry["env"] = {each.name: self.reference(each) for each in secrets}
        return entry

    def needed(self, description: Description, *, keyless: bool = False) -> Json:
        """What the file needs beside the entry."""
        return {} if keyless else self.beside(description)

    def document(self, launch: Launch, description: Description, *, keyless: bool = False) -> Json:
        """A whole configuration file that holds nothing but the server."""
        entry = self.entry(launch, description, keyless=keyless)
        return {**self.needed(description, keyless=keyless), self.table: {SERVER: entry}}


def input_id(variable: Variable) -> str:
    """What VS Code calls the question for a setting."""
    return variable.name.lower().replace("_", "-")


def _inputs(description: Description) -> Json:
    return {
        "inputs": [
            {"type": "promptString", "id": input_id(each), "description": each.help, "password": True}
            for each in description.variables
            if each.secret
        ]
    }


class Goose(Client):
    """Goose, whose entries have names of their own for everything."""

    def entry(self, launch: Launch, description: Description, *, keyless: bool = False) -> Json:
        """What stands under the server's name: the keys are asked for by Goose and kept in the system's keyring."""
        secrets = [] if keyless else [each.name for each in description.variables if each.secret]
        return {
            "name": description.title,
            "type": "stdio",
            "enabled": True,
            "cmd": launch.command,
            "args": list(launch.args),
            "envs": {},
            "env_keys": secrets,
            "timeout": 300,
        }


class LibreChat(Client):
    """LibreChat, a chat for many: each user's own key goes along in a header to one server that serves them all."""

    def entry(self, launch: Launch, description: Description, *, keyless: bool = False) -> Json:
        """What stands under the server's name: a server at a URL, and the key that each user is asked for."""
        key = next(each for each in description.variables if each.secret)
        return {
            "type": "streamable-http",
            "url": EXAMPLE_URL,
            "headers": {"Authorization": f"Bearer {{{{{key.name}}}}}"},
            "customUserVars": {key.name: {"title": "Extend API key", "description": key.help}},
        }


_EXPORT = "Export the key in the shell that starts the client."
_KEY_IN_FILE = "Put the key in place of the reference; the file then holds it in plain text."

_ALL = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        "json",
        "mcpServers",
        lambda machine: machine.settings() / "Claude" / "claude_desktop_config.json",
        _KEY_IN_FILE + " The bundle keeps it in the system's keychain instead.",
    ),
    Client(
        "claude-code",
        "Claude Code",
        "json",
        "mcpServers",
        lambda machine: machine.project / ".mcp.json",
        _EXPORT,
        also=lambda _: {"type": "stdio"},
    ),
    Client(
        "cursor",
        "Cursor",
        "json",
        "mcpServers",
        lambda machine: machine.home / ".cursor" / "mcp.json",
        _EXPORT,
        reference=lambda variable: f"${{env:{variable.name}}}",
    ),
    Client(
        "vscode",
        "VS Code",
        "json",
        "servers",
        lambda machine: machine.settings() / "Code" / "User" / "mcp.json",
        "Nothing: VS Code asks for the key when the server first starts, and keeps it.",
        reference=lambda variable: f"${{input:{input_id(variable)}}}",
        also=lambda _: {"type": "stdio"},
        beside=_inputs,
    ),
    Client(
        "windsurf",
        "Windsurf",
        "json",
        "mcpServers",
        lambda machine: machine.home / ".codeium" / "windsurf" / "mcp_config.json",
        _EXPORT,
        reference=lambda variable: f"${{env:{variable.name}}}",
    ),
    Client(
        "zed",
        "Zed",
        "json",
        "context_servers",
        lambda machine: machine.dotted() / ("Zed" if machine.platform == "win32" else "zed") / "settings.json",
        _KEY_IN_FILE,
        also=lambda _: {"source": "custom"},
    ),
    Client(
        "gemini",
        "Gemini CLI",
        "json",
        "mcpServers",
        lambda machine: machine.home / ".gemini" / "settings.json",
        _EXPORT,
    ),
    Client(
        "codex",
        "Codex",
        "toml",
        "mcp_servers",
        lambda machine: Path(machine.environment.get("CODEX_HOME") or machine.home / ".codex") / "config.toml",
        _EXPORT,
        # The first start with uvx fetches the package; by default Codex gives up after 10 seconds.
        also=lambda _: {"startup_timeout_sec": 60},
        named="env_vars",
    ),
    Goose(
        "goose",
        "Goose",
        "yaml",
        "extensions",
        lambda machine: machine.dotted() / "goose" / "config.yaml",
        "Nothing in the file: `goose configure` asks for the key.",
    ),
    LibreChat(
        "librechat",
        "LibreChat",
        "yaml",
        "mcpServers",
        lambda machine: machine.project / "librechat.yaml",
        "The URL of your server; each user is asked for their own key.",
    ),
)

CLIENTS: dict[str, Client] = {each.name: each for each in _ALL}
