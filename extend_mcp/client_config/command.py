"""``extend-mcp install``: print the block for a client, or merge it into the client's file."""

from __future__ import annotations

import difflib
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

import click

from extend_mcp.client_config.clients import CLIENTS, SECRETS, SERVER, Client, Machine, Secret, to_text
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
    secrets = () if flags["sandbox"] else SECRETS
    machine = Machine()
    if writing and file is None and chosen.file(machine).parent == _REPOSITORY:
        raise click.ClickException(
            f"Nothing was changed: this folder is the clone of extend-mcp. Run the command in your own project "
            f"({shlex.quote(this_machine().command)} install {client} --write), or choose a file with --file."
        )
    file = file or chosen.file(machine)
    if writing:
        _write(chosen, file, chosen.entry(launch, secrets), secrets, yes)
        return
    click.echo(to_text(chosen.document(launch, secrets), chosen.syntax), nl=False)
    click.echo(f"\nFor {file}. {chosen.fill if secrets else ''}".rstrip(), err=True)
    if client == "claude-code":
        click.echo(f"Or run: {_claude_mcp_add(launch, secrets)}", err=True)


@click.command(hidden=True, params=install.params)
def manifests(**given: Any) -> None:
    """Run ``install`` under its old name, for one release."""
    click.echo("`extend-mcp manifests` is now `extend-mcp install`; the old name will be removed.", err=True)
    click.get_current_context().invoke(install, **given)


def _claude_mcp_add(launch: Launch, secrets: tuple[Secret, ...]) -> str:
    """Return Claude Code's own command for the same entry."""
    env = [f"--env {name}={value}" for name, value in launch.env.items()]
    env += [f'--env {each.name}="${each.name}"' for each in secrets]
    return " ".join(["claude mcp add extend", *env, "--", shlex.join([launch.command, *launch.args])])


def _write(client: Client, file: Path, entry: dict[str, Any], secrets: tuple[Secret, ...], yes: bool) -> None:
    if client.syntax == "yaml":
        raise click.ClickException(
            f"{file} was not changed: YAML cannot be edited without losing comments. "
            f"Paste what `extend-mcp install {client.name}` prints."
        )

    def agree(difference: list[str]) -> bool:
        click.echo("\n".join([f"{file} already has an entry for the server:", *difference]), err=True)
        if not yes and not sys.stdin.isatty():
            raise click.ClickException("Nothing was changed. Run the command again with --yes to update the entry.")
        return yes or click.confirm("Update it?", err=True)

    def take_over(difference: list[str]) -> bool:
        click.echo(
            "\n".join([f"{file} has an entry named {SERVER} that starts another server:", *difference]), err=True
        )
        # Not even with --yes: that server, perhaps Extend's own, would be lost.
        if not sys.stdin.isatty():
            raise click.ClickException(
                "Nothing was changed. Rename that entry to keep both servers, or run this in a terminal to replace it."
            )
        return click.confirm("Replace it?", err=True)

    needed, now = client.needed(secrets), datetime.now(timezone.utc)
    try:
        done = write(client, file, entry, needed, agree=agree, take_over=take_over, now=now)
    except WriteError as error:
        raise click.ClickException(str(error)) from None
    if done.outcome in ("unchanged", "declined"):
        why = " It already has this entry." if done.outcome == "unchanged" else ""
        click.echo(f"{done.file} was not changed.{why}")
        return
    backup = f" (backup: {done.backup.name})" if done.backup else ""
    verb = "Created" if done.outcome == "created" else "Updated"
    click.echo(f"{verb} {done.file}{backup}. Restart {client.title} to load it.")
    if secrets:
        click.echo(client.fill, err=True)
