"""``extend-mcp manifests``: what clients and registries read, printed or written."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path

import click

from extend_mcp.manifests.clients import CLIENTS, Client, Machine
from extend_mcp.manifests.description import Description, describe
from extend_mcp.manifests.launch import PUBLISHED, Launch, this_machine
from extend_mcp.manifests.syntax import written
from extend_mcp.manifests.write import WriteError, write


@click.command()
@click.argument("client", required=False, type=click.Choice(list(CLIENTS)))
@click.option(
    "--write", "writing", is_flag=True, help="Merge the block into the client's file; a backup stays beside it."
)
@click.option(
    "--file", type=click.Path(dir_okay=False, path_type=Path), help="The file, if not where the client has it."
)
@click.option("--yes", is_flag=True, help="Replace an entry of the same name without asking.")
@click.option("--published", is_flag=True, help="Start it with uvx, not as it is installed here.")
@click.option("--sandbox", is_flag=True, help="An entry for the embedded sandbox, without a key.")
@click.option("--read-only", is_flag=True, help="An entry without the tools that write.")
@click.option("--toolsets", metavar="A,B", help="An entry with these toolsets.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("manifests"),
    show_default=True,
    help="Without CLIENT: the folder to render all manifests into.",
)
@click.option("--check", is_flag=True, help="Without CLIENT: only tell which files differ; 1 if any does.")
def manifests(
    client: str | None,
    writing: bool,
    file: Path | None,
    yes: bool,
    published: bool,
    sandbox: bool,
    read_only: bool,
    toolsets: str | None,
    output: Path,
    check: bool,
) -> None:
    """Print the block with which CLIENT starts this server, or render all manifests into a folder.

    The block names the command that starts the server on this machine. With --write it is merged into the client's own
    configuration file: nothing else in there changes, comments included.
    """
    description = describe()
    if client is None:
        _render(description, output, check)
        return
    launch = PUBLISHED if published else this_machine()
    launch = launch.with_flags(sandbox=sandbox, read_only=read_only, toolsets=toolsets)
    chosen = CLIENTS[client]
    if writing:
        _write(chosen, launch, description, file, sandbox, yes)
        return
    click.echo(written(chosen.document(launch, description, keyless=sandbox), chosen.syntax), nl=False)
    click.echo(f"\nFor {file or chosen.file(Machine())}. {'' if sandbox else chosen.fill}".rstrip(), err=True)


def _write(
    client: Client, launch: Launch, description: Description, file: Path | None, keyless: bool, yes: bool
) -> None:
    if client.syntax == "yaml":
        raise click.ClickException(
            f"{client.title} keeps its settings in YAML, which no light library changes without losing comments. "
            f"Paste what `extend-mcp manifests {client.name}` prints."
        )

    def agree(difference: list[str]) -> bool:
        click.echo("The file has an entry of this name already:\n" + "\n".join(difference), err=True)
        if yes:
            return True
        if not sys.stdin.isatty():
            raise click.ClickException("Nothing was changed: say --yes to replace it.")
        return click.confirm("Replace it?", err=True)

    try:
        done = write(
            client,
            file or client.file(Machine()),
            client.entry(launch, description, keyless=keyless),
            client.needed(description, keyless=keyless),
            agree=agree,
            now=datetime.now(timezone.utc),
        )
    except WriteError as error:
        raise click.ClickException(str(error)) from None
    kept = f"; before, it is in {done.backup}" if done.backup else ""
    click.echo(f"{done.outcome}: {done.file}{kept}")
    if done.outcome in ("created", "added", "replaced") and not keyless:
        click.echo(client.fill, err=True)


def _render(description: Description, folder: Path, check: bool) -> None:
    from extend_mcp.manifests.render import render_all

    made = render_all(description)
    there = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    wrong = [name for name, text in made.items() if name not in there or (folder / name).read_text("utf-8") != text]
    wrong += sorted(there - made.keys())
    if check:
        for name in wrong:
            click.echo(f"{folder / name} is not as it is rendered", err=True)
        sys.exit(1 if wrong else 0)
    for name, text in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    for name in sorted(there - made.keys()):
        click.echo(f"{folder / name} is rendered no more; delete it", err=True)
    click.echo(f"{len(made)} files in {folder}")
