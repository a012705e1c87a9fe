"""Merge the server's entry into the text of a client's configuration: every byte outside the change is preserved.

The libraries for JSON with comments do not fit: ``json-five`` adds members without layout, ``codemod-json`` loses
comments, ``jsoncgx`` and ``json5kit`` cannot read all of it, ``jsonc-edit`` needs Node.js, and ``jsonc-document`` needs
Python 3.12. So the entry is inserted into the text, and the text is read again.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

import tomlkit

from extend_mcp.client_config.clients import SERVER, Client, Config

_REMOTE_ONLY: Final = frozenset({"type", "url", "serverUrl", "httpUrl", "headers"})
_NOT_IN_JSON: Final = [
    re.compile(rf'"(?:[^"\\]|\\.)*"|{pattern}', re.DOTALL)
    for pattern in (r"//[^\r\n]*|/\*.*?\*/", r",(?=[ \t\r\n]*[}\]])")
]
"""Comments, and commas after the last member or item; strings are matched first, since they may hold either."""


class UnusableError(ValueError):
    """The text is not what the client reads, or its layout does not allow the change."""


class Merged(NamedTuple):
    """The server's entry before and after, the whole text, and whether the old entry started this server."""

    old: Config
    new: Config
    text: str
    ours: bool


def merge(client: Client, text: str, entry: Config, inputs: list[Config]) -> Merged:
    """Put the entry into the text, with what the user added to an old one, and the prompts whose id is not there yet.

    Raises:
        ValueError, TOMLKitError: the text is invalid, or its layout does not allow the change.
    """
    is_toml = client.path.endswith(".toml")
    before = tomlkit.parse(text).unwrap() if is_toml else _read(text)
    servers, prompts = before.get(client.table, {}), before.get("inputs", [])
    if not isinstance(servers, dict):
        raise UnusableError(f"{client.table} is not a table of servers")
    old = servers.get(SERVER, {})
    if not isinstance(old, dict):
        raise UnusableError(f"{client.table}.{SERVER} is not a table")
    entry = _updated(old, entry)
    wanted = {**before, client.table: {**servers, SERVER: entry}}
    if is_toml:
        text = _with_table(client, text, entry)
        # TOML has many layouts, and not each accepts another table.
        if tomlkit.parse(text).unwrap() != wanted:
            raise UnusableError(f"the layout of {client.table} does not allow the change")
    elif SERVER in servers:
        text = text if old == entry else _edited(text, wanted, rf'"{SERVER}"\s*:\s*', entry)
    elif client.table in before:
        text = _edited(text, wanted, rf'"{client.table}"\s*:\s*\{{', entry, f'"{SERVER}": ')
    else:
        text = _edited(text, wanted, r"\A\s*\{", {SERVER: entry}, f'"{client.table}": ')
    if inputs and not isinstance(prompts, list):
        raise UnusableError("inputs is not a list")
    there = [each.get("id") for each in prompts if isinstance(each, dict)] if inputs else []
    for item in (each for each in inputs if each["id"] not in there):
        wanted["inputs"] = [item, *prompts]
        if "inputs" in before:
            text = _edited(text, wanted, r'"inputs"\s*:\s*\[', item)
        else:
            text = _edited(text, wanted, r"\A\s*\{", [item], '"inputs": ')
    started = json.dumps([old.get(key) for key in ("command", "args", *_REMOTE_ONLY)])
    # Extend's own MCP server uses the same name for its entry.
    ours = "EXTEND_ENVIRONMENT" not in (old.get("env") or {}) and bool(re.search("extend[-_]mcp", started))
    return Merged(old, entry, text, ours)


def _updated(old: Config, new: Config) -> Config:
    """Return the new entry with what the user added to the old one: a key, a region, a timeout, allowed tools.

    The new entry starts a command, so keys that only a server at a URL has are dropped.
    """
    made = {key: value for key, value in old.items() if key not in _REMOTE_ONLY} | new
    if isinstance(old.get("env"), dict):
        # A region in the new entry was chosen on the command line.
        chosen = {name: value for name, value in new.get("env", {}).items() if name == "EXTEND_REGION"}
        made["env"] = {**new.get("env", {}), **old["env"], **chosen}
    if isinstance(names := old.get("env_vars"), list):
        made["env_vars"] = [*names, *(each for each in new.get("env_vars", ()) if each not in names)]
    return made


def _with_table(client: Client, text: str, entry: Config) -> str:
    """Update TOML key by key, so that comments between the keys stay."""
    document = tomlkit.parse(text)
    servers = document.setdefault(client.table, tomlkit.table(is_super_table=True))
    table = servers.setdefault(SERVER, tomlkit.table())
    for key in table.keys() - entry.keys():
        del table[key]
    table.update(entry)
    return tomlkit.dumps(document)


def _plain(text: str) -> str:
    """Blank what JSON does not have: every index is one in the text too."""
    for extra in _NOT_IN_JSON:
        text = extra.sub(lambda found: found[0] if found[0][0] == '"' else re.sub(r"[^\r\n]", " ", found[0]), text)
    return text


def _read(text: str) -> Config:
    """Return the object in a text of JSON with comments; an empty one if it holds only blanks and comments."""
    plain = _plain(text)
    value: Any = json.loads(plain) if plain.strip() else {}
    if not isinstance(value, dict):
        raise UnusableError("the document is not an object")
    return value


def _edited(text: str, wanted: Config, opening: str, value: object, label: str = "") -> str:
    """Put a value after an opening, a pattern, where the text then says what is ``wanted``.

    After a brace or bracket the value comes first among the others; elsewhere it replaces the value there.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    text = text if _plain(text).strip() else f"{text}{newline}{{}}{newline}".lstrip()
    plain = _plain(text)
    step = re.search(r"\n([ \t]+)\S", plain)
    indent = step[1] if step else "  "
    dumped = json.dumps(value, indent=indent, ensure_ascii=False)
    inside = opening.endswith(("{", "["))
    # A comment on the line of the brace stays there.
    for pattern in (rf"{opening}[ \t]*(?=[\r\n])", opening) if inside else (opening,):
        for found in re.finditer(pattern, plain):
            at = found.end()
            line = text[text.rfind("\n", 0, at) + 1 : at]
            margin = newline + line[: len(line) - len(line.lstrip(" \t"))]
            if inside:
                rest = plain[at:].lstrip()
                blanks = plain[at : len(plain) - len(rest)]
                after = "," if rest[0] not in "}]" else "" if "\n" in blanks else margin
                inner = dumped.replace("\n", margin + indent)
                piece, end = f"{margin}{indent}{label}{inner}{after}", at
            else:
                piece, end = dumped.replace("\n", margin), json.JSONDecoder().raw_decode(plain, at)[1]
            made = text[:at] + piece + text[end:]
            if _read(made) == wanted:
                return made
    raise UnusableError("its layout does not allow the change")
