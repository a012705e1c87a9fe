"""Change a client's configuration file: atomically, with a backup, and never over somebody else's change."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from extend_mcp.client_config.clients import Client, Json
from extend_mcp.client_config.merge import MergeError, current_entry, difference, is_ours, merged, updated

_BOM = "\ufeff"
_MAX_BYTES = 10 * 2**20


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


def write(
    client: Client,
    file: Path,
    entry: Json,
    needed: dict[str, list[Json]],
    *,
    agree: Callable[[list[str]], bool],
    take_over: Callable[[list[str]], bool],
    now: datetime,
) -> Written:
    """Put the server's entry into a configuration file.

    Args:
        client: the client whose file it is.
        file: the file; links are followed.
        entry: the server's entry; what a user added to an old one is kept.
        needed: what the client needs next to it.
        agree: called with the difference before an old entry is updated.
        take_over: called in its place where the old entry starts another server, such as Extend's own.
        now: the time, for the backup's name.

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
        made = merged(client, text, entry, needed)
    except (MergeError, UnicodeDecodeError) as error:
        why = error if isinstance(error, MergeError) else "it is not UTF-8 text"
        raise WriteError(f"{target} was not changed: {why}. Fix the file and run the command again.") from None
    if old == entry and made == text:
        return Written("unchanged", target)
    if old is not None and old != entry:
        ask = agree if is_ours(old) else take_over
        if not ask(difference(old, entry)):
            return Written("declined", target)
    backup = _replace(target, before, (bom + made).encode(), now)
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
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A new file may come to hold a key, so only its owner may read it.
        mode = stat.S_IMODE(target.stat().st_mode) if before is not None else 0o600
        if before is not None and not (mode & stat.S_IWUSR and os.access(target, os.W_OK)):
            # Renaming over a file needs no write permission, but its owner removed that on purpose.
            raise WriteError(f"{target} was not changed: it is read-only. Make it writable, or paste the block.")
        made = _new_file(target, after, mode)
        try:
            backup = _back_up(target, before, mode, now) if before is not None else None
            if _read(target) != before:
                raise WriteError(f"{target} was not changed: another program changed it meanwhile. Try again.")
            made.replace(target)
        finally:
            made.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"{target} was not changed: it cannot be written ({error.strerror}).") from None
    return backup


def _new_file(target: Path, content: bytes, mode: int) -> Path:
    """Write a file in the same folder, which can then replace the target in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        made.chmod(mode)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    return made


def _back_up(target: Path, before: bytes, mode: int, now: datetime) -> Path:
    for number in range(1000):
        more = f"-{number}" if number else ""
        backup = target.with_name(f"{target.name}.bak-{now:%Y%m%d-%H%M%S}{more}")
        try:
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(before)
        return backup
    raise WriteError(f"{target} was not changed: it has too many backups of this second.")
