"""``extend-mcp install``: print the block for a client, or merge it into the client's file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import get_args

import click
from pydantic import ValidationError

from extend_mcp.client_config.clients import CLIENTS, KEY, Launch, this_machine, to_text
from extend_mcp.client_config.clients import published as from_pypi
from extend_mcp.client_config.write import write
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
    started = from_pypi() if published else this_machine()
    flags = ["--sandbox"] * sandbox + ["--read-only"] * read_only + (["--toolsets", toolsets] if toolsets else [])
    launch = Launch(started.command, (*started.args, *flags), {"EXTEND_REGION": region} if region else {})
    key = None if sandbox else KEY
    file = file or own
    if writing:
        write(chosen, file.resolve(), launch, key, yes)
        return
    click.echo(to_text(chosen.document(launch, key), chosen.path), nl=False)
    click.echo(f"\nFor {file}. {chosen.fill if key else ''}".rstrip(), err=True)
    if client == "claude-code":
        env = [f"--env {name}={value}" for name, value in launch.env.items()]
        env += [f'--env {key.name}="${key.name}"'] if key else []
        start = shlex.join([launch.command, *launch.args])
        click.echo(" ".join(["Or run: claude mcp add extend", *env, "--", start]), err=True)
