"""``extend-mcp install``: print the block for a client, or merge it into the client's file."""

from __future__ import annotations

import difflib
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

import click

from extend_mcp.client_config.clients import CLIENTS, KEY, SERVER, Client, Machine, Secret, to_text
from extend_mcp.client_config.launch import PUBLISHED, Launch, this_machine
from extend_mcp.client_config.write import WriteError, write
from extend_mcp.settings import Region, Toolset

_REPOSITORY = Path(__file__).parents[2]


def _check_toolsets(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    known = [*get_args(Toolset), "all"]
    chosen = [name.strip() for name in (given or "").split(",") if name.strip()]
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Use {', '.join(known)}."
            raise click.BadParameter(f"there is no toolset {name!r}. {hint}")
    if "all" in chosen and len(chosen) > 1:
        raise click.BadParameter("use 'all' alone.")
    return ",".join(chosen) or None


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
def install(client: str, writing: bool, file: Path | None, yes: bool, published: bool, **flags: Any) -> None:
    """Add the server to a client, such as Cursor.

    Prints the configuration block, with the command that starts the server on this machine. With --write, merges it
    into the client's file and keeps existing settings and comments.
    """
    chosen = CLIENTS[client]
    if client == "librechat" and flags["region"]:
        raise click.UsageError("LibreChat connects to a server at a URL. Set EXTEND_REGION where that server runs.")
    launch = (PUBLISHED if published else this_machine()).with_flags(**flags)
    key = None if flags["sandbox"] else KEY
    own = chosen.file(Machine())
    if writing and file is None and own.parent == _REPOSITORY:
        raise click.ClickException(
            f"Nothing was changed: this folder is the clone of extend-mcp. Run the command in your own project "
            f"({shlex.quote(this_machine().command)} install {client} --write), or choose a file with --file."
        )
    file = file or own
    if writing:
        _write(chosen, file, launch, key, yes)
        return
    click.echo(to_text(chosen.document(launch, key), chosen.syntax), nl=False)
    click.echo(f"\nFor {file}. {chosen.fill if key else ''}".rstrip(), err=True)
    if client == "claude-code":
        env = [f"--env {name}={value}" for name, value in launch.env.items()]
        env += [f'--env {key.name}="${key.name}"'] if key else []
        start = shlex.join([launch.command, *launch.args])
        click.echo(" ".join(["Or run: claude mcp add extend", *env, "--", start]), err=True)


@click.command(hidden=True, params=install.params)
def manifests(**given: Any) -> None:
    """Run ``install`` under its old name, for one release."""
    click.echo("`extend-mcp manifests` is now `extend-mcp install`; the old name will be removed.", err=True)
    click.get_current_context().invoke(install, **given)


def _write(client: Client, file: Path, launch: Launch, key: Secret | None, yes: bool) -> None:
    if client.syntax == "yaml":
        raise click.ClickException(
            f"{file} was not changed: YAML cannot be edited without losing comments. "
            f"Paste what `extend-mcp install {client.name}` prints."
        )

    def agree(difference: list[str], ours: bool) -> bool:
        old = "already has an entry for the" if ours else f"has an entry named {SERVER} that starts another"
        click.echo("\n".join([f"{file} {old} server:", *difference]), err=True)
        # Another server, perhaps Extend's own, is not lost even with --yes.
        if yes and ours:
            return True
        if sys.stdin.isatty():
            return click.confirm("Update it?" if ours else "Replace it?", err=True)
        keep = "Rename that entry to keep both servers, or run this in a terminal to replace it."
        advice = "Run the command again with --yes to update the entry." if ours else keep
        raise click.ClickException(f"Nothing was changed. {advice}")

    now = datetime.now(timezone.utc)
    try:
        done = write(client, file, client.entry(launch, key), client.inputs(key), agree=agree, now=now)
    except WriteError as error:
        raise click.ClickException(str(error)) from None
    if done.outcome in ("unchanged", "declined"):
        why = " It already has this entry." if done.outcome == "unchanged" else ""
        click.echo(f"{done.file} was not changed.{why}")
        return
    backup = f" (backup: {done.backup.name})" if done.backup else ""
    verb = "Created" if done.outcome == "created" else "Updated"
    click.echo(f"{verb} {done.file}{backup}. Restart {client.title} to load it.")
    if key:
        click.echo(client.fill, err=True)
