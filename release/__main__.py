"""``python -m release``: the commands of this repository's tooling."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import click

from extend_mcp.demo import play
from release.bundle import lay_out
from release.description import describe
from release.manifests import render_all
from release.picture import chat_picture
from release.recording import FORMATS, Recording
from release.structure import measure_revision, measure_tree

ROOT = Path(__file__).parents[1]


@click.group()
def main() -> None:
    """Render and check what is published with a release."""


@main.command()
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "manifests", help="Another folder."
)
@click.option("--check", is_flag=True, help="Only list the files that differ; exit with 1 if any does.")
def manifests(output: Path, check: bool) -> None:
    """Render manifests/."""
    rendered = render_all(describe())
    present = {str(each.relative_to(output)) for each in output.rglob("*") if each.is_file()}
    extra = sorted(present - rendered.keys())
    if check:
        differing = [
            name for name, text in rendered.items() if name not in present or (output / name).read_text("utf-8") != text
        ]
        for name in [*differing, *extra]:
            click.echo(f"{output / name} differs from what is rendered", err=True)
        sys.exit(1 if differing or extra else 0)
    for name, text in rendered.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text(text, encoding="utf-8", newline="\n")
    for name in extra:
        click.echo(f"{output / name} is no longer rendered; delete it", err=True)
    click.echo(f"{len(rendered)} files in {output}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def bundle(folder: Path) -> None:
    """Lay out FOLDER for `mcpb pack`: the manifest and the package."""
    lay_out(ROOT, folder)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
def record(file: Path) -> None:
    """Run the demo and write it to FILE: an asciicast (.cast) or an animated picture (.svg)."""
    if file.suffix not in FORMATS:
        raise click.BadParameter("a recording ends with .cast or .svg", param_hint="FILE")
    recording = Recording()

    def say(piece: str) -> None:
        recording.add(piece)
        click.echo(piece)

    status = anyio.run(play, say)
    if status == 0:
        recording.write(file)
    sys.exit(status)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option(
    "--seen",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT / "build" / "apps",
    help="Folder that .ci/apps wrote.",
)
def picture(file: Path, seen: Path) -> None:
    """Write FILE (.svg): a chat next to a view, played in 15 seconds from what the browser saw."""
    file.write_text(chat_picture(seen), encoding="utf-8", newline="\n")


@main.command()
@click.argument("revision", required=False)
def structure(revision: str | None) -> None:
    """Print the size and the import structure of the working tree, or of a git REVISION."""
    measured = measure_revision(ROOT, revision) if revision else measure_tree(ROOT)
    click.echo(measured.report(), nl=False)


if __name__ == "__main__":
    main(prog_name="python -m release")
