"""Merge the server's entry into the text of a client's configuration, keeping everything else."""

from __future__ import annotations

import json
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError
from tomlkit.items import Table

from extend_mcp.client_config import jsonc
from extend_mcp.client_config.clients import SERVER, Client, Json

_REMOTE_ONLY = frozenset({"type", "url", "serverUrl", "httpUrl", "headers"})


class MergeError(Exception):
    """The text cannot be changed; the message names the problem and its place."""


def current_entry(client: Client, text: str) -> Json | None:
    """Return the server's entry in the text, or None.

    Raises:
        MergeError: the text is invalid, or its servers are not a table.
    """
    if client.syntax == "toml":
        document = _toml(text).unwrap()
    else:
        try:
            root = jsonc.parse(text)
        except jsonc.JsoncError as error:
            raise MergeError(f"it is not valid JSON ({error})") from None
        document = root.value if root else {}
    if not isinstance(document, dict):
        raise MergeError("the document is not an object")
    servers = document.get(client.table, {})
    if not isinstance(servers, dict):
        raise MergeError(f"{client.table} is not a table of servers")
    entry = servers.get(SERVER)
    if entry is None or isinstance(entry, dict):
        return entry
    raise MergeError(f"{client.table}.{SERVER} is not a table")


def is_ours(entry: Json) -> bool:
    """Return whether an entry starts this server. Extend's own MCP server uses the same name for its entry."""
    if "EXTEND_ENVIRONMENT" in (entry.get("env") or {}):
        return False
    started = json.dumps([entry.get(key) for key in ("command", "args", *_REMOTE_ONLY)])
    return "extend-mcp" in started or "extend_mcp" in started


def updated(old: Json | None, new: Json) -> Json:
    """Return the new entry with what the user added to the old one: a key, a region, a timeout, allowed tools.

    The new entry starts a command, so keys that only a server at a URL has are dropped.
    """
    made = dict(new)
    for key, value in (old or {}).items():
        if key in _REMOTE_ONLY:
            continue
        if isinstance(value, dict) and isinstance(new.get(key, {}), dict):
            # A region in the new entry was chosen on the command line.
            chosen = {name: each for name, each in new.get(key, {}).items() if name == "EXTEND_REGION"}
            made[key] = {**new.get(key, {}), **value, **chosen}
        elif isinstance(value, list) and key == "env_vars":
            made[key] = [*value, *(each for each in new.get(key, []) if each not in value)]
        elif key not in new:
            made[key] = value
    return made


def merged(client: Client, text: str, entry: Json, needed: dict[str, list[Json]]) -> str:
    """Return the text with the entry in it, in place of an old one.

    Args:
        client: the client whose file it is; JSON or TOML.
        text: the file's text, which `current_entry` could read.
        entry: the server's entry.
        needed: objects to add to top-level lists, by key. An object whose id is already there is left alone.

    Raises:
        MergeError: the layout does not allow the change.
    """
    if client.syntax == "toml":
        return _merged_toml(client, text, entry)
    try:
        for key, items in needed.items():
            root = jsonc.parse(text)
            present = root.value.get(key, []) if root else []
            known = [each.get("id") for each in present if isinstance(each, dict)] if isinstance(present, list) else []
            for item in items:
                text = text if item["id"] in known else jsonc.with_item(text, key, item)
        return jsonc.with_value(text, [client.table, SERVER], entry)
    except jsonc.JsoncError as error:
        raise MergeError(str(error)) from None


def _merged_toml(client: Client, text: str, entry: Json) -> str:
    document, before = _toml(text), _toml(text).unwrap()
    if client.table not in document:
        document[client.table] = tomlkit.table(is_super_table=True)
    servers = document[client.table]
    if isinstance(servers, Table) and isinstance(servers.get(SERVER), Table):
        # Updated key by key, so that comments between the keys stay.
        old = servers[SERVER]
        for key in [key for key in old if key not in entry]:
            del old[key]
        old.update(entry)
    else:
        table = tomlkit.table()
        table.update(entry)
        try:
            servers[SERVER] = table
        except ValueError:
            raise MergeError(f"{client.table} is an inline table, which cannot be extended") from None
    made = tomlkit.dumps(document)
    # TOML has many layouts, and not each accepts another table.
    if _toml(made).unwrap() != {**before, client.table: {**before.get(client.table, {}), SERVER: entry}}:
        raise MergeError(f"the layout of {client.table} does not allow the change")
    return made


def _toml(text: str) -> Any:
    try:
        return tomlkit.parse(text)
    except ParseError as error:
        raise MergeError(f"it is not valid TOML (line {error.line}, column {error.col})") from None
    except TOMLKitError as error:
        raise MergeError(f"it is not valid TOML ({error})") from None


def difference(old: Json, new: Json) -> list[str]:
    """Return a line for each key that changes. Values that may be secrets are not shown."""
    lines = []
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            lines += [f"- {key}: {_shown(key, old[key])}"] if key in old else []
            lines += [f"+ {key}: {_shown(key, new[key])}"] if key in new else []
    return lines


def _shown(key: str, value: object) -> str:
    if key in ("env", "headers") and isinstance(value, dict):
        return ", ".join(f"{name}=..." for name in value) or "{}"
    return json.dumps(value, ensure_ascii=False)
