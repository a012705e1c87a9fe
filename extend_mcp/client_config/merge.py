"""Merge the server's entry into the text of a client's configuration, keeping everything else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError
from tomlkit.items import Table

from extend_mcp.client_config.clients import SERVER, Client, Json
from extend_mcp.client_config.jsonc import Document, EditError

_REMOTE_ONLY = frozenset({"type", "url", "serverUrl", "httpUrl", "headers"})


def current_entry(client: Client, text: str) -> Json | None:
    """Return the server's entry in the text, or None.

    Raises:
        EditError: the text is invalid, or its servers are not a table.
    """
    document = _value(client, text)
    if not isinstance(document, dict):
        raise EditError("the document is not an object")
    servers = document.get(client.table, {})
    if not isinstance(servers, dict):
        raise EditError(f"{client.table} is not a table of servers")
    entry = servers.get(SERVER)
    if entry is None or isinstance(entry, dict):
        return entry
    raise EditError(f"{client.table}.{SERVER} is not a table")


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


def merged(client: Client, text: str, entry: Json, inputs: list[Json]) -> str:
    """Return the text with the entry in it, in place of an old one, and with the prompts whose id is not there yet.

    Raises:
        EditError: the layout does not allow the change.
    """
    before = _value(client, text)
    wanted = {**before, client.table: {**before.get(client.table, {}), SERVER: entry}}
    present = before.get("inputs", [])
    known = [each.get("id") for each in present if isinstance(each, dict)] if isinstance(present, list) else []
    made = text
    for item in inputs:
        if item["id"] not in known:
            made = Document(made).with_item("inputs", item)
            wanted["inputs"] = [*wanted.get("inputs", []), item]
    if client.syntax == "toml":
        made = _with_table(client, made, entry)
    elif before.get(client.table, {}).get(SERVER) != entry:
        made = Document(made).with_value([client.table, SERVER], entry)
    # TOML has many layouts, and not each accepts another table.
    if _value(client, made) != wanted:
        raise EditError(f"the layout of {client.table} does not allow the change")
    return made


def _value(client: Client, text: str) -> Any:
    if client.syntax == "toml":
        return _toml(text).unwrap()
    value = Document(text).value
    return {} if value is None else value


def _with_table(client: Client, text: str, entry: Json) -> str:
    document = _toml(text)
    servers = document.setdefault(client.table, tomlkit.table(is_super_table=True))
    if isinstance(servers, Table) and isinstance(servers.get(SERVER), Table):
        # Updated key by key, so that comments between the keys stay.
        old = servers[SERVER]
        for key in [key for key in old if key not in entry]:
            del old[key]
        old.update(entry)
    else:
        table = tomlkit.table()
        table.update(entry)
        with suppress(ValueError):  # an inline table cannot be extended
            servers[SERVER] = table
    return tomlkit.dumps(document)


def _toml(text: str) -> Any:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        place = f"line {error.line}, column {error.col}" if isinstance(error, ParseError) else error
        raise EditError(f"it is not valid TOML ({place})") from None


def difference(old: Json, new: Json) -> list[str]:
    """Return a line for each key that changes. Values that may be secrets are not shown."""
    lines = []
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            lines += [f"{sign} {key}: {_shown(key, of[key])}" for sign, of in (("-", old), ("+", new)) if key in of]
    return lines


def _shown(key: str, value: object) -> str:
    if key in ("env", "headers") and isinstance(value, dict):
        return ", ".join(f"{name}=..." for name in value) or "{}"
    return json.dumps(value, ensure_ascii=False)
