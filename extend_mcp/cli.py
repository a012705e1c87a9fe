"""Define the command line.

Only this module and the ones it calls for output (demo, doctor) write to stdout: under stdio, stdout belongs to the
protocol. A command imports what it needs: a client waits for the server to start.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from extend_mcp import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from extend_mcp.callers import Shared
    from extend_mcp.report import Format
    from extend_mcp.settings import Settings
    from extend_mcp.telemetry.redaction import Redactor


logger = logging.getLogger(__name__)


class _Commands(click.Group):
    """Read ``extend-mcp --sandbox`` as ``extend-mcp serve --sandbox``: clients start the bare command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help", "--version")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "install"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ("install", "manifests"):
            return super().get_command(ctx, cmd_name)
        from extend_mcp.client_config.command import install

        if cmd_name == "manifests":
            click.echo("`extend-mcp manifests` is now `extend-mcp install`; the old name will be removed.", err=True)
        return install


def read_env_file(_context: click.Context | None, _option: click.Parameter | None, path: Path | None) -> None:
    """Set the ``EXTEND_`` variables of a file of ``NAME=value`` lines that the environment does not set."""
    if path is None:
        return
    from dotenv import dotenv_values

    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise click.ClickException(f"--env-file: {path} cannot be read: {error.strerror}") from None
    # UTF-16 without a mark at its start is valid UTF-8, and would set nothing.
    if "\0" in text or "\N{REPLACEMENT CHARACTER}" in text:
        raise click.ClickException(f"--env-file: {path} cannot be read: it is not UTF-8 text; save it as UTF-8")
    for name, value in dotenv_values(stream=io.StringIO(text)).items():
        if name.startswith("EXTEND_") and value and not os.environ.get(name):
            os.environ[name] = value


_env_file = click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=read_env_file,
    expose_value=False,
    help="Read settings from a file of NAME=value lines.",
)
_sandbox = click.option("--sandbox", is_flag=True, default=None, help="Use the built-in sandbox instead of Extend.")


@click.group(
    cls=_Commands,
    subcommand_metavar="COMMAND [OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="extend-mcp")
def main() -> None:
    """Let an AI assistant operate Extend document workflows, over the Model Context Protocol.

    Without a command, the server starts on stdio. Set EXTEND_API_KEY to your key and EXTEND_REGION to us, us2 or eu.
    docs/configuration.md lists all settings. To add the server to a client, run `extend-mcp install CLIENT`.
    """


@main.command()
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http", "sse"]),
    default="stdio",
    help="stdio for one client on this machine; http serves /mcp; sse also serves /sse, for older clients.",
)
@click.option("--host", help="Address to listen on (http, sse); EXTEND_MCP_HOST. A public one needs EXTEND_MCP_AUTH.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (http, sse); EXTEND_MCP_PORT.")
@_sandbox
@click.option("--read-only", is_flag=True, default=None, help="Leave out every tool that writes.")
@click.option("--toolsets", metavar="A,B", help="Toolsets to offer, comma-separated.")
@_env_file
def serve(transport: str, host: str | None, port: int | None, **given: Any) -> None:
    """Start the MCP server (the default command)."""
    # The collector would scan repeatedly what is imported and built here, and free nothing.
    gc.disable()
    settings = _settings(**given)
    if transport == "stdio":
        _serve_stdio(settings)
    else:
        _serve_http(settings, host, port, sse=transport == "sse")


@main.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; 0 picks a free one.")
@click.option(
    "--scenario", type=click.Choice(["default", "empty", "large", "huge", "incident"]), default="default", help="Data."
)
@click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Simulated seconds per real second."
)
@click.option("--seed", type=int, default=1, help="Seed of the simulated documents and times.")
def sandbox(host: str, port: int, scenario: str, speed: float, seed: int) -> None:
    """Simulate Extend's API on this machine.

    Prints the base URL when it is ready. Any API key is accepted.
    """
    from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings
    from extend_mcp.sandbox.sandbox_server import serve as serve_sandbox

    box = Sandbox(SandboxSettings(scenario=scenario, seed=seed), SandboxClock(speed=speed))
    _run(partial(serve_sandbox, box, host=host, port=port, on_ready=_say))


@main.command()
def demo() -> None:
    """Walk through an on-call session against the sandbox.

    A real MCP client starts the server and talks to it over stdio. Needs no account and no network.
    """
    from extend_mcp.demo import play

    sys.exit(anyio.run(play, _say))


