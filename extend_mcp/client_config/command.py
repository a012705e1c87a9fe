"""``extend-mcp install``: print the block for a client, or merge it into the client's file.

A file is changed atomically, with a backup, and never over somebody else's change.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import get_args

import click
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from extend_mcp.client_config import clients
from extend_mcp.client_config.clients import CLIENTS, KEY, SERVER, Client, Launch, Secret
from extend_mcp.client_config.merge import Merged, merge
from extend_mcp.settings import Region, Settings, ToolsetName

_REPOSITORY = Path(__file__).parents[2]


def _check_toolsets(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    try:
        Settings.model_validate({"toolsets": given or "all"})
    except ValidationError:
        raise click.BadParameter(f"choose from {', '.join(get_args(ToolsetName))}, or use 'all' alone.") from None
    return given and given.replace(" ", "")


@click.command()
@click.argument("client", type=click.Choice(list(CLIENTS)))
@click.option("--write", "writing", is_flag=True, help="Merge the block into the client's file, after a backup.")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="A file other than the client's own.")
@click.option("--yes", is_flag=True, help="Update an existing entry without asking.")
@click.option("--published", is_flag=True, help="Start the published package with uvx, not this installation.")
@click.option("--region", type=click.Choice(get_args(Region), case_sensitive=False), help="Region of your account.")
@click.option("--sandbox", is_flag=True, help="Use the built-in sandbox: no account, no key.")
@click.option("--read-only", is_flag=True, help="Leave out every tool that writes.")
@click.option("--toolsets", metavar="A,B", callback=_check_toolsets, help="Toolsets to offer, comma-separated.")
def install(
    client: str,
    writing: bool,
    file: Path | None,
    yes: bool,
    published: bool,
    region: str | None,
    sandbox: bool,
    read_only: bool,
    toolsets: str | None,
) -> None:
    """Add the server to a client, such as Cursor.

    Prints the configuration block, with the command that starts the server on this machine. With --write, merges it
    into the client's file and keeps existing settings and comments.
    """
    chosen = CLIENTS[client]
    own = chosen.file().absolute()
    if writing and file is None and own.parent == _REPOSITORY:
        raise click.ClickException(
            "Nothing was changed: this folder is the clone of extend-mcp. Run the command in your own project, or "
            "choose a file with --file."
        )
    started = clients.published() if published else clients.this_machine()
    flags = ["--sandbox"] * sandbox + ["--read-only"] * read_only + (["--toolsets", toolsets] if toolsets else [])
    launch = Launch(started.command, (*started.args, *flags), {"EXTEND_REGION": region} if region else {})
    key = None if sandbox else KEY
    file = file or own
    if writing:
        write(chosen, file.resolve(), launch, key, yes)
        return
    click.echo(clients.to_text(chosen.document(launch, key), chosen.path), nl=False)
    click.echo(f"\nFor {file}. {chosen.fill if key else ''}".rstrip(), err=True)
    if client == "claude-code":
        env = [f"--env {name}={value}" for name, value in launch.env.items()]
        env += [f'--env {key.name}="${key.name}"'] if key else []
        start = shlex.join([launch.command, *launch.args])
        click.echo(" ".join(["Or run: claude mcp add extend", *env, "--", start]), err=True)


def write(client: Client, file: Path, launch: Launch, key: Secret | None, yes: bool) -> None:
    """Put the server's entry into a client's file, and say what became of the file.

    Raises:
        ClickException: the file was not changed; the text says why, and what to do.
    """
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
