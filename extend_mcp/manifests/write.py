"""A client's configuration file, changed so that nothing in it can be lost."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from extend_mcp.manifests.clients import Client
from extend_mcp.manifests.merge import MergeError, difference, merged, present_entry, updated

_BOM = "\ufeff"
_LARGEST = 10 * 2**20


class WriteError(Exception):
    """The file was left as it is; the words say why, and what to do."""


@dataclass(frozen=True)
class Written:
    """What became of the file.

    Attributes:
        outcome: ``created``, ``added``, ``replaced``, ``unchanged`` or ``declined``.
        file: the file, links followed.
        backup: a copy of what it held before; None where nothing was changed.
    """

    outcome: str
    file: Path
    backup: Path | None = None


def write(
    client: Client,
    file: Path,
    entry: dict[str, Any],
    needed: dict[str, Any],
    *,
    agree: Callable[[list[str]], bool],
    now: datetime,
) -> Written:
    """Put an entry for the server into a configuration file.

    Args:
        client: whose file it is.
        file: where it is; links are followed, and stay.
        entry: what is to stand under the server's name; what a user put into an old one stays in it.
        needed: what the client needs beside it.
        agree: asked with the difference before an entry of the same name is replaced.
        now: the present, for the name of the backup.

    Raises:
        WriteError: it cannot be read, understood or written, or someone else changed it meanwhile.
    """
    target = file.resolve()
    before = _read(target)
    text = _decoded(target, before) if before is not None else ""
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    try:
        old = present_entry(client, text)
        entry = updated(old, entry)
        made = merged(client, text, entry, needed)
    except MergeError as error:
        raise WriteError(f"{target} was left as it is: {error}. Mend it first.") from None
    if old == entry and made == text:
        return Written("unchanged", target)
    if old is not None and old != entry and not agree(difference(old, entry)):
        return Written("declined", target)
    backup = _replace(target, before, (bom + made).encode(), now)
    return Written("created" if before is None else "replaced" if old is not None else "added", target, backup)


def _read(target: Path) -> bytes | None:
    try:
        if target.stat().st_size > _LARGEST:
            raise WriteError(f"{target} was left as it is: it is larger than a configuration file can be.")
        return target.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WriteError(f"{target} cannot be read: {error.strerror}.") from None


def _decoded(target: Path, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise WriteError(f"{target} was left as it is: it is not UTF-8 text.") from None


def _replace(target: Path, before: bytes | None, after: bytes, now: datetime) -> Path | None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # It may come to hold a key: nobody else may read it, unless its owner had said so.
        mode = stat.S_IMODE(target.stat().st_mode) if before is not None else 0o600
        if before is not None and not (mode & stat.S_IWUSR and os.access(target, os.W_OK)):
            # Replacing a file needs no right to write to it, but whoever took that right away meant something by it.
            raise WriteError(f"{target} is read-only and was left as it is. Make it writable, or paste the block.")
        made = _beside(target, after, mode)
        try:
            backup = _backed_up(target, before, mode, now) if before is not None else None
            unchanged = _read(target) == before
            if unchanged:
                made.replace(target)
        finally:
            made.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"{target} cannot be written and was left as it is: {error.strerror}.") from None
    if not unchanged:
        raise WriteError(f"{target} was changed by another program meanwhile and was left as that wrote it.")
    return backup


def _beside(target: Path, content: bytes, mode: int) -> Path:
    """A finished file in the same folder, which takes the other's place in one step."""
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


def _backed_up(target: Path, before: bytes, mode: int, now: datetime) -> Path:
    for number in range(1000):
        more = f"-{number}" if number else ""
        backup = target.with_name(f"{target.name}.bak-{now:%Y%m%d-%H%M%S}{more}")
        try:
            # Never over another backup.
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(before)
        return backup
    raise WriteError(f"{target} has too many backups of this second beside it.")