@main.command()
@_sandbox
@_env_file
def doctor(**given: Any) -> None:
    """Check the configuration and name the cause of a failure.

    Checks key, region, API version, workspace, proxy, certificates and reachability, and says what to do.
    """
    from extend_mcp.doctor import diagnose

    sys.exit(anyio.run(diagnose, partial(_settings, **given), _say))


@main.command()
@click.option("--since", default="24h", help="Begin of the window: a span such as 24h, or an ISO time.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    help="For a person, a wiki or a program.",
)
@click.option("--fail-if", metavar="A,B", default="", help="Thresholds: failed>5,failed>2%,waiting>24h,runs<1.")
@_sandbox
@_env_file
def report(since: str, form: Format, fail_if: str, **given: Any) -> None:
    """Report what happened: runs, failures, what waits for review.

    Asks no model and nobody. Exits with 3 when a threshold is crossed, and with 1 when the report failed or is too
    incomplete to judge one.
    """
    from extend_mcp.report import make_report, parse_thresholds, render

    settings = _settings(**given)
    thresholds = parse_thresholds(fail_if)
    _observe(settings, settings.secrets)
    made = anyio.run(make_report, settings, since)
    _say(render(made, thresholds, form))
    verdicts = [each.judge(made.figures) for each in thresholds]
    sys.exit(3 if "crossed" in verdicts else 1 if "unknown" in verdicts else 0)


@main.command()
@click.argument("name")
@click.option("--read-only", is_flag=True, help="Allow only what reads.")
@click.option("--scopes", metavar="A,B", default="", help="Allow only these scopes, such as runs:read,runs:cancel.")
@click.option(
    "--append",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add the entry to this tokens file; a running server reads it within a second.",
)
def token(name: str, read_only: bool, scopes: str, file: Path | None) -> None:
    """Make a token for a caller, for EXTEND_MCP_AUTH=token:FILE.

    Prints the token once, and its entry for that file. The entry contains only the token's hash.
    """
    import json

    from extend_mcp.http.auth.tokens import append_entry, new_token

    chosen = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    made, entry = new_token(name, scopes=chosen, read_only=read_only)
    said = f'Its entry, for the list "tokens" of the file; add what the caller may do:\n{json.dumps(entry, indent=2)}'
    if file is not None:
        append_entry(file, entry)
        said = f"{file} has its entry now."
    click.echo("The token, shown this once; give it to the caller:", err=True)
    _say(made)
    click.echo(f"\n{said}", err=True)


@main.command()
@click.argument("action", type=click.Choice(["clear"]), expose_value=False)
@_env_file
def history() -> None:
    """Remove all runs that EXTEND_MCP_HISTORY keeps in a file.

    Also removes damaged files that were set aside next to it.
    """
    from extend_mcp.history.database import StoreLostError
    from extend_mcp.history.store import RunStore

    path = _settings().history
    if path in ("memory", "off"):
        _say(f"EXTEND_MCP_HISTORY is {path}: no file holds runs.")
        return
    file, said = Path(path), f"{path} does not exist: no runs are kept."
    if file.exists():
        try:
            with closing(RunStore(path)) as store:
                runs, accounts = store.clear()
        except StoreLostError as error:
            raise click.ClickException(f"nothing was removed: {error}") from None
        said = f"Removed {runs:,} runs of {accounts:,} accounts from {path}."
    _say(said)
    for damaged in file.parent.glob(f"{file.name}.damaged-*"):
        damaged.unlink()
        _say(f"Removed {damaged}.")


def _serve_stdio(settings: Settings) -> None:
    from extend_mcp.server import build_server
    from extend_mcp.stdio import run_stdio

    _, stop_tracing = _observe(settings, settings.secrets)
    server, registry = build_server(settings, shared=_shared_over_stdio(settings))
    if sys.stdin.isatty():
        click.echo(
            "extend-mcp is waiting for an MCP client on stdin. Press Ctrl-C to stop, then try:\n"
            "  extend-mcp install CLIENT   add the server to a client\n"
            "  extend-mcp demo             see it work, without an account\n"
            "  extend-mcp --help           list all commands",
            err=True,
        )

    async def run() -> None:
        # A thread waits on stdin and cannot be woken: an orderly end on Ctrl-C would wait for the next line.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            await run_stdio(server)
        finally:
            with anyio.CancelScope(shield=True):
                await registry.aclose()

    _run(run)
    stop_tracing()


