"""The command line: serve (the default), demo, sandbox, doctor.

Only this module and the ones it calls for output (demo, doctor) write to stdout: under stdio, stdout
belongs to the protocol.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from extend_mcp import __version__
from extend_mcp.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class _ServeByDefault(click.Group):
    """``extend-mcp --sandbox`` means ``extend-mcp serve --sandbox``: clients start the bare command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "--version")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


_env_file = click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read settings from a file of NAME=value lines.",
)


@click.group(cls=_ServeByDefault, context_settings={"help_option_names": ["--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="extend-mcp")
def main() -> None:
    """Operate Extend document workflows from an AI assistant, over the Model Context Protocol.

    Without a command the server starts on stdio. The account is read from EXTEND_API_KEY, EXTEND_REGION (us, us2,
    eu), EXTEND_BASE_URL and EXTEND_WORKSPACE_ID; the server's own settings are EXTEND_MCP_*.
    """


@main.command()
@click.option("--transport", type=click.Choice(["stdio", "http", "sse"]), default="stdio", show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for http and sse; loopback only.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port for http and sse.")
@click.option("--sandbox", is_flag=True, default=None, help="Run against the embedded sandbox: no account, no network.")
@click.option("--read-only", is_flag=True, default=None, help="Leave out every tool that writes.")
@click.option("--toolsets", metavar="A,B", help="Toolsets to offer, comma-separated.")
@_env_file
def serve(transport: str, host: str, port: int, env_file: Path | None, **given: Any) -> None:
    """Serve MCP (the default command)."""
    settings = _settings(env_file, **given)
    if transport != "stdio" and host not in _LOOPBACK:
        raise click.UsageError(
            f"--host {host}: this version has no authentication over {transport}, so it serves loopback addresses only."
        )
    _log_to_stderr(settings)
    from extend_mcp.server import build_server

    server, app = build_server(settings, local_files=transport == "stdio")

    async def run() -> None:
        try:
            if transport == "stdio":
                # A thread waits on stdin and cannot be woken: an orderly end on Ctrl-C would wait for the next line.
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                await server.run_stdio_async()
            elif transport == "http":
                await server.run_streamable_http_async(host=host, port=port)
            else:
                await server.run_sse_async(host=host, port=port)
        finally:
            with anyio.CancelScope(shield=True):
                await app.aclose()

    _run(run)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free port.")
@click.option("--scenario", default="default", show_default=True)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Simulated seconds per second.",
)
@click.option("--seed", type=int, default=1, show_default=True)
def sandbox(host: str, port: int, scenario: str, speed: float, seed: int) -> None:
    """Run Extend's API on this machine; prints its base URL when ready. Any bearer token is accepted."""
    from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings
    from extend_mcp.sandbox.serve import serve as serve_sandbox

    try:
        box = Sandbox(SandboxSettings(scenario=scenario, seed=seed), SandboxClock(speed=speed))
    except ValueError as error:
        raise click.UsageError(str(error)) from None

    async def run() -> None:
        await serve_sandbox(box, host=host, port=port, on_ready=_say)

    _run(run)


@main.command()
def demo() -> None:
    """Play an operator's story against the sandbox with a real MCP client over stdio."""
    from extend_mcp.demo import play

    sys.exit(anyio.run(play, _say))


@main.command()
@click.option("--sandbox", is_flag=True, default=None, help="Check the embedded sandbox instead of Extend.")
@_env_file
def doctor(env_file: Path | None, **given: Any) -> None:
    """Check key, region, API version, workspace and reachability, and say what to do."""
    from extend_mcp.doctor import examine

    settings = _settings(env_file, **given)
    sys.exit(anyio.run(examine, settings, _say))


def _settings(env_file: Path | None, **given: Any) -> Settings:
    try:
        return load_settings(env_file=env_file, **given)
    except SettingsError as error:
        raise click.ClickException(f"these settings cannot be used:\n{error}") from None


def _log_to_stderr(settings: Settings) -> None:
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def _run(function: Callable[[], Any]) -> None:
    try:
        anyio.run(function)
    except KeyboardInterrupt:
        # The shell's convention for a program that SIGINT ended.
        sys.exit(130)


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()
