"""An entry for the server in a client's configuration text, which keeps all that it holds."""

from __future__ import annotations

import json
from typing import Any

from extend_mcp.manifests import jsonc
from extend_mcp.manifests.clients import SERVER, Client


class MergeError(Exception):
    """The text cannot be changed; the words say what is wrong with it, and where."""


def present_entry(client: Client, text: str) -> dict[str, Any] | None:
    """The entry for the server that the text holds, as Python values; None if it holds none.

    Raises:
        MergeError: the text is broken, or its servers are no table.
    """
    document = _read(client, text)
    servers = document.get(client.table, {})
    if not isinstance(servers, dict):
        raise MergeError(f"{client.table} is not a table of servers")
    entry = servers.get(SERVER)
    if entry is None or isinstance(entry, dict):
        return entry
    raise MergeError(f"{client.table}.{SERVER} is not a table")


_OF_A_REMOTE = frozenset({"type", "url", "serverUrl", "httpUrl", "headers"})


def updated(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """The new entry with what the user had put into the old one: a key, a region, a time-out, a list of allowed tools.

    Args:
        old: what stands there now; None if nothing does.
        new: an entry that starts a command. What only a server at a URL has is not taken over from the old one.
    """
    if old is None:
        return new
    made = dict(new)
    for key, value in old.items():
        if isinstance(value, dict) and isinstance(new.get(key, {}), dict) and key not in _OF_A_REMOTE:
            made[key] = {**new.get(key, {}), **value}
        elif isinstance(value, list) and key == "env_vars":
            made[key] = [*value, *(each for each in new.get(key, []) if each not in value)]
        elif key not in new and key not in _OF_A_REMOTE:
            made[key] = value
    return made


def merged(client: Client, text: str, entry: dict[str, Any], needed: dict[str, Any]) -> str:
    """The text with the entry in it, in place of any of the same name.

    Args:
        client: whose file it is; JSON or TOML.
        text: what it holds now.
        entry: what is to stand under the server's name.
        needed: what must stand beside the servers: lists of objects with an id, by key. One with that id is left alone.

    Raises:
        MergeError: the text is broken, or not laid out as it would have to be.
    """
    if client.syntax == "toml":
        return _merged_toml(client, text, entry)
    try:
        for key, items in needed.items():
            text = _with_items(text, key, items)
        return jsonc.with_member(text, [client.table, SERVER], entry)
    except jsonc.JsoncError as error:
        raise MergeError(str(error)) from None


def _with_items(text: str, key: str, items: list[dict[str, Any]]) -> str:
    for item in items:
        root = jsonc.parse(text)
        document = root.plain() if root else {}
        present = document.get(key, []) if isinstance(document, dict) else []
        known = [each.get("id") for each in present if isinstance(each, dict)] if isinstance(present, list) else []
        if item["id"] not in known:
            text = jsonc.with_item(text, key, item)
    return text


def _read(client: Client, text: str) -> dict[str, Any]:
    if client.syntax == "toml":
        return _toml(text).unwrap()  # type: ignore[no-any-return]
    try:
        root = jsonc.parse(text)
    except jsonc.JsoncError as error:
        raise MergeError(str(error)) from None
    document = root.plain() if root else {}
    if not isinstance(document, dict):
        raise MergeError("the document is not an object")
    return document


def _merged_toml(client: Client, text: str, entry: dict[str, Any]) -> str:
    import tomlkit
    from tomlkit.items import Table

    document = _toml(text)
    before = _toml(text).unwrap()
    wanted = {**before, client.table: {**before.get(client.table, {}), SERVER: entry}}
    if client.table not in document:
        document[client.table] = tomlkit.table(is_super_table=True)
    table = tomlkit.table()
    table.update(entry)
    servers = document[client.table]
    if isinstance(servers, Table) and isinstance(servers.get(SERVER), Table):
        old = servers[SERVER]
        # Replaced key by key, so that comments between them stay.
        for key in [key for key in old if key not in entry]:
            del old[key]
        old.update(entry)
    else:
        try:
            servers[SERVER] = table
        except ValueError:
            raise MergeError(f"{client.table} is an inline table, which this cannot add to") from None
    made = tomlkit.dumps(document)
    # TOML can say the same in many ways, and not every one takes a table that is added.
    if _toml(made).unwrap() != wanted:
        raise MergeError(f"{client.table} is laid out in a way that this cannot change")
    return made


def _toml(text: str) -> Any:
    import tomlkit
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        return tomlkit.parse(text)
    except ParseError as error:
        raise MergeError(f"line {error.line}, column {error.col}: the file is not valid TOML") from None
    except TOMLKitError as error:
        raise MergeError(f"the file is not valid TOML: {error}") from None


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What would change in an entry, a line a key. Values of the environment are not shown: they may be secrets."""
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