def _shared_over_stdio(settings: Settings) -> Shared:
    """Keep plans and used confirmations where the next process finds them: some clients start one for each call."""
    from extend_mcp.callers import Shared
    from extend_mcp.server import sealing_keys

    # The embedded sandbox ends with its process, and so does everything that a plan is about.
    if settings.read_only or settings.sandbox or not (settings.state_keys or settings.api_key):
        return Shared(sealing_keys(settings))
    from extend_mcp.actions.confirmation_tokens import SealingKeys
    from extend_mcp.actions.sqlite_store import SqliteStore, state_folder
    from extend_mcp.actions.store import StoreUnavailableError

    folder, lasting = state_folder(), sealing_keys(settings)
    if settings.api_key and not settings.state_keys:
        lasting = SealingKeys.of_account(settings.api_key.get_secret_value(), settings.api_base_url)
    try:
        return Shared(lasting, store=SqliteStore(folder, lasting))
    except StoreUnavailableError:
        # With a key of this process, no other one accepts its tokens: it could not know that they were used.
        logger.warning("%s cannot be written: a confirmation counts only in the process that asked for it", folder)
        return Shared(sealing_keys(settings))


def _serve_http(settings: Settings, host: str | None, port: int | None, *, sse: bool) -> None:
    from extend_mcp.http.serve import serve_http
    from extend_mcp.http.settings import HttpSettings
    from extend_mcp.settings import load

    http = load(HttpSettings, host=host, port=port)
    redactor, stop_tracing = _observe(settings, [*settings.secrets, *http.secrets])

    # The caller that started the process waits for this line, so it does not depend on the log level.
    def say_ready(url: str) -> None:
        click.echo(f"extend-mcp serves {url}", err=True)

    try:
        _run(partial(serve_http, settings, http, sse=sse, redactor=redactor, on_ready=say_ready))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {http.host} port {http.port}: {error.strerror}") from None
    finally:
        stop_tracing()


def _settings(**given: Any) -> Settings:
    """Read the settings, and report the variables that have no effect, such as those of earlier versions."""
    from extend_mcp.settings import Settings, load

    unknown = {name for name in os.environ if name.startswith("EXTEND_MCP_")} - Settings.variables()
    if unknown:
        from extend_mcp.http.settings import HttpSettings

        unknown -= HttpSettings.variables()
    for name in sorted(unknown):
        click.echo(f"{name} is not a setting and is ignored. docs/configuration.md lists all settings.", err=True)
    if "EXTEND_ENVIRONMENT" in os.environ:
        why = "belongs to Extend's own MCP server and is ignored: the key alone chooses test or production"
        click.echo(f"EXTEND_ENVIRONMENT {why}", err=True)
    return load(Settings, **given)


def _observe(settings: Settings, secrets: Iterable[str]) -> tuple[Redactor, Callable[[], None]]:
    """Set up logs and spans; return what keeps secrets out of them, and what sends the last spans."""
    from extend_mcp.telemetry.logs import configure_logging
    from extend_mcp.telemetry.redaction import Redactor

    redactor = Redactor(secrets)
    configure_logging(settings.log_level, "json" if settings.log.startswith("json:") else "text", redactor)
    return redactor, configure_tracing(__version__, redact=redactor)


def configure_tracing(
    service_version: str, *, redact: Callable[[str], str] = str, environ: Mapping[str, str] = os.environ
) -> Callable[[], None]:
    """Send spans if the environment asks for it; return what sends the last ones. See `extend_mcp.telemetry.otlp`."""
    from extend_mcp.telemetry.spans import wants_spans

    if wants_spans(environ):
        try:
            from extend_mcp.telemetry.otlp import send_spans

            return send_spans(service_version, redact)
        except ImportError:
            logger.warning("no spans are sent: install extend-mcp[otel] for what the OTEL_ variables ask for")
        except ValueError as error:
            logger.warning("no spans are sent: an OTEL_ variable cannot be used: %s", error)
    return lambda: None


def _run(function: Callable[[], Any]) -> None:
    # What was made so far stays until the end: no collection needs to look at it.
    gc.freeze()
    # One call makes thousands of objects that need no collector. Python looks for garbage every 700 by default.
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
    try:
        anyio.run(function)
    except KeyboardInterrupt:
        # The shell's convention for a program that SIGINT ended.
        sys.exit(130)


def _say(line: str) -> None:
    # A variable may hold bytes that are not text; they must not end the command.
    click.echo(line.encode("utf-8", "backslashreplace").decode())
