"""Change a client's configuration file: atomically, with a backup, and never over somebody else's change."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import click
from tomlkit.exceptions import TOMLKitError

from extend_mcp.client_config.clients import SERVER, Client, Launch, Secret
from extend_mcp.client_config.merge import Merged, merge


def write(client: Client, file: Path, launch: Launch, key: Secret | None, yes: bool) -> None:
    """Put the server's entry into a client's file, and say what became of the file.

    Raises:
        ClickException: the file was not changed; the text says why, and what to do.
    """
    if client.path.endswith(".yaml"):
        raise click.ClickException(
            f"{file} was not changed: YAML cannot be edited without losing comments. "
            f"Paste what `extend-mcp install {client.name}` prints."
        )
    try:
        before = file.read_bytes() if file.exists() else None
        text = (before or b"").decode()
        bom = "\ufeff" if text.startswith("\ufeff") else ""
        merged = merge(client, text.removeprefix(bom), client.entry(launch, key), client.inputs(key))
        if before is not None and text == bom + merged.text:
            click.echo(f"{file} was not changed. It already has this entry.")
            return
        if not yes or not merged.ours:
            _ask(file, merged)
        backup = _replace(file, before, (bom + merged.text).encode())
    except OSError as error:
        raise click.ClickException(f"{file} was not changed: {error.strerror}.") from None
    except (ValueError, RecursionError, TOMLKitError) as error:
        # A text that cannot be decoded is quoted by its error.
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error
        raise click.ClickException(
            f"{file} was not changed, since it cannot be used: {reason}. Fix the file and run the command again."
        ) from None
    done = f"Updated {file} (backup: {backup.name})" if backup else f"Created {file}"
    click.echo(f"{done}. Restart {client.title} to load it.")
    if key:
        click.echo(client.fill, err=True)


def _ask(file: Path, merged: Merged) -> None:
    """Let a person agree to the change of an entry. Another server, perhaps Extend's own, is not lost without a yes."""
    keys = [key for key in {**merged.old, **merged.new} if merged.old.get(key) != merged.new.get(key)]
    if not merged.old or not keys:
        return
    held, question = "already has an entry for the", "Update it?"
    advice = " Run the command again with --yes to update the entry."
    if not merged.ours:
        held, question = f"has an entry named {SERVER} that starts another", "Replace it?"
        advice = " Rename that entry to keep both servers, or run this in a terminal to replace it."
    click.echo(f"{file} {held} server. These keys change: {', '.join(keys)}.", err=True)
    if not sys.stdin.isatty() or not click.confirm(question, err=True):
        raise click.ClickException(f"Nothing was changed.{'' if sys.stdin.isatty() else advice}")


def _replace(file: Path, before: bytes | None, after: bytes) -> Path | None:
    """Give a file that had the content ``before`` the content ``after`` in one step, and return the backup.

    Raises:
        OSError: the file cannot be written, or another program changed it meanwhile.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # A new file may come to hold a key, so only its owner may read it.
    mode = 0o600 if before is None else stat.S_IMODE(file.stat().st_mode)
    if before is not None and not (mode & stat.S_IWUSR and os.access(file, os.W_OK)):
        # Renaming over a file needs no write permission, but its owner removed that on purpose.
        raise PermissionError(errno.EACCES, "it is read-only. Make it writable, or paste the block")
    made, now = _next_to(file, "new", after, mode), datetime.now(timezone.utc)
    try:
        backup = None if before is None else _next_to(file, f"bak-{now:%Y%m%d-%H%M%S}", before, mode)
        if (file.read_bytes() if file.exists() else None) != before:
            raise OSError(errno.EBUSY, "another program changed it meanwhile. Try again")
        made.replace(file)
    finally:
        made.unlink(missing_ok=True)
    return backup


def _next_to(file: Path, label: str, content: bytes, mode: int) -> Path:
    """Write a new file in the folder of another."""
    handle, name = tempfile.mkstemp(prefix=f"{file.name}.{label}-", dir=file.parent)
    with os.fdopen(handle, "wb") as copy:
        copy.write(content)
        copy.flush()
        os.fsync(handle)
    Path(name).chmod(mode)
    return Path(name)
