"""Change a client's configuration file: atomically, with a backup, and never over somebody else's change."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from extend_mcp.client_config.clients import Client, Json
from extend_mcp.client_config.jsonc import EditError
from extend_mcp.client_config.merge import current_entry, difference, is_ours, merged, updated

_BOM = "\ufeff"
_MAX_BYTES = 10 * 2**20

Agree = Callable[[list[str], bool], bool]


class WriteError(Exception):
    """The file was not changed; the message says why, and what to do."""


@dataclass(frozen=True)
class Written:
    """The outcome.

    Attributes:
        outcome: ``created``, ``added``, ``updated``, ``unchanged`` or ``declined``.
        file: the file, with links resolved.
        backup: a copy of the old file; None if nothing was changed.
    """

    outcome: str
    file: Path
    backup: Path | None = None


def write(client: Client, file: Path, entry: Json, inputs: list[Json], *, agree: Agree, now: datetime) -> Written:
    """Put the server's entry into a configuration file, and what the client needs next to it.

    What a user added to an old entry is kept. ``agree`` is called with the difference before an old entry is changed,
    and with whether that entry starts this server; another may be Extend's own. ``now`` names the backup.

    Raises:
        WriteError: the file cannot be read, understood or written, or another program changed it meanwhile.
    """
    target = file.resolve()
    before = _read(target)
    try:
        text = (before or b"").decode()
        bom = _BOM if text.startswith(_BOM) else ""
        text = text.removeprefix(_BOM)
        old = current_entry(client, text)
        entry = updated(old, entry)
        made = merged(client, text, entry, inputs)
    except (EditError, UnicodeDecodeError) as error:
        why = error if isinstance(error, EditError) else "it is not UTF-8 text"
        raise WriteError(f"{target} was not changed: {why}. Fix the file and run the command again.") from None
    if old == entry and made == text:
        return Written("unchanged", target)
    if old is not None and old != entry and not agree(difference(old, entry), is_ours(old)):
        return Written("declined", target)
    try:
        backup = _replace(target, before, (bom + made).encode(), now)
    except OSError as error:
        raise WriteError(f"{target} was not changed: it cannot be written ({error.strerror}).") from None
    return Written("created" if before is None else "updated" if old is not None else "added", target, backup)


def _read(target: Path) -> bytes | None:
    try:
        if target.stat().st_size > _MAX_BYTES:
            raise WriteError(f"{target} was not changed: it is too large for a configuration file.")
        return target.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WriteError(f"{target} cannot be read: {error.strerror}.") from None


def _replace(target: Path, before: bytes | None, after: bytes, now: datetime) -> Path | None:
    """Write a file in the same folder, which then replaces the target in one step; return the backup."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # A new file may come to hold a key, so only its owner may read it.
    mode = stat.S_IMODE(target.stat().st_mode) if before is not None else 0o600
    if before is not None and not (mode & stat.S_IWUSR and os.access(target, os.W_OK)):
        # Renaming over a file needs no write permission, but its owner removed that on purpose.
        raise WriteError(f"{target} was not changed: it is read-only. Make it writable, or paste the block.")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(after)
            file.flush()
            os.fsync(handle)
        made.chmod(mode)
        backup = _back_up(target, before, mode, now) if before is not None else None
        if _read(target) != before:
            raise WriteError(f"{target} was not changed: another program changed it meanwhile. Try again.")
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)
    return backup


def _back_up(target: Path, before: bytes, mode: int, now: datetime) -> Path:
    number = 0
    while True:
        backup = target.with_name(f"{target.name}.bak-{now:%Y%m%d-%H%M%S}{f'-{number}' if number else ''}")
        with suppress(FileExistsError), open(backup, "xb", opener=partial(os.open, mode=mode)) as file:
            file.write(before)
            return backup
        number += 1
